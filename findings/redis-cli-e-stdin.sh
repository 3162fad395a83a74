#!/bin/sh

# redis-cli -e 7.0.15 exits with 0 after an error reply, and goes on, when its
# commands come from standard input.
#
# The help says "-e: Return exit error code when command execution fails". It
# does so for a command in the arguments only. A script that pipes commands into
# redis-cli -e under "set -e" does not notice that a command failed.
#
# Seen:
#
#     redis-cli -e INCR k                             ERR value is ..., exit 1
#     printf 'INCR k\nSET n 1\n' | redis-cli -e       ERR value is ..., OK, exit 0

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

argument=0
cli -e INCR k >argument.out 2>&1 || argument=$?
echo "argument: $(tr '\n' ' ' <argument.out), exit $argument"

input=0
printf 'INCR k\nSET n 1\n' | cli -e >input.out 2>&1 || input=$?
echo "standard input: $(tr -s '\n' ' ' <input.out), exit $input"

if [ "$argument" -ne 1 ] || [ "$input" -ne 0 ] \
    || ! grep -q '^ERR value is not an integer' input.out \
    || [ "$(cli GET n)" != 1 ]
then
    echo "$0: redis-cli behaves in another way now" >&2
    exit 1
fi
