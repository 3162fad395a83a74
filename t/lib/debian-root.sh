# shellcheck shell=sh
# shellcheck disable=SC2154

# Bare Debian roots for tests: sourced, with $root as the top directory of the
# module. As root only.
#
# Programs in a root have mounts and processes of their own: however the test
# ends, the kernel takes these away.

# die <text>

die() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

# root_begin <package> ...: $work is removed when the test ends, and the packages
# that the test needs beside debootstrap are installed

root_begin() {
    trap 'rm -rf "$work"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    [ "$(id -u)" -eq 0 ] || die "chroot needs root"

    sh "$root/conf/install.sh" debootstrap "$@"
}

# root_make <release> <directory>, the first time for a release by debootstrap
# and then from build/roots

root_make() {
    tar=$root/build/roots/$1.tar

    if [ ! -f "$tar" ]; then
        root_debootstrap "$1" "$2" >"$2.log" 2>&1 || {
            tail -n 20 "$2.log" >&2
            return 1
        }

        mkdir -p "$root/build/roots"
        tar -cf "$tar.$$" -C "$2" . || return 1
        mv "$tar.$$" "$tar"
    else
        mkdir -p "$2"
        tar -xf "$tar" -C "$2" || return 1
    fi

    root_network "$2"
}

# the way to the archive, as this machine has it now

root_network() {
    cp /etc/resolv.conf "$1/etc/resolv.conf"
    echo '127.0.0.1 localhost' >"$1/etc/hosts"
    apt-config dump | grep -E '^Acquire::(https?::|Check-)' \
        >"$1/etc/apt/apt.conf.d/90network" || :
}

# from the archive that this machine's apt uses

root_debootstrap() {
    # shellcheck disable=SC2016
    uris=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
        'Created-By: Packages' | sort -u)

    for uri in $uris; do
        rm -rf "$2"
        debootstrap --variant=minbase "$1" "$2" "$uri" && break
    done

    [ -x "$2/usr/bin/apt-get" ] || return 1

    # as in Debian's images for containers: packages start no services

    printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
    chmod 755 "$2/usr/sbin/policy-rc.d"

    echo force-unsafe-io >"$2/etc/dpkg/dpkg.cfg.d/unsafe-io"
}

# root_copy <directory>, the module's tree into its /src

root_copy() {
    mkdir "$1/src"
    tar -c -C "$root" --exclude=./build --exclude=./.git . | tar -x -C "$1/src"
}

# root_run <directory> <command> ...

root_run() {
    dir=$1
    shift

    unshare --mount --pid --fork --kill-child=KILL \
        --mount-proc="$dir/proc" -- chroot "$dir" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
