#!/bin/sh

# Types the shell snippets of README.md, one by one and as they stand, into a
# bare Debian root, and looks at what they do; for each release named, or for
# Debian 12:
#
#     sh t/readme.sh bookworm trixie
#
# Packages are fetched first. Then the root has a network of its own, where all
# ports are free, and where services start as on a machine.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

# snippets <section> <directory>: each into a file of its own

snippets() {
    awk -v section="$1" -v dir="$2" '
        /^```/ { code = !code; typed = (inside && $0 == "```sh"); n += typed; next }
        !code && /^#+ / { inside = ($0 == "# " section || $0 == "## " section) }
        typed { print >(dir "/" n) }' "$root/README.md"
}

# the newcomer, in the root

newcomer() {
    cat <<'END'
set -eu

die() {
    echo "readme: $*" >&2
    exit 1
}

wait_for() {
    tries=600

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "in vain: $*"
        sleep 0.1
    done
}

# the route's answer with the sample's token

asked() {
    curl -fsS -m 5 -H 'Authorization: Bearer demo-token' \
        'http://127.0.0.1:8080/api/v1/billing/cameras/list?login=string' \
        | grep -q '^\[{"id":3,'
}

typed=0

# type <section> <number>, as it stands, and with set -e

type_it() {
    file="/snippets/$1/$2"
    [ -s "$file" ] || die "no snippet $2 in \"$1\""
    typed=$((typed + 1))

    sed 's/^/    /' "$file"

    if ! sh -e "$file" >/tmp/log 2>&1; then
        cat /tmp/log >&2
        die "snippet $2 of \"$1\" failed"
    fi
}

cd /src

# Ctrl-C goes to a group of processes; a job of the shell would ignore it

sed 's/^/    /' "/snippets/Quick start/1"
typed=$((typed + 1))
setsid perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' sh -e "/snippets/Quick start/1" \
    >/tmp/demo 2>&1 &
demo=$!
tries=3000
until asked 2>/dev/null; do
    tries=$((tries - 1))
    kill -0 $demo 2>/dev/null || { cat /tmp/demo >&2; die "the demo ended"; }
    [ $tries -gt 0 ] || die "the demo does not answer"
    sleep 0.1
done
kill -s INT -- "-$demo"
wait "$demo" || :
asked 2>/dev/null && die "the demo goes on after Ctrl-C"

type_it 'Debian package' 1
cd /src/build/deb
type_it 'Debian package' 2
type_it 'Debian package' 3
type_it 'Debian package' 4
wait_for asked

type_it API 1
grep -q '^\[{"id":3,.*},{"id":4,.*}\]' /tmp/log || die "API 1: $(cat /tmp/log)"
type_it API 2
grep -q '^\[{"id":3,.*},{"id":4,.*}\]' /tmp/log || die "API 2: $(cat /tmp/log)"

cd /src
rm -f build/ngx_http_billing_module.so
type_it Sources 1
[ -s build/ngx_http_billing_module.so ] || die "make has built nothing"

type_it Upgrading 1
wait_for asked

type_it Removing 1
nginx -t 2>/tmp/log || { cat /tmp/log >&2; die "nginx -t fails"; }

all=$(find /snippets -type f | wc -l)
[ "$typed" -eq "$all" ] || die "$typed of $all snippets were typed"

if grep -E '\[(alert|crit|emerg)\]' /var/log/nginx/error.log; then
    die "nginx logged the above"
fi
END
}

# packages <directory>: into the cache of the root's apt

packages() {
    root_run "$1" apt-get -qq update

    for option in --install-recommends --no-install-recommends; do
        # shellcheck disable=SC2046
        root_run "$1" apt-get -qq -y --download-only $option install \
            build-essential debhelper iproute2 curl \
            $(sed -n 's/^apt-get install//p' "$root/README.md" \
                | tr ' ' '\n' | grep -v -e '\.deb$' | sort -u) \
            nginx
    done
}

if [ "${1:-}" = --offline ]; then
    ip link set lo up
    root_run "$2" sh /newcomer.sh
    exit
fi

[ $# -gt 0 ] || set -- bookworm

work=$(mktemp -d /tmp/billing-readme.XXXXXX)
root_begin iproute2

for release; do
    start=$(date +%s)
    dir=$work/$release

    root_make "$release" "$dir"
    root_copy "$dir"
    packages "$dir" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "no packages"; }

    # a newcomer says yes, and packages start their services

    echo 'APT::Get::Assume-Yes "true";' >"$dir/etc/apt/apt.conf.d/90yes"
    rm -f "$dir/usr/sbin/policy-rc.d"

    sed -n 's/^##\{0,1\} //p' "$root/README.md" | while read -r section; do
        mkdir -p "$dir/snippets/$section"
        snippets "$section" "$dir/snippets/$section"
    done

    newcomer >"$dir/newcomer.sh"
    unshare --net --mount sh "$0" --offline "$dir"

    rm -rf "$dir"
    echo "$release: passed, $(($(date +%s) - start)) s"
done
