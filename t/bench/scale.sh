#!/bin/sh

# Measures how the module scales, with the length of a list and with the number
# of cameras in Redis. Writes the plots scale-list.svg and scale-cache.svg.
#
#     sh t/bench/scale.sh
#
# In the environment: ROUNDS (3), SECONDS_EACH (2), LISTS, CAMERAS (numbers),
# SERVER_CORE, LOAD_CORE.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-2}
lists=${LISTS:-1 10 100 1000 10000 100000}
sizes=${CAMERAS:-1000 10000 100000 1000000}

sh "$root/conf/install.sh" wrk perl gnuplot-nox
sh "$root/conf/build.sh"

# shellcheck source=t/bench/lib.sh
. "$root/t/bench/lib.sh"

[ "$server_core" != "$load_core" ] || die "it takes two cores"

start_redis --hash-max-listpack-value 512
start_nginx module "load_module $root/build/ngx_http_billing_module.so;" \
    "billing_redis unix:$dir/redis.sock; billing_redis_timeout 10s;
     billing_cache off;" \
    "location = $route { billing_cameras_list; }"

# measure <what> <connections> <bodies>, as often as there are rounds; prints
# the medians: us of CPU, us of Redis' CPU, ms of p50

measure() {
    rm -f "$dir/rounds"
    round=0

    while [ $round -lt "$rounds" ]; do
        round=$((round + 1))
        drive module "$route" "$2" "$seconds" "$3" bench-token 200 \
            >>"$dir/rounds"
    done

    perl -ane '
        push @{$v[0]}, $F[1] / $F[0] / 1000;
        push @{$v[1]}, $F[2] / $F[0] / 1000;
        push @{$v[2]}, $F[3];
        END {
            print join " ", "",
                map { @$_ = sort { $a <=> $b } @$_;
                      ($_->[$#$_ / 2] + $_->[@$_ / 2]) / 2 } @v;
            print "\n";
        }' "$dir/rounds" | sed "s/^/$1/"
}

largest=0

for n in $lists; do
    [ "$n" -le "$largest" ] || largest=$n
done

# shellcheck disable=SC2086
load "$largest" $lists

for n in $lists; do
    drain=$((n / 15000 + 1))
    connections=$((n > 1000 ? 1 : 8))
    echo "{\"login\":\"list-$n\"}" >"$dir/bodies"
    measure "$n" $connections "$dir/bodies" >>"$dir/list"
done

drain=1
before=0

redis-cli -s "$dir/redis.sock" flushall >"$dir/flushed"

for n in $sizes; do
    FIRST=$((before + 1)) load $((n - before))
    before=$n

    bodies 1000 1 "$n" >"$dir/bodies"
    measure "$n" 8 "$dir/bodies" >>"$dir/cache-1"
    bodies 1000 30 "$n" >"$dir/bodies"
    measure "$n" 8 "$dir/bodies" >>"$dir/cache-30"
done

machine
echo
echo '| cameras in the list | us of CPU per camera | Redis, us per camera |'
echo '|---:|---:|---:|'
awk '{ printf "| %d | %.2f | %.2f |\n", $1, $2 / $1, $3 / $1 }' "$dir/list"
echo
echo '| cameras in Redis | 1 camera: us of CPU | Redis, us | p50, ms' \
    '| 30 cameras: us of CPU | Redis, us | p50, ms |'
echo '|---:|---:|---:|---:|---:|---:|---:|'
paste -d ' ' "$dir/cache-1" "$dir/cache-30" \
    | awk '{ printf "| %d | %.1f | %.1f | %.2f | %.1f | %.1f | %.2f |\n",
                    $1, $2, $3, $4, $6, $7, $8 }'

gnuplot <<PLOT
set style line 1 lc rgb "#1f77b4" lw 2 pt 7 ps 0.7
set style line 2 lc rgb "#d62728" lw 2 pt 5 ps 0.7
set grid lc rgb "#dddddd"
set border lc rgb "#555555"
set key right top
set autoscale xfix
set logscale x
set format x "%.0f"
set rmargin 5

set terminal svg size 560,340 font "sans,12" background "#ffffff"
set output "$bench/scale-list.svg"
set title "a login's list: CPU per camera"
set xlabel "cameras in the list"
set ylabel "us"
set logscale y
set yrange [1:*]
plot "$dir/list" using 1:(\$2/\$1) with linespoints ls 1 title "nginx", \
     "$dir/list" using 1:(\$3/\$1) with linespoints ls 2 title "Redis"

set terminal svg size 900,340 font "sans,12" background "#ffffff"
set output "$bench/scale-cache.svg"
set multiplot layout 1,2
unset logscale y
set yrange [0:*]
set key right center
set xlabel "cameras in Redis"
set title "nginx' CPU per request"
plot "$dir/cache-30" using 1:2 with linespoints ls 2 title "30 cameras", \
     "$dir/cache-1" using 1:2 with linespoints ls 1 title "1 camera"
set title "p50, 8 connections"
set ylabel "ms"
plot "$dir/cache-30" using 1:4 with linespoints ls 2 title "30 cameras", \
     "$dir/cache-1" using 1:4 with linespoints ls 1 title "1 camera"
unset multiplot
PLOT
