# shellcheck shell=sh
# The proxy of os.proxy for those who log in; services have it from systemd's environment.
if [ -r /run/fleet/config/proxy.env ]; then
    set -a
    # shellcheck source=/dev/null
    . /run/fleet/config/proxy.env
    set +a
fi
