# The status page: its counters, what moves them, and its formats.

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Billing 'status';
use Test::Nginx::Socket 'no_plan';

our $FAKE = 'redis://127.0.0.1:$TEST_NGINX_FAKE_PORT';
our $REAL = 'unix:$TEST_NGINX_REDIS_SOCKET';

# The route, with further directives, and the page.

sub route {
    my ($directives, $more) = @_;

    return "location = $Billing::URI { billing_cameras_list; "
           . ($directives // '') . " }\n"
           . 'location = /status { billing_status; } ' . ($more // '');
}

# The page as Prometheus reads it: a hash of its series, with their labels. A
# line that breaks Prometheus' text format is a failure.

sub series {
    my ($text) = @_;

    my (%series, %type, %help, @wrong);
    my $value = qr/-?\d+(?:\.\d+)?/;

    for my $line (split /\n/, $text) {
        if ($line =~ /\A# HELP (\w+) \S.*\z/) {
            push @wrong, $line if $help{$1}++;

        } elsif ($line =~ /\A# TYPE (\w+) (counter|gauge|histogram)\z/) {
            my ($name, $type) = ($1, $2);
            push @wrong, $line if $type{$name} || !$help{$name};
            push @wrong, $line if ($type eq 'counter' xor $name =~ /_total\z/);
            $type{$name} = $type;

        } elsif ($line =~ /\A((\w+?)(?:_bucket|_sum|_count)?(?:\{(?:,?\w+="(?:[^"\\\n]|\\[\\"n])*")+\})?) ($value)\z/) {
            push @wrong, "twice: $line" if exists $series{$1};
            push @wrong, "no type: $line" if !$type{$2};
            $series{$1} = $3;

        } else {
            push @wrong, $line;
        }
    }

    for my $name (grep { $type{$_} eq 'histogram' } keys %type) {
        my $last = 0;

        for my $le (qw(0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 +Inf)) {
            my $count = $series{"${name}_bucket{le=\"$le\"}"} // -1;
            push @wrong, "$name: bucket $le" if $count < $last;
            $last = $count;
        }

        push @wrong, "$name: count" if $last != $series{"${name}_count"};
    }

    push @wrong, 'no line feed at the end' if $text !~ /\n\z/;
    Test::More::is(join("\n", @wrong), '', 'the page is proper text');
    return \%series;
}

sub metrics {
    my ($nginx) = @_;

    my $res = Billing::ask(undef, uri => '/status', port => $nginx && $nginx->{port});
    Test::More::is($res->{status}, 200, 'the page is there');

    return series($res->{body});
}

# Waits until so many answers with status 200 are counted, and returns the page.
# A worker counts a request after its answer, while another worker has the next one.

sub counted {
    my ($count, $nginx) = @_;

    my $m;
    my $is_counted = Billing::wait_for(10, sub {
        $m = metrics($nginx);
        return $m->{'nginx_billing_requests_total{status="200"}'} == $count;
    });

    Test::More::ok($is_counted, "$count answers are counted");
    return $m;
}

# Tests that the counters given have grown by the numbers given, and no other
# counter has. The page's own command to Redis is left out.

sub moved {
    my ($name, $before, $after, %by) = @_;

    my @wrong;

    for my $series (sort keys %$after) {
        next if $series =~ /_seconds|_waiting|_up|_server_/;

        (my $short = $series) =~ s/\Anginx_billing_(?:requests_total\{status="(\w+)"\}|(\w+)_total)\z/$1 || $2/e;
        my $moved = $after->{$series} - $before->{$series};
        my $by = delete $by{$short} // 0;

        if ($short eq 'redis_commands') {
            next if $by eq 'any';
            $moved--;
        }

        if (ref $by) {
            push @wrong, "$short: $moved" if $moved < $by->[0];
            next;
        }

        push @wrong, "$short: $moved, not $by" if $moved != $by;
    }

    Test::More::is(join("\n", @wrong, sort keys %by), '', "$name: what is counted");
}

# Adds tokens whose clients have these names, and returns the tokens.

sub tokens {
    my @names = @_;

    return map {
        my $token = "token of client $_";
        Billing::redis()->command('SET', "${Billing::Prefix}token:"
                                         . Digest::SHA::sha256_hex($token), $names[$_]);
        $token;
    } 0 .. $#names;
}

# The gauges of the page that tell of servers: NAME SERVER => value.

sub servers {
    my ($m) = @_;

    return map { /\Anginx_billing_redis_server_(\w+)\{server="(.*)"\}\z/ ? ("$1 $2" => $m->{$_}) : () }
           keys %$m;
}

sub clients {
    my ($m) = @_;

    return { map { /\Anginx_billing_client_requests_total\{client="(.*)"\}\z/s ? ($1 => $m->{$_}) : () }
             keys %$m };
}

sub many {
    return map { ("HSET billing:camera:$_ name $_", "ZADD billing:login:many $_ $_") } 101 .. 160;
}

# A separate nginx, with a master process.

sub nginx {
    my ($redis, %opt) = @_;

    my $route = route();
    my $http = delete $opt{http} // '';
    my $keepalive = delete $opt{keepalive} // 0;
    return Billing::Nginx->start(<<"END", %opt);
    $http
    billing_redis $redis;
    billing_redis_prefix $Billing::Prefix;
    billing_redis_timeout 20s;
    server {
        listen 127.0.0.1:%PORT%;
        keepalive_timeout $keepalive;
        $route
    }
END
}

run_tests();

__DATA__

=== TEST 1: the status page has its headers and its first values
--- not_in
reload: counters go on from those of the blocks before
--- config eval: ::route()
--- run
my $res = ask(undef, uri => '/status');
is($res->{status}, 200, 'status');
like($res->{headers}, qr{^Content-Type: text/plain; version=0\.0\.4; charset=utf-8\r$}m, 'type');
like($res->{headers}, qr/^Cache-Control: no-store\r$/m, 'Cache-Control');
my $series = ::series($res->{body});
is($series->{'nginx_billing_requests_total{status="' . $_ . '"}'}, 0, "requests: $_")
    for 200, 401, 405, 413, 422, 499, 500, 502, 503, 504, 'other';
is($series->{"nginx_billing_synced_at_seconds{prefix=\"$Billing::Prefix\"}"}, 1700000000, 'synced_at');
cmp_ok(abs($series->{"nginx_billing_synced_age_seconds{prefix=\"$Billing::Prefix\"}"} + 1700000000 - time),
       '<=', 2, 'its age');
is($series->{"nginx_billing_redis_up{prefix=\"$Billing::Prefix\"}"}, 1, 'up');

my $head = ask(undef, uri => '/status', method => 'HEAD');
is($head->{status}, 200, 'HEAD');
like($head->{headers}, qr/^Content-Length: \d{4}\r$/m, 'HEAD: length');

$res = ask('{}', uri => '/status', method => 'POST');
is($res->{status}, 405, 'POST');
like($res->{headers}, qr/^Allow: GET, HEAD\r$/m, 'POST: Allow');



=== TEST 2: each request is counted by its status, with its cameras and its commands
--- config eval: ::route('client_max_body_size 100;')
--- run
my $m = ::metrics();
my @cases = (
    [ [ $EXAMPLE ], 200, cameras_sent => 2, redis_commands => 5 ],
    [ [ '{"cameras_ids":[3,4,5]}' ], 200, cameras_sent => 3, redis_commands => 4 ],
    [ [ '{"cameras_ids":[3]}', method => 'HEAD' ], 200, redis_commands => 2 ],
    [ [ '{"cameras_ids":[999]}' ], 200, redis_commands => 7 ],
    [ [ $EXAMPLE, token => undef ], 401 ],
    [ [ $EXAMPLE, token => 'bad' ], 401, redis_commands => 2 ],
    [ [ $EXAMPLE, method => 'PUT' ], 405 ],
    [ [ '{"login":5}' ], 422, redis_commands => 1 ],
    [ [ '"' . 'x' x 100 . '"' ], 413 ],
    [ [ undef, chunks => [ 'x' x 60, 'x' x 60 ] ], 413, redis_commands => 1 ],
);

for (@cases) {
    my ($ask, $status, %by) = @$_;
    my $res = ask(@$ask);
    is($res->{status}, $status, "status $status");
    my $now = ::metrics();
    ::moved("$status", $m, $now, $status => 1, redis_commands => 'any', %by);
    is($now->{nginx_billing_request_duration_seconds_count},
       $m->{nginx_billing_request_duration_seconds_count} + 1, "$status: duration");
    $m = $now;
}
--- logged_times
2 client intended to send too large (?:chunked )?body
--- errors_allowed



=== TEST 3: a request that nginx refuses before the handler is counted as "other"
--- config eval: ::route('deny all;', 'location = /none { return 204; } location = /e { error_page 404 /none; }')
--- run
my $m = ::metrics();
ask($EXAMPLE);
::moved('denied', $m, ::metrics(), other => 1);
$m = ::metrics();
ask(undef, uri => $_) for '/none', '/nothing', '/e';
::moved('other locations', $m, ::metrics());
--- request eval
"GET $Billing::URI"
--- error_code: 403
--- errors_allowed



=== TEST 4: a broken contract and an error of Redis are both counted in redis_errors
--- fake
any *:camera:3 => raw :3\r\n
any *:camera:4 => error NOPERM no
--- config eval: ::route()
--- run
my $m = ::metrics();
is(ask('{"cameras_ids":[3]}')->{status}, 502, 'contract');
is(ask('{"cameras_ids":[4]}')->{status}, 502, 'refused');
::moved('502', $m, ::metrics(), 502 => 2, redis_errors => 2, redis_commands => 4);
--- cases
{"cameras_ids":[5]}                             -> 5
--- logged
redis key .*NOPERM
--- errors_allowed



=== TEST 5: an answer that does not come in time is counted in redis_timeouts
--- not_in
valgrind: a time limit of 300 ms is too short for it
--- fake
conn 1 any *:camera:3 => silent
--- config eval: ::route('billing_redis_timeout 300ms;')
--- run
my $m = ::metrics();
is(ask('{"cameras_ids":[3]}')->{status}, 504, 'status');
::moved('504', $m, ::metrics(), 504 => 1, redis_timeouts => 1, redis_commands => 2,
        redis_connects => 1, redis_lost => [ 0 ]);
--- cases
{"cameras_ids":[5]}                             -> 5
--- errors_allowed



=== TEST 6: a connection that breaks is counted in redis_lost and redis_retries
--- not_in
reload: counters go on from those of the blocks before
--- fake
conn 1 any *:camera:3 => close
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
my $m = ::metrics();
is($m->{nginx_billing_redis_connects_total}, 1, 'connects');
answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'answer');
::moved('broken', $m, ::metrics(), 200 => 1, cameras_sent => 2, redis_connects => 1,
        redis_lost => 1, redis_retries => 1, redis_commands => 5);
--- errors_allowed



=== TEST 7: the status page is answered while Redis is down, and shows when Redis is up again
--- not_in
reload: counters go on from those of the blocks before
--- fake
listen never
--- config eval: ::route('billing_redis_timeout 300ms;')
--- run
my $m = ::metrics();
is($m->{"nginx_billing_redis_up{prefix=\"$Billing::Prefix\"}"}, 0, 'down');
ok(!grep({ /synced/ } keys %$m), 'no age');
is(ask('{"cameras_ids":[3]}')->{status}, 503, 'the route');

my $now = ::metrics();
cmp_ok($now->{nginx_billing_redis_connect_failures_total}, '>',
       $m->{nginx_billing_redis_connect_failures_total}, 'failures to connect');
is($now->{nginx_billing_redis_connects_total}, $m->{nginx_billing_redis_connects_total}, 'no connection');

my $json = JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body});
ok(!$json->{caches}[0]{up}, 'JSON: down');
is($json->{caches}[0]{synced_at}, undef, 'JSON: no time');
is($json->{caches}[0]{synced_age}, undef, 'JSON: no age');

$Fake->up;
ok(wait_for(5, sub { ::metrics()->{"nginx_billing_redis_up{prefix=\"$Billing::Prefix\"}"} == 1 }), 'up');
is(::metrics()->{nginx_billing_redis_connects_total}, 1, 'a connection');
--- errors_allowed



=== TEST 8: the status page is answered while Redis hangs, and keeps the connection that requests use
--- not_in
reload: counters go on from those of the blocks before
--- fake
GET *:synced_at => pause 2
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
my $start = Time::HiRes::time();
my $m = ::metrics();
cmp_ok(Time::HiRes::time() - $start, '<', 1.5, 'within half a second, or so');
is($m->{"nginx_billing_redis_up{prefix=\"$Billing::Prefix\"}"}, 0, 'not up');
is($m->{nginx_billing_redis_timeouts_total}, 0, 'that is no timeout of a request');
answers(ask('{"cameras_ids":[3]}'), '3', 'the route, behind it');
--- no_fake_log
^2 accept



=== TEST 9: a cache that was never loaded, or has a wrong synced_at, has no age
--- config eval: ::route()
--- run
my $series = "{prefix=\"$Billing::Prefix\"}";
redis()->command('DEL', "${Billing::Prefix}synced_at");
my $m = ::metrics();
is($m->{"nginx_billing_redis_up$series"}, 1, 'never loaded: up');
ok(!grep({ /synced/ } keys %$m), 'never loaded: no age');

redis()->command('SET', "${Billing::Prefix}synced_at", 'yesterday');
$m = ::metrics();
is($m->{"nginx_billing_redis_up$series"}, 0, 'wrong: not up');
ok(!grep({ /synced/ } keys %$m), 'wrong: no age');
cmp_ok($m->{nginx_billing_redis_errors_total}, '>=', 1, 'wrong: an error');
--- logged
\[error\] .*synced_at" holds no time



=== TEST 10: a list that is broken off is counted in lists_broken
--- redis eval: join "\n", ::many()
--- fake
any *:camera:130 => error ERR no
--- config eval: ::route('billing_batch 5;')
--- run
my $m = ::metrics();
my $res = ask(undef, query => '?login=many');
is($res->{status}, 200, 'status');
ok(!$res->{complete}, 'broken off');
my $now = ::metrics();
::moved('broken', $m, $now, 200 => 1, lists_broken => 1, redis_errors => 1,
        cameras_sent => 25, redis_commands => 'any');
--- errors_allowed



=== TEST 11: requests that wait for Redis, and clients that leave, are counted
--- fake
any *:camera:5 => pause 2
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
my $m = ::metrics();
my @clients = map { client() } 1 .. 3;
$_->send(text('{"cameras_ids":[5]}')) for @clients;

my $page = client();
my $waiting = sub {
    $page->send(text(undef, uri => '/status'));
    my ($n) = $page->response->{body} =~ /^nginx_billing_requests_waiting (\d+)$/m;
    return $n;
};

ok(wait_for(2, sub { $waiting->() == 3 }), 'three wait');
$clients[0]->close;
ok(wait_for(1, sub { $waiting->() == 2 }), 'one is gone');
answers($clients[$_]->response, '5', 'an answer') for 1, 2;
is($waiting->(), 0, 'none waits');

::moved('left', $m, ::metrics(), 200 => 2, 499 => 1, cameras_sent => 2, redis_commands => 'any');
--- timeout: 40
--- errors_allowed



=== TEST 12: the page of any worker sums the counters of all workers
--- not_in
reload: counters go on from those of the blocks before
--- master: 2
--- config eval: ::route()
--- run
answers(ask('{"cameras_ids":[3]}'), '3', "request $_") for 1 .. 20;
::counted(20);
my %seen;
for (1 .. 10) {
    my $m = ::metrics();
    $seen{$m->{'nginx_billing_requests_total{status="200"}'}}++;
    $seen{"sent $m->{nginx_billing_cameras_sent_total}"}++;
}
is_deeply(\%seen, { 20 => 10, 'sent 20' => 10 }, 'whatever worker is asked');



=== TEST 13: a reload keeps the counters, and requests of the old worker still count as waiting
--- fake
any *:camera:5 => pause 4
--- run
my $nginx = ::nginx($::FAKE, workers => 2);
my %port = (port => $nginx->{port});
answers(ask('{"cameras_ids":[3]}', %port), '3', "before $_") for 1 .. 6;
my $m = ::counted(6, $nginx);

my $client = client(%port);
$client->send(text('{"cameras_ids":[5]}'));
ok(wait_for(2, sub { ::metrics($nginx)->{nginx_billing_requests_waiting} == 1 }), 'one waits');

my @old = $nginx->workers;
$nginx->signal('HUP');
ok(wait_for(5, sub { $nginx->workers == 3 }), 'the other old worker is gone');

my $now = ::metrics($nginx);
is($now->{nginx_billing_requests_waiting}, 1, 'one waits, as new workers see it');
::moved('after the reload', $m, $now, redis_commands => 'any', redis_connects => [ 0 ]);

answers(ask('{"cameras_ids":[3]}', %port), '3', "after $_") for 1 .. 4;
answers($client->response, '5', 'the one that waited');
$client->close;
ok($nginx->replaced(5, @old), 'the old workers are gone');

$now = ::counted(11, $nginx);
is($now->{nginx_billing_requests_waiting}, 0, 'none waits');

# the page's own command may be lost with its connection, and is not sent again

::moved('at the end', $m, $now, 200 => 5, cameras_sent => 5, redis_commands => 'any',
        redis_connects => [ 0 ], redis_lost => [ 0 ]);
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
--- timeout: 60



=== TEST 14: a worker that is ended by TERM leaves no waiting requests in the gauge
--- not_in
valgrind: nginx does not free what requests hold that TERM ends
--- fake
any *:camera:5 => pause 20
--- run
my $nginx = ::nginx($::FAKE);
my %port = (port => $nginx->{port});

my ($old) = $nginx->workers;
my @clients = map { client(%port) } 1 .. 3;
$_->send(text('{"cameras_ids":[5]}')) for @clients;
ok(wait_for(5, sub { ::metrics($nginx)->{nginx_billing_requests_waiting} == 3 }), 'three wait');

kill 'TERM', $old;
ok($nginx->replaced(5, $old), 'there is another worker');
is(::metrics($nginx)->{nginx_billing_requests_waiting}, 0, 'none waits');
$Fake->change('');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
--- timeout: 60



=== TEST 15: the JSON page has the values of the text page
--- not_in
reload: counters go on from those of the blocks before
--- config eval: ::route()
--- run
ask('{"cameras_ids":[3]}');
ask($EXAMPLE, token => 'bad');
my $m = ::metrics();
my $res = ask(undef, uri => '/status?format=json');
is($res->{status}, 200, 'status');
like($res->{headers}, qr{^Content-Type: application/json\r$}m, 'type');
like($res->{headers}, qr/^Cache-Control: no-store\r$/m, 'Cache-Control');
my $json = JSON::PP::decode_json($res->{body});

is($json->{requests}{$_}, $m->{"nginx_billing_requests_total{status=\"$_\"}"}, "requests: $_")
    for 200, 401, 405, 413, 422, 499, 500, 502, 503, 504, 'other';
is($json->{$_}, $m->{"nginx_billing_${_}_total"}, $_)
    for qw(cameras_sent lists_broken redis_errors redis_timeouts redis_retries redis_connects
           redis_connect_failures redis_lost);
is($json->{redis_commands}, $m->{nginx_billing_redis_commands_total} + 1, 'redis_commands');
is($json->{requests_waiting}, 0, 'requests_waiting');

my %buckets = map { /request_duration_seconds_bucket\{le="(.*)"\}/ ? ($1 => $m->{$_}) : () } keys %$m;
is_deeply($json->{request_duration}{buckets}, \%buckets, 'buckets');
is($json->{request_duration}{count}, 2, 'count');
cmp_ok($json->{request_duration}{sum}, '==', $m->{nginx_billing_request_duration_seconds_sum}, 'sum');
is($json->{redis_duration}{count}, $m->{nginx_billing_redis_duration_seconds_count} + 1, 'of Redis');

my $cache = $json->{caches}[0];
is(scalar @{ $json->{caches} }, 1, 'one cache');
is($cache->{prefix}, $Billing::Prefix, 'prefix');
is($cache->{server}, "unix:$ENV{TEST_NGINX_REDIS_SOCKET}", 'server');
ok($cache->{up}, 'up');
is($cache->{synced_at}, 1700000000, 'synced_at');
cmp_ok(abs($cache->{synced_age} + 1700000000 - time), '<=', 2, 'synced_age');

like(ask(undef, uri => "/status$_")->{headers}, qr{^Content-Type: text/plain}m, "\"$_\" is text")
    for '?format=', '?format=jsonx', '?format=xml', '?';



=== TEST 16: a duration is counted in the right bucket
--- not_in
valgrind: all takes its time in it
--- fake
any *:camera:5 => pause 0.3
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
my $m = ::metrics();
ask('{"cameras_ids":[5]}');
my $now = ::metrics();

for my $name ('request', 'redis') {
    my $moved = sub {
        my $series = "nginx_billing_${name}_duration_seconds_$_[0]";
        return $now->{$series} - $m->{$series};
    };
    my $all = $moved->('count');
    is($all, $name eq 'request' ? 1 : 3, "$name: count");
    is($moved->('bucket{le="10"}'), $all, "$name: 10 s");
    is($moved->('bucket{le="0.2"}'), $all - 1, "$name: 0.2 s");
    cmp_ok($moved->('sum'), '>=', 0.29, "$name: sum, at least");
    cmp_ok($moved->('sum'), '<', 2, "$name: sum, at most");
}



=== TEST 17: each cache has its own labels, and is shown once
--- fake
--- config eval
::route('', <<"END") . "location = /last { billing_cameras_list; billing_redis_prefix bad\xff:; }"
location = /same { billing_cameras_list; billing_redis_timeout 3s; billing_redis_connections 2; }
location = /other { billing_cameras_list; billing_redis $::REAL; }
location = /db { billing_cameras_list; billing_redis redis://127.0.0.1:\$TEST_NGINX_REDIS_PORT/3; }
location = /quoted { billing_cameras_list; billing_redis_prefix 'a"b\\\\c\n:'; }
END
--- run
my $m = ::metrics();
my $p = $Billing::Prefix;
my %expected = (
    "prefix=\"$p\",server=\"127.0.0.1:$Fake->{port}\"" => 1,
    "prefix=\"$p\",server=\"unix:$ENV{TEST_NGINX_REDIS_SOCKET}\"" => 1,
    "prefix=\"$p\",server=\"127.0.0.1:$ENV{TEST_NGINX_REDIS_PORT}/3\"" => 1,
    'prefix="a\"b\\\\c\n:"' => 1,
    'prefix="bad?:"' => 1,
);
my %up = map { /\Anginx_billing_redis_up\{(.*)\}\z/ ? ($1 => $m->{$_}) : () } keys %$m;
is_deeply(\%up, \%expected, 'each once');

my $json = JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body});
is(scalar @{ $json->{caches} }, 5, 'JSON');
is_deeply([ sort map { $_->{prefix} } @{ $json->{caches} } ], [ sort $p, $p, $p, "a\"b\\c\n:", 'bad?:' ], 'JSON: prefixes');



=== TEST 18: a configuration without the route has a status page without caches
--- not_in
reload: counters go on from those of the blocks before
--- bare
--- config
location = /status { billing_status; }
--- run
my $m = ::metrics();
is($m->{'nginx_billing_requests_total{status="200"}'}, 0, 'no request');
ok(!grep({ /_up/ } keys %$m), 'no cache');
is_deeply(JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body})->{caches}, [], 'JSON');
--- request
GET /status
--- response_body_like: nginx_billing_cameras_sent_total 0



=== TEST 19: a request with an error_page is counted once, with the status that its client got
--- config eval
::route('error_page 401 =403 /denied; error_page 422 /wrong;', <<"END")
location = /denied { return 200 denied; }
location = /wrong { return 200 wrong; }
END
--- run
my $m = ::metrics();
is(ask($EXAMPLE, token => undef)->{status}, 403, 'another status');
::moved('another status', $m, ::metrics(), other => 1);
$m = ::metrics();
is(ask('{"login":5}')->{status}, 422, 'the same status');
::moved('the same status', $m, ::metrics(), 422 => 1, redis_commands => 1);
--- errors_allowed



=== TEST 20: a request whose error_page is another route is counted once
--- fake
any *:camera:3 => error ERR no
--- config eval
::route('error_page 502 = /second;', "location = /second { billing_cameras_list; billing_redis $::REAL; }")
--- run
my $m = ::metrics();
answers(ask('{"cameras_ids":[3]}'), '3', 'of the second Redis');
::moved('once', $m, ::metrics(), 200 => 1, cameras_sent => 1, redis_errors => 1, redis_commands => 'any',
        redis_connects => [ 0 ]);
--- errors_allowed



=== TEST 21: a subrequest is counted only with log_subrequest
--- config eval
::route('', <<"END")
location = /main { mirror /quiet; empty_gif; }
location = /logged { mirror /loud; empty_gif; }
location = /quiet { billing_cameras_list; billing_token off; }
location = /loud { log_subrequest on; billing_cameras_list; billing_token off; }
END
--- run
my $m = ::metrics();
ask(undef, uri => '/main?cameras_ids[]=3');
::moved('not logged', $m, ::metrics(), redis_commands => 1);
$m = ::metrics();
ask(undef, uri => '/logged?cameras_ids[]=3');

# a mirror's answer is not sent to a client, so no camera counts as sent

::moved('logged', $m, ::metrics(), 200 => 1, redis_commands => 1);



=== TEST 22: the worker survives clients that leave before the status page is answered
--- fake
GET *:synced_at => pause 1
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
for (1 .. 5) {
    my $client = client();
    $client->send(text(undef, uri => '/status'));
    select undef, undef, undef, 0.05;
    $_ % 2 ? $client->reset : $client->close;
}
$Fake->change('');
answers(ask('{"cameras_ids":[3]}'), '3', 'the worker lives');
--- errors_allowed



=== TEST 23: billing_status refuses an argument
--- refuses
billing_status on;                              -> invalid number of arguments in "billing_status" directive



=== TEST 24: requests are counted by client, as many clients as the table holds, and the rest as "other"
--- not_in
reload: counters go on from those of the blocks before
--- http_config
billing_status_clients 3;
--- config eval: ::route()
--- run
is_deeply(::clients(::metrics()), { other => 0 }, 'at the start');

my $name = "a\"b\\c\n\xc3\xa9";
my @tokens = ::tokens('one', $name, 'other', 'x' x 300, 'late', '');
my @times = (4, 3, 2, 2, 1, 5);

for my $i (0 .. $#tokens) {
    is(ask('{"cameras_ids":[3]}', token => $tokens[$i])->{status}, 200, "client $i") for 1 .. $times[$i];
}

is(ask('{"login":5}', token => $tokens[0])->{status}, 422, 'a request that is wrong');
is(ask('{"cameras_ids":[3]}', token => 'bad')->{status}, 401, 'a bad token');

my %expected = (one => 5, 'a\"b\\\\c\n' . "\xc3\xa9" => 3, 'x' x 255 => 2, other => 3);
is_deeply(::clients(::metrics()), \%expected, 'text');

my $json = JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body});
is_deeply($json->{client_requests}, { one => 5, "a\"b\\c\n\xe9" => 3, 'x' x 255 => 2, other => 3 }, 'JSON');
--- errors_allowed



=== TEST 25: without billing_status_clients, the page does not name clients
--- config eval: ::route()
--- run
is(ask('{"cameras_ids":[3]}')->{status}, 200, 'a request');
is_deeply(::clients(::metrics()), {}, 'text');
ok(!exists JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body})->{client_requests}, 'JSON');



=== TEST 26: the workers count clients in one table, which a reload keeps while its size is the same
--- run
my $nginx = ::nginx($::REAL, workers => 2, http => 'billing_status_clients 100;');
my %port = (port => $nginx->{port});
my @names = map { "client $_" } 1 .. 110;
my @tokens = ::tokens(@names);

my $ask = sub { ask('{"cameras_ids":[3]}', token => $_, %port) for @_ };

$ask->(@tokens[0 .. 99]);
::counted(100, $nginx);
$ask->(@tokens[100 .. 109], @tokens);
::counted(220, $nginx);

my $expected = { (map { $_ => 2 } @names[0 .. 99]), other => 20 };
is_deeply(::clients(::metrics($nginx)), $expected, 'each client');

my @old = $nginx->workers;
$nginx->signal('HUP');
ok($nginx->replaced(5, @old), 'a reload');
is_deeply(::clients(::metrics($nginx)), $expected, 'as before');

ask('{"cameras_ids":[3]}', token => $tokens[0], %port);
my $m = ::counted(221, $nginx);
is(::clients($m)->{'client 1'}, 3, 'one more');

$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
--- timeout: 60



=== TEST 27: billing_status_clients refuses more than 1000 names
--- http_config
billing_status_clients 1001;
--- must_die
--- error_log eval
[ qr/\[emerg\] .*invalid value "1001" in "billing_status_clients" directive, it must be from 0 to 1000/ ]



=== TEST 28: the page tells how many workers use a server, and how many cannot
--- fake
listen never
--- fake2
--- run
my $nginx = ::nginx("$::FAKE redis://127.0.0.1:\$TEST_NGINX_FAKE2_PORT", workers => 2, keepalive => '1h');
my ($one, $two) = map { "127.0.0.1:$_->{port}" } $Fake, $Fake2;
my %port = (port => $nginx->{port});

# one worker answers for both

my $page = client(%port);
my $metrics = sub {
    $page->send(text(undef, uri => '/status'));
    return ::series($page->response->{body});
};

# whether the gauges come to be these, while requests go to both workers

my $becomes = sub {
    my %expected = (map({ ("$_ $one" => 0, "$_ $two" => 0) } qw(used failing unloaded)), @_);
    my %servers;

    my $ok = wait_for(30, sub {

        # several at once, or one worker may take them all

        my @clients = map { client(%port) } 1 .. 6;
        $_->send(text('{"cameras_ids":[3]}')) for @clients;
        $_->response for @clients;
        $_->close for @clients;

        %servers = ::servers($metrics->());
        return join(' ', map { "$_ " . ($servers{$_} // '-') } sort keys %expected)
               eq join(' ', map { "$_ $expected{$_}" } sort keys %expected);
    });

    return $ok && keys %servers == keys %expected;
};

is_deeply({ ::servers($metrics->()) }->{"unloaded $two"}, 0, 'the gauges are there at the start');
ok($becomes->("failing $one" => 2, "used $two" => 2), 'the second server is used');

my $json = JSON::PP::decode_json(ask(undef, uri => '/status?format=json', %port)->{body});
is_deeply($json->{redis_servers}, [ { server => $one, used => 0, failing => 2, unloaded => 0 },
                                    { server => $two, used => 2, failing => 0, unloaded => 0 } ], 'JSON');

$Fake->up;
ok($becomes->("used $one" => 2), 'the first one is used');

$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
--- timeout: 90
--- errors_allowed



=== TEST 29: a server without data is told of, and a server of two sets once
--- fake
EXISTS *:synced_at => raw :0\r\n
GET *:synced_at => raw $-1\r\n
--- config eval
::route("billing_redis $::FAKE $::REAL;", <<"END")
location = /same { billing_cameras_list; billing_redis $::REAL; billing_redis_connections 2; }
END
--- run
my ($one, $two) = ("127.0.0.1:$Fake->{port}", "unix:$ENV{TEST_NGINX_REDIS_SOCKET}");
answers(ask('{"cameras_ids":[3]}'), '3', 'of the second server');
ask(undef, uri => '/same?cameras_ids[]=3');
is_deeply({ ::servers(::metrics()) },
          { "used $one" => 0, "failing $one" => 0, "unloaded $one" => 1,
            "used $two" => 1, "failing $two" => 0, "unloaded $two" => 0 }, 'gauges');
--- errors_allowed
