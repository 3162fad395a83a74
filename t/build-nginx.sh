#!/bin/sh

# Builds build/<kind>/nginx from Debian's source, with the module linked into
# it, for the runs that Debian's binary is of no use for:
#
#     asan        AddressSanitizer and UBSan
#     debug       without sanitizers, for tools with a malloc() of their own
#     coverage    counts which lines and branches of the module are run
#
# In all of them each allocation from a pool is a malloc() of its own.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
kind=$1
build=$root/build/$kind
source=$root/build/nginx-source

# nginx passes NULL with a length of 0, and reads words at any address

case $kind in
    asan)
        flags='-O1 -fsanitize=address,undefined -fno-omit-frame-pointer'
        core='-fno-sanitize=alignment,nonnull-attribute'
        module='-fsanitize=alignment,nonnull-attribute'
        ;;
    debug)
        flags='-O1 -fno-omit-frame-pointer'
        core=
        module=
        ;;
    coverage)
        flags=-O0
        core=
        module='--coverage'
        ;;
    *)
        echo "usage: sh $0 asan|debug|coverage" >&2
        exit 2
        ;;
esac

sh "$root/conf/install.sh" libpcre2-dev zlib1g-dev

# one build at a time: the next one waits

mkdir -p "$root/build"
exec 9>"$root/build/lock"
flock 9

sh "$root/t/get-nginx-source.sh"

inputs=$(
    echo "$root"
    cat "$root/t/build-nginx.sh"
    dpkg-query -W gcc nginx-dev libssl-dev libyajl-dev libhiredis-dev \
        libpcre2-dev zlib1g-dev
    head -n 1 "$source/debian/changelog"
    cat "$root/config"
)

cd "$source"
export PATH="$PATH:/usr/sbin"

if [ "$inputs" != "$(cat "$build/configured" 2>/dev/null)" ]; then
    echo "configuring for $kind"

    rm -rf "$build"
    mkdir -p "$build"

    link="$flags $module"

    # two libraries would each want a file for what they report
    [ "$kind" != asan ] || link="$link -static-libasan -static-libubsan"

    # what nginx-dev says of the flags lacks some of the modules; the flags are
    # a bash array

    modules=$(nginx -V 2>&1 | tr ' ' '\n' \
              | grep -x -e '--with-http_[a-z0-9_]*_module')

    # shellcheck disable=SC2016,SC2086
    if ! bash -c '. /usr/share/nginx/src/conf_flags
                  ./configure "${NGX_CONF_FLAGS[@]}" "$@"' \
        configure $modules --add-module="$root" --builddir="$build" \
        --with-cc-opt="-g $flags $core -DNGX_DEBUG_PALLOC=1" \
        --with-ld-opt="$link" \
        >"$build/configure.log" 2>&1
    then
        tail -n 20 "$build/configure.log" >&2
        exit 1
    fi

    if [ -n "$module" ]; then
        sed -i "/-o .*ngx_http_billing_.*\.o/s|-o |$module -o |" \
            "$build/Makefile"
    fi

    # t/fault/alloc.c looks for functions of hiredis by their names

    [ "$kind" = asan ] \
        || sed -i 's/-Wl,--exclude-libs,[^ ]*//' "$build/Makefile"

    printf '%s\n' "$inputs" >"$build/configured"
fi

make -s -j"$(nproc)" -f "$build/Makefile" binary
