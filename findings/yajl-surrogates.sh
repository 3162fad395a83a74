#!/bin/sh

# yajl 2.1.0 replaces escapes of surrogates that are not a pair, without an
# error, and combines a high one with any escape that follows.
#
# RFC 8259 leaves open what a lone surrogate means, and json_verify calls all of
# these valid. A parser that reports it, or gives U+FFFD, was to be expected.
# yajl gives "?" for a lone high surrogate, so that two different names become
# one. It gives the bytes ED B0 80, which are not UTF-8, for a lone low one. And
# it swallows the escape of an ordinary letter behind a high one: "\ud83d\u0041"
# is a single character, U+1F441, and the "A" is gone.
#
# Seen, as json_reformat -m prints it:
#
#     ["\ud83dA"]         ["?A"]
#     ["\udc00"]          ["<ED><B0><80>"]
#     ["\ud83d\u0041B"]   ["<F0><9F><91><81>B"]

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

if ! apt-get -q download 'yajl-tools=2.1.0-*' 'libyajl2=2.1.0-*' >log 2>&1; then
    cat log >&2
    echo "$0: Debian's packages cannot be had" >&2
    exit 1
fi

ls ./*.deb

for deb in *.deb; do
    dpkg-deb -x "$deb" root
done

for libs in root/usr/lib/*-linux-gnu*; do
    export LD_LIBRARY_PATH="$dir/$libs"
done

# gives <JSON> <bytes in hexadecimal>

gives() {
    printf '%s' "$1" >in
    root/usr/bin/json_verify -q <in || failed=yes
    bytes=$(root/usr/bin/json_reformat -m <in | od -An -v -tx1 | tr -d ' \n')
    echo "$1 $bytes"
    [ "$bytes" = "$2" ] || failed=yes
}

failed=

gives '["\ud83dA"]' 5b223f41225d
gives '["\udc00"]' 5b22edb080225d
gives '["\ud83d\u0041B"]' 5b22f09f918142225d
gives '["\ud83d\ude00"]' 5b22f09f9880225d

if [ -n "$failed" ]; then
    echo "$0: yajl behaves in another way now" >&2
    exit 1
fi
