# The faults of the checker that need a Redis Cluster: as Billing::Check::Faults,
# with the nodes of one cluster as servers.

package Billing::Check::ClusterFaults;

use strict;
use warnings;

use Billing::Check::Faults;
use Billing::Check::Writers;
use Billing::Cluster;
use Billing::Server;

our @ORDER = qw(calm kill pause reshard migrate taken epoch flush synced reload failover
                takeover crash frozen join mixed);

# Commands that not all servers know.

our %NEEDS = (migrate => 'cluster|migrateslots');

# milliseconds after which nodes take one for dead

use constant NODE_TIMEOUT => 1000;

our %FAULT = (

    # nothing goes wrong
    calm => {
        allowed => 0.06, gap => 0.01,
        do => sub {
            my ($run, $seconds) = @_;
            $run->wait($seconds);
            return 'nothing';
        },
    },

    # the connections that nodes tell of changes are closed
    kill => {
        allowed => 0.12,
        do => sub {
            my ($run, $seconds) = @_;
            my $killed = 0;
            repeat($run, $seconds, 0.3, sub {
                $killed += Billing::Check::Faults::kill_tracked($run);
            });
            return $killed && "$killed connections killed";
        },
    },

    # CLIENT PAUSE of a node, of all commands and of writes; tokens expire meanwhile
    pause => {
        allowed => 0.06, lag => 0.3, tokens => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.6, sub {
                my @masters = masters($run);
                $run->command($masters[rand @masters]{server}, 'CLIENT', 'PAUSE', 500,
                              $n++ % 2 ? 'ALL' : 'WRITE');
            });
            return "$n pauses";
        },
    },

    # slots are migrated, while their keys change at both ends
    reshard => {
        allowed => 0.12, gap => 0.01,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.02, sub { reshard($run, some_slot($run), 0.05); $n++ });
            return "$n slots";
        },
    },

    # slots are migrated atomically, while their keys change
    migrate => {
        allowed => 0.12, gap => 0.01, least => 2,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.02, sub { $n += migrate($run, some_slot($run)) });
            return $n && "$n slots";
        },
    },

    # a node takes slots from another one, which loses their keys without a word, and
    # takes them back without any
    taken => {
        lag => 0.3, allowed => 0.3 + 0.12,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.5, sub {
                my ($slot, $from, $to) = take($run) or return;
                $run->wait(0.5);
                take($run, $slot, $to, $from);
                $n++;
            });
            return $n && "$n slots";
        },
    },

    # "epoch" is written while its node's connections are closed, or the node hangs
    epoch => {
        lag => 0.3, allowed => 0.12,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub {
                my $node = owner($run, Billing::Cluster::slot('billing:epoch'))->{server};
                $node->signal('STOP') if $n % 3 == 2;
                kill_at($run, $node) if $n % 3 == 1;
                my $done;
                $run->{epoch}->send([ [ 'SET', 'billing:epoch', $n ] ], sub { $done = 1 });
                $run->wait(0.5) if $n % 3 == 2;
                $node->signal('CONT') if $n % 3 == 2;
                $run->wait(5, sub { $done }) or die "epoch was not written\n";
                $n++;
            });
            return "$n times";
        },
    },

    # all data of a node go, and come again
    flush => {
        allowed => 0.06, failures => 1, settle => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.5, sub { flush($run); $n++ });
            return "$n times";
        },
    },

    # synced_at is removed, and comes back
    synced => {
        allowed => 0.06, failures => 1, settle => 0.5, lag => 0.3,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.4, sub {
                $run->hold_writers;
                $run->bulk([ [ 'synced', '' ] ], [ [ 'DEL', 'billing:synced_at' ] ]);
                $run->wait(0.3);
                $run->bulk([ [ 'synced', 1 ] ], [ $run->synced ]);
                $run->resume_writers;
                $n++;
            });
            return "$n times";
        },
    },

    # nginx is reloaded
    reload => {
        allowed => 0.12,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.8, sub { $run->{nginx}->signal('HUP'); $n++ });
            return "$n reloads";
        },
    },

    # CLUSTER FAILOVER: the replica becomes the master, in agreement
    failover => {
        lag => 0.3, allowed => 0.3 + 0.12, replicas => 1, failures => 1, settle => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub { failover($run); $n++ });
            return "$n times";
        },
    },

    # CLUSTER FAILOVER TAKEOVER: the same, and nobody is asked
    takeover => {
        lag => 0.3, allowed => 0.3 + 0.12, replicas => 1, failures => 1, settle => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub { failover($run, 'TAKEOVER'); $n++ });
            return "$n times";
        },
    },

    # a master crashes, and its replica becomes the master
    crash => {
        lag => 0.3, allowed => 0.3 + 0.12, replicas => 1, failures => 1, settle => 1,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub { lose($run, 1); $n++ });
            return "$n times";
        },
    },

    # a master hangs until its replica has taken over, and is back then
    frozen => {
        lag => 0.3, allowed => 0.3 + 0.12, replicas => 1, failures => 1, settle => 1,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub { lose($run, 0); $n++ });
            return "$n times";
        },
    },

    # a node joins, has slots for a while, and leaves
    join => {
        allowed => 0.12, settle => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub { join_and_leave($run); $n++ });
            return "$n times";
        },
    },

    # at random, all faults in which no node is lost
    mixed => {
        lag => 0.3, allowed => 0.3 + 0.2, replicas => 1, failures => 1, settle => 1,
        conf => 'billing_redis_connections 3;',
        do => \&mixed,
    },
);

# Until the time is over: does something, and then lets some time pass.

sub repeat {
    my ($run, $seconds, $gap, $what) = @_;

    return Billing::Check::Faults::repeat($run, $seconds, $gap, $what);
}

# --- the state of the nodes

# All nodes, as a node that runs knows them.

sub nodes {
    my ($run, $asked) = @_;

    ($asked) = grep { $_->{pid} && !$_->{frozen} } @{ $run->{servers} } if !$asked;

    my @nodes;

    for (split /\n/, $run->command($asked, 'CLUSTER', 'NODES')) {
        my ($id, $address, $flags, $master, undef, undef, undef, $link, @slots) = split / /;
        my ($port) = $address =~ /:(\d+)\@/ or next;
        my ($server) = grep { $_->{port} == $port } @{ $run->{servers} };

        push @nodes, { id => $id, server => $server, master => $master,
                       flags => { map { $_ => 1 } split /,/, $flags },
                       unknown => scalar($flags =~ /fail|handshake|noaddr/),
                       slots => [ grep { /\A\d/ } @slots ] } if $server;
    }

    return @nodes;
}

sub masters {
    my ($run, $asked) = @_;

    return grep { $_->{flags}{master} && @{ $_->{slots} } } nodes($run, $asked);
}

sub owner {
    my ($run, $slot) = @_;

    for my $node (masters($run)) {
        return $node if has_slot($node, $slot);
    }

    die "slot $slot has no node\n";
}

sub has_slot {
    my ($node, $slot) = @_;

    return grep {
        my ($first, $last) = /\A(\d+)(?:-(\d+))?\z/;
        $slot >= $first && $slot <= ($last // $first);
    } @{ $node->{slots} };
}

# Each master has a replica in step, and all nodes agree on who is one.

sub is_well {
    my ($run) = @_;

    my @servers = grep { $_->{pid} } @{ $run->{servers} };
    my $views;

    for my $server (@servers) {
        return if $run->command($server, 'CLUSTER', 'INFO') !~ /^cluster_state:ok/m;
        return if $run->command($server, 'INFO', 'replication') =~ /^master_link_status:down/m;

        my @nodes = nodes($run, $server);
        my $view = join ' ', sort map { join ',', $_->{id}, $_->{master}, @{ $_->{slots} } } @nodes;

        return if @nodes != @servers || grep { $_->{unknown} } @nodes;
        return if $view ne ($views //= $view);
    }

    return 1;
}

# The nodes have to agree before the next fault. The event loop may not run inside
# of itself, so no condition of a wait can ask them.

sub wait_well {
    my ($run) = @_;

    for (1 .. 150) {
        return if is_well($run);
        $run->wait(0.1);
    }

    die "the cluster is not well again\n";
}

sub wait_for {
    my ($run, $what, $code) = @_;

    for (1 .. 300) {
        return if $code->();
        $run->wait(0.05);
    }

    die "not in time: $what\n";
}

# Sends a command that must not fail. Returns the reply.

sub order {
    my ($run, $server, @words) = @_;

    my $reply = $run->command($server, @words);

    die "@words: $reply\n" if $reply =~ /\A-/;
    return $reply;
}

# --- keys and slots

sub key {
    my ($name) = @_;

    my ($kind, $what) = split / /, $name;

    return $kind eq 'synced' ? 'billing:synced_at'
           : $kind eq 'member' ? "billing:login:$what"
           : $kind eq 'token' ? Billing::Check::Writers::token_key($what)
           : "billing:$kind:$what";
}

sub slot {
    my ($name) = @_;

    return Billing::Cluster::slot(key($name));
}

# The slot of a key in use.

sub some_slot {
    my ($run) = @_;

    my @names = keys %{ $run->{history}{states} };

    return rand() < 0.1 ? Billing::Cluster::slot('billing:epoch') : slot($names[rand @names]);
}

# Cameras in pairs: both cameras of a pair are in one slot.

my %Pairs;

sub pairs {
    my ($n) = @_;

    return @{ $Pairs{$n} } if $Pairs{$n};

    my %slots = map { slot("camera $_") => $_ } 1 .. $n;
    my @others;

    for (my $id = 1001; keys %slots; $id++) {
        push @others, $id if delete $slots{ slot("camera $id") };
    }

    $Pairs{$n} = [ 1 .. $n, @others ];
    return @{ $Pairs{$n} };
}

# --- faults

sub kill_at {
    my ($run, $server) = @_;

    $run->command($server, 'CLIENT', 'KILL', 'ID', $_)
        for Billing::Check::Faults::tracked($run, $server);
}

# A master that may get the slot. Replicas of 7.0 keep the keys of a slot that was taken
# from their master: the keys would be back with a failover.

sub another {
    my ($run, $slot, $from) = @_;

    my @nodes = nodes($run);
    my %left = map {
        ($_->{id} => order($run, $_->{server}, 'CLUSTER', 'COUNTKEYSINSLOT', $slot))
    } @nodes;

    my @others = grep {
        my $id = $_->{id};
        $id ne $from->{id} && !grep {
            ($_->{id} eq $id || $_->{master} eq $id) && $left{ $_->{id} }
        } @nodes;
    } masters($run);

    return $others[rand @others];
}

sub reshard {
    my ($run, $slot, $pause, $to) = @_;

    my $from = owner($run, $slot);

    $to //= another($run, $slot, $from) // return;

    my ($source, $target) = ($from->{server}, $to->{server});

    order($run, $target, 'CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    order($run, $source, 'CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to->{id});
    $run->wait($pause);

    while (my @keys = @{ order($run, $source, 'CLUSTER', 'GETKEYSINSLOT', $slot, 1) }) {
        order($run, $source, 'MIGRATE', '127.0.0.1', $target->{port}, '', 0, 5000,
              'KEYS', @keys);
        $run->wait($pause / 2);
    }

    $run->wait($pause);

    # the new owner first: a node is not to learn that nobody has the slot

    order($run, $target, 'CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id});
    $run->wait($pause * rand);
    order($run, $source, 'CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id});

    wait_for($run, "slot $slot has moved", sub { owner($run, $slot)->{id} eq $to->{id} });
}

sub migrate {
    my ($run, $slot) = @_;

    my $from = owner($run, $slot);
    my $to = another($run, $slot, $from) // return 0;

    # a node refuses while it ends another migration

    wait_for($run, "a migration of slot $slot begins", sub {
        $run->command($from->{server}, 'CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', $slot, $slot,
                      'NODE', $to->{id}) !~ /\A-/
    });

    for my $node ($from, $to) {
        wait_for($run, "slot $slot is migrated", sub {
            grep { $_->{id} eq $to->{id} && has_slot($_, $slot) } masters($run, $node->{server})
        });
    }

    return 1;
}

sub take {
    my ($run, $slot, $from, $to) = @_;

    my @ids = @{ $run->{ids} };

    $slot //= slot('camera ' . $ids[rand @ids]);

    my @names = grep { slot($_) == $slot } keys %{ $run->{history}{states} };

    return if grep { /^(?:synced|token|member moves|camera 9\d\d$)/ } @names;

    $from //= owner($run, $slot);
    $to //= another($run, $slot, $from) // return;

    $run->hold_writers;

    my $open = $run->{history}->sent(Billing::Check::Loop::now(), map { ($_, '') } @names);

    order($run, $to->{server}, 'CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    order($run, $to->{server}, 'CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id});
    wait_for($run, "slot $slot is taken", sub {
        $run->command($from->{server}, 'EXISTS', key($names[0])) =~ /\A-MOVED/
    });

    $run->{history}->answered(Billing::Check::Loop::now(), $open);
    $run->resume_writers;

    return ($slot, $from, $to);
}

sub flush {
    my ($run) = @_;

    my @masters = masters($run);
    my $node = $masters[rand @masters];
    my %is = map { $_ => 1 } map {
        my ($first, $last) = /\A(\d+)(?:-(\d+))?\z/;
        $first .. $last // $first;
    } @{ $node->{slots} };

    $run->hold_writers;

    my $now = Billing::Check::Loop::now();
    my @names = grep { $is{ slot($_) } } keys %{ $run->{history}{states} };
    my %was = map { $_ => $run->{history}->current($_) } @names;
    my @moves = ([ $now ], [ $now ]);
    my $open = $run->{history}->sent($now, map { ($_, '') } @names);

    # the login "moves" may have no camera

    push @{ $run->{moves} }, @moves;

    order($run, $node->{server}, 'FLUSHALL');
    $run->{history}->answered(Billing::Check::Loop::now(), $open);
    $run->wait(0.3);

    my @writes = map { [ restore($run, $_, $was{$_}) ] } grep { $was{$_} ne '' } @names;

    $run->bulk([ map { $_->[0] } @writes ], [ map { $_->[1] } @writes ]);
    $_->[1] = Billing::Check::Loop::now() for @moves;
    $run->resume_writers;
}

# The commands that write an earlier value again.

sub restore {
    my ($run, $name, $value) = @_;

    my ($kind, $what, $id) = split / /, $name;

    return $run->put_camera($what) if $kind eq 'camera';
    return $run->put_member($what, $id, 1) if $kind eq 'member';
    return ([ $name, $value ], $kind eq 'synced' ? $run->synced : [ 'SET', key($name), $value ]);
}

# A master and its replica.

sub pair {
    my ($run) = @_;

    my @nodes = nodes($run);
    my @masters = grep { $_->{flags}{master} && @{ $_->{slots} } } @nodes;
    my $master = $masters[rand @masters];
    my ($replica) = grep { $_->{master} eq $master->{id} } @nodes;

    die "a master has no replica\n" if !$replica;
    return ($master->{server}, $replica->{server});
}

sub is_master {
    my ($run, $server, $asked) = @_;

    return grep { $_->{server} == $server } masters($run, $asked);
}

sub failover {
    my ($run, @how) = @_;

    my ($master, $replica) = pair($run);

    order($run, $replica, 'CLUSTER', 'FAILOVER', @how);
    wait_for($run, 'a failover', sub { is_master($run, $replica, $replica) });
    wait_well($run);
}

sub lose {
    my ($run, $crash) = @_;

    my ($master, $replica) = pair($run);

    if ($crash) {
        delete $run->{stall}{pids}{ $master->{pid} };
        $master->stop;

    } else {
        $master->{frozen} = 1;
        $master->signal('STOP');
    }

    wait_for($run, 'a failover', sub { is_master($run, $replica, $replica) });
    $run->{alone}{ $replica->{port} } = 1;
    $run->wait(0.5 + rand);

    if ($crash) {
        $master->start;
        $run->{stall}->add($master->{pid});

    } else {
        $run->{is_resuming} = 1;
        $master->signal('CONT');
        delete $master->{frozen};
        wait_for($run, 'the end of the old master', sub { !is_master($run, $master, $master) });
        delete $run->{is_resuming};
    }

    wait_well($run);
    delete $run->{alone}{ $replica->{port} };

    # what was written meanwhile is on its way, and the next fault may be the same

    my ($written) = offsets($run, $replica);

    wait_for($run, 'the replica has all writes', sub {
        my ($last, $acknowledged) = offsets($run, $replica);
        return ($acknowledged // -1) >= $written;
    });
}

# The replication offsets of a master and of its replica.

sub offsets {
    my ($run, $master) = @_;

    my $info = $run->command($master, 'INFO', 'replication');

    return ($info =~ /^master_repl_offset:(\d+)/m,
            $info =~ /^slave0:.*state=online,offset=(\d+)/m);
}

sub join_and_leave {
    my ($run) = @_;

    my ($first) = @{ $run->{servers} };
    my $bus = Billing::Ports::reserve();
    my $node = Billing::Server->new(@{ $first->{args} }, '--cluster-port', $bus);

    $node->start;
    $run->{stall}->add($node->{pid});
    push @{ $run->{servers} }, $node;
    $run->{alone}{ $node->{port} } = 1;

    order($run, $first, 'CLUSTER', 'MEET', '127.0.0.1', $node->{port}, $bus);

    my $id = order($run, $node, 'CLUSTER', 'MYID');
    my %slots = map { some_slot($run) => 1 } 1 .. 3;
    my @slots = keys %slots;

    wait_well($run);

    reshard($run, $_, 0.03, { id => $id, server => $node }) for @slots;
    $run->wait(0.4);
    reshard($run, $_, 0.03) for grep { owner($run, $_)->{id} eq $id } @slots;

    pop @{ $run->{servers} };
    wait_well($run);

    order($run, $_, 'CLUSTER', 'FORGET', $id) for @{ $run->{servers} };
    delete $run->{stall}{pids}{ $node->{pid} };
    $node->stop;
}

sub mixed {
    my ($run, $seconds) = @_;

    my @faults = (
        sub { Billing::Check::Faults::kill_tracked($run) },
        sub {
            my @masters = masters($run);
            $run->command($masters[rand @masters]{server}, 'CLIENT', 'PAUSE', 200,
                          rand() < 0.5 ? 'WRITE' : 'ALL');
        },
        sub { reshard($run, some_slot($run), 0.02) },
        sub { reshard($run, some_slot($run), 0) },
        sub { take($run) },
        sub { $run->{epoch}->send([ [ 'SET', 'billing:epoch', 1 ] ], sub { }) },
        sub { $run->{nginx}->signal('HUP') },
        sub { failover($run) },
        sub { failover($run, 'TAKEOVER') },
        sub {
            my @servers = @{ $run->{servers} };
            my $server = $servers[rand @servers];
            $server->signal('STOP');
            $run->wait(0.1 + 0.3 * rand);
            $server->signal('CONT');
            wait_well($run);
        },
    );

    my $n = 0;

    repeat($run, $seconds, 0, sub {
        $faults[rand @faults]->();
        $run->wait(0.2 * rand);
        $n++;
    });

    # nodes may not yet agree on a slot that was taken

    wait_well($run);
    return "$n faults";
}

1;
