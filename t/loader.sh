#!/bin/sh

# Tests conf/loader with a real PostgreSQL and a real Redis, both private to the run
# and on Unix sockets:
#
#     sh t/loader.sh              all tests, with 12 kills, in less than a minute
#     sh t/loader.sh 100          with as many kills
#     sh t/loader.sh --cluster    the tests with a Redis Cluster only
#     sh t/loader.sh --lag        the time from a commit to Redis and to an answer of
#                                 nginx, for a minute
#     sh t/loader.sh --full N     a full load of N cameras: time and memory
#
# As root, all of it runs as the user "postgres".

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

die() {
    echo "loader: $*" >&2
    exit 1
}

root=$(cd "$(dirname "$0")/.." && pwd)
module=ngx_http_billing_module.so

# PostgreSQL does not run as root, and its user may not be able to read this folder

if [ "$(id -u)" -eq 0 ]; then
    sh "$root/conf/install.sh" postgresql procps

    copy=$(mktemp -d /tmp/billing-loader-test.XXXXXX)
    child=

    trap 'if [ -n "$child" ]; then kill "$child"; wait "$child" || :; fi
          rm -rf "$copy"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    chmod 755 "$copy"
    mkdir "$copy/conf"
    cp -R "$root/t" "$copy"
    cp -R "$root/conf/loader" "$root/conf/check-cache" "$copy/conf"

    if [ "$*" = --lag ]; then
        sh "$root/conf/build.sh"
        mkdir "$copy/build"
        cp "$root/build/$module" "$copy/build"
    fi

    setpriv --reuid=postgres --regid=postgres --init-groups \
        sh "$copy/t/loader.sh" "$@" &
    child=$!
    wait "$child" && status=0 || status=$?
    child=
    exit "$status"
fi

kills=12
mode=all

case $*:$# in
    :0) ;;
    --cluster:1) mode=cluster ;;
    --lag:1) mode=lag ;;
    --full*:2) mode=full; cameras=$2 ;;
    *:1) kills=$1 ;;
    *) die "usage: sh $0 [KILLS | --cluster | --lag | --full N]" ;;
esac

case ${cameras:-1}$kills in
    *[!0-9]*) die "this is no number: $*" ;;
esac

postgres=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -n 1)
[ -n "$postgres" ] || die "install the package postgresql"

dir=$(mktemp -d /tmp/billing-loader-run.XXXXXX)

export PGHOST="$dir" PGDATABASE=test PGUSER=test LC_ALL=C.UTF-8 TMPDIR="$dir"
unset REDISCLI_AUTH PGPASSWORD PGOPTIONS PGSERVICE PGPORT

redis_pid=
supervisor=
others=

stop_all() {
    trap '' HUP INT TERM
    touch "$dir/stop"

    # shellcheck disable=SC2086
    for pid in $supervisor $others; do
        kill "$pid" 2>/dev/null || :
    done

    [ ! -s "$dir/loader.pid" ] || kill -9 "-$(cat "$dir/loader.pid")" 2>/dev/null || :
    [ -z "$redis_pid" ] || kill -9 "$redis_pid" 2>/dev/null || :
    "$postgres/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || :
    wait 2>/dev/null || :
    rm -rf "$dir"
}

trap stop_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

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

sql() {
    PGOPTIONS='-c client_min_messages=warning' psql -XqAt -v ON_ERROR_STOP=1 "$@"
}

# After a kill it does not start before all processes of the last one are gone.

start_postgres() {
    wait_for 20 "$postgres/pg_ctl" -D "$dir/data" -l "$dir/postgres.log" -w start \
        || { tail "$dir/postgres.log" >&2; die "PostgreSQL did not start"; }
}

redis() {
    redis-cli -s "$dir/redis.sock" "$@"
}

start_redis() {
    redis-server --port 0 --unixsocket "$dir/redis.sock" --dir "$dir" --save '' \
        --logfile "$dir/redis.log" &
    redis_pid=$!
    wait_for 10 redis PING || die "Redis did not start"
}

kill_redis() {
    kill -9 "$redis_pid"
    wait "$redis_pid" 2>/dev/null || :
}

mkdir "$dir/bin"
redis_cli=$(command -v redis-cli)

sync_loader() {
    sh "$root/conf/loader/sync.sh" "$@"
}

# Where the cache is: options, a socket, a prefix, and the ports of a cluster

options="-s $dir/redis.sock"
socket=$dir/redis.sock
prefix=billing:
ports=

once() {
    # shellcheck disable=SC2086
    sync_loader --once $options "$@" >"$dir/once.log" 2>&1
}

"$postgres/initdb" -D "$dir/data" -U test -A trust -E UTF8 --no-locale >/dev/null
cat >>"$dir/data/postgresql.conf" <<END
unix_socket_directories = '$dir'
listen_addresses = ''
deadlock_timeout = 20ms
END
start_postgres

# install_loader <database> <option of createdb> ...: as conf/loader/README.md says

install_loader() {
    createdb "$@"
    PGDATABASE=$1 psql -q -v ON_ERROR_STOP=1 -1 -f "$root/conf/loader/schema.sql" \
        -f "$root/conf/loader/functions.sql"
}

install_loader test
start_redis

# The loader as systemd would run it: started again whenever it ends.

start_loader() {
    rm -f "$dir/stop"

    while [ ! -e "$dir/stop" ]; do
        # shellcheck disable=SC2086
        setsid sh "$root/conf/loader/sync.sh" $options "$@" >>"$dir/loader.log" 2>&1 &
        echo $! >"$dir/loader.pid"
        wait $! || :
        sleep 0.05
    done 2>>"$dir/loader.log" &
    supervisor=$!
}

stop_loader() {
    touch "$dir/stop"
    kill "$(cat "$dir/loader.pid")" 2>/dev/null || :
    wait "$supervisor" || :
    supervisor=
}

ok() {
    echo "ok: $*"
}

# is <what> <value> <expected>

is() {
    [ "$2" = "$3" ] || die "$1: \"$2\" and not \"$3\""
}

dump() {
    perl "$root/t/lib/loader.pl" dump "$socket" "$prefix" >"$dir/cache" \
        && LC_ALL=C sort -o "$dir/cache" "$dir/cache"
}

# The cache is what the tables say.

is_right() {
    dump 2>/dev/null || return 1
    sql -c 'SELECT line FROM test.expected' >"$dir/expected" || return 1
    LC_ALL=C sort -u -o "$dir/expected" "$dir/expected"
    cmp -s "$dir/expected" "$dir/cache"
}

becomes_right() {
    wait_for 30 is_right && return 0

    diff "$dir/expected" "$dir/cache" >&2 || :
    tail -n 20 "$dir/loader.log" >&2 || :
    die "$1: the cache does not become what the tables say"
}

# synced <title>: one run of the loader, then the cache is right.

synced() {
    once --batch 3 || { cat "$dir/once.log" >&2; die "$1: the loader failed"; }
    is_right || { diff "$dir/expected" "$dir/cache" >&2; die "$1: the cache is wrong"; }
    ok "$1"
}

# synced_at of the server, or of the cluster, where its slot may be on its way

synced_at() {
    if [ -z "$ports" ]; then
        redis GET "${prefix}synced_at"
    else
        node "$(owner)" -c GET "${prefix}synced_at" | tail -n 1
    fi
}

# fails <title> <words of the message> <option> ...: the loader fails, says why, and
# moves neither the outbox nor synced_at.

fails() {
    title=$1
    words=$2
    shift 2

    before=$(sql -c 'SELECT max(id), count(*) FROM billing.outbox')
    synced_at=$(synced_at)

    if sync_loader --once "$@" >"$dir/once.log" 2>&1; then
        die "$title: the loader did not fail"
    fi

    grep -q "$words" "$dir/once.log" || { cat "$dir/once.log" >&2; die "$title"; }
    is "$title: outbox" "$(sql -c 'SELECT max(id), count(*) FROM billing.outbox')" \
        "$before"
    is "$title: synced_at" "$(synced_at)" "$synced_at"
    ok "$title"
}

test_shapes() {
    sql -f "$root/t/lib/loader.sql"

    sql <<'END'
        INSERT INTO cameras (id, external_id, name)
            VALUES (3, '3', 'Camera 1'), (4, '4', 'Camera 2'), (5, NULL, NULL);
        INSERT INTO users (login) VALUES ('string'), ('other'), ('none');
        INSERT INTO user_cameras VALUES (1, 3), (1, 4), (2, 5);
        INSERT INTO tokens VALUES (encode(sha256('t'), 'hex'), 'Client');
END

    # what another loader has left behind

    redis HSET billing:camera:77 name x >/dev/null
    redis SET billing:external:77 77 >/dev/null
    redis SET billing:camera:3 x >/dev/null
    redis ZADD billing:login:gone 77 77 >/dev/null
    redis SET elsewhere x >/dev/null

    once || { cat "$dir/once.log" >&2; die "the first load failed"; }
    is "another's key" "$(redis GET elsewhere)" x
    redis DEL elsewhere >/dev/null
    synced "the first load, over what was there"
    is "a camera of nulls" "$(redis HGETALL billing:camera:5 | tr '\n' ' ')" 'streams  '

    sql -c "UPDATE users SET login = 'renamed' WHERE login = 'string'"
    synced "a renamed login"
    is "the old login" "$(redis EXISTS billing:login:string)" 0

    sql -c "UPDATE users SET login = 'x' WHERE login = 'renamed';
            UPDATE users SET login = 'renamed' WHERE login = 'other';
            UPDATE users SET login = 'other' WHERE login = 'x'"
    synced "logins that change places"

    sql -c "UPDATE cameras SET external_id = NULL WHERE id = 3;
            UPDATE cameras SET external_id = '3' WHERE id = 4"
    synced "an external id that moves"
    is "its camera" "$(redis GET billing:external:3)" 4

    sql -c "UPDATE cameras SET deleted_at = now() WHERE id = 4"
    synced "a camera marked as deleted"
    sql -c "UPDATE cameras SET deleted_at = NULL WHERE id = 4"
    synced "a camera that comes back"
    sql -c "DELETE FROM cameras WHERE id = 4"
    synced "a camera removed"

    sql -c "UPDATE tokens SET revoked_at = now()"
    synced "a revoked token"
    is "its key" "$(redis KEYS 'billing:token:*')" ''

    sql -c "UPDATE tokens SET revoked_at = NULL, expires_at = now() - interval '1 s'"
    synced "a token that has expired"
    sql -c "UPDATE tokens SET expires_at = now() + interval '1 h'"
    synced "a token that expires later"
    sql -c "UPDATE tokens SET expires_at = 'infinity'"
    once || die "a token that never expires: the loader failed"
    is "a token that never expires" "$(redis TTL "$(redis KEYS 'billing:token:*')")" -1
    sql -c "DELETE FROM tokens"
    synced "a token removed"

    sql -c "INSERT INTO cameras (id) SELECT generate_series(1000, 3500);
            INSERT INTO users (id, login) VALUES (100, 'many');
            INSERT INTO user_cameras SELECT 100, generate_series(1000, 3500)"
    once || die "a large list: the loader failed"
    sql -c "UPDATE users SET login = 'more' WHERE id = 100"
    synced "a list of 2501"
    sql -c "DELETE FROM cameras WHERE id >= 1000"
    once || die "a large list: the loader failed"
    synced "a large list removed"

    sql -c "TRUNCATE user_cameras"
    synced "a table truncated"

    # sync.sh says so where there is nothing to do, and writes synced_at

    redis SET billing:synced_at 5 >/dev/null
    once || die "nothing to do: the loader failed"
    [ "$(redis GET billing:synced_at)" != 5 ] || die "synced_at is not written"
    grep -q ' 0 changes' "$dir/once.log" || die "the log has no line for a round"
}

test_swap() {
    sql -c "INSERT INTO cameras (id, name) VALUES (50, 'new') ON CONFLICT DO NOTHING"

    if sh "$root/conf/loader/swap.sh" 3 -s "$dir/redis.sock" 2>"$dir/swap.log"; then
        die "swap.sh takes an empty database"
    fi

    once --full -n 3 || die "the load for a swap failed"
    redis SET mark live >/dev/null
    sh "$root/conf/loader/swap.sh" 3 -s "$dir/redis.sock"
    is "the former database" "$(redis -n 3 GET mark)" live
    is "billing:epoch" "$(redis EXISTS billing:epoch)" 1
    redis -n 3 FLUSHDB >/dev/null

    sql -c "UPDATE cameras SET name = 'newer' WHERE id = 50"
    synced "a swap"
    ! grep -q 'full load' "$dir/once.log" || die "a swap: the cache is loaded again"
}

test_errors() {
    sql -c "INSERT INTO cameras (id, name) VALUES (60, 'x') ON CONFLICT DO NOTHING"
    synced "before the errors"

    # of Redis

    redis SET billing:camera:60 x >/dev/null
    sql -c "UPDATE cameras SET name = 'y' WHERE id = 60"
    fails "a key of another type" WRONGTYPE -s "$dir/redis.sock"
    once --full || die "--full does not mend a key of another type"
    synced "a key of another type, mended by --full"

    sql -c "UPDATE cameras SET name = repeat('x', 100000) WHERE id = 60"
    redis CONFIG SET maxmemory 1 >/dev/null
    fails "a Redis that is full" OOM -s "$dir/redis.sock"
    fails "a Redis that is full, and --full" OOM -s "$dir/redis.sock" --full
    redis CONFIG SET maxmemory 0 >/dev/null
    synced "a Redis that was full"

    # of PostgreSQL, in the middle of a load

    view=$(sql -c "SELECT pg_get_viewdef('billing.camera')")
    sql -c "INSERT INTO cameras (id) SELECT generate_series(1000, 3500);
            CREATE OR REPLACE VIEW billing.camera AS
                SELECT id, external_id, NULL AS start_at,
                       coalesce(status, '') || 1 / (id - 2900) AS status,
                       name, group_type, streams, preview
                FROM cameras WHERE deleted_at IS NULL"
    fails "an error in a full load" 'division by zero' -s "$dir/redis.sock" --full
    fails "an error in a round" 'division by zero' -s "$dir/redis.sock" \
        --batch 10000
    sql -c "CREATE OR REPLACE VIEW billing.camera AS $view;
            DELETE FROM cameras WHERE id >= 1000"
    once --full || die "the loader failed after an error of PostgreSQL"
    synced "after an error of PostgreSQL"

    sql -c "UPDATE cameras SET name = 'z' WHERE id = 60"
    fails "no Redis" 'Could not connect' -s "$dir/none.sock"
    fails "no such database" 'DB index is out of range' -s "$dir/redis.sock" -n 99
    PGDATABASE=none fails_to_connect
    synced "after the errors"
}

fails_to_connect() {
    ! once || die "no PostgreSQL: the loader did not fail"
    grep -q 'database "none" does not exist' "$dir/once.log" || die "no PostgreSQL"
    ok "no PostgreSQL"
}

# What Redis and PostgreSQL know of each other does not fit, and nothing else shows
# it: everything is written again.

test_history() {
    redis HSET loader:billing: writer x >/dev/null
    redis SET billing:external:stale 1 >/dev/null
    synced "a batch that another attempt has written"

    redis HINCRBY loader:billing: batch 2 >/dev/null
    redis SET billing:external:stale 1 >/dev/null
    synced "a cache that is ahead"

    redis HINCRBY loader:billing: batch -1 >/dev/null
    redis SET billing:external:stale 1 >/dev/null
    synced "a cache that is behind"

    sql -c "UPDATE billing.loader SET history = '1/00000001'"
    redis SET billing:external:stale 1 >/dev/null
    synced "a database that was restored"

    # the batch has arrived, and PostgreSQL has not committed it

    sql -c "INSERT INTO cameras (id) VALUES (80)"
    redis HINCRBY loader:billing: batch 1 >/dev/null
    redis HSET loader:billing: writer x >/dev/null
    synced "a batch that was not committed"
    ! grep -q 'full load' "$dir/once.log" || die "the cache is loaded again"

    # commands of a loader whose turn is over, which come late

    cat >"$dir/bin/redis-cli" <<END
#!/bin/sh
case "\$*" in
    *--pipe*) tee -a '$dir/sent' | $redis_cli "\$@" ;;
    *) exec $redis_cli "\$@" ;;
esac
END
    chmod 755 "$dir/bin/redis-cli"

    sql -c "UPDATE cameras SET name = 'old' WHERE id = 80"
    PATH="$dir/bin:$PATH" once || die "the loader failed"
    grep -q old "$dir/sent" || die "nothing was sent"
    sql -c "UPDATE cameras SET name = 'new' WHERE id = 80"
    synced "before the commands that come late"

    ! redis --pipe <"$dir/sent" >"$dir/late.log" 2>&1 || die "late commands are taken"
    grep -q FENCED "$dir/late.log" || { cat "$dir/late.log" >&2; die "late commands"; }
    is_right || die "late commands have changed the cache"
    ok "commands that come late are refused"
}

# The arguments of every redis-cli are written down, to look for passwords there.

test_access() {
    cat >"$dir/bin/redis-cli" <<END
#!/bin/sh
echo "\$*" >>'$dir/arguments'
exec $redis_cli "\$@"
END
    chmod 755 "$dir/bin/redis-cli"

    acl=$(sed -n 's/^ *ACL SETUSER loader on >password //p' \
        "$root/conf/loader/README.md")
    [ -n "$acl" ] || die "conf/loader/README.md has no ACL SETUSER"
    # shellcheck disable=SC2086
    redis ACL SETUSER loader on '>s3cret "x"' $acl >/dev/null
    redis CONFIG SET requirepass "other 's3cret" >/dev/null
    printf '%s\n' 's3cret "x"' >"$dir/password"

    sql -c "UPDATE cameras SET name = 'w' WHERE id = 60"

    PATH="$dir/bin:$PATH"

    ! once || die "no password: the loader did not fail"
    grep -q NOAUTH "$dir/once.log" || { cat "$dir/once.log" >&2; die "no password"; }
    ok "no password"

    if REDISCLI_AUTH=wrong once; then
        die "a wrong password: the loader did not fail"
    fi
    grep -q WRONGPASS "$dir/once.log" || die "a wrong password"
    ok "a wrong password"

    if sync_loader --once -a s3cret -s "$dir/redis.sock" 2>"$dir/once.log"; then
        die "a password in the arguments: the loader did not fail"
    fi
    ok "a password in the arguments"

    once --full --user loader --password-file "$dir/password" \
        || { cat "$dir/once.log" >&2; die "a user of an ACL"; }
    sql -c "UPDATE cameras SET name = 'v' WHERE id = 60;
            INSERT INTO users (id, login) VALUES (70, 'acl');
            INSERT INTO user_cameras VALUES (70, 60)"
    once --user loader --password-file "$dir/password" \
        || { cat "$dir/once.log" >&2; die "a user of an ACL: changes"; }
    sql -c "DELETE FROM cameras WHERE id = 60; DELETE FROM users WHERE id = 70"
    REDISCLI_AUTH="other 's3cret" once || die "requirepass"

    PATH=${PATH#*:}
    [ -s "$dir/arguments" ] || die "redis-cli was not called"
    ! grep s3cret "$dir/arguments" || die "a password is in the arguments"

    REDISCLI_AUTH="other 's3cret" redis CONFIG SET requirepass '' >/dev/null
    redis ACL DELUSER loader >/dev/null
    synced "passwords and users"

    # a role with the rights of the README

    grants=$(sed -n '/^ *GRANT .*;$/p' "$root/conf/loader/README.md")
    [ -n "$grants" ] || die "conf/loader/README.md has no GRANT"
    sql -c "CREATE ROLE \"billing-loader\" LOGIN; CREATE ROLE application LOGIN; $grants
            GRANT SELECT, INSERT, UPDATE, DELETE ON cameras, users, user_cameras, tokens
                TO application"
    PGUSER=application sql -c "INSERT INTO cameras (id, name) VALUES (61, 'x');
                               UPDATE cameras SET name = 'y' WHERE id = 61"
    PGUSER=billing-loader once --full || { cat "$dir/once.log" >&2; die "rights"; }
    PGUSER=application sql -c "DELETE FROM cameras WHERE id = 61"
    PGUSER=billing-loader once || { cat "$dir/once.log" >&2; die "rights"; }
    synced "a role with few rights"

    # a database with another encoding

    install_loader latin1 -E LATIN1 -T template0
    PGDATABASE=latin1 sql -f "$root/t/lib/loader.sql" \
        -c "SET client_encoding = 'UTF8'" \
        -c "INSERT INTO cameras (id, external_id, name) VALUES (1, 'é', 'ü')"
    PGDATABASE=latin1
    redis FLUSHALL >/dev/null
    synced "a database in LATIN1"
    PGDATABASE='test'
    redis FLUSHALL >/dev/null
    synced "after FLUSHALL"
}

# Histories in small batches, so that what belongs together is cut.

test_order() {
    redis FLUSHALL >/dev/null
    perl "$root/t/lib/loader.pl" order "$dir/redis.sock" 2>"$dir/order.log" &
    order=$!
    others="$others $order"
    wait_for 10 grep -q ready "$dir/order.log" || die "no MONITOR"

    start_loader --batch 5 --poll 0.3

    for _ in 1 2; do
        sql -c 'CALL test.history(200, true)' &
        histories="${histories:-} $!"
    done

    for pid in $histories; do
        wait "$pid" || die "a history failed"
    done

    becomes_right "order"
    redis SET end x >/dev/null
    wait "$order" || { cat "$dir/order.log" >&2; die "order"; }
    stop_loader
    redis DEL end >/dev/null
    ok "hashes before their index entries, at any moment"
}

# finds_nothing <option> ...: check-cache finds no fault. Histories have clients with
# long names, which are warnings.

finds_nothing() {
    "$root/conf/check-cache" "$@" >"$dir/check.log" 2>&1 && return 0

    if ! grep -q ': 0 errors, ' "$dir/check.log" \
        || grep -v 'the client has 600 bytes' "$dir/check.log" | grep -q '^warning'
    then
        cat "$dir/check.log" >&2
        die "check-cache"
    fi
}

# A Redis Cluster of three masters and three replicas

node() {
    redis-cli -p "$@" 2>&1
}

# The port of the node that has all keys, as one of the nodes says, or nothing

owner() {
    for port in $ports; do
        reply=$(node "$port" EXISTS "${prefix}synced_at")

        case $reply in
            MOVED\ *) echo "${reply##*:}"; return ;;
            [01]) echo "$port"; return ;;
        esac
    done
}

cluster_is_right() {
    socket=$(node "$(owner)" CONFIG GET unixsocket | tail -n 1)
    is_right
}

cluster_becomes_right() {
    wait_for 15 cluster_is_right || becomes_right "$1"
    ok "$1"
}

# order_cluster <order>: of loader.pl

order_cluster() {
    echo "$1" >&7
    read -r _ <&8
}

# kill_node <port>, and one of the other nodes takes its slots over

kill_node() {
    pid=$(node "$1" INFO server | sed -n 's/^process_id:\([0-9]*\).*/\1/p')
    id=$(node "$1" CLUSTER MYID)
    kill -9 "$pid"
    ports=$(echo "$ports" | sed "s/\<$1\>//")
    # shellcheck disable=SC2086
    set -- $ports
    wait_for 30 is_replaced "$1" || die "no failover"
}

is_replaced() {
    node "$1" CLUSTER NODES | grep "^$id " | grep -qv 'connected.*-' \
        && node "$1" CLUSTER INFO | grep -q '^cluster_state:ok'
}

is_cut_off() {
    node "$1" -h 127.0.0.2 EXISTS "loader:$prefix" | grep -q '^CLUSTERDOWN '
}

test_cluster() {
    mkfifo "$dir/orders" "$dir/done"
    perl "$root/t/lib/loader.pl" cluster "$dir" <"$dir/orders" >"$dir/done" &
    others="$others $!"
    exec 7>"$dir/orders" 8<"$dir/done"
    read -r ports <&8
    masters=$(echo "$ports" | cut -d ' ' -f 1-3)

    # a node that does not have the loader's own key

    for port in $masters; do
        case $(node "$port" EXISTS loader:billing:) in
            MOVED\ *) fails "a cluster, and a prefix without braces" \
                'needs braces' -p "$port" && break ;;
        esac
    done

    prefix='{billing}:'

    for port in $ports; do
        options="-p $port --prefix $prefix"
        sql -c "UPDATE cameras SET name = 'by $port' WHERE id = 50"
        once --batch 3 || { cat "$dir/once.log" >&2; die "a node of a cluster"; }
        cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "a cluster"; }
    done

    ok "a cluster, whichever node is named"
    ! grep -q 'full load' "$dir/once.log" || die "a cluster: everything is written again"

    acl=$(sed -n 's/^ *ACL SETUSER loader on >password //p' \
        "$root/conf/loader/README.md" | sed 's/billing:/{billing}:/g')
    for node in $ports; do
        # shellcheck disable=SC2086
        node "$node" ACL SETUSER loader on '>s3cret' $acl '+cluster|nodes' >/dev/null
    done
    sql -c "UPDATE cameras SET name = 'w' WHERE id = 50"
    REDISCLI_AUTH=s3cret once --user loader --full \
        || { cat "$dir/once.log" >&2; die "a cluster: a user of an ACL"; }
    cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "a cluster: a user"; }
    ok "a cluster, a user of an ACL"

    # A node that sees no other one says CLUSTERDOWN for ever. It knows the nodes that do
    # not have the slot.

    # shellcheck disable=SC2086
    set -- $ports
    mkdir "$dir/cut-off"
    {
        node "$1" CLUSTER NODES | grep -v ":$(owner)@" | sed 's/myself,//; s/@[0-9]*/@1/'
        printf '%040d 127.0.0.2:%s@%s myself,master - 0 0 0 connected\n' 0 "$1" "$2"
        echo 'vars currentEpoch 9 lastVoteEpoch 0'
    } >"$dir/cut-off/nodes.conf"
    redis-server --port "$1" --bind 127.0.0.2 --dir "$dir/cut-off" --save '' \
        --cluster-enabled yes --cluster-port "$2" --cluster-node-timeout 100 \
        --logfile "$dir/cut-off/log" &
    cut_off=$!
    others="$others $cut_off"
    options="-h 127.0.0.2 -p $1 --prefix $prefix"
    wait_for 10 is_cut_off "$1" || die "a node is not cut off"
    sql -c "UPDATE cameras SET name = 'cut off' WHERE id = 50"
    once || { cat "$dir/once.log" >&2; die "a node that is cut off is named"; }
    cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "a node cut off"; }
    is_cut_off "$1" || die "the node is not cut off any more"
    ok "a node that is cut off is named"

    # MOVED without a host, or with "?" for it, means the host of the node that says so,
    # which is another host than that of the options

    for type in unknown-endpoint hostname; do
        for node in $ports; do
            node "$node" CONFIG SET cluster-preferred-endpoint-type "$type" >/dev/null
        done

        sql -c "UPDATE cameras SET name = '$type' WHERE id = 50"
        once || { cat "$dir/once.log" >&2; die "MOVED without a host: $type"; }
        cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "$type"; }
    done

    for node in $ports; do
        node "$node" CONFIG SET cluster-preferred-endpoint-type ip >/dev/null
    done
    ok "MOVED without a host"

    kill "$cut_off"
    options="-p $port --prefix $prefix"

    # Redis writes no key to the node that the key has just left

    sql -c "INSERT INTO cameras (id) SELECT generate_series(300, 320)"
    once || { cat "$dir/once.log" >&2; die "a cluster: new cameras"; }
    order_cluster half
    sql -c "UPDATE cameras SET name = 'x' WHERE id >= 300"
    # shellcheck disable=SC2086
    fails "a slot that is on its way" 'non local key\|: ASK ' $options
    order_cluster move
    once || { cat "$dir/once.log" >&2; die "a slot that has moved"; }
    cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "moved slot"; }
    ! grep -q 'full load' "$dir/once.log" || die "moved slot: everything is written again"
    sql -c "DELETE FROM cameras WHERE id >= 300"
    ok "a slot that has moved"

    # another prefix instead of SWAPDB, as conf/loader/README.md says

    prefix='{billing-2}:'
    options="-p $port --prefix $prefix"
    once --full || { cat "$dir/once.log" >&2; die "another prefix: the load failed"; }
    prefix='{billing}:'
    node=$(owner)
    node "$node" --scan --pattern '{billing}:*' \
        | xargs -d '\n' -n 100 redis-cli -p "$node" UNLINK >/dev/null
    node "$node" DEL 'loader:{billing}:' >/dev/null
    prefix='{billing-2}:'
    sql -c "UPDATE cameras SET name = 'second' WHERE id = 50"
    once || { cat "$dir/once.log" >&2; die "another prefix: the loader failed"; }
    cluster_is_right || { diff "$dir/expected" "$dir/cache" >&2; die "another prefix"; }
    ! grep -q 'full load' "$dir/once.log" || die "another prefix: it is loaded again"
    node "$(owner)" FLUSHALL >/dev/null
    prefix='{billing}:'
    ok "another prefix instead of SWAPDB"

    # another master than the one that has the keys

    for port in $masters; do
        [ "$port" = "$(owner)" ] || options="-p $port --prefix $prefix"
    done
    named=${options#-p }
    named=${named%% *}

    : >"$dir/loader.log"
    start_loader --batch 20 --poll 0.3 --max-delay 0.3
    : >"$dir/go"

    while [ -e "$dir/go" ]; do
        sql -c 'CALL test.history(20, false)' >/dev/null 2>&1 || sleep 0.1
    done &
    history=$!
    others="$others $history"

    before=$(owner)
    order_cluster move
    [ "$before" != "$(owner)" ] || die "the slot does not move"
    kill_node "$(owner)"
    [ "$named" = "$(owner)" ] || kill_node "$named"

    rm "$dir/go"
    wait "$history"
    cluster_becomes_right "a cluster whose slot moved, and that lost two masters"
    stop_loader

    finds_nothing --prefix "$prefix" -p "$(owner)"
    grep -q ' on 3 masters' "$dir/check.log" || die "check-cache finds no cluster"
    ok "check-cache finds nothing in the cluster"

    exec 7>&- 8<&-
    options="-s $dir/redis.sock"
    socket=$dir/redis.sock
    prefix=billing:
    ports=
    once --full || { cat "$dir/once.log" >&2; die "after the cluster"; }
    synced "after the cluster"
}

# kill_some <number>: kills something, at any moment.

kill_some() {
    loader=$(cat "$dir/loader.pid")

    case $(($1 % 8)) in
        0)
            victim="PostgreSQL"
            kill -9 "$(head -n 1 "$dir/data/postmaster.pid")"
            start_postgres ;;
        1 | 5)
            victim="the loader, its children live on"
            kill -9 "$loader" 2>/dev/null || : ;;
        2)
            victim="Redis, which comes back empty"
            kill_redis
            rm -f "$dir/dump.rdb"
            start_redis ;;
        3)
            victim="Redis, which comes back with what it had a moment ago"
            redis SAVE >/dev/null || :
            sleep "0.$(($1 % 7))"
            kill_redis
            start_redis ;;
        4)
            victim="the loader with all its children"
            kill -9 "-$loader" 2>/dev/null || : ;;
        6)
            victim="redis-cli"
            pid=$(pgrep -n -g "$loader" -x redis-cli) \
                && kill -9 "$pid" 2>/dev/null || : ;;
        7)
            victim="the loader's connection to PostgreSQL"
            sql -c "SELECT pg_terminate_backend(pid) FROM pg_locks
                    WHERE locktype = 'advisory'" >/dev/null || : ;;
    esac

    echo "killed: $victim"
}

# Each redis-cli waits a random time before it begins. So kills meet transfers in
# flight, and commands of a loader that was killed come late.

test_kills() {
    cat >"$dir/bin/redis-cli" <<END
#!/usr/bin/perl
select undef, undef, undef, rand 0.1;
exec '$redis_cli', @ARGV;
END

    sql -c "INSERT INTO cameras (id) SELECT generate_series(100, 109);
            INSERT INTO users (id, login) VALUES (200, 'stable');
            INSERT INTO user_cameras SELECT 200, generate_series(100, 109)"
    synced "before the kills"

    readers=
    for _ in 1 2; do
        perl "$root/t/lib/loader.pl" read "$dir/redis.sock" &
        readers="$readers $!"
    done
    others="$others $readers"

    PATH="$dir/bin:$PATH" start_loader --batch 20 --poll 0.3 --max-delay 0.3

    n=0
    first=$(awk 'BEGIN { srand(); print int(rand() * 8) }')

    while [ $n -lt "$kills" ]; do
        : >"$dir/go"

        for _ in 1 2; do
            while [ -e "$dir/go" ]; do
                sql -c 'CALL test.history(20, false)' >/dev/null 2>&1 || sleep 0.1
            done &
            others="$others $!"
        done

        for _ in 1 2 3; do
            sleep "0.$(awk -v n="$n" 'BEGIN { srand(); print int(rand() * 10 + n) % 10 }')"
            kill_some $((first + n))
            n=$((n + 1))
        done

        rm "$dir/go"
        becomes_right "after $n kills"
        ok "the cache is right after $n kills"
    done

    redis SET end x >/dev/null

    for pid in $readers; do
        wait "$pid" || die "a reader failed"
    done

    redis DEL end >/dev/null
    stop_loader
    is_right || die "the cache is wrong after the end"

    finds_nothing -s "$dir/redis.sock"

    cp "$dir/cache" "$dir/cache.before"
    redis FLUSHALL >/dev/null
    once --full || die "a fresh load failed"
    dump
    diff "$dir/cache.before" "$dir/cache" || die "a fresh load gives another cache"
    ok "the cache equals a fresh full load, and check-cache finds nothing"
}

is_caught_up() {
    [ "$(sql -c 'SELECT count(*) FROM billing.outbox')" = 0 ]
}

# The route with its default settings

start_nginx() {
    [ -e "$root/build/$module" ] || die "there is no $module, try: sh conf/build.sh"

    cat >"$dir/nginx.conf" <<END
load_module $root/build/$module;
daemon off;
pid $dir/nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    billing_redis unix:$dir/redis.sock;
    server {
        listen unix:$dir/nginx.sock;
        location / {
            billing_cameras_list;
            add_header Cache \$billing_cache;
        }
    }
}
END
    PATH="$PATH:/usr/sbin" nginx -e "$dir/nginx.log" -c "$dir/nginx.conf" &
    others="$others $!"
    wait_for 10 test -S "$dir/nginx.sock" \
        || { cat "$dir/nginx.log" >&2; die "nginx did not start"; }
}

# 500 changes a second to 10,000 cameras, whose names are the time. 200 of them
# belong to the login "watched", whose list is asked for all the time.

test_lag() {
    sql -c "INSERT INTO cameras (id) SELECT generate_series(1, 10000);
            INSERT INTO users (id, login) VALUES (1, 'watched');
            INSERT INTO user_cameras SELECT 1, generate_series(1, 200);
            INSERT INTO tokens VALUES (encode(sha256('t'), 'hex'), 'Client')"
    once || die "the load failed"

    start_loader
    start_nginx

    for what in lag answers; do
        socket=$dir/redis.sock
        [ $what = lag ] || socket=$dir/nginx.sock
        perl "$root/t/lib/loader.pl" $what "$socket" 2>"$dir/$what.log" &
        measures="${measures:-} $!"
        wait_for 10 grep -q ready "$dir/$what.log" \
            || { cat "$dir/$what.log" >&2; die "$what does not begin"; }
    done
    others="$others $measures"

    cat >"$dir/lag.sql" <<'END'
\set id random(1, 10000)
UPDATE cameras SET name = extract(epoch FROM clock_timestamp())::text WHERE id = :id;
END
    "$postgres/pgbench" -n -R 500 -c 4 -T 60 -f "$dir/lag.sql" >"$dir/pgbench.log" 2>&1 \
        || { cat "$dir/pgbench.log" >&2; die "pgbench failed"; }

    sed -n 's/^tps = \([0-9]*\).*/\1 transactions a second/p' "$dir/pgbench.log"
    wait_for 30 is_caught_up || die "the loader does not catch up"
    redis SET end x >/dev/null
    sql -c "UPDATE cameras SET name = 'end' WHERE id = 1"

    failed=
    for pid in $measures; do
        wait "$pid" || failed=yes
    done

    stop_loader
    [ -z "$failed" ] || { cat "$dir/lag.log" "$dir/answers.log" >&2; die "lag"; }
}

# The memory of the largest process of the loader, and what the process of PostgreSQL
# has of its own, in KB, while a full load runs.

test_full() {
    sql <<END
        SET session_replication_role = replica;
        INSERT INTO cameras
            SELECT id, 'camera-' || id, now(), 'active', 'Camera ' || id, 'private',
                   'high=active,low=active',
                   'https://stream.example.com:8443/live/' || id || '/preview.mp4?token='
                   || repeat(md5(id::text), 5)
            FROM generate_series(1, $cameras) AS id;
        INSERT INTO users (id, login)
            SELECT id, 'user-' || id FROM generate_series(1, $cameras / 5 + 1) AS id;
        INSERT INTO user_cameras
            SELECT 1 + id / 5, id FROM generate_series(1, $cameras) AS id;
        ANALYZE;
END

    for turn in 'into an empty Redis' 'over a full one'; do
        setsid sh "$root/conf/loader/sync.sh" --once --full -s "$dir/redis.sock" \
            >"$dir/once.log" 2>&1 &
        full=$!
        echo "$full" >"$dir/loader.pid"
        largest=0
        backend=0

        while kill -0 "$full" 2>/dev/null; do
            pid=$(sql -c "SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
            now=$(awk '/^RssAnon/ { print $2 }' "/proc/${pid:-0}/status" 2>/dev/null || :)
            [ "${now:-0}" -le "$backend" ] || backend=$now
            now=$(ps -o rss= -g "$full" | sort -n | tail -n 1)
            [ "${now:-0}" -le "$largest" ] || largest=$now
            sleep 0.2
        done

        wait "$full" || { cat "$dir/once.log" >&2; die "the load failed"; }
        echo "$turn: $(grep ' cameras' "$dir/once.log")," \
            "largest process $largest KB, PostgreSQL $backend KB"
    done

    redis INFO memory | grep -E '^used_memory(_peak)?_human'
}

case $mode in
    cluster)
        sql -f "$root/t/lib/loader.sql" -c "INSERT INTO cameras (id) VALUES (50)"
        test_cluster ;;
    lag) test_lag ;;
    full) test_full ;;
    all)
        test_shapes
        test_swap
        test_errors
        test_history
        test_access
        test_cluster
        test_order
        test_kills
        echo "all tests passed" ;;
esac
