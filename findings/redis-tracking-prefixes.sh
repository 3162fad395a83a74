#!/bin/sh

# Redis 7.0.15 answers one CLIENT TRACKING command with two replies, an error
# and +OK, and turns tracking on.
#
# The command names three prefixes in BCAST mode, and the third prefix begins with
# the second one. The error says that prefixes must not overlap. From then on,
# every reply on this connection belongs to the command before, so that a
# client that counts replies gives the data of one request to another. With the
# overlapping prefixes alone, Redis sends the error and nothing else.
#
# Seen:
#
#     -ERR Prefix 'billing:' overlaps with another provided prefix 'billing:camera:'. Prefixes for a single client must not overlap.
#     +OK
#     +PONG
#     (a SET of billing:1 by another client) >2 invalidate billing:1

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

my ($hello, $s) = ask('HELLO 3');
my ($replies) = ask('CLIENT TRACKING ON BCAST PREFIX a: PREFIX billing:'
                    . " PREFIX billing:camera:\r\nPING", $s);
ask('SET billing:1 x');
my ($push) = ask('', $s);
print $replies, $push;

my ($alone) = ask("HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX billing:"
                  . " PREFIX billing:camera:\r\nPING");
$alone =~ s/.*(?=^-)//ms;
print $alone;

exit !($replies =~ /\A-ERR Prefix 'billing:' overlaps .*\n\+OK\n\+PONG\n\z/
       && $push eq ">2\n\$10\ninvalidate\n*1\n\$9\nbilling:1\n"
       && $alone =~ /\A-ERR Prefix 'billing:' overlaps .*\n\+PONG\n\z/);
END

if ! perl ask.pl; then
    echo "$0: Redis behaves in another way now" >&2
    exit 1
fi
