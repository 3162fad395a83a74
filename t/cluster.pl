#!/usr/bin/perl

# Load against a real Redis Cluster while the cluster changes: no answer may be
# other than 200, and none may be wrong.
#
#     perl t/cluster.pl [--callers N] [--workers N] [--timeout 5s] [--cache SIZE]
#                       [SCENARIO]...
#
# Scenarios: reshard (400 slots move), kill (a master is killed), failover (CLUSTER
# FAILOVER), stop (a master hangs), restart (all nodes, one after the other), gone
# (100 nodes are announced, of which 99 are gone), cost (what 30 cameras cost, beside
# one server). All of them take about a minute and a half. The module has to be built.

use strict;
use warnings;

use FindBin;
use Getopt::Long;

use lib "$FindBin::RealBin/lib", glob "$FindBin::RealBin/../build/test-nginx/usr/share/perl5";

BEGIN {
    if (grep { $_ eq '--help' } @ARGV) {
        open my $self, '<', $0 or die "$0: $!\n";
        while (<$self>) {
            next if $. < 3;
            last if !s/^# ?//;
            print;
        }
        exit;
    }

    $ENV{TEST_NGINX_BINARY} //= (grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}),
                                 '/usr/sbin')[0];
    $ENV{TEST_NGINX_LOAD_MODULES}
        //= "$FindBin::RealBin/../build/ngx_http_billing_module.so";
    $ENV{TEST_NGINX_WORKER_USER} //= 'root' if $> == 0;
}

use Digest::SHA ();
use POSIX ();
use Time::HiRes qw(sleep time);

use Billing::Client;
use Billing::Cluster;
use Billing::FakeRedis;
use Billing::Nginx;
use Billing::Server;

use constant CAMERAS => 4000;

my %opt = (callers => 8, workers => 2, timeout => '5s', cache => '32m');

GetOptions(\%opt, 'callers=i', 'workers=i', 'timeout=s', 'cache=s') or exit 1;

my %scenario = (reshard => \&reshard, kill => \&kill_master, failover => \&failover,
                stop => \&stop_master, restart => \&restart, gone => \&gone, cost => \&cost);

my @names = @ARGV ? @ARGV : qw(reshard kill failover stop restart gone cost);
my $wrong = 0;

$| = 1;

for my $name (@names) {
    my $run = $scenario{$name} or die "$0: no scenario \"$name\"\n";
    $run->();
}

exit($wrong ? 1 : 0);

# The data, which is the same for all scenarios.

sub commands {
    return ([ 'SET', 'billing:synced_at', 1700000000 ],
            [ 'SET', 'billing:token:' . Digest::SHA::sha256_hex('t'), 'c' ],
            [ 'ZADD', 'billing:login:l', map { ($_, $_) } 1 .. 300 ],
            map { ([ 'HSET', "billing:camera:$_", 'name', "N$_", 'preview', 'p' x 200 ],
                   [ 'SET', "billing:external:e$_", $_ ]) } 1 .. CAMERAS);
}

sub nginx {
    my ($port, %more) = @_;

    my $cache = $more{cache} // "billing_cache $opt{cache};";

    my $nginx = Billing::Nginx->start(<<"END", workers => $more{workers} // $opt{workers}, level => $ENV{LEVEL} // 'info', alerts => 1);
access_log off;
keepalive_requests 1000000;
billing_redis @{[ map { "redis://127.0.0.1:$_" } ref $port ? @$port : $port ]};
billing_redis_timeout $opt{timeout};
$cache
server {
    listen 127.0.0.1:%PORT% reuseport;
    location = /l { billing_cameras_list; }
    location = /status { billing_status; }
}
END
    return $nginx;
}

# One question, and the ids that the answer has to have.

sub question {
    my $kind = int rand 4;

    if ($kind == 0) {
        return ('?login=l', 1 .. 300);
    }

    my %ids = map { (1 + int rand CAMERAS) => 1 } 1 .. 30;
    my @ids = sort { $a <=> $b } keys %ids;

    return ('?' . join('&', map { "cameras_uuid[]=e$_" } @ids), @ids) if $kind == 1;
    return ('?' . join('&', map { "cameras_ids[]=$_" } @ids), @ids);
}

sub fetch {
    my ($client, $query) = @_;

    $client->send("GET /l$query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n");
    return $client->response;
}

sub caller_loop {
    my ($port, $out, $seconds) = @_;

    srand;
    $Billing::Client::TIMEOUT = 15;

    my $client = Billing::Client->new(port => $port);
    my ($asked, $slowest, @bad) = (0, 0);
    my $end = time + $seconds;

    while (time < $end) {
        my ($query, @ids) = question();
        my $start = time;
        my $res = eval { fetch($client, $query) } // { status => 0, body => "$@" };
        my $took = time - $start;

        $slowest = $took if $took > $slowest;
        $asked++;

        my $found = join ' ', $res->{body} =~ /\{"id":(\d+)/g;
        my $names = join ' ', $res->{body} =~ /"name":"N(\d+)"/g;

        if ($res->{status} != 200 || $found ne "@ids" || $names ne "@ids"
            || !$res->{complete})
        {
            push @bad, sprintf '%.2f s: %s after %.2f s: %s', $start - ($end - $seconds),
                 $res->{status}, $took, substr $res->{body}, 0, 100;
            $client = Billing::Client->new(port => $port);
        }
    }

    print $out join("\n", $asked, $slowest, @bad), "\n";
    close $out;
}

# Runs the code while callers ask, for so many seconds at least.

sub load {
    my ($name, $nginx, $seconds, $code) = @_;

    my @callers;

    for (1 .. $opt{callers}) {
        pipe my $in, my $out or die "pipe: $!\n";
        my $pid = fork // die "fork: $!\n";

        if ($pid == 0) {
            close $in;
            caller_loop($nginx->{port}, $out, $seconds);
            POSIX::_exit(0);
        }

        close $out;
        push @callers, [ $pid, $in ];
    }

    sleep 0.5;
    $code->();

    my ($asked, $slowest, @bad) = (0, 0);

    for (@callers) {
        my ($pid, $in) = @$_;
        chomp(my ($n, $slow, @lines) = <$in>);
        waitpid $pid, 0;
        $asked += $n // 0;
        $slowest = $slow if ($slow // 0) > $slowest;
        push @bad, @lines;
    }

    printf "%-9s %s: %d answers, %d wrong, slowest %.2f s; %d redirects, %d refreshes, "
           . "%d connections\n", $name, @bad ? 'WRONG' : 'ok', $asked, scalar @bad, $slowest,
           map { metric($nginx, $_) } qw(redis_redirects_total redis_refreshes_total
                                         redis_connects_total);
    print "    $_\n" for @bad > 10 ? (@bad[0 .. 9], '...') : @bad;

    $wrong += @bad;
}

sub metric {
    my ($nginx, $name) = @_;

    my $client = Billing::Client->new(port => $nginx->{port});
    $client->send("GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
    my ($value) = $client->response->{body} =~ /^nginx_billing_\Q$name\E(?:\{.*?\})? (\d+)/m;

    return $value // 0;
}

sub check {
    my ($ok, $what) = @_;

    print "    ", $ok ? 'ok' : 'WRONG', ": $what\n";
    $wrong++ if !$ok;
}

sub finish {
    my ($nginx) = @_;

    $nginx->signal('QUIT');
    check($nginx->ended(10), 'nginx ends');

    my $log = $nginx->log_text;
    my @alerts = grep { /\[(?:alert|crit|emerg)\]|open socket/ } split /\n/, $log;
    check(!@alerts, 'no alert' . (@alerts ? ": $alerts[0]" : ''));

    if ($ENV{SHOW}) {
        print "      $_\n" for grep { /redis/ } split /\n/, $log;
    }
}

sub cluster {
    my (%args) = @_;

    my $cluster = Billing::Cluster->new(timeout => 2000, %args);
    $cluster->start;
    $cluster->load(commands());
    sleep 0.3;

    return $cluster;
}

# Whether requests, or the probes of a worker's cache, make the server's counters
# of reads grow.

sub asked {
    my ($nginx, $server) = @_;

    my $reads = sub {
        my $n = 0;
        $n += $_ for $server->command('INFO', 'commandstats')
                     =~ /^cmdstat_(?:hmget|get):calls=(\d+)/mg;
        return $n;
    };
    my $before = $reads->();
    my $client = Billing::Client->new(port => $nginx->{port});

    for (1 .. 20) {
        fetch($client, '?login=l');
        sleep 0.1;
    }

    return $reads->() - $before;
}

sub reshard {
    my $cluster = cluster();
    my $nginx = nginx($cluster->{nodes}[0]{port});
    my ($from, $to) = $cluster->masters;

    load('reshard', $nginx, 15, sub {
        my $start = time;
        for my $slot (0 .. 399) {
            $cluster->migrate($slot, $from, $to);
            sleep 0.01;
            $cluster->migrate_keys($slot, $from, $to);
            $cluster->assign($slot, $to);
        }
        printf "    400 slots took %.1f s\n", time - $start;
    });

    check($cluster->owner(399) == $to, 'the slots have moved');
    finish($nginx);
    $cluster->stop;
}

sub kill_master {
    my $cluster = cluster();
    my $nginx = nginx([ map { $_->{port} } ($cluster->masters)[0, 1] ]);
    my ($master, $replica) = (($cluster->masters)[2], $cluster->replica(2));

    load('kill', $nginx, 12, sub {
        $master->stop;
        printf "    the replica is master after %.1f s\n", takes_over($replica);
    });

    check(asked($nginx, $replica), 'the new master is asked');
    finish($nginx);
    $cluster->stop;
}

sub takes_over {
    my ($node) = @_;

    my $start = time;
    my $is = Billing::Nginx::wait_until(10, sub {
        return ($node->info('replication', 'role') // '') eq 'master';
    });

    check(0, "no failover in time") if !$is;
    return time - $start;
}

# A node does not try twice in a short time: then it is asked again.

sub fail_over {
    my ($node) = @_;

    for (1 .. 5) {
        eval { $node->command('CLUSTER', 'FAILOVER') };
        return if Billing::Nginx::wait_until(2, sub {
            return ($node->info('replication', 'role') // '') eq 'master';
        });
    }

    check(0, "no failover in time");
}

sub failover {
    my $cluster = cluster();
    my $nginx = nginx($cluster->{nodes}[0]{port});
    my ($master, $replica) = (($cluster->masters)[1], $cluster->replica(1));

    load('failover', $nginx, 8, sub {
        for my $node ($replica, $master, $replica) {
            fail_over($node);
            sleep 1;
        }
    });

    my ($new, $old) = sort { $a->info('replication', 'role') cmp $b->info('replication', 'role') }
                      $master, $replica;

    check(asked($nginx, $new), 'the master is asked');
    check(!asked($nginx, $old), 'the replica is not');
    finish($nginx);
    $cluster->stop;
}

sub stop_master {
    my $cluster = cluster();
    my $nginx = nginx($cluster->{nodes}[0]{port});
    my ($master, $replica) = (($cluster->masters)[1], $cluster->replica(1));

    load('stop', $nginx, 15, sub {
        $master->signal('STOP');
        sleep 6;
        $master->signal('CONT');
    });

    check(asked($nginx, $replica), 'the new master is asked');
    finish($nginx);
    $cluster->stop;
}

sub restart {
    my $cluster = cluster(args => [ '--save', '3600 1' ]);
    my $nginx = nginx($cluster->{nodes}[0]{port});

    load('restart', $nginx, 25, sub {
        for my $n (0 .. 2) {
            my ($master, $replica) = (($cluster->masters)[$n], $cluster->replica($n));
            fail_over($replica);
            $master->stop;
            sleep 1;
            $master->start;
            $cluster->wait_ok;
            sleep 1;
        }
    });

    finish($nginx);
    $cluster->stop;
}

# A server that is no cluster announces 100 nodes: itself, and 99 ports that refuse.

sub gone {
    my $fake = Billing::FakeRedis->start('', commands());
    my $port = $fake->{port};
    my $slots = "*100\r\n";

    for my $n (0 .. 99) {
        my $at = $n == 0 ? $port : Billing::Server::free_port();
        $slots .= sprintf "*3\r\n:%d\r\n:%d\r\n*3\r\n\$9\r\n127.0.0.1\r\n:%d\r\n\$4\r\n%04d\r\n",
                  int(16384 * $n / 100), int(16384 * ($n + 1) / 100) - 1, $at, $n;
    }

    $slots =~ s/\r/\\r/g;
    $slots =~ s/\n/\\n/g;
    $fake->change("CLUSTER SLOTS => raw $slots\nonce HMGET *:camera:1 => error MOVED 1 127.0.0.1:$port");

    my $nginx = nginx($port, workers => 1, cache => 'billing_cache off; billing_token off;');
    fetch(Billing::Client->new(port => $nginx->{port}), '?cameras_ids[]=1');

    my ($worker) = $nginx->workers;
    my @near = grep { Billing::Cluster::slot("billing:camera:$_") < 163 } 1 .. CAMERAS;
    my @pids;

    for (1 .. 8) {
        my $pid = fork // die "fork: $!\n";
        next if $pid && push @pids, $pid;

        my $client = Billing::Client->new(port => $nginx->{port});
        my $end = time + 10;
        while (time < $end) {
            eval { fetch($client, (question())[0]); 1 }
                or $client = Billing::Client->new(port => $nginx->{port});
        }
        POSIX::_exit(0);
    }

    my ($cpu, $start) = (cpu($worker), time);
    my ($asked, $bad, $slowest) = (0, 0, 0);
    my $client = Billing::Client->new(port => $nginx->{port});

    while (time - $start < 9) {
        my $id = $near[rand @near];
        my $at = time;
        my $res = fetch($client, "?cameras_ids[]=$id");
        my $took = time - $at;
        $slowest = $took if $took > $slowest;
        $asked++;
        $bad++ if $res->{status} != 200 || $res->{body} !~ /"id":$id,/;
        sleep 0.01;
    }

    my $took = time - $start;
    my $share = 100 * (cpu($worker) - $cpu) / $took;
    my $tries = metric($nginx, 'redis_connect_failures_total');

    printf "gone      %d answers of the node that is left, %d wrong, slowest %.3f s; worker %.1f %% "
           . "of a core; %d attempts to connect in %.0f s, %d refreshes\n", $asked, $bad, $slowest,
           $share, $tries, $took, metric($nginx, 'redis_refreshes_total');
    check(!$bad && $slowest < 0.2, 'the node that is left answers at once');
    check($share < 20, 'the worker needs less than 20 % of a core');
    check($tries < 200 * $took, 'no storm of connections');

    waitpid $_, 0 for @pids;
    finish($nginx);
    $fake->stop;
}

# Seconds of CPU time of a process.

sub cpu {
    my ($pid) = @_;

    open my $in, '<', "/proc/$pid/stat" or die "$pid: $!\n";
    my @fields = split / /, <$in> =~ s/^.*\) //r;
    return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# The worker's CPU time for a request of 30 cameras, of one server and of three nodes.

sub cost {
    my $cluster = cluster(replicas => 0);
    my $server = Billing::Server->new;
    $server->start;
    Billing::Redis->new($server->{socket})->pipeline(commands());

    my %us;
    my %port = (one => $server->{port}, three => $cluster->{nodes}[0]{port});
    my %nginx = map { $_ => nginx($port{$_}, workers => 1, cache => 'billing_cache off;') } keys %port;
    my $ids = join '&', map { "cameras_ids[]=$_" } map { 1 + $_ * 131 } 0 .. 29;

    for (1 .. 4) {
        for my $name (sort keys %port) {
            my ($worker) = $nginx{$name}->workers;
            my @clients = map { Billing::Client->new(port => $nginx{$name}{port}) } 1 .. 8;
            my $text = "GET /l?$ids HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n";
            my $before = cpu($worker);
            my $n = 0;

            for (1 .. 1000) {
                $_->send($text) for @clients;
                $_->response, $n++ for @clients;
            }

            push @{ $us{$name} }, 1e6 * (cpu($worker) - $before) / $n;
        }
    }

    my %best = map { $_ => (sort { $a <=> $b } @{ $us{$_} })[0] } keys %us;

    printf "cost      30 cameras: %.0f us of one server, %.0f us of three nodes: %.2f\n",
           $best{one}, $best{three}, $best{three} / $best{one};
    check($best{three} <= 1.6 * $best{one}, 'at most 1.6');

    finish($_) for values %nginx;
    $cluster->stop;
    $server->stop;
}
