# The variables of the access log.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'variables';
use Test::Nginx::Socket 'no_plan';
use Time::HiRes 'time';

our $REAL = 'unix:$TEST_NGINX_REDIS_SOCKET';

# The beginning of --- http_config, and the server in the log's lines.

our $LOG = <<'END';
log_format billing '$status|$billing_client|$billing_cameras|$billing_redis_time|$billing_redis_server';
access_log $TEST_NGINX_SERVER_ROOT/logs/billing.log billing;
END

our $SOCKET = "unix:$ENV{TEST_NGINX_REDIS_SOCKET}";

sub lines {
    my ($file) = @_;
    $file //= 'billing.log';

    open my $in, '<', "$Test::Nginx::Util::ServRoot/logs/$file" or return ();
    chomp(my @lines = <$in>);
    return @lines;
}

# Tests the line that a request logs, with T for the time, which is tested here: no
# wait for Redis is longer than the request. The line may be logged after the client
# has its answer.

sub logged {
    my ($name, $request, $expected, %opt) = @_;

    my $before = lines();
    my $start = time;
    $request->();

    Billing::wait_for(5, sub { lines() > $before });

    my $took = sprintf '%.3f', time - $start + 0.002;
    my @new = splice @{ [ lines() ] }, $before;
    my $line = join "\n", @new;

    if ($line =~ s/\|(\d+\.\d{3})\|/|T|/) {
        Test::More::cmp_ok($1, '>=', $opt{least} // 0, "$name: time, at least");
        Test::More::cmp_ok($1, '<=', $took, "$name: time, not more than the request's");
        Test::More::cmp_ok($1, '<', $opt{most}, "$name: time, at most") if $opt{most};
    }

    Test::More::is($line, $expected, "$name: log");
}

sub many {
    return join "\n", map { ("HSET billing:camera:$_ name $_", "ZADD billing:login:many $_ $_") } 101 .. 160;
}

run_tests();

__DATA__

=== TEST 1: the log has the client, the cameras, the time and the server of each answer
--- http_config eval: $::LOG
--- run
my $client = "client $Billing::Suite";
my @cases = (
    [ '200',   [ $EXAMPLE ],                      "200|$client|2|T|$::SOCKET" ],
    [ 'one',   [ '{"cameras_ids":[3]}' ],         "200|$client|1|T|$::SOCKET" ],
    [ 'null',  [ '{"login":"nobody"}' ],          "200|$client|0|T|$::SOCKET" ],
    [ 'gone',  [ '{"login":"gone"}' ],            "200|$client|0|T|$::SOCKET" ],
    [ 'HEAD',  [ $EXAMPLE, method => 'HEAD' ],    "200|$client|-|T|$::SOCKET" ],
    [ '422',   [ '{"login":5}' ],                 "422|$client|-|T|$::SOCKET" ],
    [ 'bad',   [ $EXAMPLE, token => 'bad' ],      "401|-|-|T|$::SOCKET" ],
    [ 'none',  [ $EXAMPLE, token => undef ],      '401|-|-|-|-' ],
    [ '405',   [ $EXAMPLE, method => 'PUT' ],     '405|-|-|-|-' ],
    [ 'other', [ undef, uri => '/other' ],        '404|-|-|-|-' ],
);

for (@cases) {
    my ($name, $ask, $line) = @$_;
    ::logged($name, sub { ask(@$ask) }, $line);
}
--- errors_allowed



=== TEST 2: the log has no client for billing_token off or an empty name
--- http_config eval: $::LOG
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /open { billing_cameras_list; billing_token off; }
END
--- run
::logged('no token', sub { ask(undef, uri => '/open?cameras_ids[]=3') }, "200|-|1|T|$::SOCKET");

redis()->command('SET', "${Billing::Prefix}token:" . sha256($Token), '');
::logged('no name', sub { ask($EXAMPLE) }, "200|-|2|T|$::SOCKET");

redis()->command('SET', "${Billing::Prefix}token:" . sha256($Token), "a \"b\"\n");
::logged('escaped by the log', sub { ask($EXAMPLE) }, "200|a \\x22b\\x22\\x0A|2|T|$::SOCKET");



=== TEST 3: the time is the sum of all waits for Redis
--- fake
any *:token:* => pause 0.2
any *:camera:5 => pause 0.3
--- http_config eval: $::LOG . 'billing_redis_timeout 10s;'
--- run
my $server = "127.0.0.1:$Fake->{port}";
::logged('both', sub { ask('{"cameras_ids":[5]}') }, "200|client variables|1|T|$server", least => 0.45);
::logged('one', sub { ask('{"cameras_ids":[3]}') }, "200|client variables|1|T|$server", least => 0.18);



=== TEST 4: the log has the time and the server of a 502 and of a 504
--- fake
any *:camera:3 => error NOPERM no
any *:camera:4 => silent
--- http_config eval: $::LOG . 'billing_redis_timeout 400ms;'
--- run
my $server = "127.0.0.1:$Fake->{port}";
::logged('502', sub { ask('{"cameras_ids":[3]}') }, "502|client variables|-|T|$server");
::logged('504', sub { ask('{"cameras_ids":[4]}') }, "504|client variables|-|T|$server", least => 0.35, most => 1);
--- cases
{"cameras_ids":[5]}                             -> 5
--- errors_allowed



=== TEST 5: the log has the time, and no server, while Redis is down
--- fake
listen never
--- http_config eval: $::LOG . 'billing_redis_timeout 300ms;'
--- run
::logged('503', sub { ask($EXAMPLE) }, '503|-|-|T|-', least => 0.25, most => 1);
$Fake->up;
wait_for(5, sub { ask($EXAMPLE)->{status} == 200 });
--- errors_allowed



=== TEST 6: the server is the one that answered last
--- fake
conn 1 any *:camera:3 => close
any *:camera:3 => error LOADING Redis is loading the dataset in memory
--- fake2
--- http_config eval
$::LOG . <<'END'
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT redis://127.0.0.1:$TEST_NGINX_FAKE2_PORT;
billing_redis_timeout 10s;
END
--- run
::logged('the first', sub { ask('{"cameras_ids":[5]}') }, "200|client variables|1|T|127.0.0.1:$Fake->{port}");
::logged('the second', sub { ask('{"cameras_ids":[3]}') }, "200|client variables|1|T|127.0.0.1:$Fake2->{port}");
--- errors_allowed



=== TEST 7: the number of cameras is that of the cameras sent, for a whole list and for one broken off
--- redis eval: ::many()
--- fake
any *:camera:150 => error ERR no
--- http_config eval: $::LOG
--- route
billing_batch 5;
--- run
my $server = "127.0.0.1:$Fake->{port}";
::logged('broken', sub { ask(undef, query => '?login=many') }, "200|client variables|45|T|$server");
$Fake->change('');
::logged('whole', sub { ask(undef, query => '?login=many') }, "200|client variables|60|T|$server");
--- errors_allowed



=== TEST 8: the log has the time of a client that left while its request waited
--- not_in
valgrind: the worker learns late of what came and went
--- fake
any *:camera:5 => pause 2
--- http_config eval: $::LOG . 'billing_redis_timeout 10s;'
--- run
::logged('499', sub {
    my $client = client();
    $client->send(text('{"cameras_ids":[5]}'));
    select undef, undef, undef, 0.4;
    $client->close;
}, "499|client variables|-|T|127.0.0.1:$Fake->{port}", least => 0.3, most => 1.5);
--- timeout: 30



=== TEST 9: the variables keep their values through error_page
--- fake
any *:token:* => pause 0.3
any *:camera:3 => error ERR no
--- http_config eval: $::LOG . 'billing_redis_timeout 10s;'
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    error_page 401 /denied;
    error_page 422 \@wrong;
    error_page 502 =200 /second;
}
location = /denied { return 200 denied; }
location \@wrong { return 200 wrong; }
location = /second { billing_cameras_list; billing_redis $::REAL; }
END
--- run
my $server = "127.0.0.1:$Fake->{port}";
::logged('401', sub { ask($EXAMPLE, token => 'bad') }, "401|-|-|T|$server");
::logged('422', sub { ask('{"login":5}') }, "422|client variables|-|T|$server");
::logged('502', sub { ask('{"cameras_ids":[3]}') }, "200|client variables|1|T|$::SOCKET",
         least => 0.28);
--- errors_allowed



=== TEST 10: a subrequest has its own values of the variables
--- http_config eval: $::LOG
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /main { mirror /copy; empty_gif; }
location = /copy { log_subrequest on; billing_cameras_list; billing_token off; }
END
--- run
::logged('mirror', sub {
    ask(undef, uri => '/main?cameras_ids[]=3');
    wait_for(2, sub { ::lines() >= 2 });
}, "200|-|-|T|$::SOCKET\n200|-|-|-|-");



=== TEST 11: the variables in add_header have the values known so far
--- http_config eval: $::LOG
--- route
add_header X-Client "$billing_client" always;
add_header X-Server "$billing_redis_server" always;
--- run
my $res = ask($EXAMPLE);
like($res->{headers}, qr/^X-Client: client variables\r$/m, 'client');
like($res->{headers}, qr/^X-Server: \Q$::SOCKET\E\r$/m, 'server');
unlike(ask($EXAMPLE, token => 'bad')->{headers}, qr/^X-Client/m, 'no client');



=== TEST 12: the client is set for lists on a kept connection
--- redis eval: ::many()
--- http_config eval: $::LOG
--- route
billing_batch 10;
--- run
my $kept = client();

for my $turn (1 .. 3) {
    ::logged("list $turn", sub {
        $kept->send(text('{"login":"many"}'));
        is($kept->response->{status}, 200, 'answered');
    }, "200|client variables|60|T|$::SOCKET");
}



=== TEST 13: a client's name is cut to 255 bytes between two characters
--- http_config eval: $::LOG
--- run
my $key = "${Billing::Prefix}token:" . sha256($Token);

for (['x' x 255, 'x' x 255], ['x' x 256, 'x' x 255], ["\xc3\xa9" x 500_000, "\xc3\xa9" x 127],
     ["x\xc3\xa9" . "\xf0\x9f\x91\xa4" x 100_000, "x\xc3\xa9" . "\xf0\x9f\x91\xa4" x 63])
{
    my ($name, $logged) = @$_;
    redis()->command('SET', $key, $name);
    $logged =~ s/([\x80-\xff])/sprintf '\\x%02X', ord $1/ge;
    ::logged(length($name) . ' bytes', sub { ask($EXAMPLE) }, "200|$logged|2|T|$::SOCKET");
}



=== TEST 14: the time is not greater than the time of the request
--- http_config
log_format times '$request_time $billing_redis_time';
access_log $TEST_NGINX_SERVER_ROOT/logs/times.log times;
--- run
my $client = client();

for (1 .. 600) {
    $client->send(text('{"cameras_uuid":["3"],"login":"admin"}'));
    $client->response;
}

ok(wait_for(5, sub { ::lines('times.log') >= 600 }), 'all are logged');
my @longer = grep { my ($request, $redis) = split; $redis > $request } ::lines('times.log');
is(scalar @longer, 0, 'none is longer');
