#!/bin/sh

# redis-cli -n 7.0.15 with a database that does not exist runs the command in
# database 0, and exits with 0, also with -e.
#
# redis-cli prints "SELECT 99 failed: ERR DB index is out of range" on its error
# output, and then writes to the database that the connection began with. A
# script that loads a spare database, and mistypes its number, overwrites the
# database in use. With --pipe, redis-cli stops there instead, with exit status 1.
#
# Seen:
#
#     redis-cli -n 99 SET k v         SELECT 99 failed ..., OK, exit 0
#     redis-cli -n 0 GET k            v
#     redis-cli -e -n 99 SET k v      SELECT 99 failed ..., OK, exit 0
#     redis-cli -n 99 --pipe          exit 1, and nothing is written

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)
redis=

# shellcheck disable=SC2317
cleanup() {
    [ -z "$redis" ] || { kill "$redis" && wait "$redis"; } 2>/dev/null || :
    rm -rf "$dir"
}

trap cleanup EXIT
cd "$dir"

if ! apt-get -q download 'redis-tools=5:7.0.15-*' 'redis-server=5:7.0.15-*' \
    'libatomic1=12.2.0-*' 'libjemalloc2=5.3.0-*' 'liblzf1=3.6-*' \
    'libssl3=3.0.*' >log 2>&1
then
    cat log >&2
    echo "$0: Debian 12's packages cannot be had" >&2
    exit 1
fi

for deb in *.deb; do
    dpkg-deb -x "$deb" root
done

for libs in root/usr/lib/*-linux-gnu*; do
    export LD_LIBRARY_PATH="$dir/$libs"
done

root/usr/bin/redis-cli --version | tee version
grep -q '^redis-cli 7\.0\.15' version

root/usr/bin/redis-server --port 0 --unixsocket "$dir/s" --save '' \
    --logfile "$dir/log" &
redis=$!

cli() {
    root/usr/bin/redis-cli -s "$dir/s" "$@"
}

tries=100
until cli SET k text >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || exit 1
    sleep 0.1
done

plain=0
cli -n 99 SET plain v >plain.out 2>&1 || plain=$?
echo "-n 99 SET: $(tr -s '\n' ' ' <plain.out), exit $plain"

option=0
cli -e -n 99 SET option v >option.out 2>&1 || option=$?
echo "-e -n 99 SET: $(tr -s '\n' ' ' <option.out), exit $option"

pipe=0
printf 'SET pipe v\r\n' | cli -n 99 --pipe >pipe.out 2>&1 || pipe=$?
echo "-n 99 --pipe: $(tr -s '\n' ' ' <pipe.out), exit $pipe"

if [ "$plain" -ne 0 ] || [ "$option" -ne 0 ] || [ "$pipe" -ne 1 ] \
    || ! grep -q '^SELECT 99 failed' plain.out \
    || [ "$(cli -n 0 GET plain)$(cli -n 0 GET option)$(cli -n 0 GET pipe)" != vv ]
then
    echo "$0: redis-cli behaves in another way now" >&2
    exit 1
fi
