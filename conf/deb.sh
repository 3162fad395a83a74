#!/bin/sh

# Builds the Debian package into build/deb, out of a copy of the tree, so that
# nothing is left in the tree itself.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
deb=$root/build/deb

cd "$root"

if ! dpkg-checkbuilddeps 2>/dev/null; then
    sh conf/install.sh build-essential debhelper
fi

source=$(dpkg-parsechangelog -S Source)
version=$(dpkg-parsechangelog -S Version)
orig=${source}_${version%-*}.orig.tar.gz

rm -rf "$deb"
mkdir -p "$deb/tree"

tar -czf "$deb/$orig" --owner=root:0 --group=root:0 --sort=name \
    --transform "s|^\.|$source-${version%-*}|" \
    --exclude=./.git --exclude=./build --exclude=./debian .

tar -xzf "$deb/$orig" -C "$deb/tree" --strip-components=1
cp -R debian "$deb/tree"

cd "$deb/tree"

if ! dpkg-buildpackage -us -uc >"$deb/build.log" 2>&1; then
    tail -n 40 "$deb/build.log" >&2
    exit 1
fi

cd "$deb"
rm -rf tree

echo "$deb/${source}_${version}_$(dpkg --print-architecture).deb"
