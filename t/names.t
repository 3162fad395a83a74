# Host names of Redis servers that nginx's resolver resolves while nginx runs.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'names';
use Test::Nginx::Socket 'no_plan';
use Billing::DNS;

# A name server, and three Redis servers with one port, which have the fixtures.

our $Dns = Billing::DNS->start;
our $Other = Billing::DNS->start;
our $Port = Billing::Ports::reserve();
our %Redis;

for my $address (qw(127.0.0.2 127.0.0.3 127.0.0.4 ::1)) {
    my $redis = Billing::Server->new('--bind', $address);

    $redis->{port} = $Port;
    $redis->start;
    $redis->command(@$_) for Billing::fixtures();
    $Redis{$address} = $redis;
}

$ENV{TEST_NGINX_NAME_PORT} = $Port;
$ENV{TEST_NGINX_DNS_PORT} = $Dns->{port};
$ENV{TEST_NGINX_OTHER_DNS_PORT} = $Other->{port};

our $RESOLVER = 'resolver 127.0.0.1:$TEST_NGINX_DNS_PORT;';
our $REDIS = 'billing_redis redis://redis.test:$TEST_NGINX_NAME_PORT;';

# Adds to the answers the address of the Redis that was asked.

our $SHOWN = 'add_header X-Server $billing_redis_server always;';
our $OPTIONS = "billing_cache off; billing_redis_timeout 3s; $SHOWN";
our $MOVES = "$RESOLVER\n$REDIS\n$OPTIONS";

# Asks for a camera: the address of the server that answered, or the status.

sub server {
    my (%opt) = @_;

    my $res = Billing::ask('{"cameras_ids":[5]}', %opt);
    return $res->{status} if $res->{body} ne Billing::Fixtures::answer(5);

    my ($server) = $res->{headers} =~ /^X-Server: (\S+):$Port\r$/m;
    return $server;
}

# Asks until a server answers, for so many seconds. Returns all answers on the
# way, each once.

sub moves {
    my ($seconds, $server) = @_;

    my @seen;

    Billing::wait_for($seconds, sub {
        my $now = server();
        push @seen, $now if !@seen || $seen[-1] ne $now;
        return $now eq $server;
    });

    return "@seen";
}

sub dns {
    $Dns->answers(join '', map { "redis.test $_\n" } @_);
}

run_tests();

__DATA__

=== TEST 1: an address that moves is followed without a reload
--- http_config eval: $::MOVES
--- run
::dns('1 127.0.0.2');
is(::server(), '127.0.0.2', 'the first address');
::dns('1 127.0.0.3');
is(::moves(6, '127.0.0.3'), '127.0.0.2 127.0.0.3', 'the new one, though the old one answers');
is($::Redis{'127.0.0.2'}->command('CLIENT', 'LIST') =~ s/\n/\n/gr =~ /name=nginx/ ? 1 : 0, 0,
   'the connection to the old one is closed');
--- logged
\[notice\] .*host "redis\.test" of a redis server has moved: 1 addresses, the first is 127\.0\.0\.3
--- no_error_log
is down
is lost



=== TEST 2: several addresses are several servers
--- http_config eval: $::MOVES
--- run
::dns('1 127.0.0.4 127.0.0.3');
is(::server(), '127.0.0.3', 'the lowest address is used');
$::Redis{'127.0.0.3'}->stop;
is(::moves(3, '127.0.0.4'), '127.0.0.4', 'the other one answers while the first is down');
$::Redis{'127.0.0.3'}->start;
$::Redis{'127.0.0.3'}->command(@$_) for fixtures();
is(::moves(15, '127.0.0.3'), '127.0.0.4 127.0.0.3', 'the first one is used again');
--- logged
\[error\] .*redis server "127\.0\.0\.3:\d+" is down



=== TEST 3: the last addresses are kept while the name cannot be resolved
--- http_config eval: $::MOVES . 'resolver_timeout 1s;'
--- run
::dns('1 127.0.0.2');
is(::server(), '127.0.0.2', 'before');

my $failures = sub { scalar(() = error_log() =~ /cannot be resolved/g) };

for my $failure (qw(NXDOMAIN SILENT)) {
    my $before = $failures->();
    ::dns($failure);
    ok(wait_for(10, sub { ::server(); $failures->() > $before }), "$failure is logged");
    $::Redis{'127.0.0.2'}->command('CLIENT', 'KILL', 'TYPE', 'normal');

    my ($end, %seen) = (time + 2);
    $seen{::server()}++ while time < $end;
    is(join(' ', keys %seen), '127.0.0.2', "with $failure");

    ::dns('SERVFAIL');
    select undef, undef, undef, 1.5;
    is(::server(), '127.0.0.2', 'and then SERVFAIL');

    ::dns('1 127.0.0.2');
    ok(wait_for(10, sub { ::server(); error_log() =~ /resolved again(?!.*cannot be)/s }),
       'resolved again');
}
--- logged
\[error\] .*host "redis\.test" of a redis server cannot be resolved: Host not found, its last addresses are kept
\[error\] .*host "redis\.test" of a redis server cannot be resolved: Operation timed out, its last addresses are kept
\[warn\] .*host "redis\.test" of a redis server is resolved again
--- logged_times
2 cannot be resolved
2 resolved again
--- timeout: 60



=== TEST 4: a name that does not exist yet is no error of the configuration, and is found later
--- http_config eval: $::RESOLVER . "\n" . $::REDIS . "\n" . $::SHOWN
--- run
$::Dns->answers('');
my $res = ask($EXAMPLE);
is($res->{status}, 503, 'while the name does not exist');
like($res->{headers}, qr/^Retry-After: \d+\r$/m, 'with Retry-After');

my $client = client();
$client->send(text($EXAMPLE));
select undef, undef, undef, 0.1;
::dns('1 127.0.0.2');
is(::moves(3, '127.0.0.2') =~ s/\A503 //r, '127.0.0.2', 'the name is found');
--- logged
\[error\] .*host "redis\.test" of a redis server cannot be resolved: Host not found$
--- logged_times
1 cannot be resolved



=== TEST 5: a request waits for a name until its deadline
--- http_config eval: $::MOVES
--- run
::dns('SERVFAIL');
my $client = client();
$client->send(text($EXAMPLE));
select undef, undef, undef, 0.3;
::dns('1 127.0.0.2');
answers($client->response, '3 4', 'answered once the name is resolved');
--- errors_allowed



=== TEST 6: a resolver may follow, and may be in the location
--- http_config eval: "$::REDIS\n$::OPTIONS\n$::RESOLVER"
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; }
location = /inner { billing_cameras_list; resolver 127.0.0.1:$TEST_NGINX_DNS_PORT ipv6=off; }
--- run
::dns('1 127.0.0.2');
is(::server(), '127.0.0.2', 'of the level above');
is(::server(uri => '/inner'), '127.0.0.2', "the location's own");



=== TEST 7: locations with different resolvers have different servers
--- http_config eval: "$::REDIS\n$::OPTIONS"
--- config
location = /api/v1/billing/cameras/list {
    billing_cameras_list;
    resolver 127.0.0.1:$TEST_NGINX_DNS_PORT;
}
location = /other {
    billing_cameras_list;
    resolver 127.0.0.1:$TEST_NGINX_OTHER_DNS_PORT;
}
--- run
::dns('1 127.0.0.2');
$::Other->answers('redis.test 1 127.0.0.3');
is(::server(), '127.0.0.2', 'of one resolver');
is(::server(uri => '/other'), '127.0.0.3', 'of the other one');



=== TEST 8: without a resolver, a name is resolved once, when nginx starts
--- http_config
billing_redis redis://localhost:$TEST_NGINX_REDIS_PORT;
--- cases
{"cameras_ids":[3]}                             -> 3
--- refuses
billing_redis redis://no-such-host.invalid; -> invalid URL "redis://no-such-host\.invalid" in "billing_redis" directive: host not found in \S+refused\.conf:\d+
billing_redis redis://u:s3cret@no-such-host.invalid/1; -> (?!.*s3cret)invalid URL "redis://\*\*\*@no-such-host\.invalid" in "billing_redis" directive: host not found in \S+refused\.conf:\d+



=== TEST 9: with a resolver, wrong URLs with a host name are refused all the same
--- refuses
resolver 127.0.0.1; billing_redis redis://redis.test:x; -> invalid URL "redis://redis\.test" in "billing_redis" directive: invalid port
resolver 127.0.0.1; billing_redis redis://redis.test/x; -> invalid URL "redis://redis\.test" in "billing_redis" directive: the database must be a number
resolver 127.0.0.1; billing_redis redis://bob@redis.test; -> no password for the user of redis server "redis\.test:6379" in "billing_redis" directive



=== TEST 10: an address and a socket are never resolved
--- http_config
resolver 127.0.0.1:$TEST_NGINX_DNS_PORT;
billing_redis redis://127.0.0.2:$TEST_NGINX_NAME_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_cache off;
--- run
my $asked = $::Dns->asked_all;
answers(ask($EXAMPLE), '3 4', 'an answer');
$::Redis{'127.0.0.2'}->stop;
answers(ask($EXAMPLE), '3 4', 'of the socket');
$::Redis{'127.0.0.2'}->start;
$::Redis{'127.0.0.2'}->command(@$_) for fixtures();
is($::Dns->asked_all, $asked, 'the name server was not asked');
--- errors_allowed



=== TEST 11: an address of IPv6 is used
--- http_config eval: $::MOVES
--- run
::dns('1 ::1');
answers(ask($EXAMPLE), '3 4', 'of a name with an AAAA record');
my $res = ask($EXAMPLE);
like($res->{headers}, qr/^X-Server: \[::1\]:$::Port\r$/m, 'the server');



=== TEST 12: what the worker has cached is dropped when the address moves
--- http_config eval: "$::RESOLVER\n$::REDIS\n$::SHOWN"
--- run
$::Redis{'127.0.0.3'}->command('HSET', "${Prefix}camera:5", 'name', 'moved');
::dns('1 127.0.0.2');
like(ask('{"cameras_ids":[5]}')->{body}, qr/5"/, 'before') for 1 .. 3;
::dns('1 127.0.0.3');
ok(wait_for(6, sub { ask('{"cameras_ids":[5]}')->{body} =~ /"name":"moved"/ }),
   'the data of the new server');
$::Redis{'127.0.0.3'}->command(@$_) for fixtures();



=== TEST 13: the name server is asked while requests come, and at most once in a TTL
--- http_config eval: $::MOVES
--- run
::dns('2 127.0.0.2');
is(::server(), '127.0.0.2', 'an answer');

my ($asked, $end) = ($::Dns->asked('redis.test'), time + 5);
::server(), select(undef, undef, undef, 0.02) while time < $end;
my $more = $::Dns->asked('redis.test') - $asked;
ok($more >= 1 && $more <= 3, "$more queries in 5 s");

select undef, undef, undef, 1.5;
$asked = $::Dns->asked('redis.test');
select undef, undef, undef, 4;
is($::Dns->asked('redis.test'), $asked, 'none while no request comes');



=== TEST 14: a worker that exits waits for no name server
--- master: 2
--- http_config eval: $::RESOLVER . "\n" . $::REDIS . "\nbilling_redis_timeout 200ms;"
--- run
::dns('SILENT');
is(ask($EXAMPLE)->{status}, 503, 'no server is known') for 1 .. 4;
::dns('1 127.0.0.2 127.0.0.3');
--- request eval
"GET /none"
--- error_code: 404
--- errors_allowed



=== TEST 15: a name of several that are configured keeps its place
--- http_config
resolver 127.0.0.1:$TEST_NGINX_DNS_PORT;
billing_redis redis://first.test:$TEST_NGINX_NAME_PORT redis://127.0.0.4:$TEST_NGINX_NAME_PORT redis://last.test:$TEST_NGINX_NAME_PORT;
billing_cache off;
add_header X-Server $billing_redis_server always;
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; }
location = /status { billing_status; }
--- run
$::Dns->answers("first.test 1 127.0.0.3\nlast.test 1 127.0.0.2\n");
like(::moves(3, '127.0.0.3'), qr/\A(?:127\.0\.0\.4 )?127\.0\.0\.3\z/, 'the first');
is(join(' ', ask(undef, uri => '/status?format=json')->{body}
   =~ /"server":"(127[^":]*)[^"]*","used":(true|false)/g), '127.0.0.3 true 127.0.0.4 false 127.0.0.2 false',
   'the list of the status page');
$::Dns->answers("first.test NXDOMAIN\nlast.test 1 127.0.0.2\n");
$::Redis{'127.0.0.3'}->stop;
$::Redis{'127.0.0.4'}->stop;
is(::moves(3, '127.0.0.2'), '127.0.0.2', 'the last, while the others are down');
for my $redis (@::Redis{qw(127.0.0.3 127.0.0.4)}) {
    $redis->start;
    $redis->command(@$_) for fixtures();
}
--- errors_allowed



=== TEST 16: a server whose address has left the name is not asked any more
--- http_config eval: $::MOVES =~ s/timeout 3s/timeout 300ms/r
--- run
::dns('1 127.0.0.2');
is(::server(), '127.0.0.2', 'before');
::dns('1 127.0.0.9');
is(::moves(6, '503'), '127.0.0.2 503', 'nobody answers at the new address');
is(::server(), '503', 'and the old one is not asked') for 1 .. 3;
::dns('1 127.0.0.3');

# an address is kept for a second: where this ends just now, no answer is a 503

like(::moves(6, '127.0.0.3'), qr/\A(?:503 )?(?:504 )?127\.0\.0\.3\z/, 'the next address');
--- errors_allowed



=== TEST 17: a name with hundreds of addresses is the first 64 of them
--- http_config eval: $::MOVES
--- run
::dns(join ' ', 1, map { "127.0.1.$_" } 1 .. 200);
like(::server(), qr/^50[34]$/, 'nobody answers');
::dns(join ' ', 1, '127.0.0.3', map { "127.0.1.$_" } 1 .. 200);
is(::moves(10, '127.0.0.3') =~ s/.* //r, '127.0.0.3', 'one more, which comes first');
--- errors_allowed
--- logged
has moved: 64 addresses, the first is 127\.0\.0\.3
