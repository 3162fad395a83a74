#!/bin/sh

# Boots a real systemd in a bare Debian root, installs the loader as its README
# says, snippet by snippet, and looks at what the unit does: at a start without
# Redis, at changes, when the loader is killed, when it is stopped; for each
# release named, or for Debian 12:
#
#     sh t/systemd.sh bookworm
#
# The root has namespaces of its own; no container engine is needed.

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

# snippets <directory>: each of "Installing" into a file NUMBER.LANGUAGE

snippets() {
    awk -v dir="$1" '
        /^ *```/ {
            code = !code
            if (code) { language = $0; sub(/^ *```/, "", language); n += inside }
            next
        }
        !code && /^#+ / { inside = ($0 == "## Installing") }
        code && inside { sub(/^   /, ""); print >(dir "/" n "." (language ? language : "text")) }
    ' "$root/conf/loader/README.md"
}

# what systemd runs once it has booted

check() {
    cat <<'END'
set -eu

die() {
    echo "systemd: $*"
    journalctl --no-pager -n 30 -u billing-loader -u redis-server
    exit 1
}

wait_for() {
    tries=150

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "in vain: $*"
        sleep 0.1
    done
}

type_it() {
    sed 's/^/    /' "$1"
    sh -e "$1" || die "snippet $1 failed"
}

sql() {
    su postgres -c 'psql -q -v ON_ERROR_STOP=1 app'
}

name_is() {
    [ "$(redis-cli hget billing:camera:3 name 2>/dev/null)" = "$1" ]
}

rename() {
    echo "UPDATE cameras SET name = '$1' WHERE id = 3;" | sql
}

logged() {
    journalctl --no-pager -u billing-loader | grep -q "$1"
}

wait_for su postgres -c 'psql -c "SELECT 1"'
su postgres -c 'createdb app'

# in the order of the README: files, schema, role, settings, Redis' user, start

cd /src/conf/loader
type_it /snippets/1.sh
type_it /snippets/2.sh
sed 's/^/    /' /snippets/3.sql
sql </snippets/3.sql
cp /snippets/4.text /etc/billing-loader.conf

echo "INSERT INTO cameras (id, external_id, name, streams)
    VALUES (3, '3', 'first', 'high=active');" | sql

systemctl stop redis-server
sed 's/ -f$//' /snippets/6.sh >/tmp/start.sh
type_it /tmp/start.sh

wait_for logged 'no connection to Redis'
systemctl start redis-server
wait_for name_is first
echo "filled the cache when Redis came"

rename second
wait_for name_is second

pid=$(systemctl show -p MainPID --value billing-loader)
user=$(ps -o user:20= -p "$pid" | tr -d ' ')
[ "$user" = billing-loader ] || die "the loader runs as $user"
caps=$(grep -h '^Cap\(Prm\|Eff\|Bnd\):' "/proc/$pid/status" | tr -d '[:alpha:][:space:]:0')
[ -z "$caps" ] || die "the loader has capabilities: $caps"

kill -9 "$pid"
rename third
wait_for name_is third
[ "$(systemctl show -p MainPID --value billing-loader)" != "$pid" ] || die "not killed"
echo "was started again after a kill"

systemctl restart redis-server
redis-cli flushall >/dev/null
wait_for name_is third
systemctl restart postgresql
rename fourth
wait_for name_is fourth
echo "survives restarts of Redis and PostgreSQL"

systemctl stop billing-loader
result=$(systemctl show -p Result --value billing-loader)
[ "$result" = success ] || die "stopped with $result"
rename fifth
sleep 1
name_is fourth || die "the loader works after it was stopped"
[ "$(systemctl is-enabled billing-loader)" = enabled ] || die "not enabled"

echo passed
END
}

# the namespace's mounts, then systemd takes the place of this shell

boot() {
    dir=$1

    ip link set lo up
    mount --make-rprivate /
    mount --bind "$dir" "$dir"
    mount -t proc proc "$dir/proc"
    mount -t sysfs -o ro sysfs "$dir/sys"

    # systemd's own hierarchy is enough: version 1, or 2 where the kernel has it

    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        mount -t cgroup2 cgroup2 "$dir/sys/fs/cgroup"
    else
        mount -t tmpfs tmpfs "$dir/sys/fs/cgroup"
        mkdir "$dir/sys/fs/cgroup/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$dir/sys/fs/cgroup/systemd"
    fi

    for folder in run tmp dev; do
        mount -t tmpfs tmpfs "$dir/$folder"
    done

    for device in null zero full random urandom tty; do
        touch "$dir/dev/$device"
        mount --bind "/dev/$device" "$dir/dev/$device"
    done

    mkdir "$dir/dev/shm" "$dir/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$dir/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dir/dev/pts"
    ln -s pts/ptmx "$dir/dev/ptmx"

    exec chroot "$dir" env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=multi-user.target
}

if [ "${1:-}" = --boot ]; then
    boot "$2"
fi

[ $# -gt 0 ] || set -- bookworm

work=$(mktemp -d /var/tmp/billing-systemd.XXXXXX)
root_begin iproute2

for release; do
    start=$(date +%s)
    dir=$work/$release

    root_make "$release" "$dir"
    root_copy "$dir"

    { root_run "$dir" apt-get -qq update \
        && root_run "$dir" apt-get -qq -y --no-install-recommends install \
            systemd-sysv dbus postgresql redis-server adduser procps; } \
        >"$work/log" 2>&1 || { tail "$work/log" >&2; die "no packages"; }
    rm -f "$dir/usr/sbin/policy-rc.d"

    mkdir "$dir/snippets"
    snippets "$dir/snippets"
    check >"$dir/check.sh"

    # Redis' own unit asks for more than namespaces inside of others may have

    mkdir "$dir/etc/systemd/system/redis-server.service.d"
    cat >"$dir/etc/systemd/system/redis-server.service.d/test.conf" <<'END'
[Service]
PrivateUsers=no
ProtectProc=default
END

    cat >"$dir/etc/systemd/system/check.service" <<'END'
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /check.sh >/check.log 2>&1; systemctl --no-block poweroff'
END
    mkdir -p "$dir/etc/systemd/system/multi-user.target.wants"
    ln -s ../check.service "$dir/etc/systemd/system/multi-user.target.wants"

    timeout -s KILL 180 unshare --mount --pid --fork --uts --ipc --net --cgroup \
        --kill-child=KILL sh "$0" --boot "$dir" >"$work/boot" 2>&1 </dev/null || :

    cat "$dir/check.log" || { tail -n 20 "$work/boot" >&2; die "systemd did not boot"; }
    [ "$(tail -n 1 "$dir/check.log")" = passed ] || exit 1

    rm -rf "$dir"
    echo "$release: passed, $(($(date +%s) - start)) s"
done
