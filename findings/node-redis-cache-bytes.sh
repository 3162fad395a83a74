#!/bin/sh

# The client-side cache of node-redis 6.3.1 (npm package "redis") answers a read of one
# key with the value of another key, if both keys are bytes that are not UTF-8.
#
# A key, a hash field or a set member may be a Buffer. The cache files a reply under the
# command's arguments, joined to one string, and every byte that is not UTF-8 becomes
# the same character, U+FFFD. With keys made of "camera:" and a 32-bit number, the
# numbers 128 to 255 are one key to the cache, and the first reply is the answer for all
# of them. MGET gives the values in the order of an earlier MGET. No error is seen, and
# the same calls without the cache are right. The types of all commands allow Buffers,
# and the documentation of the cache names no exception.
#
# Seen, with redis-server 7.0.15 and Node.js 20.20.2 (each key has its number as value):
#
#     without the cache:
#     GET of 1, 127, 128, 200, 255: 1 127 128 200 255
#     MGET of 128, 200: 128 200
#     MGET of 200, 128: 200 128
#     SISMEMBER of 200 (in the set), 201 (not): 1 0
#     with the cache:
#     GET of 1, 127, 128, 200, 255: 1 127 128 128 128
#     MGET of 128, 200: 128 200
#     MGET of 200, 128: 128 200
#     SISMEMBER of 200 (in the set), 201 (not): 1 1

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

if ! npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts \
    redis@6.3.1 >log 2>&1
then
    cat log >&2
    echo "$0: the npm package cannot be had" >&2
    exit 1
fi

# npm and node keep the libraries of the machine

libs=$(echo "$dir"/root/usr/lib/*-linux-gnu*)

LD_LIBRARY_PATH=$libs root/usr/bin/redis-server --version | tee version
grep -q ' v=7\.0\.15 ' version
grep '"version"' node_modules/@redis/client/package.json | tee version
grep -q '"6\.3\.1"' version

LD_LIBRARY_PATH=$libs root/usr/bin/redis-server --port 0 --unixsocket "$dir/s" \
    --save '' --logfile "$dir/log" &
redis=$!

tries=100
until LD_LIBRARY_PATH=$libs root/usr/bin/redis-cli -s s PING >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || exit 1
    sleep 0.1
done

cat >ask.js <<'END'
'use strict';

const { createClient } = require('redis');

const ids = [1, 127, 128, 200, 255];
const member = id => Buffer.from([0, 0, 0, id]);
const key = id => Buffer.concat([Buffer.from('camera:'), member(id)]);

async function ask(options) {
    const client = createClient({ RESP: 3, socket: { path: 's' }, ...options });
    await client.connect();

    const got = [];
    for (const id of ids) {
        got.push(await client.get(key(id)));
    }

    const lines = [
        `GET of ${ids.join(', ')}: ${got.join(' ')}`,
        `MGET of 128, 200: ${(await client.mGet([key(128), key(200)])).join(' ')}`,
        `MGET of 200, 128: ${(await client.mGet([key(200), key(128)])).join(' ')}`,
        'SISMEMBER of 200 (in the set), 201 (not): '
            + await client.sIsMember('set', member(200)) + ' '
            + await client.sIsMember('set', member(201)),
    ];

    client.destroy();
    return lines.join('\n');
}

async function main() {
    const writer = createClient({ socket: { path: 's' } });
    await writer.connect();

    for (const id of ids) {
        await writer.set(key(id), `${id}`);
    }
    await writer.sAdd('set', member(200));
    writer.destroy();

    const right = await ask({});
    const cached = await ask({ clientSideCache: { ttl: 0, maxEntries: 0 } });
    console.log(`without the cache:\n${right}\nwith the cache:\n${cached}`);

    process.exitCode = right === `GET of 1, 127, 128, 200, 255: 1 127 128 200 255
MGET of 128, 200: 128 200
MGET of 200, 128: 200 128
SISMEMBER of 200 (in the set), 201 (not): 1 0`
        && cached === `GET of 1, 127, 128, 200, 255: 1 127 128 128 128
MGET of 128, 200: 128 200
MGET of 200, 128: 128 200
SISMEMBER of 200 (in the set), 201 (not): 1 1` ? 0 : 1;
}

main();
END

if ! node ask.js; then
    echo "$0: node-redis behaves in another way now" >&2
    exit 1
fi
