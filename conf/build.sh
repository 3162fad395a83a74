#!/bin/sh

# Builds build/ngx_http_billing_module.so against Debian's nginx-dev.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
module=ngx_http_billing_module.so
build=$root/build/module
nginx=/usr/share/nginx/src

if [ ! -x $nginx/configure ]; then
    echo "$0: nginx-dev is not installed, try: sh conf/install.sh" >&2
    exit 1
fi

mkdir -p "$build"

# One build at a time: the next one waits.

exec 9>"$build/lock"
flock 9

# configures again when any input of configure has changed

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

# Tests load the module while it is built again for lint: they get the old file
# or the new one, and never a part.

if ! cmp -s "$build/$module" "$root/build/$module"; then
    cp "$build/$module" "$root/build/$module.new"
    mv "$root/build/$module.new" "$root/build/$module"
fi
