#!/bin/sh

# Writes the environment's settings where nginx.conf includes them, then
# becomes the command:
#
#     BILLING_REDIS                URLs as in the directive billing_redis
#     BILLING_REDIS_PASSWORD_FILE  optional, the file with the password
#     BILLING_REDIS_CA_FILE        for rediss://, the authorities' certificates

set -euf

# A value may hold a password: no message shows one, and only the user of nginx
# can read the file.

die() {
    echo "entrypoint: $*" >&2
    exit 1
}

# check <name> <value> <characters allowed>

check() {
    if [ -n "$(printf %s "$2" | tr -d "$3")" ]; then
        die "$1 has characters that are not allowed there;" \
            "in an URL they are percent-encoded"
    fi
}

[ -n "${BILLING_REDIS:-}" ] \
    || die "BILLING_REDIS is not set: -e BILLING_REDIS=redis://redis:6379"

check BILLING_REDIS "$BILLING_REDIS" '][ A-Za-z0-9._~:/?@%=&,+-'

for url in $BILLING_REDIS; do
    case $url in
        redis://?* | rediss://?* | unix:/?*) ;;
        *) die "BILLING_REDIS is not redis://, rediss:// or unix:/" ;;
    esac
done

# file <name> <value> <directive>

file() {
    [ -n "$2" ] || return 0
    check "$1" "$2" 'A-Za-z0-9._/+-'
    [ -r "$2" ] || die "$1 is not a file that can be read"
    echo "$3 $2;"
}

[ -w /tmp ] || die "/tmp is not writable: docker run --read-only --tmpfs /tmp"

umask 077
rm -f /tmp/billing-redis.conf

{
    echo "billing_redis $BILLING_REDIS;"
    file BILLING_REDIS_PASSWORD_FILE "${BILLING_REDIS_PASSWORD_FILE:-}" \
        billing_redis_password_file
    file BILLING_REDIS_CA_FILE "${BILLING_REDIS_CA_FILE:-}" \
        billing_redis_ssl_trusted_certificate
} >/tmp/billing-redis.conf

umask 022

exec "$@"
