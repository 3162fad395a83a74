#!/bin/sh

# Puts the source of the nginx that is installed into build/nginx-source, for
# builds with sanitizers: from the archive that this machine's apt uses, with
# lists of our own, so that the system's remain as they are.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
apt=$root/build/apt-source
source=$root/build/nginx-source

sh "$root/conf/install.sh" dpkg-dev

version=$(dpkg-query -Wf '${source:Version}' nginx)

[ "$version" != "$(cat "$source/version" 2>/dev/null)" ] || exit 0

rm -rf "$apt" "$source"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/out"
trap 'rm -rf "$apt"' EXIT

private_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
options="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"

# The newest security revision's source can be missing where its packages are
# there: then the release's own.

download() {
    cd "$apt/out"
    private_apt update || :
    private_apt source "nginx=$version" || private_apt source "nginx/$codename"
}

# shellcheck disable=SC2016
apt-get indextargets --no-release-info --format '$(RELEASE) $(REPO_URI)' \
    'Created-By: Packages' | sort -u | while read -r release uri
do
    case $release in
        "$codename" | "$codename"-*)
            echo "deb-src [$options] $uri $release main"
            ;;
    esac
done >"$apt/sources.list"

if ! (download) >"$apt/log" 2>&1; then
    cat "$apt/log" >&2
    echo "$0: no source of nginx $version to be had" >&2
    exit 1
fi

mv "$apt"/out/nginx-*/ "$source"
echo "$version" >"$source/version"
