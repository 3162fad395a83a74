# A client that controls its connection: it sends single bytes, pauses, sends
# several requests, closes, half closes and resets.

package Billing::Client;

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use Socket qw(IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time);

our $TIMEOUT = 20;

sub new {
    my ($class, %opt) = @_;

    my $port = $opt{port} // $Test::Nginx::Util::ServerPort;
    my $sock;

    # nginx has just been started, and may not listen yet

    for (1 .. 400) {
        $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => $port, Proto => 'tcp');
        last if $sock;
        sleep 0.05;
    }

    die "cannot connect to port $port: $!\n" if !$sock;

    $sock->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);

    return bless { sock => $sock, in => '' }, $class;
}

sub send {
    my ($self, $out) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (length $out) {
        my $n = syswrite $self->{sock}, $out;
        return 0 if !defined $n;
        substr($out, 0, $n) = '';
    }

    return 1;
}

# Sends each byte in a segment of its own.

sub send_bytes {
    my ($self, $out) = @_;

    for my $byte (split //, $out) {
        $self->send($byte) or return 0;
        sleep 0.001;
    }

    return 1;
}

# Reads once; false at the end of the stream, on an error and on a timeout.

sub fill {
    my ($self, $timeout) = @_;

    if (!IO::Select->new($self->{sock})->can_read($timeout // $TIMEOUT)) {
        $self->{timedout} = 1;
        return 0;
    }

    my $n = sysread $self->{sock}, $self->{in}, 65536, length $self->{in};
    return $n ? 1 : 0;
}

# Everything up to the end of the stream.

sub slurp {
    my ($self) = @_;

    1 while $self->fill;

    return $self->{in};
}

# One response, taken from the connection as a client with keep-alive does.
# {complete} is false where the connection broke off in the middle.

sub response {
    my ($self, %opt) = @_;

    while ($self->{in} !~ /\r\n\r\n/) {
        $self->fill or return { complete => 0, status => 0, body => '',
                                headers => $self->{in} };
    }

    $self->{in} =~ s/\A(.*?\r\n)\r\n//s;

    my %res = (headers => $1, body => '', complete => 0);
    ($res{status}) = $res{headers} =~ m{\AHTTP/1\.[01] (\d+)};

    return { %res, complete => 1 } if $opt{head} || $res{status} == 100;

    if ($res{headers} =~ /^Content-Length: (\d+)\r$/mi) {
        my $len = $1;

        while (length $self->{in} < $len) {
            $self->fill or return \%res;
        }

        $res{body} = substr $self->{in}, 0, $len, '';

    } elsif ($res{headers} =~ /^Transfer-Encoding: chunked\r$/mi) {

        for ( ;; ) {
            while ($self->{in} !~ /\A[0-9a-f]+\r\n/i) {
                $self->fill or return \%res;
            }

            $self->{in} =~ s/\A([0-9a-f]+)\r\n//i;
            my $size = hex $1;

            while (length $self->{in} < $size + 2) {
                $self->fill or return \%res;
            }

            $res{body} .= substr $self->{in}, 0, $size, '';
            substr($self->{in}, 0, 2) = '';
            last if $size == 0;
        }

    } else {
        $res{body} = $self->slurp;
        $self->{in} = '';
    }

    $res{complete} = 1;
    return \%res;
}

# Is the connection open and silent?

sub idle {
    my ($self, $seconds) = @_;

    return !IO::Select->new($self->{sock})->can_read($seconds // 0.2);
}

sub close {
    my ($self) = @_;

    CORE::close $self->{sock};
}

sub reset {
    my ($self) = @_;

    $self->{sock}->setsockopt(SOL_SOCKET, SO_LINGER, pack 'll', 1, 0);
    CORE::close $self->{sock};
}

1;
