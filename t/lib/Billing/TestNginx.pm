# Functions of Test::Nginx that these suites replace.

package Billing::TestNginx;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);

use Billing::Client;

# Test::Nginx runs "nginx -V" before each block. Perl has to know the function below
# before it compiles Test::Nginx.

my %version;

BEGIN {
    *CORE::GLOBAL::readpipe = sub {
        my ($command) = @_;

        return CORE::readpipe($command) if $command !~ / -V 2>&1\z/;

        $? = 0;
        return $version{$command} //= CORE::readpipe($command);
    };
}

use Test::Nginx::Util ();

sub install {
    no warnings 'redefine';

    *Test::Nginx::Util::is_running = \&is_running;
    *Test::Nginx::Util::kill_process = \&end_process;
    *Test::Nginx::Util::test_config_version = \&wait_for_reload;
}

# Test::Nginx runs ps(1) several times for each block.

sub is_running ($) {
    my ($pid) = @_;

    return 0 if !kill 0, $pid;

    my $stat = first_line("/proc/$pid/stat");
    return length $stat && $stat !~ /.*\) Z /;
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

# Test::Nginx runs curl(1) twenty times to see that the new workers answer. The old
# workers must answer no more: a worker says in its title that it is shutting down.

my %is_old;

sub wait_for_reload ($$) {
    my ($name) = @_;

    my $master = Test::Nginx::Util::get_pid_from_pidfile($name);
    my $give_up = time + Test::Nginx::Util::timeout();

    until (has_new_configuration() && !grep { $is_old{$_} } workers_of($master)) {
        if (time >= $give_up) {
            Test::More::fail("$name - nginx has the new configuration");
            return;
        }

        sleep 0.005;
    }
}

sub has_new_configuration {
    my $client = Billing::Client->new;
    $client->send("GET /ver HTTP/1.0\r\nHost: Test-Nginx\r\n\r\n");

    return $client->slurp =~ /\r\n\r\n\Q$Test::Nginx::Util::ConfigVersion\E\z/;
}

# The workers of a master that accept connections.

sub workers_of {
    my ($master) = @_;

    return grep { first_line("/proc/$_/cmdline") =~ /\Anginx: worker process[\0 ]*\z/ }
           split ' ', first_line("/proc/$master/task/$master/children");
}

# The workers at the end of a block are old for the next one.

sub remember_workers {
    my ($master) = @_;

    %is_old = map { $_ => 1 } workers_of($master);
}

sub first_line {
    my ($file) = @_;

    open my $in, '<', $file or return '';
    return <$in> // '';
}

1;
