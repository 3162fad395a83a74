# A client of a Redis Cluster on the event loop. It is used as Billing::Check::Redis
# is: commands go to the nodes that have their keys, follow redirects, and are sent
# again until they are done, so all of them have to be ones that may run twice.

package Billing::Check::Cluster;

use strict;
use warnings;

use Billing::Check::Redis;
use Billing::Cluster;

# seconds for a reply, after which another node is asked; and between two attempts

use constant { PATIENCE => 0.8, PAUSE => 0.03 };

sub new {
    my ($class, $run) = @_;

    return bless { run => $run, redis => {}, place => {} }, $class;
}

# Calls done(replies) when all commands are answered, in their order.

sub send {
    my ($self, $commands, $done) = @_;

    my (%groups, @replies);

    for my $i (0 .. $#$commands) {
        my $slot = Billing::Cluster::slot(key($commands->[$i]));
        my $group = $groups{$slot} //= { slot => $slot };
        push @{ $group->{commands} }, $commands->[$i];
        push @{ $group->{places} }, $i;
    }

    my $left = keys %groups;

    for my $group (values %groups) {
        $group->{done} = sub {
            @replies[ @{ $group->{places} } ] = @_;
            $done->(@replies) if !--$left;
        };
        $self->attempt($group);
    }
}

sub key {
    my ($command) = @_;

    return $command->[ $command->[0] eq 'EVAL' ? 3 : 1 ];
}

sub attempt {
    my ($self, $group) = @_;

    return if $self->{closed};

    my @ports = map { $_->{port} } grep { $_->{pid} } @{ $self->{run}{servers} };
    my $asking = delete $group->{asking};
    my $port = $asking // $self->{place}{ $group->{slot} } // $ports[rand @ports];
    my $redis = $self->redis($port) or return $self->again($group);
    my @commands = map { $asking ? ([ 'ASKING' ], $_) : $_ } @{ $group->{commands} };
    my $attempt = ++$group->{attempt};

    $self->{run}{loop}->after(PATIENCE, sub {
        $redis->close if $group->{attempt} == $attempt && !$group->{answered};
    });

    $redis->send(\@commands, sub {
        my @replies = $asking ? @_[ grep { $_ % 2 } 0 .. $#_ ] : @_;
        my ($error) = grep { defined && !ref && /\A-/ } @replies;

        return $self->again($group) if !@replies;
        return $self->redirected($group, $error) if defined $error;

        $self->replicated($redis, $port, $group, @replies);
    });
}

sub again {
    my ($self, $group) = @_;

    delete $self->{place}{ $group->{slot} };
    $self->{run}{loop}->after(PAUSE, sub { $self->attempt($group) });
}

sub redirected {
    my ($self, $group, $error) = @_;

    my ($kind, $port) = $error =~ /\A-(MOVED|ASK) \d+ \S*:(\d+)/;

    if ($kind) {
        $group->{asking} = $port if $kind eq 'ASK';
        $self->{place}{ $group->{slot} } = $port if $kind eq 'MOVED';
        return $self->attempt($group) if $group->{attempt} % 8;
    }

    return $self->{run}{loop}->after(PAUSE, sub { $self->attempt($group) })
        if $kind || $error =~ /\A-TRYAGAIN/;

    $self->again($group);
}

# A write is done when the node's replica has it, where there is one.

sub replicated {
    my ($self, $redis, $port, $group, @replies) = @_;

    my $run = $self->{run};

    if ($run->{alone}{$port} || !$run->{replicas}) {
        $group->{answered} = 1;
        return $group->{done}->(@replies);
    }

    $redis->send([ [ 'WAIT', 1, 100 ] ], sub {
        my ($n) = @_;

        return $self->again($group) if !defined $n || $n =~ /\A-/;
        return $self->replicated($redis, $port, $group, @replies) if $n < 1;

        $group->{answered} = 1;
        $group->{done}->(@replies);
    });
}

sub redis {
    my ($self, $port) = @_;

    my $redis = $self->{redis}{$port};
    return $redis if $redis && !$redis->{stream}{closed};

    my ($server) = grep { $_->{port} == $port } @{ $self->{run}{servers} };
    return if !$server || !$server->{pid};

    return $self->{redis}{$port}
        = eval { Billing::Check::Redis->new($self->{run}{loop}, $server->{socket}) };
}

sub close {
    my ($self) = @_;

    $self->{closed} = 1;
    $_->close for grep { defined } values %{ $self->{redis} };
}

1;
