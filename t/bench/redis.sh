#!/bin/sh

# Redis' own cost of a camera: HGETALL against HMGET, for a hash table (what a
# camera's hash is by default, as its preview is longer than 64 bytes) and for
# a listpack. Prints a table in Markdown.
#
#     sh t/bench/redis.sh
#
# In the environment: ROUNDS (3), CAMERAS (100000), COMMANDS (400000, for each
# figure), SERVER_CORE, LOAD_CORE. Redis is on SERVER_CORE here.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
rounds=${ROUNDS:-3}
cameras=${CAMERAS:-100000}
commands=${COMMANDS:-400000}

sh "$root/conf/install.sh" perl

# shellcheck source=t/bench/lib.sh
. "$root/t/bench/lib.sh"

[ "$server_core" != "$load_core" ] || die "it takes two cores"

client_core=$load_core
load_core=$server_core

# ids of 13 digits, the last 12 of which redis-benchmark makes up

FIRST=9000000000000
export FIRST

info() {
    redis-cli -s "$dir/redis.sock" info memory | tr -d '\r' \
        | sed -n "s/^$1://p"
}

fields='external_id start_at status name group_type streams preview'

for value in 64 512; do
    start_redis --hash-max-listpack-value $value
    before=$(info used_memory)
    load "$cameras"
    memory=$((($(info used_memory) - before) / cameras))

    round=0

    while [ "$round" -lt "$rounds" ]; do
        round=$((round + 1))

        for depth in 1 30 128; do
            for command in HGETALL HMGET; do
                # shellcheck disable=SC2046
                set -- $command billing:camera:9__rand_int__ \
                    $([ $command = HGETALL ] || echo "$fields")

                cpu=$(cpu "$redis")

                taskset -c "$client_core" redis-benchmark -q \
                    -s "$dir/redis.sock" -c 8 -P $depth -n "$commands" \
                    -r "$cameras" "$@" >"$dir/benchmark" 2>&1 \
                    || die "redis-benchmark failed: $(cat "$dir/benchmark")"

                echo "$value $memory $command $depth" \
                    $((($(cpu "$redis") - cpu) / commands)) >>"$dir/results"
            done
        done
    done

    stop_redis
done

echo "$(machine); $cameras cameras, medians of $rounds rounds"
echo

sort -k 1,1n -k 3,3 -k 4,4n -k 5,5n "$dir/results" | awk '
    BEGIN {
        print "| `hash-max-listpack-value` | bytes per camera | command |" \
              " alone | 30 at once | 128 at once |"
        print "|---:|---:|---|---:|---:|---:|"
    }

    $1 $3 $4 != key {
        flush_key()
        key = $1 $3 $4
        head = "| " $1 " | " $2 " | " $3
        n = 0
    }

    { values[++n] = $5 }
    END { flush_key() }

    function flush_key() {
        if (n) {
            line = line sprintf(" | %.2f us", (values[int((n + 1) / 2)] \
                                + values[int(n / 2) + 1]) / 2000)

            if (++column == 3) {
                print head line " |"
                line = ""
                column = 0
            }
        }
    }'
