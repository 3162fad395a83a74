#!/bin/sh

# Sends random requests to an nginx built with sanitizers, and compares each
# answer with that of t/lib/Billing/Oracle.pm:
#
#     sh t/fuzz/http.sh [seconds] [seed]
#
# Each batch of requests has a seed of its own, which is printed when there is
# something wrong: "sh t/fuzz/http.sh 1 <seed>" begins with that batch.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)

export PATH="$PATH:/usr/sbin" LC_ALL=C.UTF-8

sh "$root/t/fuzz/build.sh"

cd "$root"
exec perl -It/lib -It/fuzz t/fuzz/http.pl build/fuzz/nginx "${1:-60}" \
    "${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
