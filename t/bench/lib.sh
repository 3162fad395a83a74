# What the benchmarks share: a private directory, a Redis and nginx servers of
# their own on loopback, and the CPU time of each. To be sourced; $root is set.

# shellcheck shell=sh

umask 022

bench=$root/t/bench
server_core=${SERVER_CORE:-$(($(nproc) - 1))}
load_core=${LOAD_CORE:-0}

export PATH="$PATH:/usr/sbin" LC_ALL=C.UTF-8 no_proxy=127.0.0.1

route=/api/v1/billing/cameras/list

die() {
    echo "bench: $*" >&2
    exit 1
}

# not $TMPDIR: workers have to get at it, and socket paths are short

dir=$(mktemp -d /tmp/billing-bench.XXXXXX)
redis=
pids=

cleanup() {
    for pid in $pids $redis; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || :
    done

    rm -rf "$dir"
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

user=

if [ "$(id -u)" -eq 0 ]; then
    user='user www-data;'
    chgrp www-data "$dir"
    chmod 710 "$dir"
fi

free_port() {
    perl -MIO::Socket::INET -e '
        print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")
              ->sockport'
}

# wait_for <command>, for 10 seconds

wait_for() {
    tries=200

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# start_redis [options of redis-server]

start_redis() {
    taskset -c "$load_core" redis-server --port 0 \
        --unixsocket "$dir/redis.sock" --unixsocketperm 777 --save '' \
        --dir "$dir" --logfile "$dir/redis.log" "$@" &
    redis=$!

    wait_for redis-cli -s "$dir/redis.sock" ping \
        || die "Redis did not start: $(cat "$dir/redis.log")"
}

stop_redis() {
    kill "$redis"
    wait "$redis" || :
    redis=
}

# load <cameras> [cameras of a login ...]

load() {
    perl "$bench/cameras.pl" "$@" \
        | redis-cli -s "$dir/redis.sock" --pipe >"$dir/load" 2>&1 \
        || die "the cameras were not loaded: $(cat "$dir/load")"
}

# start_nginx <name> <core> <top level> <http level> <server level>, sets
# $pid, $worker and $port

start_nginx() {
    mkdir "$dir/$1"
    port=$(free_port)

    cat >"$dir/$1/nginx.conf" <<CONF
$3
$user
daemon off;
worker_processes 1;
pid       nginx.pid;
error_log error.log warn;

events {
    worker_connections 1024;
}

http {
    access_log off;
    sendfile   on;
    default_type application/json;
    keepalive_requests 1000000000;
    client_body_temp_path client_body_temp;
    proxy_temp_path       proxy_temp;
    fastcgi_temp_path     fastcgi_temp;
    uwsgi_temp_path       uwsgi_temp;
    scgi_temp_path        scgi_temp;
$4

    server {
        listen 127.0.0.1:$port;
$5
    }
}
CONF

    taskset -c "$2" nginx -p "$dir/$1" -e error.log -c nginx.conf \
        2>"$dir/$1/stderr" &
    pid=$!
    pids="$pids $pid"

    wait_for has_child "$pid" \
        || die "nginx $1 did not start: $(cat "$dir/$1/stderr")"

    worker=$(cat "/proc/$pid/task/$pid/children")
    worker=${worker% }
}

# has_child <pid>

has_child() {
    [ -n "$(cat "/proc/$1/task/$1/children")" ]
}

# nanoseconds that a process has run

cpu() {
    cut -d ' ' -f 1 "/proc/$1/schedstat"
}

machine() {
    echo "$(date -u +%Y-%m-%d),$(sed -n 's/^model name[^:]*://p' /proc/cpuinfo \
        | head -n 1), $(nproc) cores, Linux $(uname -r), Debian" \
        "$(cat /etc/debian_version)," \
        "$(nginx -v 2>&1 | sed 's|.*nginx/|nginx |')," \
        "Redis $(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')"
}
