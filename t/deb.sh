#!/bin/sh

# Builds the Debian package in a bare Debian root, then installs, uses and
# removes it in another one; for each release named, or for Debian 12:
#
#     sh t/deb.sh bookworm trixie

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
package=libnginx-mod-http-billing

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

[ $# -gt 0 ] || set -- bookworm

work=$(mktemp -d /tmp/billing-deb.XXXXXX)
root_begin

# quietly <command> ..., with its output only if it fails

quietly() {
    if ! "$@" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        die "failed: $*"
    fi
}

build() {
    echo "$release: building"

    root_make "$release" "$work/build"
    root_copy "$work/build"
    (cd "$work/build/src" && find . | sort) >"$work/before"

    quietly root_run "$work/build" apt-get -q update
    quietly root_run "$work/build" \
        apt-get -qy --no-install-recommends build-dep /src
    quietly root_run "$work/build" sh /src/conf/deb.sh

    mv "$work/build/src/build/deb" "$work/deb"
    rmdir "$work/build/src/build"
    (cd "$work/build/src" && find . | sort) | diff "$work/before" - >&2 \
        || die "the build left files in the tree"

    echo "$release: lintian"

    mv "$work/deb" "$work/build/deb"
    quietly root_run "$work/build" \
        apt-get -qy --no-install-recommends install lintian
    root_run "$work/build" sh -c \
        'lintian --allow-root --fail-on error,warning /deb/*.changes' \
        || die "lintian is not content"
    mv "$work/build/deb" "$work/deb"
}

# what is done to the package in the second root

use() {
    cat <<'END'
set -eu

package=$1
link=/etc/nginx/modules-enabled/50-mod-http-billing.conf

die() {
    echo "deb: $*" >&2
    exit 1
}

apt_get() {
    if ! apt-get -qy --no-install-recommends "$@" >/tmp/log 2>&1; then
        cat /tmp/log >&2
        die "failed: apt-get $*"
    fi
}

# ask <status> <body, a regex> <curl option> ...

ask() {
    status=$1
    body=$2
    shift 2

    answer=$(curl -sS -m 10 --unix-socket /run/nginx.sock -w '\n%{http_code}' \
        "$@" 'http://billing/api/v1/billing/cameras/list?login=string')

    if [ "${answer##*
}" != "$status" ] || ! echo "$answer" | grep -qx "$body"; then
        die "asked for $status $body, got: $answer"
    fi

    echo "answered with $status"
}

# mapped: nginx's master has the module of a file that is there; or "deleted"

mapped() {
    grep "ngx_http_billing_module.so$1" "/proc/$(cat /run/nginx.pid)/maps" \
        >/dev/null
}

apt_get update
apt_get install redis-server curl procps

# an older package: this one with another number

dpkg-deb -R /deb/"$package"_[0-9]*.deb /old
sed -i 's/^Version: .*/Version: 0.1.0-1/' /old/DEBIAN/control
dpkg-deb -b /old /old.deb >/dev/null
rm -r /old
apt_get install /old.deb

service nginx start >/dev/null
mapped '$' || die "the older package was not loaded"

apt_get install /deb/"$package"_[0-9]*.deb
grep -q 'service nginx upgrade' /tmp/log || die "nothing said of the upgrade"
service nginx reload >/dev/null
mapped ' (deleted)' || die "a reload has loaded the newer module"

service nginx upgrade >/dev/null
mapped ' (deleted)' && die "the upgrade has not loaded the newer module"
mapped '$' || die "the newer module is not loaded"
echo "upgraded"

apt_get install --reinstall /deb/"$package"_[0-9]*.deb
grep -q 'service nginx upgrade' /tmp/log || die "nothing said of a new file"

service nginx stop >/dev/null
apt_get install --reinstall /deb/"$package"_[0-9]*.deb
if grep -q 'service nginx upgrade' /tmp/log; then
    die "an upgrade of an nginx that does not run"
fi

dpkg-query -Wf '${Depends}\n' "$package" | grep 'nginx-abi-' \
    || die "the package does not depend on an ABI of nginx"
dpkg-query -Wf '${Built-Using}\n' "$package" | grep '^hiredis (= .*), yajl (= ' \
    || die "the package does not name the libraries that it contains"
[ -e $link ] || die "installing did not enable the module"

rm /etc/nginx/sites-enabled/default

cat >/etc/nginx/conf.d/billing.conf <<'CONF'
billing_redis unix:/run/redis.sock;

server {
    listen unix:/run/nginx.sock;

    location = /api/v1/billing/cameras/list {
        billing_cameras_list;
    }
}
CONF

nginx -q -t

redis-server --port 0 --unixsocket /run/redis.sock --unixsocketperm 777 \
    --save '' --dir /tmp --logfile /tmp/redis.log &
redis=$!

nginx -g 'daemon off;' &
nginx=$!

tries=200
until redis-cli -s /run/redis.sock ping && [ -S /run/nginx.sock ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || die "nginx or Redis did not start"
    sleep 0.05
done >/dev/null 2>&1

sh /usr/share/doc/"$package"/examples/load-sample.sh -s /run/redis.sock

ask 401 '{"message":"Unauthenticated."}'
ask 200 '\[{"id":3,.*},{"id":4,.*}\]' -H 'Authorization: Bearer demo-token'

# nchan, which has a hiredis of its own, comes to the nginx that runs, by a
# reload, and is then there from the start

apt_get install libnginx-mod-nchan
nginx -q -t
old=$(pgrep -P "$nginx")
kill -HUP "$nginx"

tries=200
while pgrep -P "$nginx" | grep -qxF "$old"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || die "nginx was not reloaded"
    sleep 0.05
done

ask 200 '\[{"id":3,.*},{"id":4,.*}\]' -H 'Authorization: Bearer demo-token'

kill -QUIT "$nginx"
wait "$nginx" || die "nginx ended with $?"

nginx -g 'daemon off;' &
nginx=$!

tries=200
until [ -S /run/nginx.sock ] && curl -s --unix-socket /run/nginx.sock \
    http://billing/ >/dev/null
do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || die "nginx did not start beside nchan"
    sleep 0.05
done

ask 200 '\[{"id":3,.*},{"id":4,.*}\]' -H 'Authorization: Bearer demo-token'
echo "works beside nchan"

kill -QUIT "$nginx"
wait "$nginx" || die "nginx ended with $?"
if grep -E '\[(alert|crit|emerg)\]' /var/log/nginx/error.log; then
    die "nginx logged the above"
fi
kill "$redis"
wait "$redis" || die "Redis ended with $?"

apt_get remove "$package" libnginx-mod-nchan
grep -q '/etc/nginx/conf.d/billing.conf:1:billing_redis ' /tmp/log \
    || die "nothing said of directives that are left"
if nginx -q -t 2>/dev/null; then die "these directives are taken"; fi
rm /etc/nginx/conf.d/billing.conf
[ ! -e $link ] || die "removing did not disable the module"
nginx -q -t
echo "removed"

apt_get install /deb/"$package"_[0-9]*.deb
[ -e $link ] || die "installing again did not enable the module"

for page in README.md doc/deployment.md; do
    [ -s "/usr/share/doc/$package/$page" ] \
        || [ -s "/usr/share/doc/$package/$page.gz" ] || die "no $page"
done

apt_get purge "$package"
nginx -q -t
left=$(find / -xdev -path /proc -prune -o -path /deb -prune \
    -o -name '*http[-_]billing*' -print)
[ -z "$left" ] || die "purging left $left"
echo "purged"
END
}

for release; do
    start=$(date +%s)

    build
    built=$(date +%s)

    echo "$release: using"

    root_make "$release" "$work/use"
    mv "$work/deb" "$work/use/deb"
    use >"$work/use/use.sh"
    root_run "$work/use" sh /use.sh "$package"

    rm -rf "$work/build" "$work/use"
    echo "$release: passed, $((built - start)) s to build," \
        "$(($(date +%s) - built)) s to use"
done
