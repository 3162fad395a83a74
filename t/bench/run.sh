#!/bin/sh

# Compares the module, with and without its worker's cache, with nginx' "return"
# of the same bytes (a static file for the long list), the least that nginx does
# for such an answer, and with programs that do the module's job: three in Lua,
# one written for speed, one that also keeps what it has read for five seconds,
# one as such programs usually are; and one in Go, written for speed. Prints
# tables in Markdown.
#
#     sh t/bench/run.sh
#     sh t/bench/run.sh --quick
#
# The server has one worker on one core; Redis and the load generator share
# another. In the environment:
#
#     ROUNDS       3, interleaved; what is printed are medians
#     SECONDS_EACH 3, of load for each figure
#     SCENARIOS    "1 30 list bad 422"
#     CAMERAS      100000, in Redis
#     LISTPACK     64, Redis' hash-max-listpack-value
#     OLD          an older build of the module, if it is to be compared, too
#     REDIS        unix, the socket by which Redis is reached, or tcp
#     SERVER_CORE, LOAD_CORE

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)

quick=

case $*:$# in
    :0) ;;
    --quick:1)
        quick=yes
        ROUNDS=${ROUNDS:-1}
        SECONDS_EACH=${SECONDS_EACH:-1}
        ;;
    *)
        echo "usage: sh $0 [--quick]" >&2
        exit 2
        ;;
esac

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-3}
scenarios=${SCENARIOS:-1 30 list bad 422}
cameras=${CAMERAS:-100000}

sh "$root/conf/install.sh" wrk perl libnginx-mod-http-lua lua-nginx-redis \
    lua-nginx-string lua-cjson lua-resty-lrucache golang-go
sh "$root/conf/build.sh"

# shellcheck source=t/bench/lib.sh
. "$root/t/bench/lib.sh"

[ "$server_core" != "$load_core" ] || die "it takes two cores"

start_redis --hash-max-listpack-value "${LISTPACK:-64}"
load "$cameras" 1000 "$cameras"

mkdir "$dir/bodies" "$dir/answers" "$dir/static"

bodies 50000 1 "$cameras" >"$dir/bodies/1"
bodies 10000 30 "$cameras" >"$dir/bodies/30"
echo '{"login":"list-1000"}' >"$dir/bodies/list"
cp "$dir/bodies/1" "$dir/bodies/bad"
echo '{"cameras_ids":[1,"x","y"]}' >"$dir/bodies/422"

# not measured, but compared: narrowing, duplicates, what is not found

cat >"$dir/bodies/other" <<'BODIES'
{"cameras_ids":[7,3,3,5]}
{"cameras_ids":[999999999]}
{"cameras_ids":[999999999,2]}
{"cameras_uuid":["9",4,"none","4"]}
{"cameras_ids":[3,4],"cameras_uuid":["4","5"]}
{"cameras_ids":[3],"cameras_uuid":["4"]}
{"cameras_ids":[3,"1001"],"login":"list-1000"}
{"cameras_uuid":["3","1001"],"login":"list-1000"}
{"cameras_ids":[],"cameras_uuid":[],"login":"nobody"}
{"cameras_ids":[],"cameras_uuid":[],"login":" "}
{"cameras_ids":3}
BODIES

token_of() {
    case $1 in
        bad) echo bad-token ;;
        *) echo bench-token ;;
    esac
}

status_of() {
    case $1 in
        bad) echo 401 ;;
        422) echo 422 ;;
        *) echo 200 ;;
    esac
}

start_nginx module \
    "load_module $root/build/ngx_http_billing_module.so;" \
    "billing_redis $redis_url; billing_redis_timeout 10s; billing_cache off;" \
    "location = $route { billing_cameras_list; }"

# The same with all that is read kept in the worker's cache.

start_nginx cache \
    "load_module $root/build/ngx_http_billing_module.so;" \
    "billing_redis $redis_url; billing_redis_timeout 10s; billing_cache 256m;" \
    "location = $route { billing_cameras_list; }"

servers='limit module cache fast usual kept go'

# An older build of the module, to be compared with.

if [ -n "${OLD:-}" ]; then
    start_nginx old "load_module $OLD;" \
        "billing_redis $redis_url; billing_redis_timeout 10s;" \
        "location = $route { billing_cameras_list; }"
    servers="$servers old"
fi

lua_modules="load_module /usr/share/nginx/modules/ndk_http_module.so;
load_module /usr/share/nginx/modules/ngx_http_lua_module.so;"

case $redis_url in
    unix:*) redis_host=$redis_url ;;
    *) redis_host=127.0.0.1 ;;
esac

# start_lua <name>

start_lua() {
    start_nginx "$1" "$lua_modules" \
        "lua_package_path '$bench/lua/?.lua;;';
         lua_socket_buffer_size 64k;
         init_by_lua_block { $1 = require '$1' }" \
        "location = $route {
             set \$redis '$redis_host';
             set \$redis_port $redis_port;
             content_by_lua_block { $1.handle() }
         }"
}

start_lua fast
start_lua usual
start_lua kept
start_go go

# ask <server> <scenario> <body> <file>

ask() {
    curl -s -i -X GET -H 'Content-Type: application/json' \
        -H "Authorization: Bearer $(token_of "$2")" -d "$3" -o "$4" \
        "http://127.0.0.1:$(cat "$dir/$1/port")$(path_of "$1" "$2")"
}

path_of() {
    case $1 in
        limit) echo "/$2" ;;
        *) echo "$route" ;;
    esac
}

# Are the answers equal? Of each scenario, to so many of its bodies.

compare() {
    kinds=
    n=0

    while read -r body && [ $n -lt "$3" ]; do
        n=$((n + 1))
        ask module "$2" "$body" "$dir/answers/module"
        ask "$1" "$2" "$body" "$dir/answers/$1"
        kind=$(perl "$bench/equal.pl" "$dir/answers/module" \
            "$dir/answers/$1") \
            || die "module and $1 answer to $body differently"
        kinds="$kinds$kind "
    done <"$dir/bodies/$2"

    case $kinds in
        *JSON*) echo "$2: module and $1 give equal JSON, $n answers" ;;
        *) echo "$2: module and $1 give equal bytes, $n answers" ;;
    esac
}

for scenario in $scenarios other; do
    for peer in ${servers#limit module }; do
        compare "$peer" "$scenario" 20
    done
done

# The limit: what the module answers to the first body. A parameter of
# nginx.conf has less than 4096 bytes, so it is put together from several.

limit_http=
limit_server='add_header Cache-Control no-store always;'

for scenario in $scenarios; do
    ask module "$scenario" "$(head -n 1 "$dir/bodies/$scenario")" \
        "$dir/answers/module"
    perl -0777 -pe 's/\A.*?\r\n\r\n//s' "$dir/answers/module" \
        >"$dir/static/$scenario"

    if [ "$scenario" = list ]; then
        limit_server="$limit_server
        location = /list { root $dir/static; }"
        continue
    fi

    perl -0777 -ne '
        my $i;
        for (unpack "(a2000)*") {
            s/([\\\x27])/\\$1/g;
            printf "geo \$answer_%s_%d { default \x27%s\x27; }\n", $ARGV, $i++,
                   $_;
        }' "$dir/static/$scenario" | sed "s|$dir/static/||" >"$dir/geo"

    limit_http="$limit_http
$(cat "$dir/geo")"

    if [ "$scenario" = bad ]; then
        field="add_header WWW-Authenticate 'Bearer error=\"invalid_token\"' always;
        add_header Cache-Control no-store always;"
    else
        field=
    fi

    limit_server="$limit_server
        location = /$scenario {
            $field
            return $(status_of "$scenario") \"$(sed -n \
                's/^geo \(.[^ ]*\) .*/\1/p' "$dir/geo" | tr -d '\n')\";
        }"
done

start_nginx limit '' "$limit_http" "$limit_server"

for scenario in $scenarios; do
    compare limit "$scenario" 1
done

# measure <server> <scenario> <seconds>

measure() {
    connections=64
    [ "$2" != list ] || connections=8

    result=$(drive "$1" "$(path_of "$1" "$2")" $connections "$3" \
        "$dir/bodies/$2" "$(token_of "$2")" "$(status_of "$2")")

    echo "$2 $1 $result"
}

# the worker's cache holds all cameras

warm() {
    ask cache list "{\"login\":\"list-$cameras\"}" /dev/null
}

# measure_all <seconds>, interleaved

measure_all() {
    for scenario in $scenarios; do
        for server in $servers; do
            measure "$server" "$scenario" "$1"
        done
    done
}

# to warm up, above all LuaJIT

[ -n "$quick" ] || measure_all 1 >"$dir/results"
: >"$dir/results"

round=0

while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    warm
    echo "round $round of $rounds"

    measure_all "$seconds" >>"$dir/results"
done

echo
echo "$(machine); $cameras cameras in Redis, medians of $rounds rounds"
echo
perl "$bench/report.pl" "$dir/results"
