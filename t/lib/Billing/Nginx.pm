# A separate nginx for one test, with a master process, beside the nginx of
# Test::Nginx: the test may reload and end it.

package Billing::Nginx;

use strict;
use warnings;

use File::Temp ();
use POSIX ();
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);

use Billing::Ports;

# the factor by which this mode of run.sh is slower than usual

our $SLOW = ($ENV{TEST_NGINX_MODE} // '') eq 'valgrind' ? 5 : 1;

# The text is the content of the http block: %PORT% in it is a free port. The
# option "main" has directives that stand outside of this block. The
# option "modules" lists the modules to load instead of the run's own. With the
# option "alerts", the log is kept apart from the log of the whole run, which
# may have no alert: the test has to look for unexpected alerts.

sub start {
    my ($class, $http, %opt) = @_;

    my $dir = File::Temp->newdir('billing-nginx-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;

    my $self = bless { dir => $dir, port => Billing::Ports::reserve() }, $class;
    my $level = $opt{level} // 'debug';

    $self->configure($http, %opt);

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', "$dir/stderr";
        $ENV{BILLING_LOG_LEVEL} = $level;
        $ENV{BILLING_LOG} = "$dir/error.log" if $opt{alerts};
        exec $Test::Nginx::Util::NginxBinary, '-p', "$dir/", '-c', "$dir/nginx.conf"
            or POSIX::_exit(1);
    }

    $self->{pid} = $pid;
    $self->{owner} = $$;

    return $self if wait_until(10, sub { -s "$dir/nginx.pid" && $self->workers });

    open my $err, '<', "$dir/stderr";
    die "nginx did not start: ", $err ? <$err> : ();
}

# Writes nginx.conf.

sub configure {
    my ($self, $http, %opt) = @_;

    my $dir = $self->{dir};
    my $modules = join ' ', map { "load_module $_;" }
                  @{ $opt{modules} // [ split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '' ] };
    my $user = $ENV{TEST_NGINX_WORKER_USER} // '';
    my $workers = $opt{workers} // 1;
    my $level = $opt{level} // 'debug';
    my $main = $opt{main} // '';

    $user = "user $user;" if length $user;
    $http = defaults($http) . $http;
    $http =~ s/%PORT%/$self->{port}/g;
    $http =~ s/\$(TEST_NGINX_\w+)/$ENV{$1}/g;

    open my $conf, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $conf <<"END";
$modules
$user
$main
daemon off;
master_process on;
worker_processes $workers;
pid $dir/nginx.pid;
error_log $dir/error.log $level;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
$http
}
END
    close $conf;
}

# Writes another nginx.conf and reloads. Returns whether all workers are new ones.

sub reconfigure {
    my ($self, $http, %opt) = @_;

    my @old = $self->workers;

    $self->configure($http, %opt);
    $self->signal('HUP');

    return $self->replaced(10, @old);
}

# The worker's cache is off unless the configuration has a "billing_cache": most
# tests look at the commands that Redis gets. BILLING_CACHE sets another default.
# A slow nginx gets longer timeouts of the module, unless the configuration has
# short ones of its own.

sub defaults {
    my ($conf) = @_;

    my $cache = $conf =~ /\bbilling_cache\s/ || $conf !~ /\bbilling_cameras_list\b/
                ? '' : '    billing_cache ' . ($ENV{BILLING_CACHE} // 'off') . ";\n";

    return $cache . timeouts($conf);
}

sub timeouts {
    my ($conf) = @_;

    return '' if $SLOW == 1
        || $conf =~ /\bbilling_redis_(?:connect_timeout|timeout (?:\d+ms|[1-4]s))\b/;

    my $timeouts = "    billing_redis_connect_timeout 2500ms;\n";
    $timeouts .= "    billing_redis_timeout ${SLOW}s;\n"
        if $conf !~ /\bbilling_redis_timeout\b/;

    return $timeouts;
}

sub wait_until {
    my ($seconds, $so) = @_;

    my $end = time + $seconds * $SLOW;

    for ( ;; ) {
        my $is = $so->();
        return $is if $is || time > $end;
        sleep 0.05;
    }
}

# The pids of nginx's processes, without the master.

sub workers {
    my ($self) = @_;

    my @pids = grep { /\d/ } split /\s+/, `ps -o pid= --ppid $self->{pid}`;
    return @pids;
}

sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->{pid};
}

# Waits for a reload to end: there are workers, and none of the old ones.

sub replaced {
    my ($self, $seconds, @old) = @_;

    my %old = map { $_ => 1 } @old;

    return wait_until($seconds, sub {
        my @now = $self->workers;
        return @now && !grep { $old{$_} } @now;
    });
}

# The master's exit status, if nginx ends within so many seconds.

sub ended {
    my ($self, $seconds) = @_;

    my $status = wait_until($seconds, sub {
        return waitpid($self->{pid}, POSIX::WNOHANG()) > 0 ? "status $?" : undef;
    });

    delete $self->{pid} if $status;
    return $status;
}

sub log_text {
    my ($self) = @_;

    open my $in, '<', "$self->{dir}/error.log" or return '';
    local $/;
    return scalar <$in>;
}

sub stop {
    my ($self) = @_;

    return if ($self->{owner} // 0) != $$ || !$self->{pid};

    $self->signal('TERM');
    return if $self->ended(10);

    kill 'KILL', $self->workers, $self->{pid};
    $self->ended(10);
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->stop;
}

1;
