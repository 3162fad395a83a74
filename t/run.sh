#!/bin/sh

# Builds the module and runs the test suites, or those named:
#
#     sh t/run.sh
#     sh t/run.sh -j1 -v t/token.t
#     sh t/run.sh --asan t/redis.t
#
# The arguments are prove's, paths are as seen from the top directory. Before
# them may stand how to run nginx:
#
#     --asan        with AddressSanitizer and UBSan: any report fails the run
#     --valgrind    with memcheck, likewise
#     --fault       with each single allocation of a request failing once
#     --coverage    counting the lines and branches of src/ that the suites, and
#                   that of --fault, run: fails if they are too few of all
#     --reload      reloaded for each test, and not started anew
#
# What cannot be run in such a way is left out, and the run says so: suites, see
# "left_out", and blocks of them, see "not_in" in lib/Billing.pm.

set -eu
umask 022

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
    python3-jsonschema python3-yaml

# the module is in all of them but Debian's own

binary=nginx
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

# not $TMPDIR: workers have to get at it, and socket paths are short

dir=$(mktemp -d /tmp/billing-test.XXXXXX)
redis=
prove=

# an interrupted suite leaves its nginx behind

cleanup() {
    if [ -n "$prove" ]; then
        kill -- -"$prove" 2>/dev/null && sleep 0.5 || :
    fi

    for file in "$dir"/t/servroot_*/logs/nginx.pid; do
        [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null || :
    done

    if [ -n "$redis" ]; then
        kill "$redis" 2>/dev/null && wait "$redis" || :
    fi

    rm -rf "$dir"
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$(id -u)" -eq 0 ]; then
    export TEST_NGINX_WORKER_USER=www-data
    chgrp www-data "$dir"
    chmod 710 "$dir"
fi

# Test::Nginx spends half a minute on a configuration that nginx refuses

if [ -n "$module" ]; then
    mkdir "$dir/modules"
    ln -s "$module" "$dir/modules"

    nginx -q -t -p "$dir" -e stderr -c "$root/conf/nginx.conf" \
        || die "nginx does not take the module"
fi

export TEST_NGINX_REDIS_SOCKET="$dir/redis.sock"
TEST_NGINX_REDIS_PORT=$(perl -MIO::Socket::INET -e '
    print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
export TEST_NGINX_REDIS_PORT

redis-server --bind 127.0.0.1 --port "$TEST_NGINX_REDIS_PORT" \
    --unixsocket "$TEST_NGINX_REDIS_SOCKET" --unixsocketperm 777 \
    --save '' --dir "$dir" --logfile "$dir/redis.log" &
redis=$!

tries=100
until redis-cli -s "$TEST_NGINX_REDIS_SOCKET" ping >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries -eq 0 ]; then
        cat "$dir/redis.log" >&2
        die "Redis did not start"
    fi
    sleep 0.05
done

# a file for each process that has something to report, workers too

reports=$dir/reports
mkdir -m 1777 "$reports"

case $kind in
    asan)
        # the report counts, and not the status that a leak would end with
        binary="env ASAN_OPTIONS=log_path=$reports/asan:exitcode=0 \
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
        # a worker that is made while logs are to be reopened, too, opens them
        # before the master has given them to its user
        export TEST_NGINX_USE_HUP=1
        [ "$(id -u)" -ne 0 ] || export TEST_NGINX_WORKER_USER=root
        ;;
    coverage)
        # each process adds to these as it ends, whatever user it is
        export GCOV_PREFIX="$dir/coverage"
        main="env GCOV_PREFIX;"
        (umask 0 && "$binary" -v)
        [ $# -gt 0 ] || set -- t t/fault/alloc.pl
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

# Test::Nginx forgets what nginx logs as it stops or crashes: keep all of it

cat >"$dir/nginx" <<END
#!/bin/sh
exec $binary -g "$main error_log \${BILLING_LOG:-$dir/nginx.log} \${BILLING_LOG_LEVEL:-debug};" "\$@"
END
chmod 755 "$dir/nginx"

export TEST_NGINX_BINARY="$dir/nginx"
export TEST_NGINX_LOAD_MODULES="$module"
export TEST_NGINX_ERROR_LOG="$dir/error.log"
export TEST_NGINX_SLEEP="${TEST_NGINX_SLEEP:-0.002}"

# each suite has a port and a directory t/servroot_<port> of its own

export TEST_NGINX_RANDOMIZE=1

mkdir "$dir/t"
ln -s "$root"/t/* "$dir/t"
cd "$dir"

[ "$kind" != fault ] || set -- t/fault/alloc.pl "$@"

# Left out, unless they are named: suites that start nginx by themselves or not
# at all, which a reload between blocks is nothing to; and with memcheck those
# that are about configurations and servers more than about requests, for time.

left_out=

case $kind in
    reload)   left_out='check_cache conf faults openapi reload' ;;
    valgrind) left_out='check_cache conf config openapi servers tls' ;;
esac

case "$left_out $*" in
    ' '* | *.t | *.t' '*)
        ;;
    *)
        echo "run: left out with --$kind: $left_out"

        for suite in t/*.t; do
            name=${suite#t/}

            case " $left_out " in
                *" ${name%.t} "*) ;;
                *) set -- "$@" "$suite" ;;
            esac
        done
        ;;
esac

# in a process group of its own, to end all of it

TMPDIR=$dir setsid prove -r -j2 -It/lib "$@" &
prove=$!

status=0
wait "$prove" || status=$?
prove=

if grep -E '^[0-9/]+ [0-9:]+ \[(alert|crit)\]' nginx.log 2>/dev/null; then
    echo "run: nginx logged the above" >&2
    [ $status -ne 0 ] || status=1
fi

[ "$kind" != valgrind ] || [ -n "$(ls "$reports")" ] \
    || die "memcheck did not run"

# What nginx itself leaves: its first pool, when it refuses a configuration, the
# cycle's, when it only tests one, and PCRE's context. No leak is indirect alone.

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
