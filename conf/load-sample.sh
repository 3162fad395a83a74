#!/bin/sh

# Loads sample cameras into a Redis, and a token, "demo-token", that everybody
# knows: not for a cache in use. The arguments are redis-cli's:
#
#     sh conf/load-sample.sh -s /path/to/redis.sock
#
# In a Redis Cluster, redis-cli needs -c, to follow keys to their nodes, and any node:
#
#     sh conf/load-sample.sh -c -h 10.0.0.1
#
#     --ttl S     seconds until the token expires, 86400 by default; 0: never
#     --remove    takes away what was loaded, unless it has been changed since
#
# The script is also an example for authors of loaders: it writes every kind of
# key that the module reads. The rules for loaders are in loader/README.md.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

remove=
ttl=86400

# takes the script's own options out of the arguments, which go round once

n=$#

while [ "$n" -gt 0 ]; do
    case $1 in
        --remove)
            remove=yes ;;
        --ttl)
            ttl=${2:-}
            shift
            n=$((n - 1)) ;;
        *)
            set -- "$@" "$1" ;;
    esac

    shift
    n=$((n - 1))
done

case $#:$ttl in
    0:* | *: | *:*[!0-9]*)
        echo "usage: sh $0 -s /path/to/redis.sock (or other redis-cli options)" >&2
        exit 2 ;;
esac

# redis-cli exits with 0 after an error reply. Here, every other reply than a
# number or OK is an error, but for what -c says of nodes.

redis() {
    replies=$(redis-cli "$@")

    if echo "$replies" | grep -vE '^([0-9]+|OK|-> Redirected to slot .*)$' >&2; then
        exit 1
    fi
}

redis-cli "$@" PING >/dev/null


# The two cameras of the API's documentation. They have no start_at, so that the
# answer has null there.

documented() {
    cat <<'END'
HSET billing:camera:3 external_id 3 status active name "Camera 1" group_type public streams high=active,low=active preview "https://server1.domain.video:8443/live/a2aefb0f-d3f7-4fb7-9828-218badead1f4/preview.mp4?token=xUXC_FOaJBQkSaxyZMBG77zC9pgULKSjA-EShnSzQbM-h7ePl8h76Dd20CYwTVihT2QzHZSX9d1DCPs8ttooqfzdgJb1RltcR1l3DgCmfFz68UUX_xEkGKNWbt5UPakGQXr5h1yMP7WE-CZ8CGqU6g~~"
HSET billing:camera:4 external_id 4 status active name "Camera 2" group_type private streams high=active,low=active preview "https://domain.com:8443/live/67aa0ee2-1f32-4e8e-b383-ca02c87e8390/preview.mp4?token=sometoken"
SET billing:external:3 3
SET billing:external:4 4
ZADD billing:login:string 3 3 4 4
END
}


# Other states: "high=" is a stream whose status is null, and a camera may have
# no preview and no streams.

states() {
    cat <<'END'
HSET billing:camera:10 external_id yard-1 start_at 2023-01-24T10:36:08.000000Z status partial name "Yard, north side" group_type private streams high=active,low=inactive preview "https://stream1.example.com:8443/live/yard-1/preview.mp4?token=sometoken"
HSET billing:camera:11 external_id yard-2 start_at 2023-01-24T10:36:08.000000Z status blocked name "Yard, south side" group_type private streams high=inactive,low=inactive
HSET billing:camera:12 external_id gate status initial name "Gate \"B\"" group_type private streams high=,low=
HSET billing:camera:13 external_id attic status empty name Attic
SET billing:external:yard-1 10
SET billing:external:yard-2 11
SET billing:external:gate 12
SET billing:external:attic 13
ZADD billing:login:alice 10 10 11 11 12 12 13 13
END
}


# Text is UTF-8. Camera 10 belongs to two subscribers.

texts() {
    cat <<'END'
HSET billing:camera:20 external_id каса-1 status active name "Каса №1 🎥" group_type private streams high=active preview "https://stream1.example.com:8443/live/20/preview.mp4?token=sometoken"
HSET billing:camera:21 external_id каса-2 status inactive name "Каса №2" group_type private streams high=inactive
SET billing:external:каса-1 20
SET billing:external:каса-2 21
ZADD billing:login:олена 20 20 21 21 10 10
END
}


# The 300 cameras of a city. redis-cli waits for each reply before it sends the
# next command. A loader should pipeline: see loader/README.md.

city() {
    awk 'BEGIN {
        for (id = 1001; id <= 1300; id++) {
            status = id % 50 == 0 ? "inactive" : "active"
            printf "HSET billing:camera:%d external_id city-%d", id, id
            printf " start_at 2024-03-%02dT08:00:00.000000Z", id % 28 + 1
            printf " status %s name \"Crossing %d\"", status, id - 1000
            printf " group_type public streams high=%s,low=%s", status, status
            printf " preview \"https://stream%d.example.com:8443", id % 4 + 1
            printf "/live/city-%d/preview.mp4?token=sometoken\"\n", id
            printf "SET billing:external:city-%d %d\n", id, id
            printf "ZADD billing:login:city %d %d\n", id, id
        }
    }'
}

sample() {
    documented
    states
    texts
    city
}

# Redis knows a token by its SHA-256 only. The value is the client's name.

token=billing:token:$(printf %s demo-token | sha256sum | cut -d ' ' -f 1)

if [ -z "$remove" ]; then
    sample | redis "$@"

    if [ "$ttl" -gt 0 ]; then
        redis "$@" SET "$token" "Demo client" EX "$ttl"
        end="expires in $ttl s"
    else
        redis "$@" SET "$token" "Demo client"
        end="never expires"
    fi

    redis "$@" SET billing:synced_at "$(date +%s)"

    echo "Loaded: sample cameras, and the token \"demo-token\", which $end."
    echo "Whoever knows this script may read the cache with that token." \
        "--remove takes both away."
    exit
fi


# What a command has written is taken away if it is still there as it was written:
# index entries first, as a reader goes from them to the hashes.

undo="
    local name, key = ARGV[1], KEYS[1]
    local changed = 0
    if name == 'SET' and redis.call('GET', key) == ARGV[2] then
        return redis.call('DEL', key)
    elseif name == 'ZADD' then
        for i = 3, #ARGV, 2 do
            changed = changed + redis.call('ZREM', key, ARGV[i])
        end
    elseif name == 'HSET' then
        for i = 2, #ARGV, 2 do
            if redis.call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then
                return 0
            end
        end
        for i = 2, #ARGV, 2 do
            changed = changed + redis.call('HDEL', key, ARGV[i])
        end
    end
    return changed
"

# undo <option> ...: for the commands on standard input

undo() {
    script=$(echo "$undo" | tr -s '\n ' ' ')
    commands=$(sed "s/^\([A-Z]*\) \([^ ]*\)/EVAL \"$script\" 1 \2 \1/")

    echo "$commands" | redis "$@"
}

{
    echo "SET $token \"Demo client\""
    sample | grep -v '^HSET'
    sample | grep '^HSET'
} | undo "$@"

# In a cluster, --scan shows the keys of one node.

left() {
    redis-cli "$@" --scan --pattern 'billing:*'

    redis-cli "$@" CLUSTER NODES \
        | awk '$3 ~ /master$/ { sub(/@.*/, "", $2); print $2 }' \
        | while read -r node; do
              redis-cli "$@" -h "${node%:*}" -p "${node##*:}" --scan \
                  --pattern 'billing:*' </dev/null
          done
}

# synced_at is the sample's where nothing else is left

if ! left "$@" | grep -qvx billing:synced_at; then
    redis "$@" DEL billing:synced_at
fi

echo "Removed: sample cameras and the token \"demo-token\"."
