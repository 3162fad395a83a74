# Faults outside of Redis: clients that leave, bodies and answers in small
# pieces, a worker without free connections, many reloads, a clock that jumps.

use FindBin;
use lib "$FindBin::Bin/lib";

use HTTP::Date ();
use Billing 'faults';
use Test::Nginx::Socket 'no_plan';

# The memory of a process in KiB.

sub rss {
    my ($pid) = @_;

    open my $in, '<', "/proc/$pid/status" or die "process $pid: $!\n";
    my ($kib) = map { /^VmRSS:\s*(\d+)/ } <$in>;
    return $kib;
}

# A process may grow by so many KiB. A sanitizer keeps freed memory for a while,
# and finds leaks by itself.

our $SLACK = $Billing::MODE =~ /asan|valgrind/ ? 500_000 : 1024;

sub nginx {
    my ($more, %opt) = @_;

    my $redis = $opt{redis} // 'unix:$TEST_NGINX_REDIS_SOCKET';

    return Billing::Nginx->start(<<"END", %opt);
    billing_redis $redis;
    billing_redis_prefix $Billing::Prefix;
    $more
    server {
        listen 127.0.0.1:%PORT%;
        location = $Billing::URI {
            billing_cameras_list;
        }
        location = /status {
            billing_status;
        }
    }
END
}

run_tests();

__DATA__

=== TEST 1: a request body is read through a buffer of one byte
--- route
client_body_buffer_size 1;
--- cases
{"login":"admin"}                               -> 3 4
{"cameras_ids":[3],"login":"\u0061dmin"}        -> 3
{"login":                                       -> body
{"login":5}                                     -> login: string



=== TEST 2: a list is complete when its output is cut small and limited in rate
--- route
billing_batch 1;
postpone_output 1;
limit_rate 1500;
output_buffers 1 64;
--- run
my $start = Time::HiRes::time();
my $client = client();
$client->send(text(undef, query => '?login=mixed'));
my $res = $client->response;
ok($res->{complete}, 'the list has its end');
is($res->{body}, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'), 'the list has all cameras');
cmp_ok(Time::HiRes::time() - $start, '>', 0.5, 'the rate was limited');
answers(ask('{"login":5}'), 'login: string', 'a short answer');



=== TEST 3: clients close or reset the connection at each stage of a request
--- fake
GET *:token:* => pause 0.3
HMGET => pause 0.3
--- http_config
billing_redis_timeout 10s;
--- run
my $text = text('{"cameras_ids":[3,4,5]}');
my $list = text(undef, query => '?login=mixed');

for my $how (qw(close reset)) {
    for my $part ($text, $list) {
        my $head = index($part, "\r\n\r\n") + 4;

        # how much is sent, and which command is then waited for

        for my $stage ([ 20, '' ], [ $head + 5, ':token:' ], [ length $part, ':token:' ],
                       [ length $part, ' HMGET ' ])
        {
            my ($sent, $command) = @$stage;
            my $before = $Fake->count($command);
            my $client = client();
            $client->send(substr $part, 0, $sent);

            ok(wait_for(20, sub { $Fake->count($command) > $before }),
               "$how after \"$command\" was sent") if $command;

            $client->$how;
        }
    }
}

$Fake->change('');
answers(ask('{"cameras_ids":[3,4,5]}'), '3 4 5', 'a request after them');
--- errors_allowed



=== TEST 4: a worker without free connections answers 503, and recovers
--- run
my $nginx = ::nginx('billing_redis_timeout 1s;', alerts => 1);
my ($worker) = $nginx->workers;
my $text = text('{"cameras_ids":[3]}');
my $none = qr/\[alert\] .* worker_connections are not enough/;

# All of these have begun a request: nginx closes idle connections to have new ones.

my $first = client(port => $nginx->{port});
$first->send(substr $text, 0, 20);
my @clients;

ok(wait_for(60, sub {
    for (1 .. 20) {
        push @clients, client(port => $nginx->{port});
        $clients[-1]->send('GET / HTTP/1.1');
    }
    $nginx->log_text =~ $none;
}), 'all connections are in use');

$first->send(substr $text, 20);
answers($first->response, '503', 'none is left for Redis');
$_->close for @clients, $first;

ok(wait_for(10, sub { ask('{"cameras_ids":[3]}', port => $nginx->{port})->{status} == 200 }),
   'connections are free again');
is(($nginx->workers)[0], $worker, 'the worker is the same');
$nginx->stop;

my @alerts = grep { /\[(?:alert|crit|emerg)\]/ } split /\n/, $nginx->log_text;
is(join("\n", grep { $_ !~ $none } @alerts), '', 'no other alert');



=== TEST 5: 100,000 different bad tokens leave nothing in the memory of a worker
--- not_in
valgrind: takes minutes, and what memcheck needs hides what the process needs
--- run
my $nginx = ::nginx('keepalive_requests 1000000;', level => 'error');
my ($worker) = $nginx->workers;
my ($n, $wrong, $before) = (0, 0);
my $client = client(port => $nginx->{port});

for my $turn (1 .. 1000) {
    $client->send(join '', map { text(undef, token => 'bad-' . $n++) } 1 .. 100);

    for (1 .. 100) {
        my $res = $client->response;
        $wrong++ if $res->{status} != 401;
    }

    $before = ::rss($worker) if $turn == 100;
}

is($wrong, 0, "$n answers are 401");
cmp_ok(::rss($worker) - $before, '<', $::SLACK, 'the worker has not grown');
answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '3', 'a good token');
--- timeout: 300



=== TEST 6: 100 reloads: each new worker answers, and the master does not grow
--- not_in
valgrind: takes minutes, and what memcheck needs hides what the process needs
--- run
my $nginx = ::nginx('');
my ($before, $failed) = (undef, 0);

for my $turn (1 .. 110) {
    my @old = $nginx->workers;
    $nginx->signal('HUP');
    $failed++ if !$nginx->replaced(10, @old);
    my $res = ask('{"cameras_ids":[3]}', port => $nginx->{port});
    $failed++ if $res->{status} != 200;
    $before = ::rss($nginx->{pid}) if $turn == 10;
}

is($failed, 0, 'every reload brings a worker that answers');
cmp_ok(::rss($nginx->{pid}) - $before, '<', $::SLACK, 'the master has not grown');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'the master ends');
--- timeout: 300



=== TEST 7: nginx starts with the module but without an http block
--- run
my $root = $Test::Nginx::Util::ServRoot;
my $modules = join ' ', map { "load_module $_;" }
              split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

open my $conf, '>', "$root/conf/bare.conf" or die "$!\n";
print $conf "$modules pid $root/logs/bare.pid; error_log stderr; events { }\n";
print $conf "user $ENV{TEST_NGINX_WORKER_USER};\n" if $ENV{TEST_NGINX_WORKER_USER};
close $conf;

my $command = "$Test::Nginx::Util::NginxBinary -p $root/ -c $root/conf/bare.conf";
my $text = `$command -t 2>&1`;
is($?, 0, 'nginx -t accepts the configuration') or diag($text);

is(system("$command 2>$root/logs/bare.log"), 0, 'nginx starts');
ok(wait_for(10, sub { -s "$root/logs/bare.pid" }), 'it has a pid');

$text = `$command -s quit 2>&1`;
is($?, 0, 'it gets the signal to end') or diag($text);

# a master misses a signal that comes before it waits for one

open my $in, '<', "$root/logs/bare.pid";
my $pid = $in ? <$in> + 0 : 0;

ok(wait_for(10, sub {
    kill 'QUIT', $pid if $pid;
    return !-e "$root/logs/bare.pid";
}), 'nginx ends');



=== TEST 8: the clock is set back by an hour, and forward again
--- fake
once HMGET *:camera:3 => pause 1
HMGET *:camera:12 => drop
--- redis eval: 'SET billing:synced_at ' . time
--- run
my $clock = File::Temp->new(TEMPLATE => 'billing-clock-XXXXXX', TMPDIR => 1);
my $lib = File::Temp->new(TEMPLATE => 'billing-clock-XXXXXX', TMPDIR => 1, SUFFIX => '.so');
chmod 0755, $clock->filename, $lib->filename;

system('gcc', qw(-O1 -Wall -Wextra -shared -fPIC -o), $lib->filename,
       "$FindBin::Bin/fault/clock.c") == 0 or die "no clock.c\n";

my $turn = sub {
    my ($offset) = @_;

    sysseek $clock, 0, 0;
    syswrite $clock, pack 'q', $offset;
};

$turn->(0);

@ENV{qw(LD_PRELOAD BILLING_CLOCK)} = ($lib->filename, $clock->filename);

my $nginx = ::nginx('billing_redis_timeout 3s;', redis => "redis://127.0.0.1:$Fake->{port}");

delete @ENV{qw(LD_PRELOAD BILLING_CLOCK)};

my @port = (port => $nginx->{port});

my $date = sub {
    my ($res) = @_;
    return HTTP::Date::str2time(($res->{headers} =~ /^Date: ([^\r]+)/m)[0]) - time;
};

my $waiting = client(@port);
$waiting->send(text('{"cameras_ids":[3]}'));
ok(wait_for(10, sub { $Fake->count('HMGET') }), 'a request waits for Redis');
$turn->(-3600);
answers($waiting->response, '3', 'the request that waited');

my $res = ask('{"cameras_ids":[4]}', @port);
answers($res, '4', 'the next request');
cmp_ok(abs($date->($res) + 3600), '<', 60, 'the clock is an hour late');

my $start = time;
answers(ask('{"cameras_ids":[12]}', @port), '504', 'a request that Redis does not answer');
cmp_ok(time - $start, '<', 15, 'the deadline is kept');

$Fake->down;
my $down = client(@port);
$down->send(text('{"cameras_ids":[4]}'));
ok(wait_for(10, sub { $nginx->log_text =~ /redis server "[^"]+" is down/ }), 'Redis is down');
$Fake->up;
answers($down->response, '4', 'a request that waited for a connection');

my $page = ask(undef, uri => '/status', @port)->{body};
like($page, qr/^nginx_billing_synced_age_seconds\{[^}]*\} 0$/m, 'the age of a sync that lies in the future');
my ($sum) = $page =~ /^nginx_billing_request_duration_seconds_sum (\S+)$/m;
cmp_ok($sum, '>=', 0, 'the sum of durations is not negative');
cmp_ok($sum, '<', 60, 'nor does it hold the hour');

$turn->(0);
$res = ask('{"cameras_ids":[5]}', @port);
answers($res, '5', 'a request after the clock was set forward');
cmp_ok(abs($date->($res)), '<', 60, 'the clock is right');

$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
--- errors_allowed
