# An event loop for one process: streams, timers, and one clock for all that
# happens. Nothing else runs while a handler does, so a handler is short.

package Billing::Check::Loop;

use strict;
use warnings;

use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use IO::Handle ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

sub now {
    return clock_gettime(CLOCK_MONOTONIC);
}

sub new {
    my ($class) = @_;

    return bless { timers => [], watched => {}, rbits => '', wbits => '' }, $class;
}

# Calls a handler once, after so many seconds.

sub after {
    my ($self, $seconds, $handler) = @_;

    my $due = now() + $seconds;
    my $timers = $self->{timers};
    my $i = @$timers;

    $i-- while $i && $timers->[$i - 1][0] > $due;
    splice @$timers, $i, 0, [ $due, $handler ];
}

# Calls a handler each time that a socket is readable.

sub watch {
    my ($self, $sock, $handler) = @_;

    my $fd = fileno $sock;
    $sock->blocking(0);
    $self->{watched}{$fd} = { sock => $sock, readable => $handler };
    vec($self->{rbits}, $fd, 1) = 1;
    return $fd;
}

sub unwatch {
    my ($self, $fd) = @_;

    delete $self->{watched}{$fd};
    vec($self->{rbits}, $fd, 1) = 0;
    vec($self->{wbits}, $fd, 1) = 0;
}

# A stream over a connected socket. "data" is called with the stream when
# {in} has more bytes, "gone" when the peer has closed it.

sub stream {
    my ($self, $sock, %handlers) = @_;

    my $stream = bless { loop => $self, sock => $sock, in => '', out => '', %handlers },
                       'Billing::Check::Stream';

    $stream->{fd} = $self->watch($sock, sub { $stream->readable });
    $self->{watched}{ $stream->{fd} }{writable} = sub { $stream->flush };
    return $stream;
}

# Runs until a condition holds, at most for so many seconds.

sub run {
    my ($self, $seconds, $until) = @_;

    my $end = now() + $seconds;

    for ( ;; ) {
        return 1 if $until && $until->();

        my $now = now();
        return 0 if $now >= $end;

        my $wait = $end - $now;
        my $timers = $self->{timers};

        if (@$timers && $timers->[0][0] - $now < $wait) {
            $wait = $timers->[0][0] - $now;
        }

        $self->turn($wait < 0 ? 0 : $wait);
    }
}

# Forgets all handlers.

sub clear {
    my ($self) = @_;

    $self->{timers} = [];
    $self->{watched} = {};
}

sub turn {
    my ($self, $wait) = @_;

    my ($r, $w) = @$self{qw(rbits wbits)};
    my $n = select $r, $w, undef, $wait;

    if ($n > 0) {
        for my $fd (keys %{ $self->{watched} }) {
            my $watched = $self->{watched}{$fd} or next;
            $watched->{writable}->() if $watched->{writable} && vec $w, $fd, 1;
            $watched = $self->{watched}{$fd} or next;
            $watched->{readable}->() if vec $r, $fd, 1;
        }
    }

    my $now = now();
    my $timers = $self->{timers};

    (shift @$timers)->[1]->() while @$timers && $timers->[0][0] <= $now;
}

package Billing::Check::Stream;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);

sub readable {
    my ($self) = @_;

    my $n = sysread $self->{sock}, $self->{in}, 262144, length $self->{in};

    if (!$n) {
        return if !defined $n && ($! == EAGAIN || $! == EINTR);
        $self->close;
        $self->{gone}->($self) if $self->{gone};
        return;
    }

    $self->{data}->($self);
}

sub write {
    my ($self, $bytes) = @_;

    return if $self->{closed};

    my $waits = length $self->{out};
    $self->{out} .= $bytes;
    $self->flush if !$waits;
}

sub flush {
    my ($self) = @_;

    return if $self->{closed};

    while (length $self->{out}) {
        my $n = syswrite $self->{sock}, $self->{out}, 262144;

        # the reading side sees that the peer has gone

        if (!defined $n) {
            $self->{out} = '' if $! != EAGAIN && $! != EINTR;
            last;
        }

        substr($self->{out}, 0, $n) = '';
    }

    vec($self->{loop}{wbits}, $self->{fd}, 1) = length $self->{out} ? 1 : 0;
}

sub close {
    my ($self) = @_;

    return if $self->{closed}++;

    $self->{loop}->unwatch($self->{fd});
    CORE::close $self->{sock};
}

1;
