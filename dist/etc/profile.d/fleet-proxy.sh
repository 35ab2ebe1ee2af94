# shellcheck shell=sh
# The proxy of os.proxy for those who log in; services have it from systemd's environment. Read line by line and not
# sourced: the file is fleet-config's, and this shell may be root's.
if [ -r /run/fleet/config/proxy.env ]; then
    while IFS='=' read -r name value; do
        case $name in
            http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY)
                export "$name=$value"
                ;;
        esac
    done </run/fleet/config/proxy.env
    unset name value
fi
