# Whose updates a device accepts, as ${B}/keyring.pem. A product names its own certificates in FLEET_KEYRING. Without, keys
# for development are made once in FLEET_DEVELOPMENT_KEYS, which is outside of the repository and of every cache that is
# shared: ca.cert.pem is the keyring, signer.{cert,key}.pem are for making bundles.
#
# Inherited by the recipe that installs the keyring, and by those that make bundles.

# An absolute path to a PEM file with one or more CA certificates.
FLEET_KEYRING ?= ""
FLEET_DEVELOPMENT_KEYS ?= "${TOPDIR}/fleet-keys"

DEPENDS:append = " ${@'' if d.getVar('FLEET_KEYRING') else 'openssl-native'}"

fleet_development_keys() {
    if [ -e "${FLEET_DEVELOPMENT_KEYS}/signer.cert.pem" ]; then
        return
    fi
    bbnote "making keys for development in ${FLEET_DEVELOPMENT_KEYS}"
    if [ -e "${FLEET_DEVELOPMENT_KEYS}" ]; then
        bbfatal "${PN}: ${FLEET_DEVELOPMENT_KEYS} is there without signer.cert.pem: put that back, or let \
FLEET_DEVELOPMENT_KEYS name a folder that is not there yet"
    fi
    umask 077
    new="${FLEET_DEVELOPMENT_KEYS}.new"
    rm -rf "$new"
    mkdir -p "$new"
    cd "$new"
    printf '%s\n' '[req]' 'distinguished_name = name' '[name]' \
        '[ca]' 'basicConstraints = critical,CA:TRUE' 'keyUsage = critical,keyCertSign,cRLSign' \
        'subjectKeyIdentifier = hash' \
        '[signer]' 'basicConstraints = critical,CA:FALSE' 'keyUsage = critical,digitalSignature' \
        'subjectKeyIdentifier = hash' 'authorityKeyIdentifier = keyid' > openssl.cnf
    export OPENSSL_CONF="$new/openssl.cnf"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -extensions ca \
        -subj "/O=Fleet OS/CN=Development updates, not for production" -keyout ca.key.pem -out ca.cert.pem
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/O=Fleet OS/CN=Development signer" -keyout signer.key.pem -out signer.csr.pem
    openssl x509 -req -in signer.csr.pem -CA ca.cert.pem -CAkey ca.key.pem -CAcreateserial -days 7300 \
        -extfile openssl.cnf -extensions signer -out signer.cert.pem
    # All or none of them.
    mv "$new" "${FLEET_DEVELOPMENT_KEYS}"
}
fleet_development_keys[lockfiles] = "${TOPDIR}/fleet-keys.lock"

fleet_keyring() {
    if [ -n "${FLEET_KEYRING}" ]; then
        keyring="${FLEET_KEYRING}"
    else
        keyring="${FLEET_DEVELOPMENT_KEYS}/ca.cert.pem"
    fi
    if ! grep -q "BEGIN CERTIFICATE" "$keyring"; then
        bbfatal "${PN}: $keyring holds no certificate: see FLEET_KEYRING in meta-fleet/README.md"
    fi
    if grep -q "PRIVATE KEY" "$keyring"; then
        bbfatal "${PN}: $keyring holds a private key, which would be on every device: leave only certificates in it"
    fi
    install -m 0644 "$keyring" ${B}/keyring.pem
}

# One's own keys come out of nobody else's cache.
# nooelint: oelint.vars.mispell
SSTATE_SKIP_CREATION = "${@'0' if d.getVar('FLEET_KEYRING') else '1'}"

do_compile[prefuncs] += "${@'fleet_keyring' if d.getVar('FLEET_KEYRING') else 'fleet_development_keys fleet_keyring'}"
do_compile[file-checksums] += "${@'%s:True' % d.getVar('FLEET_KEYRING') if d.getVar('FLEET_KEYRING') else '${FLEET_DEVELOPMENT_KEYS}/ca.cert.pem:False'}"
# Where the keys are says nothing about what they are.
do_compile[vardepsexclude] += "FLEET_DEVELOPMENT_KEYS FLEET_KEYRING"
