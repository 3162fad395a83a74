# Functions of Test::Nginx that these suites replace.

package Billing::TestNginx;

use strict;
use warnings;

use POSIX ();
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);

sub install {
    no warnings 'redefine';

    *Test::Nginx::Util::is_running = \&is_running;
    *Test::Nginx::Util::kill_process = \&end_process;
}

# Test::Nginx runs ps(1) several times for each block.

sub is_running ($) {
    my ($pid) = @_;

    return 0 if !kill 0, $pid;

    open my $in, '<', "/proc/$pid/stat" or return 0;
    return (<$in> // '') !~ /.*\) Z /;
}

# An nginx without a master misses a signal that arrives when it has looked at
# its flags and does not wait for events yet: so the signal is sent again.

sub end_process ($$$) {
    my ($pid, $wait, $name) = @_;

    my $give_up = time + Test::Nginx::Util::timeout();
    my ($again, $pause) = (0, 0.001);

    while (is_running($pid)) {
        if (time >= $give_up) {
            warn "$name - the process $pid does not end: killed\n";
            kill 'KILL', $pid;
            $give_up += 5;

        } elsif (time >= $again) {
            kill 'QUIT', $pid;
            $again = time + 0.3;
        }

        waitpid $pid, POSIX::WNOHANG();
        sleep $pause;
        $pause *= 1.5 if $pause < 0.05;
    }
}

1;
