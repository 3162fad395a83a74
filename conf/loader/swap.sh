#!/bin/sh

# Swaps a database of Redis that was loaded in the background with the one that
# nginx reads. The first argument is its number, the others are redis-cli's; -n is
# the database that nginx reads:
#
#     swap.sh 1 -s /run/redis/redis.sock
#
#     --prefix P   what keys begin with, "billing:" by default
#
# Redis tells nobody of a swap. The write to billing:epoch, after SWAPDB and in the
# same transaction, makes every worker of nginx forget what it has cached.

set -eu

die() {
    echo "swap: $*" >&2
    exit 1
}

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

other=${1:-}
prefix=billing:
live=0

case $other in
    '' | *[!0-9]*) die "usage: sh $0 <number of a database> <redis-cli's options>" ;;
esac

shift

# takes --prefix and -n out of the arguments, which go round once

n=$#

while [ "$n" -gt 0 ]; do
    case $1 in
        --prefix | -n)
            [ "$n" -gt 1 ] || die "$1 needs a value"
            if [ "$1" = -n ]; then live=$2; else prefix=$2; fi
            shift 2
            n=$((n - 2)) ;;
        *)
            set -- "$@" "$1"
            shift
            n=$((n - 1)) ;;
    esac
done

case $prefix in
    *[!A-Za-z0-9:._{}-]*)
        die "the prefix has other characters than A-Z a-z 0-9 : . _ { } -" ;;
esac

# With a wrong password or database, redis-cli says so and goes on with another.

for db in "$live" "$other"; do
    reply=$(redis-cli "$@" -n "$db" PING 2>&1) || :
    [ "$reply" = PONG ] || die "no connection to Redis: $reply"
done

loaded=$(redis-cli "$@" -n "$other" EXISTS "${prefix}synced_at")

[ "$loaded" = 1 ] || die "database $other was not loaded: ${prefix}synced_at: $loaded"

replies=$(redis-cli "$@" -n "$live" <<END
MULTI
SWAPDB $live $other
SET ${prefix}epoch $(date +%s)
EXEC
END
)

[ "$(echo "$replies" | tr '\n' ' ')" = 'OK QUEUED QUEUED OK OK ' ] \
    || die "Redis says: $replies"
