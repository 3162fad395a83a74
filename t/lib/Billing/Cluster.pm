# A Redis Cluster of real servers on loopback: masters with a replica each.
#
#     my $cluster = Billing::Cluster->new(masters => 3, replicas => 1);
#     $cluster->start;
#
# "args" are further arguments of all nodes, and "each" a function that returns
# those of the n-th one.
#
# The nodes are Billing::Server objects: the masters first, then the replicas in
# the same order. Each has a further port for the cluster's own bus.

package Billing::Cluster;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Billing::Ports;
use Billing::Redis;
use Billing::Server;

use constant SLOTS => 16384;

sub new {
    my ($class, %args) = @_;

    my $self = bless { masters => 3, replicas => 1, timeout => 2000, args => [], %args },
                     $class;

    for my $n (0 .. $self->{masters} * (1 + $self->{replicas}) - 1) {
        push @{ $self->{nodes} }, Billing::Server->new(
            '--cluster-enabled', 'yes', '--cluster-port', Billing::Ports::reserve(),
            '--cluster-node-timeout', $self->{timeout}, '--appendonly', 'no',
            '--cluster-allow-replica-migration', 'no', '--repl-diskless-sync-delay', 0,
            '--repl-ping-replica-period', 1, @{ $self->{args} },
            $self->{each} ? $self->{each}->($n) : ());
    }

    return $self;
}

sub nodes   { @{ $_[0]{nodes} } }
sub masters { @{ $_[0]{nodes} }[0 .. $_[0]{masters} - 1] }

# The replica of the n-th master.

sub replica {
    my ($self, $n) = @_;

    return $self->{nodes}[$self->{masters} + $n];
}

sub start {
    my ($self) = @_;

    for ($self->nodes) {
        $_->start;
        $_->{id} = $_->command('CLUSTER', 'MYID');
    }

    my ($first, @others) = $self->nodes;
    my @masters = $self->masters;

    for my $n (0 .. $#masters) {
        $masters[$n]->command('CLUSTER', 'ADDSLOTSRANGE', int(SLOTS * $n / @masters),
                              int(SLOTS * ($n + 1) / @masters) - 1);
        $masters[$n]->command('CLUSTER', 'SET-CONFIG-EPOCH', $n + 1);
    }

    for my $node (@others) {
        my ($port) = grep { $node->{args}[$_ - 1] eq '--cluster-port' } 1 .. 5;
        $first->command('CLUSTER', 'MEET', '127.0.0.1', $node->{port},
                        $node->{args}[$port]);
    }

    my $count = $self->nodes;

    $self->wait_for('nodes know each other', sub {
        my $node = shift;
        my @known = grep { !/handshake/ } split /\n/, $node->command('CLUSTER', 'NODES');
        return @known == $count;
    });

    for my $n (0 .. $count - @masters - 1) {
        $self->{nodes}[@masters + $n]->command('CLUSTER', 'REPLICATE',
            $masters[$n % @masters]{id});
    }

    $self->wait_for('replicas are in step', sub {
        my $node = shift;
        my $info = $node->command('INFO', 'replication');
        return $info =~ /^role:master/m || $info =~ /^master_link_status:up/m;
    });

    $self->wait_ok;
}

# Waits until each node says that the cluster is well.

sub wait_ok {
    my ($self) = @_;

    $self->wait_for('the cluster is well', sub {
        my $node = shift;
        return $node->command('CLUSTER', 'INFO') =~ /^cluster_state:ok/m
               && @{ $node->command('CLUSTER', 'SLOTS') } >= 1;
    });
}

# Makes a replica the master. Redis may give up such a failover without a word.

sub promote {
    my ($self, $replica) = @_;

    for (1 .. 4) {
        $replica->command('CLUSTER', 'FAILOVER');

        for (1 .. 60) {
            return 1 if $replica->info('replication', 'role') eq 'master';
            sleep 0.1;
        }
    }

    return 0;
}

# Runs the code for each node that is up, until it has returned a true value for each.

sub wait_for {
    my ($self, $what, $code) = @_;

    my $end = time + 30;

    for my $node (grep { $_->{pid} } $self->nodes) {
        until (eval { $code->($node) }) {
            die "cluster: not in time: $what\n" if time > $end;
            sleep 0.05;
        }
    }
}

# CRC-16/XMODEM of the key, or of the part in its first braces.

my @CRC = map {
    my $crc = $_ << 8;
    $crc = $crc & 0x8000 ? ($crc << 1 ^ 0x1021) & 0xffff : $crc << 1 & 0xffff for 1 .. 8;
    $crc;
} 0 .. 255;

sub slot {
    my ($key) = @_;

    $key = $1 if $key =~ /\A[^{]*\{([^}]+)\}/;

    my $crc = 0;
    $crc = ($crc << 8 & 0xffff) ^ $CRC[$crc >> 8 ^ $_] for unpack 'C*', $key;

    return $crc % SLOTS;
}

# The master that has the slot now, as the first node that is up knows.

sub owner {
    my ($self, $slot) = @_;

    my ($node) = grep { $_->{pid} } $self->nodes;

    for my $range (@{ $node->command('CLUSTER', 'SLOTS') }) {
        my ($from, $to, $master) = @$range;
        s/\A:// for $from, $to;
        next if $slot < $from || $slot > $to;

        # the port may be another one for clients with TLS

        return (grep { $_->{id} eq $master->[2] } $self->nodes)[0];
    }

    return undef;
}

# Sends each command to the node that has its key.

sub load {
    my ($self, @commands) = @_;

    my %batch;

    for my $command (@commands) {
        my $node = $self->{place}{ slot($command->[1]) }
                   //= $self->owner(slot($command->[1]));
        push @{ $batch{ $node->{port} } }, $command;
    }

    for my $node ($self->nodes) {
        my $batch = $batch{ $node->{port} } or next;
        Billing::Redis->new($node->{socket})->pipeline(@$batch);
    }
}

# Moves the slot to another master; the keys as well.

sub move {
    my ($self, $slot, $to, %how) = @_;

    my $from = $self->owner($slot);
    return if $from->{port} == $to->{port};

    $self->migrate($slot, $from, $to);
    $self->migrate_keys($slot, $from, $to);
    $self->assign($slot, $to);
}

sub migrate {
    my ($self, $slot, $from, $to) = @_;

    $to->command('CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    $from->command('CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to->{id});
}

sub migrate_keys {
    my ($self, $slot, $from, $to) = @_;

    while (my @keys = @{ $from->command('CLUSTER', 'GETKEYSINSLOT', $slot, 100) }) {
        $from->command('MIGRATE', '127.0.0.1', $to->{port}, '', 0, 5000, 'KEYS', @keys);
    }
}

sub assign {
    my ($self, $slot, $to) = @_;

    # the new owner first: a node is not to learn that nobody has the slot

    $to->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id});

    for my $node ($self->masters) {
        next if !$node->{pid} || $node->{port} == $to->{port};
        eval { $node->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id}) };
    }

    delete $self->{place};
}

# Has a range of slots of one master migrated atomically to another one, as the
# servers do by themselves. The code runs until the other one has all of them.

sub migrate_slots {
    my ($self, $first, $last, $to, $code) = @_;

    my @order = ('CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', $first, $last, 'NODE', $to->{id});
    my $end = time + 30;

    # a node refuses while it ends another migration

    until (eval { $self->owner($first)->command(@order) }) {
        die "cluster: $@" if time > $end;
        sleep 0.05;
    }

    delete $self->{place};

    until ($self->owner($first) == $to && $self->owner($last) == $to) {
        die "cluster: slots $first to $last are not migrated\n" if time > $end;
        $code->();
    }
}

sub stop {
    my ($self) = @_;

    $_->stop for $self->nodes;
}

1;
