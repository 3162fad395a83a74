#!/bin/sh

# Builds nginx from Debian's source with clang, the module static and all of it
# with sanitizers and the fuzzers' coverage, as build/fuzz/nginx and a library
# build/fuzz/nginx.a of everything but main().

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
fuzz=$root/build/fuzz
source=$root/build/nginx-source

sh "$root/conf/install.sh" clang binutils libclang-rt-dev

[ -d "$source" ] || sh "$root/t/get-nginx-source.sh"

mkdir -p "$fuzz"

# NGX_DEBUG_PALLOC makes each pool allocation one of malloc(), whose end
# AddressSanitizer sees. As everywhere in nginx, an empty string may have no
# data; and nginx itself reads words that are not aligned.

cat >"$fuzz/ignore" <<'END'
[pointer-overflow|nonnull-attribute]
src:*
[alignment]
src:src/*
END

sanitize=-fsanitize=address,undefined,fuzzer-no-link
cc_opt="-O1 -g -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 $sanitize"
cc_opt="$cc_opt -fsanitize-ignorelist=$fuzz/ignore"

inputs=$(
    head -n 1 "$source/debian/changelog"
    cat "$root/config" "$root/t/fuzz/build.sh"
    clang --version
    dpkg-query -W libssl-dev libyajl-dev libhiredis-dev
)

cd "$source"

if [ "$inputs" != "$(cat "$fuzz/configured" 2>/dev/null)" ]; then
    echo "configuring with sanitizers"

    # the least that the module needs, for the sake of speed

    without=$(./configure --help | grep -oE -- '--without-http_[a-z_]+_module')

    # shellcheck disable=SC2086
    if ! ./configure --builddir="$fuzz" --with-cc=clang --with-debug \
        --with-cc-opt="$cc_opt" --with-http_ssl_module \
        --with-ld-opt="$sanitize" \
        $without --add-module="$root" \
        >"$fuzz/configure.log" 2>&1
    then
        tail -n 20 "$fuzz/configure.log" >&2
        exit 1
    fi

    printf '%s\n' "$inputs" >"$fuzz/configured"
fi

make -s -j"$(nproc)" -f "$fuzz/Makefile" binary

objcopy --redefine-sym main=ngx_main "$fuzz/src/core/nginx.o" \
    "$fuzz/src/core/nginx_main.o"

rm -f "$fuzz/nginx.a"
find "$fuzz" -name '*.o' ! -name nginx.o ! -path '*/target/*' \
    -exec ar qc "$fuzz/nginx.a" {} +
