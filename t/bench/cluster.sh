#!/bin/sh

# Compares a Redis Cluster of three nodes with one Redis server: what a request
# for cameras costs nginx and Redis, with nothing kept in the worker's cache.
# Prints a table in Markdown. The nodes share a core, so how many requests a
# cluster answers with a core for each node is computed, from the CPU time of the
# node that has most to do.
#
#     sh t/bench/cluster.sh
#
# In the environment: ROUNDS (5), SECONDS_EACH (2), CAMERAS (100000),
# SERVER_CORE, LOAD_CORE.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-2}
cameras=${CAMERAS:-100000}

sh "$root/conf/install.sh" wrk perl
sh "$root/conf/build.sh"

# shellcheck source=t/bench/lib.sh
. "$root/t/bench/lib.sh"

[ "$server_core" != "$load_core" ] || die "it takes two cores"

REDIS=tcp
start_redis
load "$cameras"

# The nodes, as addresses and as process ids.

nodes=
node_pids=

for n in 1 2 3; do
    port=$(free_port)
    mkdir "$dir/node$n"

    taskset -c "$load_core" redis-server --bind 127.0.0.1 --port "$port" \
        --cluster-enabled yes --cluster-port "$(free_port)" --save '' \
        --dir "$dir/node$n" --logfile "$dir/node$n/log" &
    pids="$pids $!"
    node_pids="$node_pids $!"
    nodes="$nodes 127.0.0.1:$port"

    wait_for redis-cli -p "$port" ping || die "a node did not start"
done

# shellcheck disable=SC2086
redis-cli --cluster create $nodes --cluster-yes >"$dir/create" 2>&1 \
    || die "there is no cluster: $(cat "$dir/create")"

is_well() {
    redis-cli -p "${1#*:}" cluster info | grep -q cluster_state:ok
}

# Each node takes the keys of its slots, and refuses the others.

for node in $nodes; do
    wait_for is_well "$node" || die "the cluster is not well"

    perl "$bench/cameras.pl" "$cameras" \
        | redis-cli -p "${node#*:}" --pipe >"$dir/load" 2>&1 || :
done

total=0

for node in $nodes; do
    total=$((total + $(redis-cli -p "${node#*:}" dbsize)))
done

[ "$total" -eq "$(redis-cli -s "$dir/redis.sock" dbsize)" ] \
    || die "the cluster has $total keys: $(cat "$dir/load")"

# start <name> <url>

start() {
    start_nginx "$1" \
        "load_module $root/build/ngx_http_billing_module.so;" \
        "billing_redis $2; billing_redis_timeout 10s; billing_cache off;" \
        "location = $route { billing_cameras_list; }"
}

start one "$redis_url"
start cluster "redis://${nodes##* }"

# measure <server> <cameras> <pids of Redis>, prints: server, cameras, us of the
# server's CPU for a request, of Redis' servers together, of the busiest one, p50

measure() {
    before=$(for p in $3; do cpu "$p"; echo; done)

    # shellcheck disable=SC2046
    set -- "$1" "$2" "$3" $(drive "$1" "$route" 32 "$seconds" \
        "$dir/bodies-$2" bench-token 200)

    for p in $3; do cpu "$p"; echo; done | perl -e '
        my ($server, $n, $requests, $cpu, $p50, @before) = @ARGV;
        my (@redis) = sort { $a <=> $b } map { $_ - shift @before } <STDIN>;
        my $sum = 0;
        $sum += $_ for @redis;
        printf "%s %d %f %f %f %f\n", $server, $n,
               map({ $_ / $requests / 1000 } $cpu, $sum, $redis[-1]), $p50;
    ' "$1" "$2" "$4" "$5" "$7" $before
}

for n in 1 30; do
    bodies 10000 $n "$cameras" >"$dir/bodies-$n"

    for server in one cluster; do
        curl -s -X GET -H 'Authorization: Bearer bench-token' \
            -H 'Content-Type: application/json' \
            -d "$(head -n 1 "$dir/bodies-$n")" -o "$dir/answer-$server" \
            "http://127.0.0.1:$(cat "$dir/$server/port")$route"
    done

    cmp "$dir/answer-one" "$dir/answer-cluster" || die "the answers differ"
done

round=0

while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))

    for n in 1 30; do
        measure one $n "$redis"
        measure cluster $n "$node_pids"
    done
done >"$dir/results"

echo "$(machine); $cameras cameras, medians of $rounds rounds"
echo

perl -ane '
    BEGIN {
        my %name = (one => "one server", cluster => "cluster of three");

        sub median {
            my @v = sort { $a <=> $b } @_;
            return ($v[$#v / 2] + $v[@v / 2]) / 2;
        }

        sub row {
            my ($n, $server, @v) = @_;
            printf "| %d | %s | %.1f | %.1f | %.1f | %d | %.2f |\n", $n,
                   $name{$server}, @v[0 .. 2], 1e6 / $v[2], $v[0] / $v[4];
        }
    }

    my ($server, $n, @values) = @F;
    push @{ $runs{$n}{$server}[$_] }, $values[$_] for 0 .. $#values;

    END {
        print "| cameras | Redis | nginx, us of CPU | Redis, us | busiest server, us",
              " | requests/s, one core each | nginx : nginx with one |\n",
              "|---:|---|---:|---:|---:|---:|---:|\n";

        for my $n (sort { $a <=> $b } keys %runs) {
            my ($one) = median(@{ $runs{$n}{one}[0] });
            row($n, $_, map({ median(@$_) } @{ $runs{$n}{$_} }), $one)
                for "one", "cluster";
        }
    }' "$dir/results"
