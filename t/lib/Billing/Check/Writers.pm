# The writers, which change the data, each with a connection and keys of its own. A
# key's next write is sent when the write before has been answered.

package Billing::Check::Writers;

use strict;
use warnings;

use Digest::SHA ();
use List::Util qw(shuffle);

use Billing::Check::Redis;

our @LOGINS = map { "login-$_" } 1 .. 4;
our @EXTERNALS = map { "ext-$_" } 1 .. 12;
our @TOKENS = map { "token-$_" } 1 .. 10;
our $TOKEN = 'token-for-ever';

# cameras of the login "moves", which always has one

our @MOVES = (901 .. 940);

sub prepare_writers {
    my ($self) = @_;

    # in a cluster, two cameras for each slot

    $self->{ids} = $self->{cluster} ? [ Billing::Check::ClusterFaults::pairs(12) ]
                                    : [ 1 .. $self->{cameras} // 24 ];
    $self->{writes} = 0;
    $self->{gap} //= 0.04;

    my @writers = ('write_camera', 'write_camera', 'write_camera', 'write_member',
                   'write_external', 'write_token', 'write_token', 'write_move',
                   'write_synced');

    my $n = 0;
    my %n;
    $self->{writers} = [ map { { op => $_, n => $n{$_}++ } } @writers ];
    $_->{of} = $n{ $_->{op} } for @{ $self->{writers} };
}

sub token_key {
    return 'billing:token:' . Digest::SHA::sha256_hex($_[0]);
}

# --- names in the history, and the commands that write them

sub put_camera {
    my ($self, $id) = @_;

    my $v = 'v' . ++$self->{version};
    my $pad = 'x' x ($self->{pad} // 4);

    return ([ "camera $id", $v ],
            [ 'HSET', "billing:camera:$id", 'external_id', "x$id", 'status', 'active',
              'name', $v, 'streams', "high=$v", 'preview', "$v $pad" ]);
}

sub put_member {
    my ($self, $login, $id, $is) = @_;

    return ([ "member $login $id", $is ? 1 : '' ],
            $is ? [ 'ZADD', "billing:login:$login", $id, $id ]
                : [ 'ZREM', "billing:login:$login", $id ]);
}

# --- writing

sub connect_writers {
    my ($self) = @_;

    for my $writer (@{ $self->{writers} }) {
        $_->close for @{ $writer->{redis} // [] };

        $writer->{redis} = [ map { $self->redis($_) } @{ $self->{targets} } ];
    }

    $self->resume_writers if !$self->{held};
}

# Sends one write to all servers, and calls back with 1 when it was done.

sub write {
    my ($self, $redis, $pairs, $commands, $done) = @_;

    my $left = @$redis;
    my $ok = 1;
    my $open = $self->{history}->sent(Billing::Check::Loop::now(), map { @$_ } @$pairs);

    my $answered = sub {
        my ($failed) = @_;

        $ok = 0 if $failed;
        return if --$left;

        $self->{history}->answered(Billing::Check::Loop::now(), $open) if $ok;
        $self->{writes}++;
        $done->($ok);
    };

    for my $one (@$redis) {
        $one->send($commands, sub {
            my $error = @_ ? (grep { !ref && /\A-/ } map { $_ // '' } @_)[0] : 'gone';

            $self->{refused} = $error if defined $error;
            return $answered->(1) if defined $error;
            return $answered->() if !$self->{replicas} || $self->{cluster};

            $self->replicated($one, $answered);
        });
    }
}

# A write is answered when the replica has it.

sub replicated {
    my ($self, $redis, $answered) = @_;

    $redis->send([ [ 'WAIT', 1, 100 ] ], sub {
        my ($n) = @_;

        return $answered->(1) if !defined $n || $n =~ /\A-/;
        return $answered->() if $n > 0 || !$self->{replicas};
        $self->replicated($redis, $answered);
    });
}

sub start_writers {
    my ($self) = @_;

    $self->{held} = 0;
    $self->tick($_) for @{ $self->{writers} };
}

sub tick {
    my ($self, $writer) = @_;

    if ($self->{held} || grep { $_->{stream}{closed} } @{ $writer->{redis} }) {
        $writer->{stopped} = 1;
        return;
    }

    my $gap = $writer->{op} eq 'write_synced' ? 0.3
              : $writer->{op} eq 'write_move' ? 0.15 : $self->{gap};
    my $again = sub {
        $self->{loop}->after($gap * (0.5 + rand), sub { $self->tick($writer) });
    };

    my $op = $writer->{op};
    my ($pairs, $commands) = $self->$op($writer);

    if (!$pairs) {
        $again->();
        return;
    }

    $writer->{busy} = 1;

    $self->write($writer->{redis}, $pairs, $commands, sub {
        my ($ok) = @_;

        $writer->{busy} = 0;
        $writer->{ok} = $ok;
        $again->();
    });
}

# Stops the writers when what they have sent is answered.

sub hold_writers {
    my ($self) = @_;

    $self->{held} = 1;
    $self->wait(20, sub { !grep { $_->{busy} } @{ $self->{writers} } })
        or die "a writer got no answer\n";
}

sub resume_writers {
    my ($self) = @_;

    $self->{held} = 0;
    $self->tick($_) for grep { delete $_->{stopped} } @{ $self->{writers} };
}

# A write that is no writer's. Returns when the write is done.

sub bulk {
    my ($self, $pairs, $commands) = @_;

    my $done;
    my @redis = map { $self->redis($_) } @{ $self->{targets} };

    $self->write(\@redis, $pairs, $commands, sub { $done = $_[0] ? 1 : -1 });
    $self->wait(30, sub { $done });
    $_->close for @redis;

    die "a write failed: $self->{refused}\n" if ($done // -1) < 0;
}

# --- the next write of each writer

sub pick {
    return $_[rand @_];
}

sub write_camera {
    my ($self, $writer) = @_;

    my @ids = grep { $_ % $writer->{of} == $writer->{n} } @{ $self->{ids} };
    my $id = pick(@ids);

    if (rand() < 0.12 && !$self->{simple} && $self->{history}->current("camera $id") ne '') {
        return ([ [ "camera $id", '' ] ], [ [ 'DEL', "billing:camera:$id" ] ]);
    }

    my ($pair, $command) = $self->put_camera($id);
    return ([ $pair ], [ $self->around($command, $writer) ]);
}

sub write_member {
    my ($self) = @_;

    my ($login, $id) = (pick(@LOGINS), pick(@{ $self->{ids} }));
    ($login, $id) = ('wide', 1001 + int rand $self->{wide}) if $self->{members};
    my $is = $self->{history}->current("member $login $id");
    my ($pair, $command) = $self->put_member($login, $id, $is eq '');

    return ([ $pair ], [ $command ]);
}

# A loader may write a key in other ways: by way of a key that is no camera's, or
# in a script. In a cluster, both keys would have to be in one slot.

sub around {
    my ($self, $command, $writer) = @_;

    my ($name, $key, @rest) = @$command;
    my $other = "loader:$writer->{op}:$writer->{n}";
    my $how = $self->{cluster} ? 0.2 + 0.8 * rand : rand;

    return ([ $name, $other, @rest ], [ 'RENAME', $other, $key ]) if $how < 0.1;

    return ([ $name, $other, @rest ], [ 'COPY', $other, $key, 'REPLACE' ],
            [ 'DEL', $other ]) if $how < 0.2;

    return [ 'EVAL', 'return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))', 1, $key,
             $name, @rest ] if $how < 0.3;

    return $command;
}

sub write_external {
    my ($self) = @_;

    my $external = pick(@EXTERNALS);
    my $id = rand() < 0.15 ? '' : pick(@{ $self->{ids} });

    return ([ [ "external $external", $id ] ],
            [ $id eq '' ? [ 'DEL', "billing:external:$external" ]
                        : [ 'SET', "billing:external:$external", $id ] ]);
}

sub write_token {
    my ($self, $writer) = @_;

    my @tokens = @TOKENS;
    my $token = pick(grep { /(\d+)/ && $1 % $writer->{of} == $writer->{n} } @tokens);
    my $key = token_key($token);
    my $what = rand;

    return ([ [ "token $token", '' ] ], [ [ 'DEL', $key ] ]) if $what < 0.3;
    return ([ [ "token $token", 1 ] ], [ [ 'SET', $key, 'client' ] ]) if $what < 0.6;

    my $ms = 100 + int rand 500;
    return ([ [ "token $token", [ 1, $ms / 1000 ] ] ],
            [ [ 'SET', $key, 'client', 'PX', $ms ] ]);
}

# The login's camera is replaced by another one: hash before index, and back.

sub write_move {
    my ($self, $writer) = @_;

    my $move = $self->{move};
    my @steps = qw(put add remove delete);

    if (!$move || $move->{step} == @steps) {
        $self->{moves}[-1][1] //= Billing::Check::Loop::now() if @{ $self->{moves} };
        shift @{ $self->{moves} } while @{ $self->{moves} } > 200;

        my ($i) = grep { $MOVES[$_] == $self->{moves_at} } 0 .. $#MOVES;

        $move = $self->{move} = { step => 0, from => $self->{moves_at},
                                  to => $MOVES[($i + 1) % @MOVES] };
        push @{ $self->{moves} }, [ Billing::Check::Loop::now() ];

    } elsif ($writer->{ok}) {
        $move->{step}++;
    }

    my $step = $steps[ $move->{step} ];

    if (!$step) {
        $self->{moves_at} = $move->{to};
        return;
    }

    my @write = $step eq 'put'    ? $self->put_camera($move->{to})
              : $step eq 'add'    ? $self->put_member('moves', $move->{to}, 1)
              : $step eq 'remove' ? $self->put_member('moves', $move->{from}, 0)
              : ([ "camera $move->{from}", '' ], [ 'DEL', "billing:camera:$move->{from}" ]);

    return ([ $write[0] ], [ $write[1] ]);
}

sub write_nothing {
    return;
}

sub write_synced {
    my ($self) = @_;

    return ([], [ $self->synced ]);
}

sub synced {
    my ($self) = @_;

    return [ 'SET', 'billing:synced_at', 1_700_000_000 + ++$self->{version} ];
}

# --- a whole data set

# Another data set: the values of all keys, and the commands that write them.

sub data_set {
    my ($self) = @_;

    my (@pairs, @commands);
    my $add = sub {
        push @pairs, $_[0];
        push @commands, $_[1] if $_[1];
    };

    for my $id (@{ $self->{ids} }) {
        $add->(rand() < 0.85 || $self->{simple} ? $self->put_camera($id) : [ "camera $id", '' ]);
    }

    for my $external (@EXTERNALS) {
        my $id = rand() < 0.15 ? '' : pick(@{ $self->{ids} });
        $add->([ "external $external", $id ],
               $id eq '' ? undef : [ 'SET', "billing:external:$external", $id ]);
    }

    for my $login (@LOGINS) {
        for my $id (@{ $self->{ids} }) {
            my @member = $self->put_member($login, $id, rand() < 0.5);
            pop @member if $member[0][1] eq '';
            $add->(@member);
        }
    }

    my $at = pick(@MOVES);

    for my $id (@MOVES) {
        $add->($id == $at ? $self->put_camera($id) : [ "camera $id", '' ]);
        $add->([ "member moves $id", $id == $at ? 1 : '' ],
               $id == $at ? [ 'ZADD', 'billing:login:moves', $id, $id ] : undef);
    }

    for my $token (@TOKENS) {
        my $is = rand() < 0.5;
        $add->([ "token $token", $is ? 1 : '' ],
               $is ? [ 'SET', token_key($token), 'client' ] : undef);
    }

    $add->([ "token $TOKEN", 1 ], [ 'SET', token_key($TOKEN), 'for ever' ]);

    if ($self->{wide}) {
        for my $id (1001 .. 1000 + $self->{wide}) {
            $add->($self->put_camera($id));
            $add->([ "member wide $id", 1 ], [ 'ZADD', 'billing:login:wide', $id, $id ]);
        }
    }

    $add->([ 'synced', 1 ], $self->synced);

    return { pairs => \@pairs, commands => \@commands, at => $at };
}

# The values of all keys when all data are gone.

sub emptied {
    my ($self) = @_;

    my %names = %{ $self->{history}{states} };
    return map { [ $_, '' ] } sort keys %names;
}

# The data set was replaced all at once, so no move is under way.

sub replaced {
    my ($self, $data) = @_;

    my $now = Billing::Check::Loop::now();

    $self->{moves}[-1][1] //= $now if @{ $self->{moves} };
    push @{ $self->{moves} }, ([ $now, $now ]) x 2;
    $self->{moves_at} = $data->{at};
    delete $self->{move};
}

# Writes a whole data set into servers without data.

sub load {
    my ($self) = @_;

    my $data = $self->data_set;

    $self->{moves_at} = $data->{at};
    delete $self->{move};
    $self->bulk($data->{pairs}, $data->{commands});
    $self->replaced($data);
}

1;
