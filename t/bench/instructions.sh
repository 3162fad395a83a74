#!/bin/sh

# Guards against getting slower: counts the instructions of a request with
# callgrind and compares them with those in instructions.txt.
#
#     sh t/bench/instructions.sh
#     sh t/bench/instructions.sh --renew
#
# --renew writes the new counts into the file, after a change that is meant to
# cost (or to save) instructions.
#
# Counts do not depend on the machine's speed or load, but they do on the
# compiler and the libraries: each release of Debian has its own.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
counts=$root/t/bench/instructions.txt
room=5
renew=

case $*:$# in
    :0) ;;
    --renew:1) renew=yes ;;
    *)
        echo "usage: sh $0 [--renew]" >&2
        exit 2
        ;;
esac

sh "$root/conf/install.sh" valgrind perl
sh "$root/conf/build.sh"

# shellcheck source=t/bench/lib.sh
. "$root/t/bench/lib.sh"

release=$(. /etc/os-release && echo "$ID-$VERSION_ID")-$(uname -m)

# the same functions of libc and OpenSSL on every processor

export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,\
-AVX512F,-AVX512VL,-AVX512BW,-BMI1,-BMI2,-ERMS,-FSRM,-LZCNT,-MOVBE,-RTM,\
-SSSE3,-SSE4_1,-SSE4_2
export OPENSSL_ia32cap=0:0

# a listpack, as the fields of a hash table come in an order of its own

start_redis --hash-max-listpack-value 512
load 1000 1000

mkdir "$dir/nginx"

# A signal that comes just before nginx waits for events is seen after the
# next event only, and there is none: it may take another one.

# shellcheck disable=SC2317
stopped() {
    grep -q '^summary: ' "$dir/callgrind" || {
        [ $((tries % 20)) -ne 0 ] || kill "$pid"
        return 1
    }
}

# configure <cache>: the value of billing_cache. A probe of the cache in between
# would be counted, so there is none for an hour.

configure() {
    cache=$1

    cat >"$dir/nginx/nginx.conf" <<CONF
load_module $root/build/ngx_http_billing_module.so;

daemon         off;
master_process off;
pid            nginx.pid;
error_log      error.log warn;

events {
    worker_connections 64;
}

http {
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout  1h;
    client_body_temp_path client_body_temp;
    proxy_temp_path       proxy_temp;
    fastcgi_temp_path     fastcgi_temp;
    uwsgi_temp_path       uwsgi_temp;
    scgi_temp_path        scgi_temp;

    billing_redis unix:$dir/redis.sock;
    billing_cache $cache;
    billing_cache_lag 1h;
    billing_redis_timeout 1m;
    billing_redis_connect_timeout 1m;

    server {
        listen unix:$dir/nginx.sock;

        location = $route {
            billing_cameras_list;
        }
    }
}
CONF
}

# count <requests> <token> <body> <status>, of nginx from start to end: sets
# $counted

count() {
    rm -f "$dir/nginx.sock" "$dir/nginx/nginx.pid" "$dir/callgrind"

    valgrind --tool=callgrind --callgrind-out-file="$dir/callgrind" \
        "$(command -v nginx)" -p "$dir/nginx" -e error.log -c nginx.conf \
        >"$dir/valgrind" 2>&1 &
    pid=$!
    pids=$pid

    wait_for [ -s "$dir/nginx/nginx.pid" ] \
        || die "nginx did not start: $(cat "$dir/valgrind")"

    perl "$bench/ask.pl" "$dir/nginx.sock" "$2" "$3" "$4" "$1" \
        || die "the module's answer is not the one expected"

    sleep 0.2
    { wait_for stopped && wait "$pid"; } \
        || die "nginx failed: $(cat "$dir/valgrind" "$dir/nginx/error.log")"
    pids=

    counted=$(sed -n 's/^summary: //p' "$dir/callgrind")
}

# per_request <scenario> <requests> <token> <body> <status>: what so many
# requests more have cost more, as starting and ending costs the same

per_request() {
    name=$1
    n=$2
    shift 2
    count "$n" "$@"
    once=$counted
    count $((2 * n)) "$@"

    echo "$release $name $(((counted - once) / n))" >>"$dir/counted"
}

ids=$(seq -s , 1 33 990)

configure off

per_request 1 500 bench-token '{"cameras_ids":[1]}' 200
per_request 30 100 bench-token "{\"cameras_ids\":[$ids]}" 200
per_request list 10 bench-token '{"login":"list-1000"}' 200
per_request bad 500 bad-token '{"cameras_ids":[1]}' 401
per_request 422 500 bench-token '{"cameras_ids":[1,"x"],"login":5}' 422

# all from the worker's cache

configure 32m

per_request hit-1 500 bench-token '{"cameras_ids":[1]}' 200
per_request hit-30 100 bench-token "{\"cameras_ids\":[$ids]}" 200
per_request hit-list 10 bench-token '{"login":"list-1000"}' 200

if [ -n "$renew" ]; then
    touch "$counts"
    grep -v "^$release " "$counts" >"$dir/others" || :
    sort "$dir/others" "$dir/counted" >"$counts"
    cat "$dir/counted"
    echo "instructions: $counts is renewed"
    exit 0
fi

if ! grep -q "^$release " "$counts"; then
    cat "$dir/counted"
    echo "instructions: NOT COMPARED, $counts has no counts for $release" >&2
    exit 0
fi

status=0

while read -r _ scenario counted; do
    kept=$(sed -n "s/^$release $scenario //p" "$counts")

    if [ -z "$kept" ]; then
        echo "instructions: no count for $scenario on $release" >&2
        status=1
        continue
    fi

    change=$(awk -v a="$kept" -v b="$counted" \
        'BEGIN { printf "%+.2f", (b - a) * 100 / a }')

    echo "$scenario: $counted instructions a request, $kept kept, $change %"

    if [ $((counted * 100)) -gt $((kept * (100 + room))) ]; then
        echo "instructions: $scenario costs more than $room % more" >&2
        status=1
    fi
done <"$dir/counted"

if [ $status -ne 0 ]; then
    echo "if that is meant to be: sh t/bench/instructions.sh --renew" >&2
fi

exit $status
