#!/bin/sh

# Unpacks a package of another Debian release, one that is the same for all
# architectures, into a directory under build/:
#
#     sh t/get-package.sh PACKAGE DIRECTORY RELEASE ...
#
# It comes through the archive that this machine's apt uses, with lists of our
# own, so that the system's remain as they are.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
package=$1
directory=$root/build/$2
shift 2

apt=$directory.apt

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

    for release in "$@"; do
        for uri in $uris; do
            echo "deb [$options] $uri $release main" >sources.list
            private_apt update && private_apt download "$package" && return
        done
    done 2>"$apt/log"

    cat "$apt/log" >&2
    return 1
}

uris=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
    'Created-By: Packages' | sort -u)

if ! download "$@"; then
    echo "$0: no package $package to be had" >&2
    exit 1
fi

dpkg-deb -x "$apt/$package"_*.deb "$apt/root"
rm -rf "$directory"
mv "$apt/root" "$directory"
