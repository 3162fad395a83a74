#!/bin/sh

# The client-side cache of node-redis 6.3.1 (npm package "redis") keeps a value that was
# read before a FLUSHDB, if the reply and the invalidation arrive together, and returns
# this value for ever.
#
# An invalidation of one key also cancels the reads of this key whose replies are not
# stored yet. An invalidation of all keys, which Redis sends for FLUSHDB and FLUSHALL,
# empties the cache and cancels no read: the old value is stored afterwards. By then,
# Redis has forgotten that the client read the key, and tells the client of no later
# write. One client that reads and flushes in one pipeline shows it every time. When
# another client flushed at the moment of the read, 982 of 1,000 values were kept.
#
# Seen, with redis-server 7.0.15 and Node.js 20.20.2, after SET k old:
#
#     GET k (old) and SET k new: GET k: new, in Redis: new, invalidated: k
#     GET k (old) and FLUSHDB: GET k: old, in Redis: null, invalidated: all
#     SET k new by another client: GET k: old, in Redis: new, invalidated: none

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

const { BasicClientSideCache, createClient } = require('redis');

const socket = { path: 's' };

async function main() {
    const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0 });
    const client = createClient({ RESP: 3, socket, clientSideCache: cache });
    const writer = createClient({ socket });
    const pushes = [];

    cache.on('invalidate', key => pushes.push(key === null ? 'all' : `${key}`));
    await client.connect();
    await writer.connect();

    // Redis sends what invalidates before it answers a PING that came later.

    async function see(what, server) {
        await client.ping();

        const line = `${what}: GET k: ${await client.get('k')}, in Redis: `
                     + `${await server.get('k')}, invalidated: `
                     + (pushes.join(' ') || 'none');

        pushes.length = 0;
        console.log(line);
        return line;
    }

    const lines = [];

    for (const [name, change] of [['SET k new', () => client.set('k', 'new')],
                                  ['FLUSHDB', () => client.flushDb()]])
    {
        await writer.set('k', 'old');
        await client.ping();
        pushes.length = 0;

        const [value] = await Promise.all([client.get('k'), change()]);
        lines.push(await see(`GET k (${value}) and ${name}`, writer));
    }

    await writer.set('k', 'new');
    lines.push(await see('SET k new by another client', writer));

    client.destroy();
    writer.destroy();

    process.exitCode = lines.join('\n') === `\
GET k (old) and SET k new: GET k: new, in Redis: new, invalidated: k
GET k (old) and FLUSHDB: GET k: old, in Redis: null, invalidated: all
SET k new by another client: GET k: old, in Redis: new, invalidated: none` ? 0 : 1;
}

main();
END

if ! node ask.js; then
    echo "$0: node-redis behaves in another way now" >&2
    exit 1
fi
