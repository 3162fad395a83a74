#!/bin/sh

# Runs the test suites in a bare Debian root of each release named, with what
# that release has of nginx, hiredis and Redis:
#
#     sh t/matrix.sh
#     sh t/matrix.sh trixie
#
# "valkey" stands for sid with its Valkey in the place of Redis, and "laravel" for
# t/laravel.sh, which compares the module with Laravel.
#
# A release that cannot be had fails, too.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

[ $# -gt 0 ] || set -- bookworm trixie sid valkey laravel

work=$(mktemp -d /tmp/billing-matrix.XXXXXX)
root_begin

# version <directory> <package>

version() {
    # shellcheck disable=SC2016
    root_run "$1" dpkg-query -Wf '${source:Upstream-Version}' "$2"
}

# run <release>: what came of it is in $result

run() {
    if [ "$1" = laravel ]; then
        result=failed
        sh "$root/t/laravel.sh" || return 1
        result=passed
        return
    fi

    case $1 in
        valkey) debian=sid name=Valkey server=valkey-server ;;
        *)      debian=$1 name=Redis server=redis-server ;;
    esac

    dir=$work/$1
    result="not tested"

    root_make "$debian" "$dir" && root_copy "$dir" || return 1
    root_run "$dir" sh /src/conf/install.sh "$server" || return 1

    versions="nginx $(version "$dir" nginx)"
    versions="$versions, hiredis $(version "$dir" libhiredis-dev)"
    versions="$versions, $name $(version "$dir" "$server")"

    result="$versions, failed"

    # a suite that run.sh leaves out runs by itself

    for suite in '' t/coherence.t t/cluster_coherence.t; do
        root_run "$dir" env BILLING_REDIS_SERVER="$server" \
            sh /src/t/run.sh ${suite:+"$suite"} || return 1
    done

    result="$versions, passed"
}

status=0

for release; do
    echo "$release:"
    start=$(date +%s)

    if ! run "$release"; then
        status=1

        if [ -d "$work/$release/src/build/test-logs" ]; then
            rm -rf "$root/build/test-logs-$release"
            mv "$work/$release/src/build/test-logs" \
                "$root/build/test-logs-$release"
            echo "$release: logs are in $root/build/test-logs-$release" >&2
        fi
    fi

    rm -rf "${work:?}/$release"
    echo "$release: $result, $(($(date +%s) - start)) s" >>"$work/results"
done

cat "$work/results"
exit $status
