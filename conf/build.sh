#!/bin/sh

# Builds build/ngx_http_billing_module.so against Debian's nginx-dev.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
nginx=/usr/share/nginx/src

if [ ! -x $nginx/configure ]; then
    echo "$0: nginx-dev is not installed, try: sh conf/install.sh" >&2
    exit 1
fi

mkdir -p "$build"

# configure again when anything that it looks at has changed

inputs=$(
    echo "$root"
    dpkg-query -W nginx-dev libssl-dev libyajl-dev libhiredis-dev 2>&1 || :
    cat "$root/config"
)

cd $nginx

if [ "$inputs" != "$(cat "$build/configured" 2>/dev/null)" ]; then
    echo "configuring"

    # the flags that Debian's nginx was built with are a bash array
    # shellcheck disable=SC2016
    if ! bash -c '. ./conf_flags; ./configure "${NGX_CONF_FLAGS[@]}" "$@"' \
        configure --add-dynamic-module="$root" --builddir="$build" \
        >"$build/configure.log" 2>&1
    then
        tail -n 20 "$build/configure.log" >&2
        exit 1
    fi

    sed -n '/: warning: the billing module /,/^$/p' "$build/configure.log" >&2

    printf '%s\n' "$inputs" >"$build/configured"
fi

make -s -j"$(nproc)" -f "$build/Makefile" modules
