# Runs the checker of the worker's cache with one fault, for so many seconds.

package Billing::Check;

use strict;
use warnings;

use Billing::Check::Faults;
use Billing::Check::Run;

# lines of what is wrong, at most

use constant LINES => 10;

sub names {
    return @Billing::Check::Faults::ORDER;
}

sub run {
    my ($name, $seconds, %opt) = @_;

    my $fault = $Billing::Check::Faults::FAULT{$name} or die "no fault \"$name\"\n";

    $seconds = $fault->{least} if $seconds < ($fault->{least} // 0);

    srand $opt{seed};

    my $run = Billing::Check::Run->new(lag => 1, %$fault, long => $opt{long});

    $run->wait(0.3);

    my $done = eval { $fault->{do}->($run, $seconds) };
    my $error = $@;

    if (length $error) {
        $run->wrong("the fault failed: $error");

    } elsif (!$done) {
        $run->wrong('the fault did not happen');
    }

    eval { $run->finish; 1 } or $run->wrong("the run did not end: $@");

    my @wrong = @{ $run->{wrong} };
    my $more = @wrong - LINES;

    splice @wrong, LINES if $more > 0;
    push @wrong, "and $more more" if $more > 0;

    return { ok => !@wrong, wrong => \@wrong, done => $done || 'nothing',
             summary => $run->summary, first => $run->{first_wrong} };
}

1;
