# A Redis client on the event loop: it sends pipelines, and calls back with the
# replies of each.

package Billing::Check::Redis;

use strict;
use warnings;

use IO::Socket::UNIX ();
use Socket qw(SOCK_STREAM);

use Billing::Redis;

# The prefix of all keys, instead of "billing:".

our $PREFIX = 'billing:';

# "gone" is called when the server has closed the connection: commands without a
# reply may have been done or not.

sub new {
    my ($class, $loop, $path, %handlers) = @_;

    my $sock = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path)
        or die "cannot connect to the Redis at \"$path\": $!\n";

    my $self = bless { waiting => [] }, $class;

    $self->{stream} = $loop->stream($sock,
        data => sub { $self->data },
        gone => sub {
            my @waiting = splice @{ $self->{waiting} };
            $_->{done}->() for @waiting;
            $handlers{gone}->() if $handlers{gone};
        });

    return $self;
}

# Calls done(replies) when all commands are answered, done() when they will not be.
# An error is a reply that begins with "-".

sub send {
    my ($self, $commands, $done) = @_;

    if ($self->{stream}{closed}) {
        $done->();
        return;
    }

    push @{ $self->{waiting} }, { left => scalar @$commands, replies => [], done => $done };

    my $bytes = join '', map { encode(@$_) } @$commands;
    $self->{stream}->write($bytes);
}

sub encode {
    my @words = @_;

    if ($PREFIX ne 'billing:') {
        s/\Abilling:/$PREFIX/ for @words;
    }

    return Billing::Redis::encode(@words);
}

sub close {
    my ($self) = @_;

    $self->{stream}->close;
    $_->{done}->() for splice @{ $self->{waiting} };
}

sub data {
    my ($self) = @_;

    my $in = \$self->{stream}{in};
    my $pos = 0;

    while (my $first = $self->{waiting}[0]) {
        my $reply = read_reply($in, \$pos) or last;

        push @{ $first->{replies} }, $reply->[0];
        next if --$first->{left};

        shift @{ $self->{waiting} };
        $first->{done}->(@{ $first->{replies} });
    }

    substr($$in, 0, $pos) = '';
}

# A reference to an array with the reply, or nothing if it is not all there.

sub read_reply {
    my ($in, $pos) = @_;

    my $end = index $$in, "\r\n", $$pos;
    return if $end < 0;

    my $type = substr $$in, $$pos, 1;
    my $text = substr $$in, $$pos + 1, $end - $$pos - 1;
    my $next = $end + 2;

    if ($type eq '$' && $text >= 0) {
        return if length $$in < $next + $text + 2;
        $$pos = $next + $text + 2;
        return [ substr $$in, $next, $text ];
    }

    if ($type eq '*' && $text >= 0) {
        my @elements;

        for (1 .. $text) {
            my $element = read_reply($in, \$next) or return;
            push @elements, $element->[0];
        }

        $$pos = $next;
        return [ \@elements ];
    }

    $$pos = $next;

    return [ undef ] if $type eq '$' || $type eq '*';
    return [ $type eq '-' ? "-$text" : $text ];
}

1;
