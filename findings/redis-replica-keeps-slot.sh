#!/bin/sh

# A replica of Redis 7.0.15 keeps the keys of a slot that its master has lost, and
# answers with them when the replica is the master and the slot has come back.
#
# In a cluster, a master that learns that another node has taken one of its slots
# over deletes the keys of this slot. The replica is not told. After CLUSTER FAILOVER,
# the new master has keys of a slot that is another's. Resharding that gives the slot
# back finds no key to move, and a key that was deleted meanwhile has its old value.
#
# Seen, with the key "k" in the slot and one key in another slot:
#
#     DBSIZE: master 1, replica 2
#     after CLUSTER FAILOVER: DBSIZE 2, GET k: MOVED 7629 127.0.0.1:...
#     after the slot came back: GET k: old

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)
pids=

# shellcheck disable=SC2317
cleanup() {
    # shellcheck disable=SC2086
    [ -z "$pids" ] || { kill $pids && wait $pids; } 2>/dev/null || :
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

for libs in root/usr/lib/*-linux-gnu*; do
    export LD_LIBRARY_PATH="$dir/$libs"
done

root/usr/bin/redis-server --version | tee version
grep -q ' v=7\.0\.15 ' version

cli() {
    socket=$1
    shift
    root/usr/bin/redis-cli -s "$dir/$socket" "$@"
}

# wait_for <command> ...: runs the command until it succeeds.

wait_for() {
    tries=300
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "$0: not in time: $*" >&2; exit 1; }
        sleep 0.1
    done
}

# says <node> <text> <command> ...: the reply has the text.

says() {
    node=$1
    text=$2
    shift 2
    cli "$node" "$@" | grep -q "$text"
}

# "a" has all slots, "r" is its replica, and "b" has none. Redis chooses no ports of
# its own: those that are in use are passed over.

port=$((20000 + $$ % 20000))

for node in a r b; do
    mkdir $node

    while :; do
        port=$((port + 1))
        root/usr/bin/redis-server --bind 127.0.0.1 --port $port \
            --cluster-port $((port + 20000)) --cluster-enabled yes \
            --cluster-node-timeout 5000 --repl-diskless-sync-delay 0 --save '' \
            --dir "$dir/$node" --unixsocket "$dir/$node.s" >$node/log 2>&1 &
        pid=$!
        tries=100

        until cli $node.s PING 2>/dev/null | grep -q PONG || [ $tries -eq 0 ]; do
            tries=$((tries - 1))
            sleep 0.1
        done

        [ $tries -eq 0 ] || break
        wait $pid || :
    done

    pids="$pids $pid"
    eval "port_$node=$port"
done

# shellcheck disable=SC2154
{
    cli a.s CLUSTER ADDSLOTSRANGE 0 16383
    cli a.s CLUSTER MEET 127.0.0.1 "$port_r" $((port_r + 20000))
    cli a.s CLUSTER MEET 127.0.0.1 "$port_b" $((port_b + 20000))
} >log

id_a=$(cli a.s CLUSTER MYID)
id_b=$(cli b.s CLUSTER MYID)
id_r=$(cli r.s CLUSTER MYID)

wait_for says r.s "$id_a.*connected 0-16383" CLUSTER NODES
wait_for says a.s "$id_r.* connected" CLUSTER NODES
cli r.s CLUSTER REPLICATE "$id_a" >>log
wait_for says r.s master_link_status:up INFO replication
wait_for says b.s cluster_state:ok CLUSTER INFO
wait_for says b.s "$id_r.* slave " CLUSTER NODES

slot=$(cli a.s CLUSTER KEYSLOT k)
cli a.s SET k old >>log
wait_for says r.s 1 DBSIZE

# "b" takes the slot over with a higher epoch, and "a" hears of it

cli b.s CLUSTER BUMPEPOCH >>log
cli b.s CLUSTER SETSLOT "$slot" NODE "$id_b" >>log
wait_for says a.s MOVED GET k
wait_for says r.s "$id_b.* connected $slot" CLUSTER NODES

# WAIT: the replica has all that the master sends

printf 'SET other x\nWAIT 1 5000\n' | cli a.s >>log
sizes="master $(cli a.s DBSIZE), replica $(cli r.s DBSIZE)"
echo "DBSIZE: $sizes"

printf 'SET k new\nDEL k\n' | cli b.s >>log
cli r.s CLUSTER FAILOVER >>log
wait_for says r.s role:master INFO replication
wait_for says b.s "$id_r.* master .* connected" CLUSTER NODES
moved=$(cli r.s GET k)
echo "after CLUSTER FAILOVER: DBSIZE $(cli r.s DBSIZE), GET k: $moved"

# the slot comes back, as "redis-cli --cluster reshard" moves it

cli r.s CLUSTER SETSLOT "$slot" IMPORTING "$id_b" >>log
cli b.s CLUSTER SETSLOT "$slot" MIGRATING "$id_r" >>log
cli b.s CLUSTER GETKEYSINSLOT "$slot" 10 >keys
cli r.s CLUSTER SETSLOT "$slot" NODE "$id_r" >>log
cli b.s CLUSTER SETSLOT "$slot" NODE "$id_r" >>log
value=$(cli r.s GET k)
echo "after the slot came back: GET k: $value"

if [ "$sizes" != 'master 1, replica 2' ] || [ -n "$(tr -d '[:space:]' <keys)" ] \
    || [ "$value" != old ] || [ "${moved#MOVED "$slot" }" = "$moved" ]
then
    echo "$0: Redis behaves in another way now" >&2
    exit 1
fi
