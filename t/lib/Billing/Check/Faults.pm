# The faults of the checker: what each run is made of, what goes wrong in it, and
# how old an answer may be meanwhile.
#
# "do" runs the fault for so many seconds, and returns what it has done. A run in
# which nothing was done proves nothing, and fails.

package Billing::Check::Faults;

use strict;
use warnings;

our @ORDER = qw(calm storm kill pause expire freeze restart flush multi failover
                replica cut script swap untold lists balancer silence lost slow split threads
                reload evict buffer wide pages rights refuse stale mixed);

# A replica that has old data from before a restart may not answer with them.

my @REPLICA = ('--repl-diskless-sync-delay', 0, '--replica-serve-stale-data', 'no');

our %FAULT = (

    # nothing goes wrong
    calm => {
        allowed => 0.06,
        do => sub {
            my ($run, $seconds) = @_;
            $run->wait($seconds);
            return 'nothing';
        },
    },

    # cameras are written as fast as Redis goes
    storm => {
        allowed => 0.06,
        do => \&storm,
    },

    # the connections that Redis tells of changes are closed
    kill => {
        allowed => 0.12,
        do => sub {
            my ($run, $seconds) = @_;
            my $killed = 0;
            repeat($run, $seconds, 0.3, sub { $killed += kill_tracked($run) });
            return $killed && "$killed connections killed";
        },
    },

    # CLIENT PAUSE, of all commands and of writes
    pause => {
        allowed => 0.06, lag => 0.3,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.9, sub {
                $run->command($run->{servers}[0], 'CLIENT', 'PAUSE', 500,
                              $n++ % 2 ? 'ALL' : 'WRITE');
            });
            return "$n pauses";
        },
    },

    # tokens expire while Redis may not delete them, so that no push comes, and while
    # nginx does not look at its clock often
    expire => {
        allowed => 0.06, lag => 1, main => 'timer_resolution 500ms;',
        tokens => 0.6,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.3, sub {
                $run->hold_writers;
                my @tokens = @Billing::Check::Writers::TOKENS;
                $run->bulk([ map { [ "token $_", [ 1, 0.4 ] ] } @tokens ],
                           [ map { [ 'SET', Billing::Check::Writers::token_key($_), 'x',
                                     'PX', 400 ] } @tokens ]);
                $run->wait(0.2);
                $run->command($run->{servers}[0], 'CLIENT', 'PAUSE', 700, 'WRITE');
                $run->resume_writers;
                $run->wait(0.8);
                $n += @tokens;
            });
            return "$n tokens expired";
        },
    },

    # Redis hangs, for shorter and for longer than a request waits
    freeze => {
        lag => 0.3, allowed => 0.55, failures => 1, settle => 0.5,
        conf => 'billing_redis_timeout 600ms;',
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.5, sub {
                $run->{servers}[0]->signal('STOP');
                $run->wait($n++ % 2 ? 1.2 : 0.4);
                $run->{servers}[0]->signal('CONT');
            });
            return "$n times";
        },
    },

    # Redis crashes, and comes back with other data
    restart => {
        allowed => 0.12, failures => 1, settle => 1,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 1, sub { restart($run); $n++ });
            return "$n restarts";
        },
    },

    # all data go, and others come a little later, or in the same transaction
    flush => {
        allowed => 0.06, failures => 1, settle => 0.5,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.6, sub {
                $run->hold_writers;

                if (++$n % 3 == 2) {
                    my $data = $run->data_set;
                    $run->bulk($data->{pairs}, [ [ 'MULTI' ], [ 'FLUSHDB' ],
                                                 @{ $data->{commands} }, [ 'EXEC' ] ]);
                    $run->replaced($data);

                } else {
                    $run->bulk([ $run->emptied ], [ [ 'FLUSHALL' ] ]);
                    $run->wait(0.3);
                    $run->load;
                }

                $run->resume_writers;
            });
            return "$n times";
        },
    },

    # transactions of many keys, which one push names all at once
    multi => {
        allowed => 0.06,
        do => \&multi,
    },

    # the first server crashes, its replica takes over, and the first one comes back
    failover => {
        allowed => 0.12, failures => 1, servers => [ [ @REPLICA ], [ @REPLICA ] ],
        use => [ 0, 1 ], before => \&replicate, settle => 0.8,
        do => \&failover,
    },

    # nginx reads from a replica, whose link hangs now and then
    replica => {
        allowed => 0.06, servers => [ [ @REPLICA ], [ @REPLICA ] ], use => [ 1 ],
        before => \&replicate,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.5, sub {
                $run->{link}->silent(1);
                $run->wait(0.5);
                $run->{link}->silent(0);
                $n++;
            });
            return "$n times";
        },
    },

    # the replica loses its master, and refuses to answer
    cut => {
        lag => 0.3, allowed => 0.55, failures => 1, settle => 1, unwaited => 1,
        servers => [ [ @REPLICA ], [ @REPLICA ] ],
        use => [ 1 ], before => \&replicate,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.7, sub {
                $run->{link}{refuses} = 1;
                $run->{link}->cut;
                $run->wait(1.2);
                $run->{link}{refuses} = 0;
                $run->wait(5, sub {
                    ($run->{servers}[1]->info('replication', 'master_link_status') // '') eq 'up'
                });
                $n++;
            });
            return "$n times";
        },
    },

    # scripts that let nobody else have a turn, also for long enough to get -BUSY
    script => {
        allowed => 0.06 + 0.35, failures => 1,
        do => \&script,
    },

    # another database is swapped in, as the contract has it
    swap => {
        lag => 0.2, allowed => 0.06,
        do => sub { swap(@_, 1) },
    },

    # another database is swapped in without a word
    untold => {
        lag => 0.3, allowed => 0.3 * 1.5 + 0.25, settle => 0.3, doubts => 1,
        do => sub { swap(@_, 0) },
    },

    # lists of several batches change all the time
    lists => {
        allowed => 0.06, conf => 'billing_batch 3;', gap => 0.004,
        do => sub {
            my ($run, $seconds) = @_;
            $run->wait($seconds);
            return scalar @{ $run->{moves} } . ' moves';
        },
    },

    # each connection goes to another server, and all are cut now and then
    balancer => {
        allowed => 0.12, servers => [ [], [] ], use => [ 0, 1 ], write => [ 0, 1 ],
        balanced => 1, failures => 1, conf => 'billing_redis_connections 3;',
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.4, sub { $run->{balancer}->cut; $n++ });
            return "$n times";
        },
    },

    # the network swallows what Redis says, while others still write
    silence => {
        lag => 0.2, allowed => 0.45, balanced => 1, failures => 1, settle => 0.5, simple => 1,
        clients => 60, pause => 0.25, conf => 'billing_redis_timeout 2s;',
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.4, sub {
                $run->{balancer}->silent(1);
                $run->wait(1.2);
                $run->{balancer}->silent(0);
                $n++;
            });
            return "$n times";
        },
    },

    # the network forgets connections, and answers on new ones only
    lost => {
        lag => 0.3, allowed => 0.55, balanced => 1, failures => 1, settle => 0.5,
        conf => 'billing_redis_timeout 600ms;', clients => 20, pause => 0.05,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 1.2, sub { $run->{balancer}->lose; $n++ });
            return "$n times";
        },
    },

    # the network is slow: as slow are the news
    slow => {
        allowed => 0.15 + 0.06, balanced => 1, failures => 1, settle => 0.6,
        do => sub {
            my ($run, $seconds) = @_;
            $run->{balancer}{delay} = 0.15;
            $run->wait($seconds);
            return 'delayed by 150 ms';
        },
    },

    # the end of each pipeline comes late: changes come in between
    split => {
        allowed => 0.06, balanced => 1, failures => 1, settle => 0.3, gap => 0.02,
        clients => 30,
        do => sub {
            my ($run, $seconds) = @_;
            $run->{balancer}{split} = 0.05;
            $run->wait($seconds);
            return 'by 50 ms';
        },
    },

    # Redis with threads that write its replies
    threads => {
        allowed => 0.1, gap => 0.004, clients => 16, pause => 0.01,
        servers => [ [ '--io-threads', 3, '--io-threads-do-reads', 'yes' ] ],
        do => \&storm,
    },

    # nginx is reloaded
    reload => {
        allowed => 0.12, failures => 1,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.8, sub { $run->{nginx}->signal('HUP'); $n++ });
            return "$n reloads";
        },
    },

    # the cache holds a part of the data only
    evict => {
        allowed => 0.06, cameras => 300, pad => 9000, conf => 'billing_cache 1m;',
        do => sub {
            my ($run, $seconds) = @_;
            $run->wait($seconds);
            return 'cameras of 3 MB in 1 MB';
        },
    },

    # Redis closes connections that do not read their news fast enough
    buffer => {
        allowed => 0.12,
        do => \&buffer,
    },

    # long keys make pipelines that Redis reads in several turns, with writes in between
    wide => {
        allowed => 0.12, wide => 200, conf => 'billing_batch 200;', clients => 8, burst => 2,
        prefix => 'billing:' . 'x' x 1500 . ':',
        do => \&storm,
    },

    # a login of several pages whose members change, beside a location whose prefix
    # begins with that of the others
    pages => {
        allowed => 0.12, wide => 2500, conf => 'billing_batch 300;', clients => 5, pause => 0.1,
        also => 'other:', members => 1,
        do => sub {
            my ($run, $seconds) = @_;
            $run->wait($seconds);
            return 'lists of 2500';
        },
    },

    # the module's user may not read any more: what is kept ends with the lag
    rights => {
        lag => 0.3, allowed => 0.55, failures => 1, settle => 0.5, user => 'reader:secret',
        before => \&make_user,
        do => \&rights,
    },

    # Redis does not let the module's user be told of changes for a while
    refuse => {
        allowed => 0.12, failures => 1, user => 'reader:secret', before => \&make_user,
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.5, sub {
                for my $may ('-', '+') {
                    $run->command($run->{servers}[0], 'ACL', 'SETUSER', 'reader',
                                  "${may}client|tracking");
                    $run->command($run->{servers}[0], 'CLIENT', 'KILL', 'USER', 'reader');
                    $run->wait(0.5);
                }
                $n++;
            });
            return "$n times";
        },
    },

    # all kinds of faults at once
    mixed => {
        lag => 0.3, allowed => 0.3 + 0.4, balanced => 1, failures => 1, settle => 1,
        conf => 'billing_redis_timeout 600ms;',
        do => \&mixed,
    },

    # Redis is away, and nginx may answer with what it had, until Redis is back
    stale => {
        lag => 0.3, allowed => 0.8, failures => 1, settle => 0.5, least => 2.5,
        conf => 'billing_cache_stale 10s; billing_redis_timeout 300ms;',
        do => sub {
            my ($run, $seconds) = @_;
            my $n = 0;
            repeat($run, $seconds, 0.4, sub { restart($run, 1); $n++ });
            return $run->{seen}{stale} && "$n restarts, $run->{seen}{stale} stale answers";
        },
    },
);

# Faults at random, often before the one before is over.

sub mixed {
    my ($run, $seconds) = @_;

    my $server = $run->{servers}[0];
    my $balancer = $run->{balancer};

    my @faults = (
        sub { kill_tracked($run) },
        sub { $run->command($server, 'CLIENT', 'PAUSE', 200, 'WRITE') },
        sub { $run->command($server, 'CLIENT', 'PAUSE', 200, 'ALL') },
        sub { swap($run, 0, 1) },
        sub { $balancer->cut },
        sub { $balancer->lose },
        sub { $balancer->silent(1); $run->{loop}->after(0.25, sub { $balancer->silent(0) }) },
        sub { $balancer->{split} = 0.02 * int rand 3 },
        sub { $balancer->{delay} = rand() < 0.3 ? 0.02 : 0 },
        sub { $run->{nginx}->signal('HUP') },
        sub {
            my $data = $run->data_set;
            $run->hold_writers;
            $run->bulk($data->{pairs}, [ [ 'MULTI' ], [ 'FLUSHALL' ],
                                         @{ $data->{commands} }, [ 'EXEC' ] ]);
            $run->replaced($data);
            $run->resume_writers;
        },
    );

    my $n = 0;

    repeat($run, $seconds, 0, sub {
        $faults[rand @faults]->();
        $run->wait(0.2 * rand);
        $n++;
    });

    @$balancer{qw(split delay)} = (0, 0);
    $balancer->silent(0);
    return "$n faults";
}

# Until the time is over: does something, and then lets some time pass.

sub repeat {
    my ($run, $seconds, $gap, $what) = @_;

    my $end = Billing::Check::Loop::now() + $seconds;

    do {
        $what->();
        $run->wait($gap);
    } while Billing::Check::Loop::now() < $end;
}

# The connections that Redis tells of changes.

sub tracked {
    my ($run, $server) = @_;

    return map { /\bid=(\d+) .* flags=\w*t/ ? $1 : () }
           split /\n/, $run->command($server, 'CLIENT', 'LIST');
}

sub kill_tracked {
    my ($run) = @_;

    my $killed = 0;

    for my $server (@{ $run->{servers} }) {
        $killed += $run->command($server, 'CLIENT', 'KILL', 'ID', $_)
            for tracked($run, $server);
    }

    return $killed;
}

sub storm {
    my ($run, $seconds) = @_;

    my @ids = $run->{wide} ? (1001 .. 1000 + $run->{wide}) : @{ $run->{ids} };
    my $n = 0;
    my $redis = Billing::Check::Redis->new($run->{loop}, $run->{targets}[0]{socket});

    # the writers of cameras would write the same keys

    my @mine = grep { $run->{wide} || $_ % 3 == 0 } @ids;

    if (!$run->{wide}) {
        $run->hold_writers;
        @{ $_ }{qw(n of)} = ($_->{n} + 1, 3)
            for grep { $_->{op} eq 'write_camera' } @{ $run->{writers} };
        $_->{op} = 'write_nothing'
            for grep { $_->{op} eq 'write_camera' && $_->{n} == 3 } @{ $run->{writers} };
        $run->resume_writers;
    }

    # fewer writes: the next write of a key would soon hide a violation

    repeat($run, $seconds, $run->{wide} ? 0.001 : 0.01, sub {
        my (@pairs, @commands, $done);

        for (1 .. $run->{burst} // 100) {
            my ($pair, $command) = $run->put_camera($mine[rand @mine]);
            push @pairs, $pair;
            push @commands, $command;
        }

        $run->write([ $redis ], \@pairs, \@commands, sub { $done = 1 });
        $run->wait(10, sub { $done });
        $n += @commands;
    });

    return "$n writes";
}

sub multi {
    my ($run, $seconds) = @_;

    my $keys = $run->{long} ? 100_000 : 3000;
    my ($n, $most) = (0, 0);

    $run->{allowed} += $keys * 2e-6;

    repeat($run, $seconds, 0.3, sub {
        $run->hold_writers;
        my @ids = @{ $run->{ids} };
        my (@pairs, @commands);

        for my $id (@ids) {
            my ($pair, $command) = $run->put_camera($id);
            push @pairs, $pair;
            push @commands, $command;
        }

        # from 100000 on: names that sort before and behind those of the cameras

        push @commands, map { [ 'HSET', "billing:camera:" . (100_000 + $_), 'name', 'x' ] }
                        1 .. $keys;

        $run->bulk(\@pairs, [ [ 'MULTI' ], @commands, [ 'EXEC' ] ]);
        $run->resume_writers;
        $n++;
    });

    return "$n transactions of $keys keys";
}

# With a cache that may be stale, nothing is wrong while no server runs.

sub restart {
    my ($run, $stale) = @_;

    my $server = $run->{servers}[0];

    $run->{held} = 1;
    delete $run->{stall}{pids}{ $server->{pid} };

    $server->stop if $stale;
    $run->wait(0.9) if $stale;

    my $open = $run->{history}->sent(Billing::Check::Loop::now(),
                                     map { @$_ } $run->emptied);
    $server->stop;
    $run->wait(0.3) if !$stale;
    $server->start;
    $run->{history}->answered(Billing::Check::Loop::now(), $open);

    $run->{stall}->add($server->{pid});
    $run->load;
    $run->{held} = 0;
    $run->connect_writers;
}

sub replicate {
    my ($run) = @_;

    my ($master, $replica) = @{ $run->{servers} };

    $run->{link} = Billing::Check::Balancer->new($run->{loop}, $master->{port});
    $run->{replicas} = !$run->{unwaited};
    follow($run, $replica, $run->{link}{port});
}

sub follow {
    my ($run, $replica, $port) = @_;

    $run->command($replica, 'REPLICAOF', '127.0.0.1', $port);
    $run->wait(10, sub {
        my ($info) = $run->command($replica, 'INFO', 'replication');
        return $info =~ /^master_link_status:up/m;
    }) or die "the replica does not follow\n";
}

sub failover {
    my ($run, $seconds) = @_;

    my ($first, $second) = @{ $run->{servers} };
    my $n = 0;

    repeat($run, $seconds, 0.5, sub {
        $run->{replicas} = 0;
        delete $run->{stall}{pids}{ $first->{pid} };
        $first->stop;
        $run->wait(0.4);
        $run->command($second, 'REPLICAOF', 'NO', 'ONE');

        $run->{targets} = [ $second ];
        $run->connect_writers;
        $run->wait(0.6);

        # the first server is the second one's replica now

        $run->{replicas} = 1;
        $first->{args} = [ @REPLICA, '--replicaof', "127.0.0.1 $second->{port}" ];
        $first->start;
        $run->{stall}->add($first->{pid});
        $run->wait(10, sub {
            $run->command($first, 'INFO', 'replication') =~ /^master_link_status:up/m
        }) or die "the replica does not follow\n";
        $run->wait(1.8);

        # back again, by a switch that loses nothing

        $run->hold_writers;
        $run->command($first, 'REPLICAOF', 'NO', 'ONE');
        follow($run, $second, $first->{port});
        $run->{targets} = [ $first ];
        $run->connect_writers;
        $run->resume_writers;
        $n++;
    });

    return "$n times";
}

sub script {
    my ($run, $seconds) = @_;

    my $server = $run->{servers}[0];
    my $n = 0;

    repeat($run, $seconds, 0.3, sub {
        $run->command($server, 'CONFIG', 'SET', 'busy-reply-threshold',
                      $n++ % 2 ? 50 : 5000);
        $run->command($server, 'EVAL', <<'END', 0);
local start = redis.call('TIME')
repeat
    local now = redis.call('TIME')
    local passed = (now[1] - start[1]) * 1000 + (now[2] - start[2]) / 1000
until passed > 300
END
    });

    return "$n scripts of 300 ms";
}

sub swap {
    my ($run, $seconds, $told) = @_;

    my $server = $run->{servers}[0];
    my $n = 0;

    repeat($run, $seconds, $told ? 0.2 : $run->{allowed}, sub {
        my $data = $run->data_set;

        $run->commands($server, [ 'SELECT', 1 ], [ 'FLUSHDB' ], @{ $data->{commands} });

        # news of the other database's synced_at come, but before a probe

        $run->wait(2 * $run->{lag}) if !$told;
        $run->hold_writers;
        $run->wait(1.2 * $run->{lag});
        $run->bulk($data->{pairs}, [ [ 'MULTI' ], [ 'SWAPDB', 0, 1 ],
                                     $told ? [ 'SET', 'billing:epoch', $n ] : (),
                                     [ 'EXEC' ] ]);
        $run->replaced($data);

        # news of a change of synced_at would end the module's doubt

        $run->wait($told ? 1.2 * $run->{lag} : 1.5 * $run->{allowed});
        $run->resume_writers;
        $n++;

        # the module does not use its cache after the second doubt

        kill_tracked($run) if !$told;
    });

    return "$n times";
}

sub buffer {
    my ($run, $seconds) = @_;

    my $server = $run->{servers}[0];
    my $n = 0;
    my %tracked;

    $run->command($server, 'CONFIG', 'SET', 'client-output-buffer-limit', 'normal 64kb 0 0');

    repeat($run, $seconds, 0.4, sub {
        $run->hold_writers;
        my (@pairs, @commands);

        for my $id (@{ $run->{ids} }) {
            my ($pair, $command) = $run->put_camera($id);
            push @pairs, $pair;
            push @commands, $command;
        }

        $tracked{$_} = 1 for tracked($run, $server);

        $run->bulk(\@pairs, [ [ 'MULTI' ], @commands, [ 'EVAL', <<'END', 0 ], [ 'EXEC' ] ]);
for i = 1, 20000 do
    redis.call('HSET', 'billing:camera:' .. 100000 + i, 'name', i)
end
END
        $run->resume_writers;
        $n++;
    });

    delete @tracked{ tracked($run, $server) };
    my $closed = keys %tracked;
    return $closed && "$n pushes of 20000 keys, $closed connections closed";
}

sub make_user {
    my ($run) = @_;

    $run->command($run->{servers}[0], 'ACL', 'SETUSER', 'reader', 'on', '>secret',
                  '~billing:*', '+@all');
}

# nginx may use its cache until the lag is over, as if the data had gone at that time.

sub rights {
    my ($run, $seconds) = @_;

    my $server = $run->{servers}[0];
    my $n = 0;

    repeat($run, $seconds, 0.5, sub {
        $run->hold_writers;

        my %was = map { $_ => $run->{history}->current($_) } keys %{ $run->{history}{states} };
        my $open = $run->{history}->sent(Billing::Check::Loop::now(), map { @$_ } $run->emptied);

        $run->command($server, 'ACL', 'SETUSER', 'reader', 'resetkeys');
        $run->{history}->answered(Billing::Check::Loop::now(), $open);
        $run->wait(1.2);

        $open = $run->{history}->sent(Billing::Check::Loop::now(), %was);
        $run->command($server, 'ACL', 'SETUSER', 'reader', '~billing:*');
        $run->{history}->answered(Billing::Check::Loop::now(), $open);
        $run->resume_writers;
        $n++;
    });

    return "$n times";
}

1;
