#!/bin/sh

# Builds the image with buildah, as "docker build" would, then runs it in
# namespaces of its own with a Redis beside it: as the image's user, with no
# capabilities, and with nothing writable but /tmp. The loader's image is built,
# and has the programs that the loader needs. A container engine is not
# needed, and its limits are not tested.
#
#     sh t/docker.sh

set -eu
umask 022

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
url='http://127.0.0.1:8080/api/v1/billing/cameras/list?login=string'

export no_proxy=127.0.0.1

# shellcheck source=t/lib/debian-root.sh
. "$root/t/lib/debian-root.sh"

[ "$(id -u)" -eq 0 ] || die "buildah and chroot need root"

# the kernel takes all mounts away as the namespace ends

if [ "${1:-}" != --namespace ] && [ "${1:-}" != --run ]; then
    sh "$root/conf/install.sh" debootstrap buildah iproute2
    exec unshare --mount sh "$0" --namespace
fi

image() {
    buildah --root "$work/storage" --runroot "$work/run" \
        --storage-driver overlay "$@"
}

# quietly <command> ..., with its output only if it fails

quietly() {
    if ! "$@" >"$work/log" 2>&1; then
        tail -n 60 "$work/log" >&2
        die "failed: $*"
    fi
}

# contained <variable=value> ... <command> ... with the image's files and user

contained() {
    root_run "$mount" chroot --userspec="$user" / \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# refused <words of the message> <variable=value> ...

refused() {
    words=$1
    shift

    if contained "$@" sh -c "exec $command" >"$work/log" 2>&1; then
        die "started with $*"
    fi

    grep -q "^entrypoint: .*$words" "$work/log" \
        || die "no message of \"$words\": $(cat "$work/log")"
}

# health, as the engine asks it inside the container

health() {
    eval "nsenter --target $nginx --mount --pid --root --wdns=/ \
        --setuid ${user%:*} --setgid ${user#*:} $healthcheck"
}

# ask <status> <body, a regex> <curl option> ...

ask() {
    status=$1
    body=$2
    shift 2

    answer=$(curl -sS -m 10 -w '\n%{http_code}' "$@" "$url") || :

    if [ "${answer##*
}" != "$status" ] || ! echo "$answer" | grep -qx "$body"; then
        die "asked for $status $body, got: $answer"
    fi

    echo "answered with $status"
}

# wait_for <command> ...

wait_for() {
    tries=200

    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

redis_start() {
    redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$work" \
        --logfile "$work/redis.log" &
    redis=$!

    wait_for redis-cli ping || die "Redis did not start"
    sh "$root/conf/load-sample.sh" -h 127.0.0.1
}

redis_stop() {
    kill "$redis"
    wait "$redis" || die "Redis ended with $?"
}

# In a network namespace the ports are free, and in one of mounts the image can
# be made read-only.

run() {
    redis=
    engine=
    trap 'kill -9 $engine $redis 2>/dev/null || :' EXIT

    ip link set lo up
    echo "127.0.0.1 localhost redis" >"$mount/etc/hosts"
    cp "$work/ca.crt" "$mount/etc"

    mount --bind "$mount" "$mount"
    mount -o remount,bind,ro "$mount"
    mount --rbind /dev "$mount/dev"

    # an engine gives these to the image's user, so that nginx can open them

    touch "$work/stdout" "$work/stderr"
    chown "$user" "$work/stdout" "$work/stderr"

    redis_start

    refused '/tmp is not writable' BILLING_REDIS=redis://redis
    mount -t tmpfs -o mode=1777 tmpfs "$mount/tmp"

    refused 'not set' BILLING_REDIS=
    refused 'not allowed' 'BILLING_REDIS=redis://redis; daemon on'
    refused 'is not redis://' BILLING_REDIS=http://redis
    refused 'not a file' BILLING_REDIS=redis://redis \
        BILLING_REDIS_PASSWORD_FILE=/nowhere

    contained BILLING_REDIS='rediss://user@redis/1 unix:/run/redis.sock?db=1' \
        BILLING_REDIS_PASSWORD_FILE=/etc/hosts BILLING_REDIS_CA_FILE=/etc/ca.crt \
        sh /usr/local/bin/entrypoint.sh nginx -q -t >>"$work/stdout" \
        || die "the settings were not taken"

    if eval "chroot --userspec=$user \"\$mount\" $healthcheck" 2>/dev/null; then
        die "healthy without nginx"
    fi

    # root_run would not tell the pid

    unshare --mount --pid --fork --kill-child=KILL \
        --mount-proc="$mount/proc" -- \
        chroot --userspec="$user" "$mount" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        BILLING_REDIS=redis://redis:6379 sh -c "exec $command" \
        >>"$work/stdout" 2>>"$work/stderr" &
    engine=$!

    wait_for curl -sS -m 1 "$url" || die "no nginx: $(cat "$work/stderr")"
    nginx=$(ps -o pid= --ppid "$engine" | tr -d ' ')

    ask 401 '{"message":"Unauthenticated."}'
    ask 200 '\[{"id":3,.*},{"id":4,.*}\]' \
        -H 'Authorization: Bearer demo-token'

    health || die "not healthy"

    curl -sS http://127.0.0.1:9145/metrics >"$work/status"
    grep -qx 'nginx_billing_requests_total{status="200"} 1' "$work/status" \
        || die "this is no status page: $(cat "$work/status")"
    if curl -s http://127.0.0.2:9145/metrics \
       || curl -fs http://127.0.0.1:8080/metrics
    then
        die "outsiders have the status page"
    fi

    redis_stop
    ask 503 '{"message":.*}' -H 'Authorization: Bearer demo-token'
    health || die "not healthy while Redis is down"

    redis_start
    ask 200 '\[{"id":3,.*},{"id":4,.*}\]' --retry 5 \
        -H 'Authorization: Bearer demo-token'

    users=$(ps -o user= -p "$nginx" --ppid "$nginx" | sort -u)
    [ "$users" = www-data ] || die "nginx runs as \"$users\""
    caps=$(grep -h '^Cap\(Prm\|Eff\):' "/proc/$nginx/status" | tr -d '[:alpha:][:space:]:0')
    [ -z "$caps" ] || die "nginx has capabilities: $caps"

    kill -s QUIT "$nginx"
    status=0
    wait "$engine" || status=$?
    engine=
    [ $status -eq 0 ] || die "nginx ended with $status"

    grep -q '"GET /api/v1/billing/cameras/list" 200 .* client="Demo client"' \
        "$work/stdout" || die "stdout has no access log"
    grep -q 'redis server ".*" is down' "$work/stderr" \
        || die "stderr has no error log"
    if grep -E '\[(alert|crit|emerg)\]' "$work/stderr"; then
        die "nginx logged the above"
    fi

    redis_stop
    redis=
}

if [ "$1" = --run ]; then
    work=$2 mount=$3 command=$4 healthcheck=$5 user=$6
    run
    exit
fi

work=$(mktemp -d /tmp/billing-docker.XXXXXX)

cleanup() {
    image rm --all >/dev/null 2>&1 || :
    umount "$work/storage/overlay" 2>/dev/null || :
    rm -rf "$work"
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

start=$(date +%s)
echo "building"

# the base image, from Debian's archive instead of a registry of images

root_make trixie "$work/base"
base=$(image from scratch)
quietly image add "$base" "$work/base" /
quietly image commit "$base" docker.io/library/debian:trixie-slim
rm -rf "$work/base"

quietly image bud --isolation chroot --pull-never --format docker \
    --tag billing "$root"

quietly image bud --isolation chroot --pull-never --format docker \
    --tag loader --file "$root/conf/docker/loader.Dockerfile" "$root"

container=$(image from --pull-never loader)
mount=$(image mount "$container")
loader() {
    chroot --userspec=65534:65534 "$mount" "$@"
}
loader sh /usr/local/lib/billing-loader/sync.sh --help >"$work/log" \
    || die "the loader's image has no sync.sh"
for program in psql redis-cli awk; do
    loader sh -c "command -v $program" >"$work/log" \
        || die "the loader's image has no $program"
done
quietly image umount "$container"

# what the image says of itself, each as words for a shell

# config <Perl on $c>

config() {
    image inspect --type image billing | perl -MJSON::PP -0777 -e '
        my $c = decode_json(<STDIN>)->{Docker}{config};
        print join " ", map { "\x27$_\x27" } eval $ARGV[0]' "$1"
}

# shellcheck disable=SC2016
command=$(config '@{$c->{Entrypoint}}, @{$c->{Cmd}}')
# shellcheck disable=SC2016
healthcheck=$(config '@{$c->{Healthcheck}{Test}}[1 .. 2]')
# shellcheck disable=SC2016
signal=$(config '$c->{StopSignal}')

# shellcheck disable=SC2016
user=$(config '$c->{User}' | tr -d "'")

[ "$signal" = "'SIGQUIT'" ] || die "the image stops by $signal"

container=$(image from --pull-never billing)
mount=$(image mount "$container")

built=$(date +%s)
echo "running $command"

quietly openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=redis \
    -keyout "$work/ca.key" -out "$work/ca.crt"

unshare --net --mount sh "$0" --run "$work" "$mount" "$command" "$healthcheck" \
    "$user"

echo "passed, $((built - start)) s to build the image of" \
    "$(du -sm "$mount" | cut -f 1) MB, $(($(date +%s) - built)) s to run it"
