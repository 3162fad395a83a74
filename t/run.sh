#!/bin/sh

# Builds the module and runs all test suites, or the suites named:
#
#     sh t/run.sh
#     sh t/run.sh -v t/token.t
#     sh t/run.sh --asan t/redis.t
#
# The arguments are options of prove and paths as seen from the top directory.
# A mode may stand before them:
#
#     --asan        nginx is built with AddressSanitizer and UBSan; any report
#                   fails the run
#     --valgrind    nginx runs under memcheck; any report fails the run
#     --fault       each single allocation of a request fails once
#     --coverage    the lines and branches of src/ that the suites and --fault
#                   run are counted; too small a share fails the run
#     --reload      nginx is reloaded before each test instead of restarted
#
# A mode leaves out the suites named in "left_out" below, and the blocks with a
# "not_in" section (see lib/Billing.pm). The run prints what a mode leaves out.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
kind=

case ${1:-} in
    --asan | --valgrind | --fault | --coverage | --reload)
        kind=${1#--}
        shift
        ;;
esac

export PATH="$PATH:/usr/sbin" LC_ALL=C.UTF-8 no_proxy=127.0.0.1

die() {
    echo "run: $*" >&2
    exit 1
}

sh "$root/conf/install.sh" libtest-base-perl libtest-longstring-perl \
    liblist-moreutils-perl libwww-perl libipc-run-perl procps \
    python3-jsonschema python3-yaml libnginx-mod-nchan iproute2 libio-socket-ssl-perl

# Debian's nginx loads the module; the other binaries have the module built in

binary=$(command -v nginx)
module=
main=

case $kind in
    '' | reload)
        sh "$root/conf/build.sh"
        module=$build/ngx_http_billing_module.so
        ;;
    asan)
        sh "$root/t/build-nginx.sh" asan
        binary=$build/asan/nginx
        ;;
    valgrind | fault)
        [ "$kind" = fault ] || sh "$root/conf/install.sh" valgrind
        sh "$root/t/build-nginx.sh" debug
        binary=$build/debug/nginx
        ;;
    coverage)
        sh "$root/t/build-nginx.sh" coverage
        binary=$build/coverage/nginx
        ;;
esac

if ! perl -MTest::Nginx::Socket -e1 2>/dev/null; then
    PERL5LIB=$build/test-nginx/usr/share/perl5${PERL5LIB:+:$PERL5LIB}
    export PERL5LIB

    [ -d "$build/test-nginx" ] || sh "$root/t/get-test-nginx.sh"
fi

# $TMPDIR may be closed to the workers' user, or too long for a socket's path

dir=$(mktemp -d /tmp/billing-test.XXXXXX)
prove=

# An interrupted suite leaves its processes behind. Those that it started are
# in the process group of prove, except the nginx of Test::Nginx, a daemon.

cleanup() {
    trap '' PIPE

    if [ -n "$prove" ] && kill -- -"$prove" 2>/dev/null; then
        tries=100
        while kill -0 -- -"$prove" 2>/dev/null && [ $tries -gt 0 ]; do
            tries=$((tries - 1))
            sleep 0.05
        done
    fi

    for file in "$dir"/t/servroot_*/logs/nginx.pid; do
        [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null || :
    done

    rm -rf "$dir"
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

if [ "$(id -u)" -eq 0 ]; then
    export TEST_NGINX_WORKER_USER=www-data
    chgrp www-data "$dir"
    chmod 710 "$dir"
fi

# Test::Nginx tries a configuration that nginx refuses for half a minute

if [ -n "$module" ]; then
    mkdir "$dir/modules"
    ln -s "$module" "$dir/modules"

    nginx -q -t -p "$dir" -e stderr -c "$root/conf/nginx.conf" \
        || die "nginx does not take the module"
fi

# each process, workers included, writes its report into a file of its own

reports=$dir/reports
mkdir -m 1777 "$reports"

case $kind in
    asan)
        # the report fails the run; the exit status is left as it is
        binary="env ASAN_OPTIONS=log_path=$reports/asan:exitcode=0\${BILLING_ASAN:-} \
            UBSAN_OPTIONS=log_path=$reports/ubsan:print_stacktrace=1 $binary"
        export TEST_NGINX_MASTER_PROCESS=on
        ;;
    valgrind)
        binary="valgrind -q --log-file=$reports/%p --leak-check=full \
            --show-leak-kinds=definite,indirect,possible \
            --errors-for-leak-kinds=definite,indirect,possible \
            --num-callers=30 --suppressions=$root/t/valgrind.supp $binary"
        export TEST_NGINX_MASTER_PROCESS=on
        ;;
    reload)
        # a worker that starts while the logs are reopened would find them
        # still owned by root
        export TEST_NGINX_USE_HUP=1
        [ "$(id -u)" -ne 0 ] || export TEST_NGINX_WORKER_USER=root
        ;;
    coverage)
        # each process, of whichever user, adds its counts as it ends
        export GCOV_PREFIX="$dir/coverage"
        main="env GCOV_PREFIX;"
        (umask 0 && "$binary" -v)
        ;;
esac

case $kind in
    fault | coverage)
        export BILLING_FAULT="$dir/fault" BILLING_FAULT_LIB="$build/fault.so"
        head -c 1048 /dev/zero >"$BILLING_FAULT"
        chmod 666 "$BILLING_FAULT"
        gcc -O1 -Wall -Wextra -shared -fPIC -o "$BILLING_FAULT_LIB" \
            "$root/t/fault/alloc.c"
        ;;
esac

export TEST_NGINX_MODE="$kind"

# Test::Nginx does not keep what nginx logs as it stops or crashes: nginx.log does,
# with BILLING_LOG_LEVEL=debug each step too, which takes the processors longer

cat >"$dir/nginx" <<END
#!/bin/sh
exec $binary -g "$main error_log \${BILLING_LOG:-$dir/nginx.log} \${BILLING_LOG_LEVEL:-notice};" "\$@"
END
chmod 755 "$dir/nginx"

export TEST_NGINX_BINARY="$dir/nginx"
export TEST_NGINX_LOAD_MODULES="$module"
export BILLING_ERROR_LOG="$dir/error.log"
export TEST_NGINX_SLEEP="${TEST_NGINX_SLEEP:-0.002}"

# each suite gets a port and a directory t/servroot_<port> of its own

export TEST_NGINX_RANDOMIZE=1

mkdir "$dir/t"
ln -s "$root"/t/* "$dir/t"
cd "$dir"

# Most of a suite's time is waiting, so many run at once. With sanitizers the
# processors are busy.

case $kind in
    '') jobs=12 ;;
    reload) jobs=8 ;;
    *) jobs=4 ;;
esac

# Without a suite named: the slowest suites first, in as many parts as given
# (Billing.pm runs a part of a suite's blocks), and then all the others.

slow='cluster_coherence:1 sentinel:4 servers:6 coherence:5 failover:3 login:4 hostile:3
    hostile_nodes:1 check_cache_cluster:1 cluster:1 faults:2 redis:3 resp3:2 worker_cache:2 cache:2 status:2 reload:2 http:2
    check_cache:1 params_body:1 validation:1 names:2'

# Suites that start nginx by themselves, or never, gain nothing from a reload
# between blocks. In "failover" the servers of a block are gone before the worker
# that still tries to connect to them. Nodes of a cluster and sentinels change
# their roles while other suites run, which takes them too long beside reloads:
# their suites are run with --reload by themselves. Memcheck is slow: suites about
# configurations and servers rather than requests are left out. The checkers of
# the cache in the worker take a minute each, and run by themselves: t/coherence.t
# and t/cluster_coherence.t.

case $kind in
    reload)
        left_out='check_cache check_cache_cluster cluster_coherence coherence conf'
        left_out="$left_out failover faults"
        left_out="$left_out cluster cluster_cache hostile_nodes nchan openapi"
        left_out="$left_out reload sentinel symbols tls_nodes"
        ;;
    valgrind)
        left_out='check_cache check_cache_cluster cluster_coherence coherence conf'
        left_out="$left_out config nchan"
        left_out="$left_out names openapi sentinel servers symbols tls"
        ;;
    asan | fault) left_out= ;;
    *)            left_out='cluster_coherence coherence' ;;
esac

all_suites() {
    [ "$kind" != coverage ] || echo t/fault/alloc.pl

    others=$(cd t && echo ./*.t | sed 's|\./||g; s|\.t\>||g')

    for suite in $slow $others; do
        name=${suite%:*}

        case " $left_out $seen " in
            *" $name "*) continue ;;
        esac

        seen="$seen $name"
        parts=${suite#"$name"}
        parts=${parts#:}
        part=1

        if [ "${parts:-1}" -eq 1 ]; then
            echo "t/$name.t"
            continue
        fi

        while [ $part -le "$parts" ]; do
            ln -s "$root/t/$name.t" "$dir/t/$name-${part}of$parts.t"
            echo "t/$name-${part}of$parts.t"
            part=$((part + 1))
        done
    done
}

named=

for arg; do
    case $arg in
        -*) ;;
        *) named=yes ;;
    esac
done

if [ "$kind" = fault ]; then
    set -- t/fault/alloc.pl "$@"

elif [ -z "$named" ]; then
    [ -z "$left_out" ] || echo "run: left out${kind:+ with --$kind}: $left_out"

    seen=
    # shellcheck disable=SC2046
    set -- "$@" $(all_suites)
fi

# in a process group of its own, to end all of it

TMPDIR=$dir setsid prove -r -j$jobs -It/lib "$@" &
prove=$!

status=0
wait "$prove" || status=$?
[ $status -gt 128 ] || prove=

if grep -E '^[0-9/]+ [0-9:]+ \[(alert|crit)\]' nginx.log 2>/dev/null; then
    echo "run: nginx logged the above" >&2
    [ $status -ne 0 ] || status=1
fi

[ "$kind" != valgrind ] || [ -n "$(ls "$reports")" ] \
    || die "memcheck did not run"

# nginx itself leaks its first pool when it refuses a configuration, the cycle's
# pool when it only tests one, and PCRE's context. An indirect leak always comes
# with a direct one.

find "$reports" -type f -exec perl -00 -ni -e 'print unless
    /^=+\n==\d+==ERROR: LeakSanitizer/ || /^SUMMARY: .* leaked/
    || /^Indirect leak /
    || /^Direct leak of 1024 .*#2 \S+ in ngx_create_pool .*#3 \S+ in main /s
    || /#2 \S+ in ngx_create_pool .*#3 \S+ in ngx_init_cycle .*#4 \S+ in main /s
    || /#2 \S+ in ngx_regex_malloc /' {} +

find "$reports" -type f -empty -delete

if [ -n "$(ls "$reports")" ]; then
    head -n 60 "$reports"/* >&2
    echo "run: $kind reported the above" >&2
    [ $status -ne 0 ] || status=1
fi

if [ "$kind" = coverage ]; then
    cp -R "$GCOV_PREFIX$build/coverage" "$build"
    perl "$root/t/coverage.pl" || status=1
fi

if [ $status -ne 0 ]; then
    rm -rf "$build/test-logs"
    mkdir "$build/test-logs"
    cp -R ./*.log reports "$build/test-logs"
    echo "run: logs are in $build/test-logs" >&2
fi

exit $status
