# A TCP load balancer between nginx and its Redis servers, on the event loop: each
# new connection goes to the next server. It can hold back or delay what the servers
# say, send what nginx says in two parts, and cut or forget all connections.

package Billing::Check::Balancer;

use strict;
use warnings;

use IO::Socket::INET ();

sub new {
    my ($class, $loop, @ports) = @_;

    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                         Proto => 'tcp')
        or die "the balancer cannot listen: $!\n";

    my $self = bless { loop => $loop, listener => $listener, ports => \@ports,
                       port => $listener->sockport, pairs => {}, next => 0,
                       delay => 0 }, $class;

    $loop->watch($listener, sub { $self->accept });
    return $self;
}

sub accept {
    my ($self) = @_;

    my $client = $self->{listener}->accept or return;

    if ($self->{refuses}) {
        close $client;
        return;
    }

    my $port = $self->{ports}[ $self->{next}++ % @{ $self->{ports} } ];

    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                                       Proto => 'tcp');
    if (!$server) {
        close $client;
        return;
    }

    $_->setsockopt(Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1) for $client, $server;

    my $pair = { queue => [] };
    my $cut = sub { $self->cut($pair) };

    $self->{pairs}{$pair} = $pair;

    $pair->{client} = $self->{loop}->stream($client, gone => $cut, data => sub {
        my ($from) = @_;
        my $bytes = $from->{in};
        $from->{in} = '';
        $self->send($pair, $bytes) if !$pair->{lost};
    });

    $pair->{server} = $self->{loop}->stream($server, gone => $cut, data => sub {
        my ($from) = @_;
        my $bytes = $from->{in};
        $from->{in} = '';
        $self->pass($pair, $bytes);
    });
}

# With {split}, the last bytes of each write of nginx come so many seconds late.

sub send {
    my ($self, $pair, $bytes) = @_;

    if (defined $pair->{late}) {
        $pair->{late} .= $bytes;
        return;
    }

    if (!$self->{split}) {
        $pair->{server}->write($bytes);
        return;
    }

    $pair->{late} = substr $bytes, -8, 8, '';
    $pair->{server}->write($bytes);

    $self->{loop}->after($self->{split}, sub {
        $pair->{server}->write(delete $pair->{late});
    });
}

sub pass {
    my ($self, $pair, $bytes) = @_;

    return if $pair->{lost};

    push @{ $pair->{queue} }, [ Billing::Check::Loop::now() + $self->{delay}, $bytes ];
    $self->drain($pair);
}

# Passes on the server's bytes in the order in which they came.

sub drain {
    my ($self, $pair) = @_;

    return if $self->{silent};

    my $queue = $pair->{queue};
    my $now = Billing::Check::Loop::now();

    $pair->{client}->write((shift @$queue)->[1]) while @$queue && $queue->[0][0] <= $now;

    $self->{loop}->after($queue->[0][0] - $now, sub { $self->drain($pair) }) if @$queue;
}

# Holds back all bytes of the servers, until the function is called with 0.

sub silent {
    my ($self, $silent) = @_;

    $self->{silent} = $silent;
    return if $silent;

    $self->drain($_) for values %{ $self->{pairs} };
}

# Forgets all connections without a word, as a firewall does.

sub lose {
    my ($self) = @_;

    $_->{lost} = 1 for values %{ $self->{pairs} };
}

sub cut {
    my ($self, @pairs) = @_;

    for my $pair (@pairs ? @pairs : values %{ $self->{pairs} }) {
        $_->close for @$pair{qw(client server)};
        delete $self->{pairs}{$pair};
    }
}

sub close {
    my ($self) = @_;

    $self->cut if %{ $self->{pairs} };
    $self->{loop}->unwatch(fileno $self->{listener});
    CORE::close $self->{listener};
}

1;
