#!/bin/sh

# Puts Test::Nginx into build/test-nginx, for Debian releases that do not have
# its package yet: from forky or sid, through the archive that this machine's
# apt uses, with lists of our own, so that the system's remain as they are.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
apt=$root/build/apt
package=libtest-nginx-perl

rm -rf "$apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
trap 'rm -rf "$apt"' EXIT

# a mirror that lags behind will do, hence no Check-Valid-Until; signatures
# are checked all the same

private_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

download() {
    options="arch=all signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    cd "$apt"

    for release in forky sid; do
        for uri in $uris; do
            echo "deb [$options] $uri $release main" >sources.list
            private_apt update && private_apt download $package && return
        done
    done 2>"$apt/log"

    cat "$apt/log" >&2
    return 1
}

uris=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
    'Created-By: Packages' | sort -u)

if ! download; then
    echo "$0: no package $package to be had; Test::Nginx from CPAN will do" >&2
    exit 1
fi

dpkg-deb -x "$apt/$package"_*.deb "$apt/root"

# the directive "http2" is older there than it is in nginx

sed -i '/use_http2(\$block)/,/http2 on/s/"1\.019009"/"1.025001"/' \
    "$apt/root/usr/share/perl5/Test/Nginx/Util.pm"

mv "$apt/root" "$root/build/test-nginx"
