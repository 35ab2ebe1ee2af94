#!/bin/bash
# The baseline of `make bench`: what fleet-config does with an edit, done by shell and jq as balenaOS does it: one jq a
# key, files rendered and compared, owners called when something differs. Usage: apply.sh CONFIG FOLDER [all]
# `all` are the keys that balenaOS does not have, too: those of whole.json.
set -eu
config=$1
folder=$2
keys=${3:-}
mkdir -p "$folder"

get() { jq --raw-output "$1 // empty" "$config"; }

# Puts standard input in place of a file. Fails if it says the same.
replace() {
    cat >"$1.new"
    if cmp --silent "$1.new" "$1"; then
        rm "$1.new"
        return 1
    fi
    mv "$1.new" "$1"
}

jq --exit-status 'type == "object"' "$config" >/dev/null
hostname=$(get .hostname)
uuid=$(get .uuid)
persistent=$(get .persistentLogging)
development=$(get .developmentMode)
ntp=$(get .ntpServers)
dns=$(get .dnsServers)
uri=$(get .os.network.connectivity.uri)
interval=$(get .os.network.connectivity.interval)
response=$(get .os.network.connectivity.response)
random=$(get .os.network.wifi.randomMacAddressScan)
country=$(get .country)
ca=$(get .balenaRootCA)
ssh=$(get '(.os.sshKeys // [])[]')
rules=$(get '(.os.udevRules // {}) | keys[]')

# The copy to go back to.
if replace "$folder/config.json" <"$config"; then
    sync --file-system "$folder/config.json"
fi
replace "$folder/authorized_keys" <<<"$ssh" || true
replace "$folder/others" <<<"$persistent $development $country $ca $rules" || true

if {
    printf '[connectivity]\nuri=%s\ninterval=%s\nresponse=%s\n' "$uri" "$interval" "$response"
    printf '[device]\nwifi.scan-rand-mac-address=%s\n' "$random"
    [ -z "$dns" ] || printf '[global-dns-domain-*]\nservers=%s\n' "${dns// /,}"
} | replace "$folder/NetworkManager.conf"; then
    busctl call org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager Reload u 1
fi
if for server in $ntp; do echo "server $server iburst trust"; done | replace "$folder/fleet.sources"; then
    chronyc reload sources >/dev/null
fi
name=${hostname:-${uuid:0:7}}
if [ "$(uname -n)" != "$name" ]; then
    hostnamectl --transient hostname "$name"
fi

[ "$keys" = all ] || exit 0

zone=$(get .os.timezone)
use=$(get .os.journal.maxUse)
free=$(get .os.journal.keepFree)
retention=$(get .os.journal.retention)
interval=$(get .os.journal.rateLimit.interval)
burst=$(get .os.journal.rateLimit.burst)
http=$(get .os.proxy.http)
https=$(get .os.proxy.https)
none=$(get .os.proxy.noProxy)
reboot=$(get .os.watchdog.reboot)

link=/usr/share/zoneinfo/${zone:-UTC}
if [ "$(readlink "$folder/localtime")" != "$link" ]; then
    ln --symbolic --force --no-dereference "$link" "$folder/localtime"
fi
printf '[Journal]\nSystemMaxUse=%s\nSystemKeepFree=%s\nMaxRetentionSec=%s\nRateLimitIntervalSec=%s\nRateLimitBurst=%s\n' \
    "$use" "$free" "$retention" "$interval" "$burst" | replace "$folder/journald.conf" || true
if printf 'http_proxy=%s\nhttps_proxy=%s\nno_proxy=%s\n' "$http" "$https" "$none" | replace "$folder/proxy.env"; then
    systemctl set-environment "http_proxy=$http" "https_proxy=$https" "no_proxy=$none"
fi
if [ -n "$reboot" ] && replace "$folder/watchdog" <<<"$reboot"; then
    busctl set-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
        RebootWatchdogUSec t "${reboot}000000"
fi
