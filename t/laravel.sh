#!/bin/sh

# Puts random requests to the module and to Laravel's own validator, and
# compares the answers:
#
#     sh t/laravel.sh [requests] [seed]
#
# Laravel is installed from Debian sid, in a bare root of its own, as root. The
# module differs from Laravel on purpose in some rules: laravel.php and
# laravel.pl name each at the place where they allow for it.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

case ${1:-3000} in
    '' | *[!0-9]*)
        echo "usage: sh $0 [requests] [seed]" >&2
        exit 2
        ;;
esac

export PATH="$PATH:/usr/sbin" LC_ALL=C.UTF-8

work=$(mktemp -d /tmp/billing-laravel.XXXXXX)
root_begin perl
sh "$root/conf/build.sh"

dir=$work/sid

root_make sid "$dir"

root_run "$dir" sh -c 'apt-get -qq -o Acquire::Check-Valid-Until=false update
    apt-get -qq -y --no-install-recommends install php-cli \
        php-illuminate-validation php-illuminate-translation \
        php-illuminate-filesystem' >"$work/install.log" 2>&1 || {
    tail -n 20 "$work/install.log" >&2
    exit 1
}

# shellcheck disable=SC2016
root_run "$dir" dpkg-query -Wf '${Package} ${Version}\n' php8\*-cli \
    php-illuminate-validation

cp "$root/t/laravel.php" "$dir/"

cd "$root"

perl -It/lib -It/fuzz t/laravel.pl "$root/build/ngx_http_billing_module.so" \
    "${1:-3000}" "${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}" \
    chroot "$dir" php /laravel.php
