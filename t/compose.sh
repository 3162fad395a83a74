#!/bin/sh

# Checks conf/docker/compose.yaml without an engine: docker-compose reads it, and
# then this script runs what the services run, with their settings, in a network
# of its own: PostgreSQL with the files that initialize it, Redis, the loader,
# nginx, Prometheus. Images are not built or fetched, and Grafana is not run.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

export no_proxy=127.0.0.1,nginx,redis,postgres LC_ALL=C.UTF-8

die() {
    echo "compose: $*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || die "namespaces need root"

# value <key> ..., of compose.yaml as docker-compose understands it: words for a
# shell; NAME=VALUE for each member of an object

value() {
    python3 - "$work/compose.yaml" "$@" <<'END'
import shlex, sys, yaml

value = yaml.safe_load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[key]
if isinstance(value, dict):
    value = [f'{k}={v}' for k, v in value.items()]
print(' '.join(map(shlex.quote, value if isinstance(value, list) else [value])))
END
}

# files <service> <folder>: "SOURCE TARGET" of what is mounted there, in order

files() {
    eval "set -- \"\$2\" $(value services "$1" volumes)"
    folder=$1
    shift

    for mount; do
        mount=${mount%:ro}
        case ${mount#*:} in
            "$folder"/*) echo "${mount%%:*} ${mount#*:}" ;;
        esac
    done | sort -k 2
}

wait_for() {
    tries=400

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "in vain: $*: $(tail -n 5 "$work"/*.log)"
        sleep 0.1
    done
}

# answers <regex>, the route

answers() {
    curl -sS -m 5 -H 'Authorization: Bearer demo-token' \
        'http://127.0.0.1:8080/api/v1/billing/cameras/list?login=string' \
        | grep -q "$1"
}

# samples <PromQL> <regex>

samples() {
    curl -sS -m 5 "$datasource/api/v1/query" --data-urlencode "query=$1" \
        | grep -q "$2"
}

sql() {
    psql -q -v ON_ERROR_STOP=1 -h postgres -U postgres -d app "$@"
}

run() {
    pids=
    trap 'kill $pids 2>/dev/null || :
          wait
          "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || :' EXIT

    ip link set lo up
    echo '127.0.0.1 localhost nginx redis postgres' >"$work/hosts"
    mount --bind "$work/hosts" /etc/hosts
    mount --bind "$work/modules" /etc/nginx/modules-enabled
    mount -t tmpfs -o mode=1777 tmpfs /tmp

    bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -n 1)
    mkdir "$work/data"
    chown postgres "$work/data"
    as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups"

    eval "export $(value services postgres environment)"
    # shellcheck disable=SC2154
    $as_postgres "$bin/initdb" -D "$work/data" -U postgres \
        -A "$POSTGRES_HOST_AUTH_METHOD" >"$work/initdb.log"
    $as_postgres "$bin/pg_ctl" -D "$work/data" -l /tmp/postgres.log -w \
        -o "-k /tmp -h 127.0.0.1" start >/dev/null

    # shellcheck disable=SC2154
    psql -q -h postgres -U postgres -c "CREATE DATABASE $POSTGRES_DB"
    files postgres /docker-entrypoint-initdb.d >"$work/init"
    [ -s "$work/init" ] || die "nothing initializes PostgreSQL"
    while read -r source _; do
        sql -f "$source" >/dev/null
    done <"$work/init"
    echo "PostgreSQL is initialized"

    # the loader is first, and waits for Redis

    cp -R "$root/conf/loader" "$work/loader"
    eval "env $(value services loader environment) setpriv --reuid=65534 \
        --regid=65534 --clear-groups sh $work/loader/sync.sh \
        $(value services loader command)" >"$work/loader.log" 2>&1 &
    pids=$!

    sleep 1
    eval "$(value services redis command) --dir $work" >"$work/redis.log" &
    pids="$pids $!"

    eval "env $(value services nginx environment) sh $root/conf/docker/entrypoint.sh \
        nginx -c $root/conf/docker/nginx.conf -g 'daemon off;'" \
        >"$work/nginx.log" 2>&1 &
    pids="$pids $!"

    wait_for answers '^\[{"id":3,.*},{"id":4,.*}\]$'
    sql -c "UPDATE cameras SET name = 'Another' WHERE id = 3"
    wait_for answers '"name":"Another"'
    echo "the loader and nginx work"

    # killed, Redis comes back empty, and the loader fills it

    redis-cli -h redis shutdown nosave || :
    eval "$(value services redis command) --dir $work" >"$work/redis.log" &
    pids="$pids $!"
    wait_for answers '"name":"Another"'
    echo "Redis was filled again"

    files prometheus /etc/prometheus >"$work/files"
    mkdir "$work/prometheus"
    while read -r source target; do
        cp "$source" "$work/prometheus/${target##*/}"
    done <"$work/files"

    prometheus --config.file="$work/prometheus/prometheus.yml" \
        --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:9090 \
        >"$work/prometheus.log" 2>&1 &
    pids="$pids $!"

    datasource=$(python3 -c '
import sys, yaml
print(yaml.safe_load(open(sys.argv[1]))["datasources"][0]["url"])' \
        "$root/conf/docker/grafana/datasource.yaml")

    wait_for samples up '"1"'
    wait_for samples 'nginx_billing_requests_total{status="200"}' '"value":\[[^]]*"[1-9]'
    echo "Prometheus reads the status page, where Grafana's data source is"

    # the dashboard is in the folder that Grafana looks into

    folder=$(python3 -c '
import sys, yaml
print(yaml.safe_load(open(sys.argv[1]))["providers"][0]["options"]["path"])' \
        "$root/conf/docker/grafana/dashboards.yaml")
    dashboard=$(files grafana "$folder")
    python3 -m json.tool "${dashboard%% *}" >/dev/null \
        || die "no dashboard in $folder"

    if grep -E '\[(alert|crit|emerg)\]' "$work/nginx.log"; then
        die "nginx logged the above"
    fi
}

if [ "${1:-}" = --run ]; then
    work=$2
    run
    exit
fi

sh "$root/conf/install.sh" docker-compose postgresql prometheus iproute2 python3-yaml
sh "$root/conf/build.sh"

work=$(mktemp -d /var/tmp/billing-compose.XXXXXX)

trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

chmod 755 "$work"
mkdir "$work/modules"
echo "load_module $root/build/ngx_http_billing_module.so;" >"$work/modules/billing.conf"

docker-compose -f "$root/conf/docker/compose.yaml" config >"$work/compose.yaml" \
    || die "docker-compose refuses the file"

# each path that is mounted, and each Dockerfile, is there

eval "set -- $(value services)"
for service; do
    service=${service%%=*}
    eval "set -- $(value services "$service" volumes 2>/dev/null || :)"

    for mount; do
        case $mount in
            /*) [ -f "${mount%%:*}" ] || die "$service: no file ${mount%%:*}" ;;
        esac
    done
done

[ -f "$root/$(value services loader build dockerfile)" ] || die "no loader.Dockerfile"

unshare --net --mount --pid --fork --kill-child=KILL --mount-proc \
    sh "$0" --run "$work"

echo "passed"
