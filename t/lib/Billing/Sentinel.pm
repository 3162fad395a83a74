# A Redis Sentinel of a test's own, which can be stopped and started again, and
# a master with its replicas and sentinels:
#
#     my $set = Billing::Sentinel->set('mymaster', replicas => 2, sentinels => 3);
#     $set->{servers}      Billing::Server, the master first
#     $set->{sentinels}    Billing::Sentinel
#
# "server" and "sentinel" are further arguments and lines of configuration for
# all of a kind, "after" lines behind the one with the master, "password" the
# passwords that the servers and the sentinels ask the test for, and "host" what
# the sentinels and the replicas call the master.

package Billing::Sentinel;

use strict;
use warnings;

use parent 'Billing::Server';

use Billing::Nginx;
use Billing::Ports;
use Billing::Server;
use POSIX ();

# The lines are in the configuration behind those that each sentinel has. With the
# line "tls-port auto" the sentinel's port is for TLS alone.

sub new {
    my ($class, @lines) = @_;

    my $self = Billing::Server->new;
    $self->{lines} = \@lines;

    return bless $self, $class;
}

sub file {
    my ($self) = @_;

    return "$self->{dir}/sentinel.conf";
}

sub run {
    my ($self) = @_;

    my ($dir, $file) = ($self->{dir}, $self->file);

    # a sentinel writes what it has learned into its configuration

    if (!-e $file) {
        my @lines = map { s/\Atls-port auto\z/tls-port $self->{port}/r } @{ $self->{lines} };
        my $port = (grep { /\Atls-port / } @lines) ? 0 : $self->{port};

        open my $out, '>', $file or die "$file: $!\n";
        print $out map { "$_\n" } "port $port", 'bind 127.0.0.1', "dir $dir",
                                  "unixsocket $self->{socket}", 'unixsocketperm 777',
                                  @lines;
        close $out or die "$file: $!\n";
    }

    exec $Billing::Server::PROGRAM, $file, '--sentinel' or POSIX::_exit(1);
}

# Puts other lines in the place of those that begin with the same word, in the
# configuration of a sentinel that was stopped.

sub configure {
    my ($self, @lines) = @_;

    my $file = $self->file;
    my %lines = map { (split / /)[0] => $_ } @lines;

    open my $in, '<', $file or die "$file: $!\n";
    my @new = map { $lines{ (split / /)[0] } ? () : $_ } <$in>;

    open my $out, '>', $file or die "$file: $!\n";
    print $out map({ "$_\n" } @lines), @new;
    close $out or die "$file: $!\n";
}

sub set {
    my ($class, $name, %opt) = @_;

    my @args = @{ $opt{server} // [] };
    my $host = $opt{host} // '127.0.0.1';
    my $master = Billing::Server->new('--repl-diskless-sync-delay', 0, @args);
    my $port = $master->{port};

    my ($password, $own) = @{ $opt{password} // [] };

    $master->{password} = $password;
    $master->start;

    my @replicas = map {
        Billing::Server->new('--repl-diskless-sync-delay', 0, @args)
    } 1 .. $opt{replicas};

    # by a command: a server that is started again is a master without data

    for my $replica (@replicas) {
        $replica->{password} = $password;
        $replica->start;
        $replica->command('REPLICAOF', $host, $port);
    }

    my $n = $opt{sentinels};
    my $quorum = int($n / 2) + 1;

    my @sentinels = map {
        $class->new(@{ $opt{sentinel} // [] },
                    "sentinel monitor $name $host $port $quorum",
                    "sentinel down-after-milliseconds $name 1000",
                    "sentinel failover-timeout $name 3000",
                    @{ $opt{after} // [] })
    } 1 .. $n;

    for my $sentinel (@sentinels) {
        $sentinel->{password} = $own;
        $sentinel->start;
    }

    my $self = bless { name => $name, servers => [ $master, @replicas ],
                       sentinels => \@sentinels }, 'Billing::Sentinel::Set';

    $self->settle($opt{replicas}) or die "the sentinels know no replicas\n";

    return $self;
}

package Billing::Sentinel::Set;

# Waits until all sentinels know so many replicas, and each other. A sentinel that
# stood still does nothing for half a minute ("tilt").

sub settle {
    my ($self, $replicas) = @_;

    my @running = grep { $_->{pid} } @{ $self->{sentinels} };

    return Billing::Nginx::wait_until(60, sub {
        for my $sentinel (@running) {
            return 0 if $sentinel->info('sentinel', 'sentinel_tilt');

            my %master = @{ $sentinel->command('SENTINEL', 'MASTER', $self->{name}) };
            return 0 if $master{'num-slaves'} < $replicas || $master{flags} ne 'master'
                        || $master{'num-other-sentinels'} < @{ $self->{sentinels} } - 1;

            for my $replica (@{ $sentinel->command('SENTINEL', 'REPLICAS', $self->{name}) }) {
                my %replica = @$replica;
                return 0 if $replica{flags} ne 'slave' || $replica{'master-link-status'} ne 'ok';
            }
        }

        return 1;
    });
}

# The port of the master, as a sentinel knows it.

sub master_port {
    my ($self, $n) = @_;

    my $sentinel = $self->{sentinels}[$n // 0];
    return $sentinel->command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', $self->{name})->[1];
}

# Do all sentinels name another master than the one with this port? Until then a
# master that comes back empty may be named again, and all data are lost.

sub moved {
    my ($self, $port) = @_;

    for my $sentinel (grep { $_->{pid} } @{ $self->{sentinels} }) {
        my %master = @{ $sentinel->command('SENTINEL', 'MASTER', $self->{name}) };
        return 0 if $master{port} == $port || $master{flags} ne 'master';
    }

    return 1;
}

sub server {
    my ($self, $port) = @_;

    my ($server) = grep { $_->{port} == $port } @{ $self->{servers} };
    return $server;
}

sub master {
    my ($self, $n) = @_;

    return $self->server($self->master_port($n));
}

sub ports {
    my ($self) = @_;

    return map { $_->{port} } @{ $self->{sentinels} };
}

sub stop {
    my ($self) = @_;

    $_->stop for @{ $self->{sentinels} }, @{ $self->{servers} };
}

1;
