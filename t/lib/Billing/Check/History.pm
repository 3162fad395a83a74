# All that was ever true of the data, and when. A value is true from the time at
# which its write was sent, at the earliest, until the time at which the next
# write was answered, at the latest: in between both may be read.

package Billing::Check::History;

use strict;
use warnings;

# Seconds for which a value that has ended is remembered. A value that is forgotten
# counts as one that was never true.

use constant MEMORY => 6;

sub new {
    my ($class) = @_;

    return bless { states => {} }, $class;
}

# A write was sent: pairs of names and values; '' stands for nothing. A value may
# be [ value, seconds to live ]. Returns what has to be given to answered().

sub sent {
    my ($self, $now, @pairs) = @_;

    my @open;

    while (my ($name, $value) = splice @pairs, 0, 2) {
        my $states = $self->{states}{$name} //= [];
        my $ttl;

        ($value, $ttl) = @$value if ref $value;

        shift @$states while @$states && defined $states->[0]{until}
                             && $states->[0]{until} < $now - MEMORY;

        my $state = { value => $value, from => $now };
        push @$states, $state;
        push @open, [ $states, $state, $ttl ];

        if (defined $ttl) {
            push @$states, { value => '', from => $now + $ttl };
        }
    }

    return \@open;
}

# The write was answered: earlier values are true no longer.

sub answered {
    my ($self, $now, $open) = @_;

    for (@$open) {
        my ($states, $state, $ttl) = @$_;

        my $i = $#$states;

        $i-- while $i >= 0 && $states->[$i] != $state;

        # where a state is over, all earlier ones are

        while (--$i >= 0) {
            my $earlier = $states->[$i];
            last if defined $earlier->{until} && $earlier->{until} <= $now;
            $earlier->{until} = $now;
            delete $earlier->{expires};
        }

        if (defined $ttl && !defined $state->{until}) {
            $state->{until} = $now + $ttl;
            $state->{expires} = 1;
        }
    }
}

# For how many seconds a value had not been true when the request was sent: 0 if
# the value was true between then and its answer. Nothing if it never was true.

sub age {
    my ($self, $name, $value, $sent, $received) = @_;

    my $states = $self->{states}{$name} or return $value eq '' ? 0 : undef;
    my $best;

    for (my $i = $#$states; $i >= 0; $i--) {
        my $state = $states->[$i];

        last if defined $state->{until} && $state->{until} < $sent - MEMORY;
        next if $state->{value} ne $value || $state->{from} > $received;

        return 0 if !defined $state->{until} || $state->{until} >= $sent;

        my $age = $sent - $state->{until};
        $age += $self->{expiry} if $state->{expires};

        $best = $age if !defined $best || $age < $best;
    }

    # before the first write there was nothing

    return 0 if !defined $best && $value eq '' && @$states && $states->[0]{from} > $sent;

    return $best;
}

# The values that may have been true since a time.

sub values_since {
    my ($self, $name, $since) = @_;

    my %values = map { $_->{value} => 1 }
                 grep { !defined $_->{until} || $_->{until} >= $since }
                 @{ $self->{states}{$name} // [] };

    return keys %values;
}

sub current {
    my ($self, $name) = @_;

    my $states = $self->{states}{$name} or return '';
    return $states->[-1]{value};
}

# The last values, for a report.

sub text {
    my ($self, $name, $zero) = @_;

    my @states = @{ $self->{states}{$name} // [] };
    splice @states, 0, -6 if @states > 6;

    return join ', ', map {
        sprintf '%s %.3f..%s', $_->{value} eq '' ? '(none)' : $_->{value},
                $_->{from} - $zero,
                defined $_->{until} ? sprintf('%.3f', $_->{until} - $zero) : ''
    } @states;
}

1;
