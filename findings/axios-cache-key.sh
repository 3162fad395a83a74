#!/bin/sh

# axios-cache-interceptor 1.12.3 for axios (npm) answers a request for some cameras with
# the answer for other cameras, because different numbers in the parameters or in the
# JSON body make the same key.
#
# The key is a hash of 32 bits. The documentation says that it considers the parameters
# and the body, and names one risk: the chance of two equal keys, which is 50 % after
# 77,000 requests. Three other things are in no document and need no chance:
#
# - A number counts without its fraction: 52.1 and 52.9 are the same.
# - A number counts modulo 2^32: the ids 1 and 4294967297 are the same.
# - In an array, a small step of one number is undone by a larger step of the next one:
#   [4, 1035] and [7, 8] are the same. Of all pairs of ids up to 2000, one in four has
#   the key of an earlier pair, and pairs taken at random collide after some thousand
#   requests.
#
# No error is seen, and "cached: true" is what any hit says. An answer is kept for five
# minutes where its headers say nothing. One with "Cache-Control: no-store" is never kept,
# even if both requests are in flight: the module sends that with each of its answers.
#
# Seen, with axios 1.21.1, object-code 2.0.0 (the hash) and Node.js 20.20.2 (each line:
# what was asked for, and the answer, which repeats what the server was asked for):
#
#     in the query string, answers that may be kept:
#     cameras_ids=4,1035: cameras_ids=4,1035
#     cameras_ids=7,8: cameras_ids=4,1035 (cached)
#     cameras_ids=1: cameras_ids=1
#     cameras_ids=4294967297: cameras_ids=1 (cached)
#     lat=52.1: lat=52.1
#     lat=52.9: lat=52.1 (cached)
#     in a JSON body, answers that may be kept:
#     cameras_ids=4,1035: cameras_ids=4,1035
#     cameras_ids=7,8: cameras_ids=4,1035 (cached)
#     in the query string, with no-store, both at once:
#     cameras_ids=4,1035: cameras_ids=4,1035
#     cameras_ids=7,8: cameras_ids=7,8
#     1999000 pairs of ids up to 2000 have 1499981 keys

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)

# shellcheck disable=SC2317
cleanup() {
    rm -rf "$dir"
}

trap cleanup EXIT
cd "$dir"

if ! npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts axios@1.21.1 \
    axios-cache-interceptor@1.12.3 object-code@2.0.0 >log 2>&1
then
    cat log >&2
    echo "$0: the npm packages cannot be had" >&2
    exit 1
fi

cat >ask.js <<'END'
'use strict';

const http = require('http');
const Axios = require('axios');
const { setupCache } = require('axios-cache-interceptor');

for (const name of ['axios', 'axios-cache-interceptor', 'object-code']) {
    console.log(name, require(`./node_modules/${name}/package.json`).version);
}

const text = object => Object.entries(object).map(([k, v]) => `${k}=${v}`).join(' ');

/* the server answers with the parameters that it was sent */

function answer(request, response) {
    let body = '';
    request.on('data', data => body += data);
    request.on('end', () => {
        const { pathname, searchParams } = new URL(request.url, 'http://server');
        const sent = body ? JSON.parse(body) : {};
        for (const key of searchParams.keys()) {
            sent[key.replace('[]', '')] = searchParams.getAll(key);
        }
        if (pathname === '/no-store') {
            response.setHeader('Cache-Control', 'no-store');
        }
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(sent));
    });
}

async function ask(axios, path, where, params) {
    const { cached, data } = await axios.get(path, { [where]: params });
    return `${text(params)}: ${text(data)}${cached ? ' (cached)' : ''}`;
}

async function main() {
    const server = http.createServer(answer);
    await new Promise(resolve => server.listen('s', resolve));

    const axios = setupCache(Axios.create({
        baseURL: 'http://server', proxy: false, socketPath: `${__dirname}/s`,
    }));

    const cameras = [{ cameras_ids: [4, 1035] }, { cameras_ids: [7, 8] }];
    const others = [
        { cameras_ids: [1] }, { cameras_ids: [4294967297] }, { lat: 52.1 }, { lat: 52.9 },
    ];

    const lines = ['in the query string, answers that may be kept:'];
    for (const params of [...cameras, ...others]) {
        lines.push(await ask(axios, '/kept', 'params', params));
    }

    lines.push('in a JSON body, answers that may be kept:');
    for (const params of cameras) {
        lines.push(await ask(axios, '/body', 'data', params));
    }

    lines.push('in the query string, with no-store, both at once:');
    lines.push(...await Promise.all(cameras.map(
        params => ask(axios, '/no-store', 'params', params))));

    const keys = new Set();
    let pairs = 0;
    for (let first = 1; first <= 2000; first++) {
        for (let second = first + 1; second <= 2000; second++) {
            keys.add(axios.generateKey({ params: { cameras_ids: [first, second] } }));
            pairs++;
        }
    }
    lines.push(`${pairs} pairs of ids up to 2000 have ${keys.size} keys`);

    server.close();
    server.closeAllConnections();

    const seen = lines.join('\n');
    console.log(seen);

    process.exitCode = seen === `in the query string, answers that may be kept:
cameras_ids=4,1035: cameras_ids=4,1035
cameras_ids=7,8: cameras_ids=4,1035 (cached)
cameras_ids=1: cameras_ids=1
cameras_ids=4294967297: cameras_ids=1 (cached)
lat=52.1: lat=52.1
lat=52.9: lat=52.1 (cached)
in a JSON body, answers that may be kept:
cameras_ids=4,1035: cameras_ids=4,1035
cameras_ids=7,8: cameras_ids=4,1035 (cached)
in the query string, with no-store, both at once:
cameras_ids=4,1035: cameras_ids=4,1035
cameras_ids=7,8: cameras_ids=7,8
1999000 pairs of ids up to 2000 have 1499981 keys` ? 0 : 1;
}

main();
END

if ! node ask.js; then
    echo "$0: axios-cache-interceptor behaves in another way now" >&2
    exit 1
fi
