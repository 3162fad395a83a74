# One run of the checker: real servers and a real nginx, writers that change the
# data all the time, and readers that judge each answer by what was true. A value
# in an answer has to be one that was true after the request was sent, or not
# longer before than {allowed} seconds.

package Billing::Check::Run;

use strict;
use warnings;

use Billing::Check::Balancer;
use Billing::Check::Cluster;
use Billing::Check::ClusterFaults;
use Billing::Check::History;
use Billing::Check::Loop;
use Billing::Check::Readers;
use Billing::Check::Stall;
use Billing::Check::Writers;
use Billing::Nginx;
use Billing::Server;

our @ISA = qw(Billing::Check::Readers Billing::Check::Writers);

our $URI = '/api/v1/billing/cameras/list';

# Options, of which "allowed" and "lag" are required; times are in seconds:
#
#   name            of the fault
#   allowed, lag    how old an answer may be; billing_cache_lag
#   servers         arguments for each Redis server
#   cluster         a Billing::Cluster that runs, whose nodes are the servers
#   use, write      indexes of those that nginx uses, and of those that are written to
#   before          is called when the servers run, and before they have data
#   balanced        nginx reaches the servers through a balancer
#   conf, main      directives for the http block, and outside of it
#   user, prefix    of nginx at the servers; what all keys begin with
#   also            the rest of another location's prefix
#   failures        a 502, 503 or 504 is no violation before the end of the run
#   settle          how long failures may go on when the fault is over
#   clients, pause  how many readers, and the mean time between their requests
#   gap             mean time between the writes of one writer
#   cameras, pad    how many, and bytes that each one has more
#   wide, members   cameras of the login "wide"; the writer of members writes these
#   simple          readers ask for a few cameras, which are never deleted
#   doubts          Redis does not tell of all changes
#   replicas        a write is done when a replica has it
#   tokens          the share of requests that have one of the changing tokens

sub new {
    my ($class, %opt) = @_;

    my $loop = Billing::Check::Loop->new;

    my $self = bless {
        %opt,
        loop     => $loop,
        started  => Billing::Check::Loop::now(),
        history  => Billing::Check::History->new,
        stall    => Billing::Check::Stall->new($loop),
        seen     => { answers => 0, hits => 0, null => 0, 401 => 0, failed => 0,
                      excused => 0, oldest => 0, slowest => 0 },
        wrong    => [],
        moves    => [],
        undecided => 0,
        version  => 0,
    }, $class;

    # a sanitizer makes all slower

    $self->{allowed} += 0.1 if $ENV{TEST_NGINX_MODE};

    # a token's own deadline needs no news of its end

    $self->{history}{expiry} = $self->{allowed} - 0.02;

    $Billing::Check::Redis::PREFIX = $self->{prefix} // 'billing:';

    $self->start_servers;
    $self->{stall}->add(map { $_->{pid} } @{ $self->{servers} });

    $self->prepare_writers;
    $self->{before}->($self) if $self->{before};
    $self->connect_writers;
    $self->load;

    $self->start_nginx;
    $self->start_readers;
    $self->start_writers;

    return $self;
}

sub start_servers {
    my ($self) = @_;

    if ($self->{cluster}) {
        $self->{servers} = [ $self->{cluster}->nodes ];
        $self->{targets} = [ $self->{cluster} ];
        $self->{use} = [ 0 .. 2 ];

        Billing::Check::ClusterFaults::wait_well($self);
        $self->command($_->{server}, 'FLUSHALL')
            for Billing::Check::ClusterFaults::masters($self);

        $self->{epoch} = $self->redis($self->{cluster});
        return;
    }

    $self->{servers} = [ map { Billing::Server->new(@$_) } @{ $self->{servers} // [ [] ] } ];
    $_->start for @{ $self->{servers} };

    $self->{targets} = [ @{ $self->{servers} }[ @{ $self->{write} // [ 0 ] } ] ];
}

# A client of a server, or of the cluster.

sub redis {
    my ($self, $target) = @_;

    return $self->{cluster} ? Billing::Check::Cluster->new($self)
                            : Billing::Check::Redis->new($self->{loop}, $target->{socket});
}

sub start_nginx {
    my ($self) = @_;

    my @used = @{ $self->{servers} }[ @{ $self->{use} // [ 0 ] } ];

    if ($self->{balanced}) {
        $self->{balancer} = Billing::Check::Balancer->new($self->{loop},
                                                          map { $_->{port} } @used);
    }

    my $user = $self->{user} ? "$self->{user}\@" : '';
    my $urls = $self->{balanced} ? "redis://127.0.0.1:$self->{balancer}{port}"
               : join ' ', map { "redis://${user}127.0.0.1:$_->{port}" } @used;
    my $lag = int(1000 * $self->{lag}) . 'ms';
    my $conf = $self->{conf} // '';

    $conf = "billing_cache 32m; $conf" if $conf !~ /\bbilling_cache\s/;

    # a machine that is busy is no fault of nginx

    $conf = "billing_redis_timeout 10s; $conf" if $conf !~ /\bbilling_redis_timeout\s/;

    # another location, which shares the cache

    my $also = $self->{also}
        ? "location = /also { billing_cameras_list; "
          . "billing_redis_prefix $Billing::Check::Redis::PREFIX$self->{also}; }" : '';

    $self->{http} = <<"END";
    billing_redis $urls;
    billing_redis_connect_timeout 2s;
    billing_redis_prefix $Billing::Check::Redis::PREFIX;
    billing_cache_lag $lag;
    $conf
    keepalive_requests 10000000;
    server {
        listen 127.0.0.1:%PORT%;
        location = $URI {
            billing_cameras_list;
            add_header X-Cache "\$billing_cache \$pid" always;
        }
        $also
    }
END

    $self->{nginx} = Billing::Nginx->start($self->{http}, workers => 3, alerts => 1,
                                           main => $self->{main},
                                           level => $ENV{BILLING_CHECK_LEVEL} // 'info');
    $self->{stall}->master($self->{nginx}{pid});
}

sub wait {
    my ($self, $seconds, $until) = @_;

    return $self->{loop}->run($seconds, $until);
}

# One command on one server, over a connection of its own. Returns its reply.

sub command {
    my ($self, $server, @command) = @_;

    return ($self->commands($server, \@command))[0];
}

sub commands {
    my ($self, $server, @commands) = @_;

    my ($done, @replies);
    my $redis = Billing::Check::Redis->new($self->{loop}, $server->{socket});

    $redis->send(\@commands, sub { @replies = @_; $done = 1 });
    $self->wait(20, sub { $done });
    $redis->close;

    die "no reply to $commands[0][0]\n" if @replies != @commands;
    return @replies;
}

# Notes a violation.

sub wrong {
    my ($self, $what) = @_;

    my $text = sprintf '%.3f s: %s', Billing::Check::Loop::now() - $self->{started}, $what;

    push @{ $self->{wrong} }, $text;
}

# Ends the run: without writers, all answers are true soon.

sub finish {
    my ($self) = @_;

    $self->hold_writers;
    $self->wait(($self->{settle} // 0.2) + $self->{allowed});
    $self->{settled} = 1;
    $self->wait(0.2);

    $self->use_cache;
    $self->stop_readers;
    $self->wait(1, sub { !$self->{undecided} });

    my $log = $self->{nginx}->log_text;
    $self->{nginx}->stop;

    $self->wrong("log: $_") for $log =~ /^(.*\[(?:alert|crit|emerg)\].*)$/mg;

    # the module may doubt Redis only where Redis does not tell of all changes

    $self->wrong('the log doubts what Redis says')
        if $log =~ /Redis did not say so/ && !$self->{doubts};

    $self->keep($log) if @{ $self->{wrong} };

    return if $self->{cluster};

    $_->stop for @{ $self->{servers} };
}

# One of the last answers comes from the cache. A busy machine gives few answers in
# two seconds.

sub use_cache {
    my ($self) = @_;

    my $last = $self->{last} = {};
    my $two = Billing::Check::Loop::now() + 2;

    $self->wait(30, sub {
        my $n = 0;
        $n += $_ for values %$last;
        return $last->{HIT} || $n >= 500 && Billing::Check::Loop::now() > $two;
    });

    $self->wrong('the cache is not used at the end: '
                 . join ', ', map { "$last->{$_} $_" } sort keys %$last)
        if !$last->{HIT};
}

# run.sh keeps the logs in its directory.

sub keep {
    my ($self, $log) = @_;

    my $dir = $ENV{TMPDIR} // return;

    open my $out, '>', "$dir/check-$self->{name}-$$.log" or return;
    print $out $log;
}

sub summary {
    my ($self) = @_;

    my $seen = $self->{seen};

    return sprintf '%d answers, %d %% from the cache, %d null, %d of 401, %d failed, '
                   . '%d excused, oldest %d ms of %d, slowest %d ms, '
                   . '%d writes',
                   $seen->{answers}, 100 * $seen->{hits} / ($seen->{answers} || 1),
                   @$seen{qw(null 401 failed excused)}, 1000 * $seen->{oldest},
                   1000 * $self->{allowed}, 1000 * $seen->{slowest}, $self->{writes};
}

1;
