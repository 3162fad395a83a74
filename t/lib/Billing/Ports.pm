# TCP ports for servers that a test starts, stops and starts again.
#
# A port that nobody listens on may become the local port of somebody else's
# connection. So the port stays bound by a socket that does not listen, as long
# as the test runs: the kernel then gives it to nobody. nginx and Redis can
# listen on it all the same, because all of them set SO_REUSEADDR. Until one of
# them listens, a connection to the port is refused.

package Billing::Ports;

use strict;
use warnings;

use Socket qw(PF_INET SOCK_STREAM INADDR_ANY SOL_SOCKET SO_REUSEADDR
              pack_sockaddr_in unpack_sockaddr_in);

my @Reserved;

sub reserve {
    socket my $sock, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    setsockopt $sock, SOL_SOCKET, SO_REUSEADDR, 1 or die "SO_REUSEADDR: $!\n";
    bind $sock, pack_sockaddr_in(0, INADDR_ANY) or die "bind: $!\n";

    push @Reserved, $sock;

    my ($port) = unpack_sockaddr_in(getsockname $sock);
    return $port;
}

1;
