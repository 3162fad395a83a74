#!/bin/sh

# Runs the fuzzers of libFuzzer, each for so many seconds:
#
#     sh t/fuzz/run.sh [seconds] [params|redis|reply|store]
#
# Corpora that grow are kept in build/fuzz/corpus/; t/fuzz/corpus/ has the seeds.
# An input that fails is left in build/fuzz/ and tried again by
#
#     build/fuzz/target/params build/fuzz/params-crash-...

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
fuzz=$root/build/fuzz
seconds=${1:-60}

sh "$root/t/fuzz/build.sh"

cd "$root"
mkdir -p "$fuzz/target"

# the libraries that nginx' own linking has named

libs=$(grep -oE -- ' -l:?[a-z0-9_.]+|-Wl,-E' "$fuzz/Makefile" \
    | awk '!seen[$0]++')

includes=$(find src -type d | sed 's/^/-I /'; printf ' -I build/nginx-source/src/%s' core event event/modules \
    os/unix http http/modules)

for target in ${2:-params redis reply store}; do
    mkdir -p "$fuzz/corpus/$target"

    wrap=
    dict=

    if [ -f "t/fuzz/$target.dict" ]; then
        dict=-dict=t/fuzz/$target.dict
    fi

    if [ "$target" = redis ]; then
        wrap='-Wl,--wrap=ngx_process_events_and_timers,--wrap=epoll_wait
            -Wl,--wrap=clock_gettime'
    fi

    # shellcheck disable=SC2086
    clang -O1 -g -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 -Wall -Wextra \
        -Wno-unused-parameter -Werror \
        -fsanitize=address,undefined,fuzzer \
        -fsanitize-ignorelist="$fuzz/ignore" \
        -I "$fuzz" $includes \
        -o "$fuzz/target/$target" "t/fuzz/$target.c" $wrap "$fuzz/nginx.a" $libs

    echo "fuzzing $target for $seconds s"

    # shellcheck disable=SC2086
    ASAN_OPTIONS=detect_odr_violation=0 \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        "$fuzz/target/$target" -max_total_time="$seconds" -max_len=4096 \
        -timeout=10 $dict -print_final_stats=1 \
        -artifact_prefix="$fuzz/$target-" -verbosity="${VERBOSITY:-0}" \
        "$fuzz/corpus/$target" "t/fuzz/corpus/$target"
done
