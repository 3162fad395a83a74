#!/bin/sh

# The client-side cache of Valkey GLIDE 2.5.2 for Node.js (npm package
# "@valkey/valkey-glide") outlives its connection: a value that was changed while the
# client was away stays in the cache until somebody writes the key once more.
#
# With "serverAssisted: true", GLIDE turns tracking on again after it has reconnected,
# and keeps the values that it read before, although nobody could tell it which of them
# were changed meanwhile. The documentation of Redis says that the cache must be flushed
# when the connection is lost. The documentation of GLIDE says that this mode eliminates
# the staleness of a cache without invalidations, and says nothing of lost connections.
#
# Seen, with redis-server 7.0.15 and Node.js 20.20.2, and with CLIENT KILL and SET k new
# in one transaction after the first GET:
#
#     GET k: old
#     after the reconnection (tracking on, bcast): GET k: old, GETRANGE k 0 -1: new
#     after SET k newer: GET k: newer

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
    @valkey/valkey-glide@2.5.2 >log 2>&1
then
    cat log >&2
    echo "$0: the npm package cannot be had" >&2
    exit 1
fi

# npm and node keep the libraries of the machine

libs=$(echo "$dir"/root/usr/lib/*-linux-gnu*)

LD_LIBRARY_PATH=$libs root/usr/bin/redis-server --version | tee version
grep -q ' v=7\.0\.15 ' version
grep '"version"' node_modules/@valkey/valkey-glide*/package.json | tee version
[ "$(grep -c '"2\.5\.2"' version)" = "$(wc -l <version)" ]

cli() {
    LD_LIBRARY_PATH=$libs root/usr/bin/redis-cli -s s "$@"
}

# GLIDE knows no Unix sockets, and Redis chooses no port of its own: one that is in use
# is passed over.

port=$((20000 + $$ % 20000))

while :; do
    port=$((port + 1))
    LD_LIBRARY_PATH=$libs root/usr/bin/redis-server --bind 127.0.0.1 --port $port \
        --unixsocket "$dir/s" --save '' --logfile "$dir/log" &
    redis=$!
    tries=100

    until cli PING >/dev/null 2>&1 || ! kill -0 $redis 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || exit 1
        sleep 0.1
    done

    ! kill -0 $redis 2>/dev/null || break
done

cat >ask.js <<'END'
'use strict';

const { execFileSync } = require('child_process');
const { ClientSideCache, GlideClient, ProtocolVersion } =
    require('@valkey/valkey-glide');

const [port, cli] = process.argv.slice(2);

const redis = input => execFileSync(cli, ['-s', 's'], {
    encoding: 'utf8',
    env: { ...process.env, LD_LIBRARY_PATH: process.env.LIBS },
    input: `${input}\n`,
});

async function until(condition) {
    for (let tries = 300; ; tries--) {
        const value = await condition().catch(() => false);
        if (value) {
            return value;
        }
        if (!tries) {
            throw new Error(`not in time: ${condition}`);
        }
        await new Promise(resolve => setTimeout(resolve, 100));
    }
}

async function main() {
    redis('SET k old');

    const client = await GlideClient.createClient({
        addresses: [{ host: '127.0.0.1', port: Number(port) }],
        protocol: ProtocolVersion.RESP3,
        clientSideCache: ClientSideCache.create(1024, 0, { serverAssisted: true }),
    });

    const id = await client.clientId();
    const before = await client.get('k');

    redis('MULTI\nCLIENT KILL TYPE normal\nSET k new\nEXEC');
    await until(async () => await client.clientId() !== id);

    const { flags } = await client.clientTrackingInfo();
    const cached = await client.get('k');
    const server = await client.customCommand(['GETRANGE', 'k', '0', '-1']);

    redis('SET k newer');
    const newer = await until(async () => {
        const value = await client.get('k');
        return value !== cached && value;
    });

    client.close();

    const lines = [
        `GET k: ${before}`,
        `after the reconnection (tracking ${[...flags].join(', ')}): `
            + `GET k: ${cached}, GETRANGE k 0 -1: ${server}`,
        `after SET k newer: GET k: ${newer}`,
    ].join('\n');

    console.log(lines);
    process.exit(lines === `GET k: old
after the reconnection (tracking on, bcast): GET k: old, GETRANGE k 0 -1: new
after SET k newer: GET k: newer` ? 0 : 1);
}

main();
END

if ! LIBS=$libs node ask.js $port root/usr/bin/redis-cli; then
    echo "$0: GLIDE behaves in another way now" >&2
    exit 1
fi
