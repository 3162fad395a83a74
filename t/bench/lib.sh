# The parts that the benchmarks share: a private directory, a private Redis and
# nginx servers on loopback, the CPU time of each. To be sourced; $root is set.

# shellcheck shell=sh disable=SC2154,SC2034,SC2015

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

# seconds that wrk waits for the last answers

drain=1

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

# wait_for <command>, for 30 seconds

wait_for() {
    tries=600

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# start_redis [options of redis-server], on a Unix socket and, if $REDIS says
# so, on a port; what the servers are to use is $redis_url

start_redis() {
    redis_url=unix:$dir/redis.sock
    redis_port=0

    case ${REDIS:-unix} in
        unix) ;;
        tcp)
            redis_port=$(free_port)
            redis_url=redis://127.0.0.1:$redis_port
            ;;
        *) die "REDIS is neither unix nor tcp" ;;
    esac

    taskset -c "$load_core" redis-server --bind 127.0.0.1 \
        --port "$redis_port" --unixsocket "$dir/redis.sock" \
        --unixsocketperm 777 --save '' \
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

# start_nginx <name> <top level> <http level> <server level>

start_nginx() {
    mkdir "$dir/$1"
    port=$(free_port)

    cat >"$dir/$1/nginx.conf" <<CONF
$2
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
$3

    server {
        listen 127.0.0.1:$port;
$4
    }
}
CONF

    taskset -c "$server_core" nginx -p "$dir/$1" -e error.log -c nginx.conf \
        2>"$dir/$1/stderr" &
    pid=$!
    pids="$pids $pid"

    wait_for has_child "$pid" \
        || die "nginx $1 did not start: $(cat "$dir/$1/stderr")"

    echo "$port" >"$dir/$1/port"
    tr -d ' ' <"/proc/$pid/task/$pid/children" >"$dir/$1/worker"
}

# start_go <name>, built from what is here, nothing is fetched

start_go() {
    mkdir "$dir/$1"
    port=$(free_port)

    (
        cd "$bench/go" \
            && GO111MODULE=on GOFLAGS=-mod=readonly GOPROXY=off \
               GOTOOLCHAIN=local GOCACHE=$root/build/go CGO_ENABLED=0 \
               go build -buildvcs=false -o "$dir/$1/server"
    ) || die "$1 was not built"

    GOMAXPROCS=1 taskset -c "$server_core" "$dir/$1/server" "127.0.0.1:$port" \
        "$redis_url" 2>"$dir/$1/stderr" &
    pid=$!
    pids="$pids $pid"

    wait_for curl -s "http://127.0.0.1:$port/" \
        || die "$1 did not start: $(cat "$dir/$1/stderr")"

    echo "$port" >"$dir/$1/port"
    echo "$pid" >"$dir/$1/worker"
}

# has_child <pid>

has_child() {
    [ -n "$(cat "/proc/$1/task/$1/children")" ]
}

# nanoseconds that a process has run, with all its threads

cpu() {
    cat "/proc/$1/task"/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'
}

# bodies <number> <ids in each> <cameras in Redis>

bodies() {
    awk -v n="$1" -v ids="$2" -v max="$3" 'BEGIN {
        srand(1)

        for (i = 0; i < n; i++) {
            body = "{\"cameras_ids\":["

            for (j = 0; j < ids; j++) {
                body = body (j ? "," : "") int(rand() * max) + 1
            }

            print body "]}"
        }
    }'
}

# drive <server> <path> <connections> <seconds> <bodies> <token> <status>,
# prints: requests, nanoseconds of the server's CPU and of Redis', p50 and p99
# in milliseconds

drive() {
    pid=$(cat "$dir/$1/worker")
    cpu=$(cpu "$pid")
    redis_cpu=$(cpu "$redis")

    taskset -c "$load_core" wrk -t 1 -c "$3" -d $(($4 + drain))s --timeout 10s \
        -s "$bench/wrk.lua" "http://127.0.0.1:$(cat "$dir/$1/port")$2" \
        -- "$5" "$6" "$4" >"$dir/wrk" 2>&1 || :

    cpu=$(($(cpu "$pid") - cpu))
    redis_cpu=$(($(cpu "$redis") - redis_cpu))

    # no answers that are errors, or nothing but errors

    [ "$7" -lt 400 ] && wrong=0 || wrong=all

    # shellcheck disable=SC2046
    set -- $(sed -n 's/^result //p' "$dir/wrk")

    if [ $# -ne 5 ] || [ "$1" -eq 0 ] || [ "$2" -ne 0 ]; then
        die "wrk failed: $(cat "$dir/wrk")"
    fi

    [ "$wrong" = 0 ] || wrong=$1
    [ "$3" -eq "$wrong" ] || die "$3 of $1 answers were errors"

    echo "$1 $cpu $redis_cpu $4 $5"
}

machine() {
    echo "$(date -u +%Y-%m-%d),$(sed -n 's/^model name[^:]*://p' /proc/cpuinfo \
        | head -n 1), $(nproc) cores, Linux $(uname -r | cut -d - -f 1), Debian" \
        "$(cat /etc/debian_version)," \
        "$(nginx -v 2>&1 | sed 's|.*nginx/|nginx |')," \
        "Redis $(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')"
}
