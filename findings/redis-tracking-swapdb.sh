#!/bin/sh

# Redis 7.0.15 does not tell a client that tracks keys (CLIENT TRACKING) when
# SWAPDB exchanges the database that the client reads.
#
# FLUSHDB sends an invalidation of all keys. SWAPDB changes every value of a
# database at once and sends none, in default mode and in BCAST mode. A
# client-side cache keeps old values until somebody writes the keys again.
#
# Seen, after GET k was answered "old" and SWAPDB 0 1 with +OK:
#
#     (no push, in both modes)
#     $3 new

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

dir=$(mktemp -d /tmp/finding.XXXXXX)
redis=

# shellcheck disable=SC2317
cleanup() {
    [ -z "$redis" ] || { kill "$redis" && wait "$redis"; } 2>/dev/null || :
    rm -rf "$dir"
}

trap cleanup EXIT
cd "$dir"

if ! apt-get -q download 'redis-tools=5:7.0.15-*' 'redis-server=5:7.0.15-*' \
    'libatomic1=12.2.0-*' 'libjemalloc2=5.3.0-*' 'liblzf1=3.6-*' \
    'libssl3=3.0.*' >log 2>&1
then
    cat log >&2
    echo "$0: Debian 12's packages cannot be had" >&2
    exit 1
fi

for deb in *.deb; do
    dpkg-deb -x "$deb" root
done

for libs in root/usr/lib/*-linux-gnu*; do
    export LD_LIBRARY_PATH="$dir/$libs"
done

root/usr/bin/redis-server --version | tee version
grep -q ' v=7\.0\.15 ' version

root/usr/bin/redis-server --port 0 --unixsocket "$dir/s" --save '' \
    --logfile "$dir/log" &
redis=$!

cat >ask.pl <<'END'
use strict;
use warnings;

use IO::Socket::UNIX;

# Sends a line to a new connection of its own, or to one that is there, and
# returns what arrives until nothing has come for half a second.

sub ask {
    my ($line, $s) = @_;

    for (1 .. 100) {
        last if $s ||= IO::Socket::UNIX->new(Peer => 's');
        select undef, undef, undef, 0.1;
    }

    syswrite $s, "$line\r\n";

    my ($all, $fd) = ('', '');
    vec($fd, fileno $s, 1) = 1;
    while (select(my $ready = $fd, undef, undef, 0.5)) {
        sysread $s, $all, 65536, length $all or last;
    }
    $all =~ s/\r//g;

    return ($all, $s);
}

sub swap {
    my ($mode) = @_;

    ask("FLUSHALL\r\nSET k old\r\nSELECT 1\r\nSET k new");

    my (undef, $s) = ask("HELLO 3\r\nCLIENT TRACKING ON$mode\r\nGET k");
    my ($ok) = ask('SWAPDB 0 1');
    my ($push) = ask('', $s);
    my ($value) = ask('GET k', $s);

    $_ =~ tr/\n/ / for $ok, $push, $value;
    print "tracking$mode: SWAPDB ${ok}push \"$push\", GET k $value\n";
    return $ok eq '+OK ' && $push eq '' && $value eq '$3 new ';
}

my $same = swap('') && swap(' BCAST');

my (undef, $s) = ask("HELLO 3\r\nCLIENT TRACKING ON BCAST");
ask('FLUSHDB');
my ($push) = ask('', $s);
$push =~ tr/\n/ /;
print "FLUSHDB: push \"$push\"\n";

exit !($same && $push =~ /\A>2 \$10 invalidate /);
END

if ! perl ask.pl; then
    echo "$0: Redis behaves in another way now" >&2
    exit 1
fi
