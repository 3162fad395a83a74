# A separate real Redis for one test, which can be stopped and started again.
# The server has a port, a Unix socket and a directory of its own.
#
#     my $server = Billing::Server->new('--databases', 3);
#     $server->start;
#
# Where the arguments have a --tls-port, the server has no port without TLS unless
# they have a --port as well; "--tls-port auto" is the server's port.

package Billing::Server;

use strict;
use warnings;

use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep);

use Billing::Ports;
use Billing::Redis;

# The environment can name another program, such as valkey-server.

our $PROGRAM = $ENV{BILLING_REDIS_SERVER} // 'redis-server';

sub new {
    my ($class, @args) = @_;

    my $dir = File::Temp->newdir('billing-server-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;

    my $self = bless { dir => $dir, args => \@args, socket => "$dir/r.sock" },
                     $class;

    $self->{port} = Billing::Ports::reserve();

    return $self;
}

sub free_port {
    return Billing::Ports::reserve();
}

sub start {
    my ($self) = @_;

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/log";
        open STDERR, '>&', \*STDOUT;
        $self->run;
    }

    $self->{pid} = $pid;
    $self->{owner} = $$;

    for (1 .. 400) {
        my $pong = eval { $self->command('PING') } // '';
        return if $pong eq 'PONG' || $@ =~ /^test Redis: -?(?:LOADING|NOAUTH)/;
        last if waitpid($pid, POSIX::WNOHANG()) > 0;
        sleep 0.05;
    }

    open my $log, '<', "$self->{dir}/log";
    die "Redis did not start:\n", $log ? <$log> : ();
}

# Replaces this process by the server.

sub run {
    my ($self) = @_;

    my ($dir, @args) = ($self->{dir}, @{ $self->{args} });
    my $tls = grep { $_ eq '--tls-port' } @args;

    s/\Aauto\z/$self->{port}/ for @args;

    exec $PROGRAM, '--bind', '127.0.0.1', '--port', $tls ? 0 : $self->{port},
         '--unixsocket', $self->{socket}, '--unixsocketperm', '777',
         '--save', '', '--dir', $dir, @args
        or POSIX::_exit(1);
}

sub command {
    my ($self, @words) = @_;

    my $redis = Billing::Redis->new($self->{socket});
    $redis->command('AUTH', $self->{password}) if defined $self->{password};

    return $redis->command(@words);
}

# The value of one line of INFO.

sub info {
    my ($self, $section, $name) = @_;

    my ($value) = $self->command('INFO', $section) =~ /^\Q$name\E:([^\r\n]*)/m;
    return $value;
}

sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->{pid};
}

# Acts as a crash: the server ends at once, without a word to its clients.

sub stop {
    my ($self) = @_;

    return if ($self->{owner} // 0) != $$;

    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->stop;
}

1;
