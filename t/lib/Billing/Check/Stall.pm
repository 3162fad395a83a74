# How long the kernel let a process wait for a processor: on a machine with much
# else to do, this is added to the time that is allowed.

package Billing::Check::Stall;

use strict;
use warnings;

use constant { EVERY => 0.025, MEMORY => 400 };

sub new {
    my ($class, $loop) = @_;

    my $self = bless { loop => $loop, pids => {}, samples => [] }, $class;

    $self->sample;
    return $self;
}

sub add {
    my ($self, @pids) = @_;

    $self->{pids}{$_} = 'redis' for @pids;
}

sub master {
    my ($self, $pid) = @_;

    $self->{master} = $pid;
}

sub sample {
    my ($self) = @_;

    my %waited;

    for my $pid (keys %{ $self->{pids} }, $self->workers) {
        open my $in, '<', "/proc/$pid/schedstat" or next;
        $waited{$pid} = (split ' ', <$in> // '')[1];
    }

    push @{ $self->{samples} }, [ Billing::Check::Loop::now(), \%waited ];
    shift @{ $self->{samples} } if @{ $self->{samples} } > MEMORY;

    $self->{loop}->after(EVERY, sub { $self->sample });
}

sub workers {
    my ($self) = @_;

    my $pid = $self->{master} or return;
    open my $in, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', <$in> // '';
}

# Seconds that the servers and one worker waited for a processor between two times.

sub between {
    my ($self, $from, $to, $worker) = @_;

    my ($first, $last);

    for my $sample (@{ $self->{samples} }) {
        $first = $sample->[1] if !$first || $sample->[0] <= $from;
        $last = $sample->[1];
        last if $sample->[0] >= $to;
    }

    my $sum = 0;

    for my $pid (keys %{ $self->{pids} }, $worker) {
        next if !defined $first->{$pid} || !defined $last->{$pid};
        $sum += ($last->{$pid} - $first->{$pid}) / 1e9;
    }

    return $sum;
}

1;
