# Runs the checker of the worker's cache with one fault, for so many seconds.

package Billing::Check;

use strict;
use warnings;

use IO::Handle ();
use POSIX ();
use Storable ();

use Billing::Check::ClusterFaults;
use Billing::Check::Faults;
use Billing::Check::Run;
use Billing::Cluster;

# lines about violations, at most

use constant LINES => 10;

# The faults for single servers, or those for a cluster. Where the server lacks a
# command that a fault needs, the fault is left out, and the run says so.

sub names {
    my ($cluster) = @_;

    return @Billing::Check::Faults::ORDER if !$cluster;

    my $server = Billing::Server->new;
    $server->start;

    return grep {
        my $command = $Billing::Check::ClusterFaults::NEEDS{$_};
        my $known = !$command || defined $server->command('COMMAND', 'INFO', $command)->[0];

        print STDERR "# $_ is left out: the server does not know \"",
                     uc($command =~ tr/|/ /r), "\"\n" if !$known;
        $known;
    } @Billing::Check::ClusterFaults::ORDER;
}

# The option "cluster" is a Billing::Cluster that runs: its nodes are the servers.

sub run {
    my ($name, $seconds, %opt) = @_;

    my $faults = $opt{cluster} ? \%Billing::Check::ClusterFaults::FAULT
                               : \%Billing::Check::Faults::FAULT;
    my $fault = $faults->{$name} or die "no fault \"$name\"\n";

    $seconds = $fault->{least} if $seconds < ($fault->{least} // 0);

    # connections are cut all the time

    local $SIG{PIPE} = 'IGNORE';

    srand $opt{seed};

    my $run = Billing::Check::Run->new(lag => 1, %$fault, name => $name, long => $opt{long},
                                       cluster => $opt{cluster});

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

    my %result = (ok => !@wrong, wrong => \@wrong, done => $done || 'nothing',
                  summary => $run->summary);

    # handlers refer to the run, which has directories to remove

    $run->{loop}->clear;
    %$run = ();

    return \%result;
}

# Runs faults of a cluster one after another, and calls back with each result. After
# a violation the cluster may not be well, so the next fault gets another one.

sub run_cluster {
    my ($done, $names, @args) = @_;

    my $cluster;

    for my $name (@$names) {
        if (!$cluster) {
            $cluster = Billing::Cluster->new(
                timeout => Billing::Check::ClusterFaults::NODE_TIMEOUT);
            $cluster->start;
        }

        my $result = eval { run($name, @args, cluster => $cluster) }
                     // { ok => 0, wrong => [ $@ ], done => '-', summary => '-' };

        $done->($name, $result);

        if (!$result->{ok}) {
            $cluster->stop;
            undef $cluster;
        }
    }

    $cluster->stop if $cluster;
}

# Runs several faults at once, each in a process of its own, and calls back with each
# result, in the order of the faults.

sub run_all {
    my ($jobs, $done, $names, @args) = @_;

    my (@running, $next);

    while (@running || ($next // 0) < @$names) {

        while (@running < $jobs && ($next // 0) < @$names) {
            my $name = $names->[ $next++ ];
            my $pid = open my $out, '-|';
            die "fork: $!\n" if !defined $pid;

            if ($pid == 0) {
                my $result = eval { run($name, @args) }
                             // { ok => 0, wrong => [ $@ ], done => '-', summary => '-' };
                Storable::store_fd($result, \*STDOUT);
                STDOUT->flush;
                POSIX::_exit(0);
            }

            push @running, [ $name, $out ];
        }

        my ($name, $out) = @{ shift @running };
        $done->($name, eval { Storable::fd_retrieve($out) }
                       // { ok => 0, wrong => [ 'it crashed' ], done => '-', summary => '-' });
        close $out;
    }
}

1;
