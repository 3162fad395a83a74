#!/bin/sh

# Keeps the cache in Redis in sync with a PostgreSQL database that has schema.sql
# and functions.sql. Options of its own, then redis-cli's:
#
#     sync.sh -s /run/redis/redis.sock
#     sync.sh --full --once -h redis.example.com -p 6380 --user loader
#
#     --batch N           changes in one round, 500 by default
#     --full              write everything first
#     --keep-tokens       leave tokens alone that the database does not have
#     --max-delay S       the longest pause after errors, 30 s by default
#     --once              end when all changes are written; 1 after an error
#     --password-file F   the file whose first line is Redis' password
#     --poll S            a round at least every S seconds, 5 by default
#     --prefix P          what keys begin with, "billing:" by default
#
# In a Redis Cluster the prefix has braces, as in "{billing}:", and -h and -p name any
# node: one node has all keys, and the script finds that node.
#
# PostgreSQL's options are libpq's variables, such as PGHOST, PGDATABASE, PGUSER
# and PGPASSFILE. Redis' password may be in REDISCLI_AUTH.

set -u

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

here=$(cd "$(dirname "$0")" && pwd) || exit 2

batch=500
full=
keep_tokens=
max_delay=30
once=
poll=5
prefix=billing:

log() {
    echo "billing-loader: $*"
}

error() {
    echo "billing-loader: $*" >&2
}

usage() {
    error "$*, see --help"
    exit 2
}

# quote <word>, for sh

quote() {
    printf "'"
    printf %s "$1" | sed "s/'/'\\\\''/g"
    printf "' "
}

given=$#
redis=

while [ $# -gt 0 ]; do
    case $1 in
        --batch | --max-delay | --password-file | --poll | --prefix)
            [ $# -gt 1 ] || usage "$1 needs a value" ;;
    esac

    case $1 in
        --batch) batch=$2; shift ;;
        --full) full=yes ;;
        --keep-tokens) keep_tokens=yes ;;
        --max-delay) max_delay=$2; shift ;;
        --once) once=yes ;;
        --password-file)
            IFS= read -r REDISCLI_AUTH <"$2" || [ -n "${REDISCLI_AUTH:-}" ] \
                || usage "no password in \"$2\""
            export REDISCLI_AUTH
            shift ;;
        --poll) poll=$2; shift ;;
        --prefix) prefix=$2; shift ;;
        -a | --pass | --askpass | *://*:*@*)
            usage "no password in arguments, which everybody sees" ;;
        *) redis="$redis $(quote "$1")" ;;
    esac

    shift
done

[ "$given" -gt 0 ] || usage "redis-cli's options are missing"

# thousandths <option> <seconds>

thousandths() {
    case $2 in
        '' | *[!0-9.]* | *.*.* | .) usage "$1 needs seconds" ;;
    esac

    awk -v s="$2" 'BEGIN { printf "%d", s * 1000 }'
}

max_delay=$(thousandths --max-delay "$max_delay") || exit 2
poll=$(thousandths --poll "$poll") || exit 2

case $batch in
    '' | *[!0-9]* | 0*) usage "--batch needs a number" ;;
esac

export LC_ALL=C PGCLIENTENCODING=UTF8
export PGCONNECT_TIMEOUT="${PGCONNECT_TIMEOUT:-10}"


# Scripts for Redis. Its hash "loader:<prefix>" has
#
#     token        the loader whose turn it is
#     step         the last step of this loader
#     generation   the full load that the cache comes from
#     batch        the last batch of changes
#     writer       the token of the loader that wrote the batch
#
# A loader that was killed may leave a redis-cli behind, whose commands come late.
# So each script does nothing unless its own loader's turn it is. And a Redis that
# was restarted may have lost what it had acknowledged. So each step has a number,
# and only the next one is taken.

own=loader:$prefix

is_my_turn="
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return redis.error_reply('FENCED another loader is at work, or the data is lost')
end
"

# ARGV: token, step, commands

step_script="$is_my_turn
if redis.call('HGET', KEYS[1], 'step') ~= tostring(ARGV[2] - 1) then
    return redis.error_reply('LOST the step before is missing')
end
for _, command in ipairs(cjson.decode(ARGV[3])) do
    redis.call(unpack(command))
end
redis.call('HSET', KEYS[1], 'step', ARGV[2])
return redis.status_reply('OK')
"

# ARGV: token, prefix, and what PostgreSQL has: generation, batch, writer. Redis may
# have that batch, or a part or all of the next one, which PostgreSQL has not
# committed. Otherwise a full load is needed, and until it has ended, nothing that is
# not found counts as absent.

begin_script="
local own = KEYS[1]
local state = redis.call('HMGET', own, 'generation', 'batch', 'writer')
local ahead = (tonumber(state[2]) or -1) - ARGV[4]
redis.call('HSET', own, 'token', ARGV[1], 'step', '0')
redis.call('UNLINK', own .. 'list', own .. 'hashes', own .. 'entries')
if state[1] == ARGV[3] and (ahead == 0 and state[3] == ARGV[5] or ahead == 1) then
    redis.call('HSET', own, 'batch', ARGV[4], 'writer', ARGV[5])
    return 'CURRENT'
end
if state[2] then
    redis.call('DEL', ARGV[2] .. 'synced_at')
end
redis.call('HDEL', own, 'generation', 'batch', 'writer')
return 'OLD'
"

# ARGV: token, cursor, prefix, whether tokens are kept. Lists the keys that are in
# the cache. Those of a wrong type are removed at once.

list_script="$is_my_turn
local types = { camera = 'hash', external = 'string', login = 'zset' }
if ARGV[4] == '' then
    types.token = 'string'
end
local pattern = ARGV[3]:gsub('[*?^%[%]%-\\\\]', '\\\\%0') .. '*'
local page = redis.call('SCAN', ARGV[2], 'MATCH', pattern, 'COUNT', 1000)
for _, key in ipairs(page[2]) do
    local kind = key:sub(#ARGV[3] + 1):match('^(%a+):')
    local type = kind and types[kind]
    if type and redis.call('TYPE', key).ok ~= type then
        redis.call('UNLINK', key)
    elseif type then
        redis.call('SADD', KEYS[1] .. (kind == 'camera' and 'hashes' or 'entries'), key)
    end
end
return page[1]
"

# ARGV: token. Removes keys that the full load has not written: index entries,
# then hashes.

remove_script="$is_my_turn
for _, list in ipairs({ 'entries', 'hashes' }) do
    local keys = redis.call('SPOP', KEYS[1] .. list, 1000)
    if #keys > 0 then
        redis.call('UNLINK', unpack(keys))
        return #keys
    end
end
return 0
"


dir=$(mktemp -d "${TMPDIR:-/tmp}/billing-loader.XXXXXX") || exit 2
psql=

stop() {
    exec 3>&- 4<&-

    if [ -n "$psql" ]; then
        kill "$psql" 2>/dev/null
        wait "$psql" 2>/dev/null
        psql=
    fi
}

trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 0' HUP INT TERM
trap : PIPE

# The node of a Redis Cluster in use, as options, and the nodes that are known.

node=
nodes=

# call <word> ...: sets $reply. A node that hangs may have been replaced meanwhile.

call() {
    reply=$(eval "timeout --foreground 30 redis-cli $redis $node"' "$@"' \
        2>&1 </dev/null 3>&- 4<&-)
    [ $? -ne 124 ] || reply="no answer within 30 s"
}

# run <script> <argument> ...: runs one of the scripts above, and sets $reply.

run() {
    script=$1
    shift
    call EVAL "$script" 1 "$own" "$token" "$@"
}

# ask <line> ...: has psql run the lines, and sets $answer to the last line that
# comes back. psql tells of a notification after a command.

ask() {
    answer=

    printf '%s\n' "$@" '\echo done' 2>/dev/null >&3 || return 1

    while read -r line <&4; do
        case $line in
            done) return 0 ;;
            'Asynchronous notification '*) is_notified=yes ;;
            *) answer=$line ;;
        esac
    done

    return 1
}

# transfer <line> ...: sends to Redis what psql prints for the lines. An error of
# redis-cli would be lost behind the pipe: its status goes to a file.

transfer() {
    rm -f "$dir/status"
    send="redis-cli $redis $node --pipe >'$dir/reply' 2>&1; echo \$? >'$dir/status'"
    ask "\\o |$send" "$@" '\o' || return 1

    status=
    [ ! -s "$dir/status" ] || read -r status <"$dir/status"
    [ "$status" != 0 ] || return 0

    error "redis-cli failed, status ${status:-unknown}: $(head -n 1 "$dir/reply")"
    return 1
}

# use_node <host:port>: without a host, the one of the node that has named it.

use_node() {
    case ${1%:*} in
        '' | '?') ;;
        *) host="-h $(quote "${1%:*}")" ;;
    esac

    node="$host -p $(quote "${1##*:}")"
}

# learn_nodes: as the node in use knows them

learn_nodes() {
    call CLUSTER NODES
    found=$(echo "$reply" | awk '$2 ~ /.:[0-9]+@/ { sub(/@.*/, "", $2); print $2 }')
    nodes=${found:-$nodes}
}

# With a wrong password or database, redis-cli says so and goes on with another. Where
# the node of a cluster that the options name is down, or sees too few others, another
# one will do.

reach_redis() {
    node=
    host=
    call EXISTS "$own"
    first=$reply

    case $nodes:$reply in
        :CLUSTERDOWN\ *) learn_nodes ;;
    esac

    for name in $nodes; do
        ! is_reached || break
        use_node "$name"
        call EXISTS "$own"
    done

    is_reached && return 0

    error "no connection to Redis: $(echo "$first" | head -n 1)"
    return 1
}

is_reached() {
    case $reply in
        [01] | MOVED\ * | ASK\ *) ;;
        *) return 1 ;;
    esac
}

# find_node <reply>: a node of a cluster has said who has the keys.

find_node() {
    case $prefix in
        *"{"?*"}"*) ;;
        *)
            error "in a Redis Cluster the prefix needs braces: --prefix '{billing}:'"
            return 1 ;;
    esac

    use_node "${1##* }"
    learn_nodes
}

# A session is one of psql, and one turn in Redis. After any error another one is
# begun: what PostgreSQL has not committed is sent again.

begin() {
    reach_redis || return 1

    # opened for both directions, a pipe does not wait for its other end

    rm -f "$dir/in" "$dir/out"
    mkfifo "$dir/in" "$dir/out" || return 1
    exec 5<>"$dir/in" 6<>"$dir/out"

    psql -XqAt -v ON_ERROR_STOP=1 -v script="$step_script" -v prefix="$prefix" \
        "keepalives_idle=10 keepalives_interval=5 keepalives_count=3
         tcp_user_timeout=20000" \
        <"$dir/in" >"$dir/out" 5>&- 6>&- &
    psql=$!

    exec 3>"$dir/in" 4<"$dir/out" 5>&- 6>&-

    ask 'SET client_min_messages = warning;' \
        'SET tcp_keepalives_idle = 10;' \
        'SET tcp_keepalives_interval = 5;' \
        'SET tcp_keepalives_count = 3;' \
        'SET statement_timeout = 0;' \
        'SET jit = off;' \
        'LISTEN billing_outbox;' \
        'CREATE TEMPORARY SEQUENCE billing_step;' \
        "SELECT set_config('billing.script', :'script', false) \\g /dev/null" \
        "SELECT set_config('billing.prefix', :'prefix', false) \\g /dev/null" \
        "SELECT set_config('billing.token', gen_random_uuid()::text, false) AS token,
             pg_try_advisory_lock(hashtext('billing.loader')) AS is_locked \\gset" \
        "SELECT :'token' || ' ' || :'is_locked' || ' '
             || CASE history WHEN billing.history() THEN generation::text ELSE '-' END
             || ' ' || batch || ' ' || coalesce(writer::text, '-')
             FROM billing.loader;" || return 1

    # shellcheck disable=SC2086
    set -- $answer
    token=$1

    if [ "$2" != t ]; then
        error "another loader is connected to this database"
        return 1
    fi

    shift 2
    run "$begin_script" "$prefix" "$@"

    case $reply in
        MOVED\ *)
            find_node "$reply" || return 1
            run "$begin_script" "$prefix" "$@" ;;
    esac

    case $reply in
        CURRENT) ;;
        OLD)
            log "the cache is not the one that was written last, or there is none"
            full=yes ;;
        *)
            error "redis-cli failed: $reply"
            return 1 ;;
    esac
}

load_all() {
    log 'full load: begins'

    reply=begin
    cursor=0

    until [ "$reply" = 0 ]; do
        run "$list_script" "$cursor" "$prefix" "$keep_tokens"
        cursor=$reply

        case $cursor in
            '' | *[!0-9]*) error "redis-cli failed: $reply"; return 1 ;;
        esac
    done

    ask 'BEGIN ISOLATION LEVEL REPEATABLE READ;' || return 1
    transfer "\\i '$here/full.sql'" || return 1

    reply=begin

    until [ "$reply" = 0 ]; do
        run "$remove_script"

        case $reply in
            '' | *[!0-9]*) error "redis-cli failed: $reply"; return 1 ;;
        esac
    done

    ask 'DELETE FROM billing.outbox;' \
        'DELETE FROM billing.gone;' \
        "UPDATE billing.loader SET generation = gen_random_uuid(), batch = batch + 1,
             writer = :'token', history = billing.history();" || return 1

    transfer 'SELECT billing.steps(billing.end_commands(l)) FROM billing.loader l;' \
        || return 1

    ask "SELECT count(*) AS cameras,
             extract(epoch FROM clock_timestamp() - now())::numeric(9, 1) AS seconds
             FROM billing.camera \\gset" \
        'COMMIT;' \
        '\echo full load: :cameras cameras, :seconds s' || return 1

    full=
    log "$answer"
}

# A round writes the changes that are there, at most a batch, in one transaction:
# the outbox is emptied when Redis has acknowledged everything.
#
# Hashes of cameras that are gone wait in a table until no index entry is left in the
# outbox that may lead to them.

write_changes() {
    ask 'BEGIN ISOLATION LEVEL REPEATABLE READ;' \
        "SELECT count(*) AS changes, coalesce(max(id), 0) AS last,
             EXISTS (SELECT FROM billing.outbox WHERE kind = 'all') AS is_all,
             coalesce(extract(epoch FROM clock_timestamp() - min(changed_at)),
                      0)::numeric(9, 3) AS age
             FROM (SELECT * FROM billing.outbox ORDER BY id LIMIT $batch) AS o \\gset" \
        '\echo :is_all' || return 1

    if [ "$answer" = t ]; then
        ask 'ROLLBACK;' || return 1
        log 'a table was truncated'
        is_behind=t
        load_all
        return
    fi

    transfer 'INSERT INTO billing.gone
                  SELECT DISTINCT o.camera_id FROM billing.outbox o
                  WHERE o.kind = '"'camera'"' AND o.id <= :last
                        AND NOT EXISTS (SELECT FROM billing.camera c
                                        WHERE c.id = o.camera_id)
                  ON CONFLICT DO NOTHING;' \
        "SELECT coalesce(max(camera_id), 0) AS removed, count(*) AS removals
             FROM (SELECT camera_id FROM billing.gone
                   WHERE NOT EXISTS (SELECT FROM billing.outbox o WHERE o.id > :last)
                   ORDER BY camera_id LIMIT $batch) AS g \\gset" \
        "UPDATE billing.loader SET batch = batch + 1, writer = :'token'
             WHERE :changes + :removals > 0;" \
        'SELECT billing.steps(billing.change_commands(:last)
                              || billing.removal_commands(:removed)
                              || billing.end_commands(l))
             FROM billing.loader l;' || return 1

    ask 'DELETE FROM billing.outbox WHERE id <= :last;' \
        'DELETE FROM billing.gone WHERE camera_id <= :removed;' \
        "SELECT EXISTS (SELECT FROM billing.outbox) OR EXISTS (SELECT FROM billing.gone)
             AS is_behind,
             round(extract(epoch FROM clock_timestamp() - now()) * 1000) AS ms \\gset" \
        'COMMIT;' \
        '\echo :is_behind :changes :age :ms' || return 1

    # shellcheck disable=SC2086
    set -- $answer
    is_behind=$1
    log "$2 changes, the oldest $3 s old, in $4 ms"
}

# PostgreSQL tells psql of a change at once, and psql tells us after a command. The
# pause before each round lets changes gather.

wait_for_change() {
    ticks=$((poll / 50))

    while :; do
        ask 'SELECT pg_sleep(0.05);' || return 1
        ticks=$((ticks - 1))
        [ $ticks -gt 0 ] && [ -z "$is_notified" ] || return 0
    done
}

session() {
    is_notified=
    begin || return 1
    [ -z "$full" ] || load_all || return 1

    while :; do
        is_notified=
        write_changes || return 1
        delay=100

        if [ "$is_behind" = f ]; then
            [ -z "$once" ] || exit 0
            wait_for_change || return 1
        fi
    done
}

delay=100

while :; do
    session
    stop
    [ -z "$once" ] || exit 1

    error "begins again in $delay ms"
    sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"

    delay=$((delay * 2))
    [ $delay -lt "$max_delay" ] || delay=$max_delay
done
