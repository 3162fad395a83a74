#!/bin/sh

# Shows the module at work: starts an nginx on 127.0.0.1:8080 (or PORT) and a
# Redis with sample cameras, and keeps both running until Ctrl-C. With --once,
# ends after the first answer, and fails if the answer is not the expected one.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-8080}
once=

export PATH="$PATH:/usr/sbin" LC_ALL=C.UTF-8 no_proxy=127.0.0.1

die() {
    echo "demo: $*" >&2
    exit 1
}

case $port in
    *[!0-9]*) die "invalid PORT \"$port\"" ;;
esac

case $*:$# in
    :0) ;;
    --once:1) once=yes ;;
    *) die "usage: [PORT=8080] sh $0 [--once]" ;;
esac

sh "$root/conf/install.sh"
sh "$root/conf/build.sh"

# Workers need access, which $TMPDIR may not give, and socket paths are short.

dir=$(mktemp -d /tmp/billing-demo.XXXXXX)
redis=
nginx=

cleanup() {
    for pid in $nginx $redis; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || :
    done

    rm -rf "$dir"
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

user=

if [ "$(id -u)" -eq 0 ]; then
    user='user www-data;'
    chgrp www-data "$dir"
    chmod 710 "$dir"
fi

# wait_for <seconds> <command>: runs the command until it succeeds.

wait_for() {
    tries=$(($1 * 20))
    shift

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

redis-server --port 0 --unixsocket "$dir/redis.sock" --unixsocketperm 777 \
    --save '' --dir "$dir" --logfile "$dir/redis.log" &
redis=$!

if ! wait_for 10 redis-cli -s "$dir/redis.sock" ping; then
    cat "$dir/redis.log" >&2
    die "Redis did not start"
fi

# the token lives as long as this Redis

sh "$root/conf/load-sample.sh" --ttl 0 -s "$dir/redis.sock" >/dev/null

mkdir "$dir/modules"
ln -s "$root/build/ngx_http_billing_module.so" "$dir/modules"

sed -e "s|127.0.0.1:8080|127.0.0.1:$port|" \
    -e "s|redis://127.0.0.1:6379;|unix:$dir/redis.sock;|" \
    "$root/conf/nginx.conf" >"$dir/nginx.conf"

nginx -p "$dir" -e error.log -c nginx.conf -g "daemon off; $user" 2>/dev/null &
nginx=$!

# nginx writes its pid file after it has bound the port.

started() {
    [ -s "$dir/nginx.pid" ] || grep -q emerg "$dir/error.log"
}

wait_for 10 started || :

if [ ! -s "$dir/nginx.pid" ]; then
    if grep -q 'Address already in use' "$dir/error.log"; then
        die "port $port is in use, choose another: PORT=8081 sh $0"
    fi

    cat "$dir/error.log" >&2
    die "nginx did not start"
fi

url=http://127.0.0.1:$port/api/v1/billing/cameras/list

request=$(cat <<END
curl --request GET \\
    --url '$url' \\
    --header 'Authorization: Bearer demo-token' \\
    --header 'Content-Type: application/json' \\
    --header 'Accept: application/json' \\
    --data '{
    "cameras_ids": [],
    "cameras_uuid": [],
    "login": "string"
}'
END
)

# Prints JSON with one member a line.

pretty() {
    perl -0777 -ne '
        while (/\G\s*("(?:[^"\\]|\\.)*"|[^][{},:"\s]+|[][{},:])/gc) {
            my $token = $1;
            $in-- if $token =~ /^[]}]/;
            print "\n", "    " x $in if $fresh || $token =~ /^[]}]/;
            print $token, $token eq ":" ? " " : "";
            $in++ if $token =~ /^[[{]/;
            $fresh = $token =~ /^[[{,]/;
        }
        print "\n"' "$1"
}

printf '\n%s\n\n' "$request"

sh -c "$request --silent --show-error --max-time 10 \
    --dump-header '$dir/header' --output '$dir/answer'" || :

touch "$dir/header" "$dir/answer"
tr -d '\r' <"$dir/header"
pretty "$dir/answer"

if ! head -n 1 "$dir/header" | grep -q ' 200 ' \
   || ! grep -q '^\[{"id":3,.*},{"id":4,.*}\]$' "$dir/answer"
then
    echo
    cat "$dir/error.log" >&2
    die "this is not the answer expected"
fi

[ -z "$once" ] || exit 0

curl="curl -i -H 'Authorization: Bearer demo-token'"
json="-X GET -H 'Content-Type: application/json'"

cat <<END

To try next, from another terminal:

# by identifiers, in the body or in the query string
$curl $json -d '{"cameras_ids": [3, 1001]}' '$url'
$curl -g '$url?cameras_ids[]=3&cameras_ids[]=1001'

# by identifiers of the external system
$curl $json -d '{"cameras_uuid": ["yard-1", "4"]}' '$url'
$curl -g '$url?cameras_uuid[]=gate'

# by login: string, alice, city, олена
$curl '$url?login=city'
$curl -G --data-urlencode login=олена '$url'

# nothing is found
$curl '$url?login=nobody'

# a bad token
curl -i -H 'Authorization: Bearer bad' '$url?login=string'

# a bad body
$curl $json -d '{"cameras_ids": [3, "x"], "login": 5}' '$url'
$curl $json -d '{"cameras_ids": [3' '$url'

Logs are in $dir; Ctrl-C ends it all.
END

wait "$nginx" || :
die "nginx has ended"
