#!/bin/sh

# Installs the packages that building and running the module on Debian takes,
# and the packages named as arguments. Installed packages are left alone. Services
# that come with new ones are neither started nor enabled for the next boot.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

missing=

for package in nginx nginx-dev redis-server curl gcc libc6-dev make \
    libssl-dev libyajl-dev libhiredis-dev "$@"
do
    case " $(dpkg-query -Wf '${db:Status-Status} ' "$package" 2>/dev/null)" in
        *" installed "*) ;;
        *) missing="$missing $package" ;;
    esac
done

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "$0: neither root nor sudo to install with, as root run:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi

    exec sudo sh "$0" "$@"
fi

echo "installing:$missing"

# the packages of nginx and Redis would start their services

policy=/usr/sbin/policy-rc.d

if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive

apt-get -qq update || echo "going on with the package lists there are" >&2

# shellcheck disable=SC2086
apt-get -qq -y --no-install-recommends --no-remove install $missing

for service in nginx redis-server postgresql; do
    case "$missing " in
        *" $service "*)
            update-rc.d "$service" disable
            echo "installed, but not enabled: update-rc.d $service enable" ;;
    esac
done
