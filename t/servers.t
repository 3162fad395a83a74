# Several servers, several connections, the queue, passwords, ACLs.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'servers';
use Test::Nginx::Socket 'no_plan';

our $TWO = 'billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT'
           . ' unix:$TEST_NGINX_REDIS_SOCKET; billing_redis_timeout 10s;';

our $FAKES = 'billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT'
             . ' redis://127.0.0.1:$TEST_NGINX_FAKE2_PORT;';

# The user that README.md recommends, under a name and a prefix of our own.

sub acl {
    open my $in, '<', "$FindBin::RealBin/../README.md" or die "README.md: $!\n";
    my ($line) = grep { /^ACL SETUSER billing / } <$in> or die "no ACL in README.md\n";
    $line =~ s/ billing / t_servers /;
    $line =~ s/ >password / >s3cret /;
    $line =~ s/~billing:/~t_servers:/ or die "no key pattern in README.md's ACL\n";
    return split ' ', $line;
}

run_tests();

__DATA__

=== TEST 1: the next server is used while the first refuses connections
--- http_config eval: $::TWO
--- fake
listen never
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
{"cameras_uuid":["cam-5"]}                      -> 5
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: Connection refused
--- logged_times
1 is down:



=== TEST 2: the next server is used while connecting to the first hangs
--- http_config eval: $::TWO
--- fake
listen full
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: connection timed out
--- logged_times
1 is down:



=== TEST 3: the next server is used while the first is loading
--- http_config eval: $::TWO
--- fake
any => error LOADING Redis is loading the dataset in memory
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: LOADING Redis is loading the dataset in memory
--- logged_times
1 is down:



=== TEST 4: the next server is used while the first says MASTERDOWN to reads alone
--- http_config eval: $::TWO
--- fake
GET => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
HMGET => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
ZRANGEBYSCORE => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- fake_log
^1 GET
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: MASTERDOWN Link with MASTER is down



=== TEST 5: the next server is used while the first says MASTERDOWN to PING
--- http_config eval: $::TWO
--- fake
any => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*is down: MASTERDOWN
--- logged_times
1 is down:



=== TEST 6: the next server is used while the first refuses the password
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 10s;
--- fake
AUTH => error WRONGPASS invalid username-password pair or user is disabled.
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*is down: WRONGPASS invalid username-password pair or user is disabled\.
--- logged_times
1 is down:
--- no_error_log
s3cret



=== TEST 7: the next server is used while the first wants a password
--- http_config eval: $::TWO
--- fake
any => error NOAUTH Authentication required.
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*is down: NOAUTH Authentication required
--- logged_times
1 is down:



=== TEST 8: the next server is used while the first closes connections at once
--- http_config eval: $::TWO
--- fake
accept => close
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: 



=== TEST 9: the next server is used while the first resets connections at once
--- http_config eval: $::TWO
--- fake
accept => rst
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: 



=== TEST 10: the next server is used while the first accepts connections and never answers
--- http_config eval: $::TWO
--- fake
any => silent
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: server does not answer
--- logged_times
1 is down:



=== TEST 11: the next server is used while the first closes each connection at its first command
--- http_config eval: $::TWO
--- fake
GET => close
HMGET => close
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 4
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: 



=== TEST 12: the third server is used while the first two are down in different ways
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT redis://127.0.0.1:$TEST_NGINX_FAKE2_PORT
              redis://127.0.0.1:$TEST_NGINX_FAKE3_PORT;
billing_redis_timeout 10s;
--- fake
listen never
--- fake2
any => error LOADING Redis is loading the dataset in memory
--- fake3
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake2_log
HMGET
--- fake3_log
HMGET t_servers:camera:3
--- logged
\[error\] .*is down: Connection refused
\[error\] .*is down: LOADING
--- logged_times
2 is down:



=== TEST 13: the second server is left alone while the first serves
--- http_config eval: $::FAKES
--- fake
--- fake2
--- run
for my $id (3, 4, 5, 7) {
    answers(ask("{\"cameras_ids\":[$id]}"), $id, "camera $id");
    select undef, undef, undef, 0.3;
}
--- no_fake2_log
accept



=== TEST 14: the first server is used again when it has answered for two seconds
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s;'
--- fake
any => error LOADING Redis is loading the dataset in memory
--- fake2
--- run
my ($is, $failed) = keep_asking(1, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is loading');
is($Fake->count('HMGET'), 0, 'nor was it asked');

$Fake->change('');
my $start = Time::HiRes::time();

($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
my $took = Time::HiRes::time() - $start;

ok($is, 'it is asked again');
is($failed, 0, 'none failed meanwhile');
cmp_ok($took, '>', 1.9, 'not before its time of probation');
cmp_ok($took, '<', 8, 'but not long after');

my ($number) = $Fake->log_text =~ /^(\d+) (?:HMGET|ZRANGEBYSCORE)/m;
my @words = $Fake->log_text =~ /^$number (\w+)/mg;
is("@words[0 .. 6]", 'accept PING GET ECHO PING GET ECHO', 'the connection was tried twice');

my $asked = $Fake2->count('HMGET');
($is, $failed) = keep_asking(2.5, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed after that');
is($Fake2->count('HMGET'), $asked, 'the second is not asked any more');
is($Fake2->count('closed'), $Fake2->count('accept'), 'its connections are closed');
--- logged_times
1 is down:
1 \[warn\] .*is up after \d+ failures
--- errors_allowed



=== TEST 15: a first server that is loading at the end of its probation is not used
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s;'
--- fake
listen never
--- fake2
--- run
my ($is, $failed) = keep_asking(0.5, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is down');

$Fake->up;
($is, $failed) = keep_asking(5, $EXAMPLE, '3 4', sub { $Fake->count('PING') });
ok($is, 'it is probed when it is up');
$Fake->change('PING => error LOADING Redis is loading the dataset in memory');

($is, $failed) = keep_asking(4, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
ok(!$is, 'and not used, as it is loading at the end of the probation');
is($failed, 0, 'none failed meanwhile');
is($Fake2->count('accept'), 1, 'the second is used all the time, on one connection');
--- errors_allowed



=== TEST 16: a first server that hangs at the end of its probation is not used
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s;'
--- fake
listen never
--- fake2
--- run
my ($is, $failed) = keep_asking(0.5, $EXAMPLE, '3 4', sub { 0 });

$Fake->up;
($is, $failed) = keep_asking(5, $EXAMPLE, '3 4', sub { $Fake->count('PING') });
ok($is, 'it is probed');
$Fake->change('any => silent');

($is, $failed) = keep_asking(4, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
ok(!$is, 'and not used');
is($failed, 0, 'none failed meanwhile');

$Fake->change('');
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
ok($is, 'it is used when it answers after all');
is($failed, 0, 'none failed meanwhile');
--- errors_allowed



=== TEST 17: requests in flight are answered by the server they were sent to
--- http_config eval: $::FAKES . 'billing_redis_timeout 10s;'
--- fake
listen never
--- fake2
HMGET *:camera:12 => pause 6
--- run
answers(ask($EXAMPLE), '3 4', 'on the second');
$Fake->up;
wait_for(5, sub { $Fake->count('PING') });

my $client = client();
$client->send(text('{"cameras_ids":[12]}'));

my ($is, $failed) = keep_asking(8, '{}', 'required', sub { $Fake->count('GET') });
ok($is, 'the first is used');
is($failed, 0, 'none failed meanwhile');

my $res = $client->response;
answers($res, '12', 'what was asked of the second');
is($Fake->count('HMGET t_servers:camera:12'), 0, 'and answered by it');
ok(wait_for(5, sub { $Fake2->count('closed') }), 'the second is closed then');
--- errors_allowed



=== TEST 18: a real Redis is killed and started again, and no request fails
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 5s;
--- server
--enable-debug-command yes
--- run
my ($is, $failed) = keep_asking(5, $EXAMPLE, '3 4',
    sub { $Server->info('commandstats', 'cmdstat_hmget') });
ok($is, 'it is used');
is($failed, 0, 'at first');

$Server->stop;
($is, $failed) = keep_asking(1, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is down');

$Server->start;
$Server->command(@$_) for fixtures();
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4',
    sub { $Server->info('commandstats', 'cmdstat_hmget') });
ok($is, 'it is used again');
is($failed, 0, 'none failed meanwhile');

($is, $failed) = keep_asking(2.5, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'nor after that');
--- errors_allowed
--- logged_times
1 \[warn\] .*is up after \d+ failures



=== TEST 19: a real Redis becomes the replica of nobody, and no request fails
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 5s;
--- server
--replica-serve-stale-data no
--- run
my $used = sub { ($Server->info('commandstats', 'cmdstat_get') // '') =~ /calls=(\d+)/ ? $1 : 0 };
my ($is, $failed) = keep_asking(5, $EXAMPLE, '3 4', $used);
ok($is, 'it is used');

$Server->command('REPLICAOF', '127.0.0.1', Billing::Server::free_port());
($is, $failed) = keep_asking(4, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is cut off');

$Server->command('REPLICAOF', 'NO', 'ONE');
$Server->command('CONFIG', 'RESETSTAT');
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', $used);
ok($is, 'it is used again');
is($failed, 0, 'none failed meanwhile');
--- logged
\[error\] .*is down: MASTERDOWN



=== TEST 20: a real Redis is stopped and continued, and the next server takes over
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 1s;
--- server
--databases 2
--- run
answers(ask($EXAMPLE), '3 4', 'at first');
$Server->signal('STOP');

my $res;
wait_for(5, sub { $res = ask($EXAMPLE); $res->{status} == 200 });
answers($res, '3 4', 'the next server takes over');

my ($is, $failed) = keep_asking(2, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'and none fails after that');

$Server->signal('CONT');
$Server->command('CONFIG', 'RESETSTAT');
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4',
    sub { $Server->info('commandstats', 'cmdstat_hmget') });
ok($is, 'it is used again');
is($failed, 0, 'none failed meanwhile');
--- errors_allowed



=== TEST 21: a real Redis kills connections again and again, and no request fails
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;
billing_redis_timeout 5s;
billing_redis_connections 4;
--- server
--databases 2
--- run
my $failed = 0;

for my $turn (1 .. 20) {
    my @clients = map { client() } 1 .. 8;
    $_->send(text($EXAMPLE)) for @clients;
    $Server->command('CLIENT', 'KILL', 'TYPE', 'normal');

    for (@clients) {
        my $res = $_->response;
        $failed += $res->{body} ne Billing::Fixtures::answer(3, 4);
    }
}

is($failed, 0, 'none failed');
--- errors_allowed



=== TEST 22: all servers refuse connections: 503
--- http_config eval: $::FAKES . 'billing_redis_timeout 1s;'
--- fake
listen never
--- fake2
listen never
--- cases
{"cameras_ids":[3]}                             -> 503
{"login":"admin"}                               -> 503
--- logged
\[error\] .*is down: Connection refused
--- logged_times
2 is down:



=== TEST 23: connecting to all servers hangs: 503
--- http_config eval: $::FAKES . 'billing_redis_timeout 2s;'
--- fake
listen full
--- fake2
listen full
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: connection timed out
--- logged_times
2 is down:



=== TEST 24: no server answers: 504
--- http_config eval: $::FAKES . 'billing_redis_timeout 2s;'
--- fake
any => silent
--- fake2
any => silent
--- cases
{"cameras_ids":[3]}                             -> 504
{"login":"admin"}                               -> 504
--- logged
\[error\] .*is down: server does not answer
--- logged_times
2 is down:



=== TEST 25: all servers refuse the password: 502
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT redis://127.0.0.1:$TEST_NGINX_FAKE2_PORT;
billing_redis_timeout 1s;
--- fake
AUTH => error WRONGPASS invalid username-password pair or user is disabled.
--- fake2
any => error NOAUTH Authentication required.
--- cases
{"cameras_ids":[3]}                             -> 502
{"login":"admin"}                               -> 502
--- logged
\[error\] .*is down: WRONGPASS
\[error\] .*is down: NOAUTH
--- logged_times
2 is down:
--- no_error_log
s3cret



=== TEST 26: all servers are loading, or close connections at once: 503
--- http_config eval: $::FAKES . 'billing_redis_timeout 1s;'
--- fake
any => error LOADING Redis is loading the dataset in memory
--- fake2
accept => close
--- cases
{"cameras_ids":[3]}                             -> 503
{"login":"admin"}                               -> 503
--- logged
\[error\] .*is down: LOADING



=== TEST 27: the failure that came last decides between 502, 503 and 504
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_timeout 2s;
--- fake
AUTH => error WRONGPASS invalid username-password pair or user is disabled.
--- run
answers(ask('{"cameras_ids":[3]}'), '502', 'the password is refused');
$Fake->down;
answers(ask('{"cameras_ids":[3]}'), '503', 'connections are refused');
$Fake->up('any => silent');
answers(ask('{"cameras_ids":[3]}'), '504', 'there is no answer');
$Fake->change('');
recovers('{"cameras_ids":[3]}', '3', 'all is well');
--- errors_allowed



=== TEST 28: many requests that fail make one log line for each server
--- http_config eval: $::FAKES . 'billing_redis_timeout 1s;'
--- fake
listen never
--- fake2
any => error LOADING Redis is loading the dataset in memory
--- run
for my $turn (1 .. 3) {
    my @clients = map { client() } 1 .. 30;
    $_->send(text($EXAMPLE)) for @clients;
    is($_->response->{status}, 503, 'while both are down') for @clients;
}

$Fake->up;
recovers($EXAMPLE, '3 4', 'when one is up');
--- logged_times
1 \[error\] .*is down: Connection refused
1 \[error\] .*is down: LOADING
2 is down:
--- errors_allowed



=== TEST 29: a server that is up and down again makes a log line for each change
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s;'
--- fake
listen never
--- fake2
--- run
my ($is, $failed) = keep_asking(0.5, $EXAMPLE, '3 4', sub { 0 });
$Fake->up;
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
ok($is, 'it is up');
($is, $failed) = keep_asking(2.5, $EXAMPLE, '3 4', sub { 0 });
$Fake->down;
($is, $failed) = keep_asking(1, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed when it was down again');
--- logged_times
2 \[error\] .*is down: 
1 \[warn\] .*is up after \d+ failures
--- errors_allowed



=== TEST 30: no password in the log, whatever AUTH is answered by
--- http_config
billing_redis redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE2_PORT
              redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE3_PORT;
billing_redis_timeout 1s;
--- fake
AUTH => error ERR unknown command 'AUTH', with args beginning with: 'bob' 's3cret' 
--- fake2
AUTH => error PROXY no such user: bob:s3cret
--- fake3
AUTH => raw $6\r\ns3cret\r\n
--- cases
{"cameras_ids":[3]}                             -> 502
--- fake_log
AUTH bob s3cret
--- fake2_log
AUTH bob s3cret
--- fake3_log
AUTH bob s3cret
--- logged
\[error\] .*is down: ERR$
\[error\] .*is down: PROXY$
\[error\] .*is down: unexpected reply$
--- no_error_log
s3cret



=== TEST 31: no password in what nginx -t says
--- refuses
billing_redis redis://bob:s3cret@127.0.0.1:99999;       -> (?!.*s3cret).*127\.0\.0\.1:99999
billing_redis redis://bob:s3cret@127.0.0.1/x;           -> (?!.*s3cret).*127\.0\.0\.1.*database must be a number
billing_redis redis://bob:s3cret%zz@127.0.0.1;          -> (?!.*s3cret).*127\.0\.0\.1
billing_redis redis://:s3cret@;                         -> (?!.*s3cret).*billing_redis
billing_redis redis://bob:@127.0.0.1;                   -> the password is empty
billing_redis unix:/a.sock redis://bob:s3cret@[::1;     -> (?!.*s3cret).*billing_redis



=== TEST 32: control characters of Redis do not reach the log
--- http_config eval: $::FAKES . 'billing_redis_timeout 1s;'
--- fake
any => error LOADING \x1b[31mred\x07\x08 "quoted"
--- fake2
HMGET *:camera:3 => error WRONGTYPE \x1b[32mgreen\x07
HMGET *:camera:4 => raw \x1b[33m\r\n
ECHO => error OOPS \x1b[34mblue\x07
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[4]}                             -> 502
--- logged
\[error\] .*LOADING .*red
--- no_error_log eval
[ qr/\x1b/, qr/\x07/ ]



=== TEST 33: no more connections are made than billing_redis_connections
--- fake
HMGET => pause 2
--- http_config
billing_redis_connections 3;
billing_redis_timeout 20s;
--- run
my @ids = (3, 4, 5, 7);
my @clients;

for my $i (0 .. 11) {
    push @clients, client();
    $clients[$i]->send(text("{\"cameras_ids\":[$ids[$i % 4]]}"));
    select undef, undef, undef, 0.05;
}

answers($clients[$_]->response, $ids[$_ % 4], "client $_") for 0 .. 11;
--- fake_log
^1 HMGET
^2 HMGET
^3 HMGET
--- no_fake_log
^4 accept



=== TEST 34: one after the other, requests make one connection and at most one to spare
--- fake
--- http_config
billing_redis_connections 64;
--- run
for my $id (3, 4, 5, 7, 10, 12) {
    answers(ask("{\"cameras_ids\":[$id]}"), $id, "camera $id");
}
--- no_fake_log
^3 accept



=== TEST 35: one of several connections is closed, and all requests are answered
--- fake
conn 2 HMGET => close
HMGET => pause 1
--- http_config
billing_redis_connections 3;
billing_redis_timeout 20s;
--- run
my @ids = (3, 4, 5, 7);
my @clients;

for my $i (0 .. 7) {
    push @clients, client();
    $clients[$i]->send(text("{\"cameras_ids\":[$ids[$i % 4]]}"));
    select undef, undef, undef, 0.05;
}

answers($clients[$_]->response, $ids[$_ % 4], "client $_") for 0 .. 7;
--- fake_log
^2 closed|^2 HMGET
^3 HMGET
--- errors_allowed



=== TEST 36: each worker has its own connections
--- master: 2
--- fake
--- http_config
billing_redis_connections 1;
--- run
for (1 .. 10) {
    my @clients = map { client() } 1 .. 10;
    $_->send(text($EXAMPLE)) for @clients;
    answers($_->response, '3 4', 'a request') for @clients;
}

cmp_ok($Fake->count('accept'), '<=', 2, 'not more than one for each of two workers');



=== TEST 37: more requests than may wait are refused at once
--- fake
listen never
--- http_config
billing_redis_queue 3;
billing_redis_timeout 15s;
--- run
my @waiting = map { client() } 1 .. 3;
$_->send(text('{"cameras_ids":[3]}')) for @waiting;
select undef, undef, undef, 0.3;

for (1 .. 3) {
    my $start = Time::HiRes::time();
    my $res = ask('{"cameras_ids":[4]}');
    answers($res, '503', 'one too many');
    like($res->{headers}, qr/^Retry-After: \d+\r$/m, 'one too many: Retry-After');
    cmp_ok(Time::HiRes::time() - $start, '<', 1, 'one too many: at once');
}

$Fake->up;
answers($_->response, '3', 'one that waited') for @waiting;
answers(ask('{"cameras_ids":[4]}'), '4', 'and the next');
--- errors_allowed



=== TEST 38: a caller who leaves makes room for another one that waits
--- fake
listen never
--- http_config
billing_redis_queue 2;
billing_redis_timeout 20s;
--- run
my @waiting = map { client() } 1 .. 2;
$_->send(text('{"cameras_ids":[3]}')) for @waiting;
select undef, undef, undef, 0.3;
answers(ask('{"cameras_ids":[4]}'), '503', 'one too many');

$waiting[0]->close;
select undef, undef, undef, 0.5;

my $client = client();
$client->send(text('{"cameras_ids":[5]}'));
select undef, undef, undef, 0.3;
answers(ask('{"cameras_ids":[4]}'), '503', 'one too many again');

$Fake->up;
answers($client->response, '5', 'the one that took its place');
answers($waiting[1]->response, '3', 'the one that stayed');
--- errors_allowed



=== TEST 39: requests in flight take no place in the queue
--- fake
HMGET => pause 1
--- http_config
billing_redis_queue 1;
billing_redis_timeout 20s;
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'the first');

my @clients = map { client() } 1 .. 5;
$_->send(text('{"cameras_ids":[3]}')) for @clients;
answers($_->response, '3', 'in flight') for @clients;



=== TEST 40: invalid values of billing_redis_connections, billing_redis_queue and others
--- refuses
billing_redis_connections 0;                                    ->
billing_redis_connections 65;                                   ->
billing_redis_connections -1;                                   ->
billing_redis_connections many;                                 ->
billing_redis_queue 0;                                          ->
billing_redis_queue 1000001;                                    ->
billing_redis_queue 1k;                                         ->
billing_redis_ssl_verify maybe;                                 ->
billing_redis_connections 3; billing_redis_connections 3;       -> "billing_redis_connections" directive is duplicate
billing_redis_queue 3; billing_redis_queue 3;                   -> "billing_redis_queue" directive is duplicate
billing_redis_connections;                                      -> invalid number of arguments in "billing_redis_connections" directive
billing_redis_queue 1 2;                                        -> invalid number of arguments in "billing_redis_queue" directive
billing_redis_password_file;                                    -> invalid number of arguments in "billing_redis_password_file" directive



=== TEST 41: the greatest and the smallest values that are valid
--- http_config
billing_redis_connections 64;
billing_redis_queue 1000000;
--- route
billing_redis_connections 1;
billing_redis_queue 1;
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 42: a password from a file
--- fake
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_password_file $TEST_NGINX_SERVER_ROOT/html/secret;
--- user_files eval
">>> secret\ns3cret word\r\nsecond line\n"
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 AUTH s3cret word\n1 PING\n
--- no_error_log
s3cret



=== TEST 43: a password from a file with a relative path and no line feed
--- fake
--- http_config
billing_redis redis://bob@127.0.0.1:$TEST_NGINX_FAKE_PORT/2;
billing_redis_password_file ../html/secret;
--- user_files eval
">>> secret\ns3cret"
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 AUTH bob s3cret\n1 SELECT 2\n1 PING\n



=== TEST 44: the password in a URL takes precedence over the password file
--- fake
listen never
--- fake2
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT redis://:0wn@127.0.0.1:$TEST_NGINX_FAKE2_PORT;
billing_redis_password_file $TEST_NGINX_SERVER_ROOT/html/secret;
billing_redis_timeout 5s;
--- user_files
>>> secret
s3cret
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'on the second');
$Fake->up;
wait_for(5, sub { $Fake->count('PING') });
--- fake_log
^\d+ AUTH s3cret\n\d+ PING
--- fake2_log
\A1 accept\n1 AUTH 0wn\n1 PING\n
--- no_fake2_log
s3cret
--- errors_allowed



=== TEST 45: a location's password file takes precedence over that of an outer level
--- fake
--- http_config
billing_redis_password_file $TEST_NGINX_SERVER_ROOT/html/outer;
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /inner {
    billing_cameras_list;
    billing_redis_password_file \$TEST_NGINX_SERVER_ROOT/html/inner;
}
END
--- user_files
>>> outer
0uter
>>> inner
1nner
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'that of the outer level');
answers(ask('{"cameras_ids":[3]}', uri => '/inner'), '3', 'its own');
--- fake_log
\A1 accept\n1 AUTH 0uter\n
^2 accept\n2 AUTH 1nner\n



=== TEST 46: files that hold no password
--- user_files eval
">>> empty\n>>> line\n\nsecond\n>>> long\n" . 'x' x 4096
--- refuses eval
join '', map { s/FILE/$Test::Nginx::Util::ServRoot\/html/r . "\n" }
    'billing_redis_password_file FILE/none;  -> open\(\) "/\S+/none" failed .*\(2: No such file',
    'billing_redis_password_file FILE/empty; -> first line of "/\S+/empty" is no password',
    'billing_redis_password_file FILE/line;  -> first line of "/\S+/line" is no password',
    'billing_redis_password_file FILE/long;  -> first line of "/\S+/long" is no password',
    'billing_redis_password_file FILE;       -> read\(\) "/\S+" failed .*\(21: Is a directory',
    'billing_redis redis://bob@127.0.0.1;    -> no password for the user of redis server "127\.0\.0\.1:6379"',
    'billing_redis_password_file FILE/line; billing_redis_password_file FILE/line; -> is no password'



=== TEST 47: the ACL of README.md is enough
--- http_config
billing_redis redis://t_servers:s3cret@127.0.0.1:$TEST_NGINX_REDIS_PORT/0;
--- run
my $redis = redis();
$redis->command(::acl());

my $denied = sub {
    return scalar grep { ${ { @$_ } }{username} eq 't_servers' }
           @{ $redis->command('ACL', 'LOG') };
};

eval {
    answers(ask($EXAMPLE), '3 4', 'a login');
    answers(ask('{"cameras_ids":[3,5]}'), '3 5', 'ids');
    answers(ask('{"cameras_uuid":["cam-5"]}'), '5', 'external ids');
    answers(ask('{"cameras_ids":[3,5],"login":"admin"}'), '3', 'ids of a login');
    answers(ask('{"login":"nobody"}'), 'null', 'nothing');
    answers(ask('{"cameras_ids":[3]}', token => 'nobody'), '401', 'a bad token');
    is($denied->(), 0, 'Redis denied nothing');
    1;
} or fail("died: $@");

$redis->command('ACL', 'DELUSER', 't_servers');
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- no_error_log
s3cret



=== TEST 48: an ACL for other keys is a 502
--- http_config
billing_redis redis://t_servers2:s3cret@127.0.0.1:$TEST_NGINX_REDIS_PORT;
billing_redis_timeout 1s;
--- run
my $redis = redis();
my @acl = ::acl();
$acl[2] = 't_servers2';
s/~t_servers:/~t_others:/ for @acl;
$redis->command(@acl);

eval {
    answers(ask($EXAMPLE), '502', 'no permission');
    1;
} or fail("died: $@");

$redis->command('ACL', 'DELUSER', 't_servers2');
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*NOPERM



=== TEST 49: locations with the same servers share a connection
--- fake
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /two { billing_cameras_list; billing_redis_timeout 3s; billing_max_ids 3; }
location = /three { billing_cameras_list; billing_redis redis://127.0.0.1:\$TEST_NGINX_FAKE_PORT; }
END
--- run
answers(ask('{"cameras_ids":[3]}', uri => $_), '3', $_) for $URI, '/two', '/three';
--- no_fake_log
^2 accept



=== TEST 50: locations with other servers, or other settings, have their own connections
--- fake
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /two { billing_cameras_list; billing_redis redis://127.0.0.1:\$TEST_NGINX_FAKE_PORT/1; }
location = /three { billing_cameras_list; billing_redis redis://:s3cret\@127.0.0.1:\$TEST_NGINX_FAKE_PORT; }
location = /four { billing_cameras_list; billing_redis_connect_timeout 3s; }
location = /five { billing_cameras_list; billing_redis_queue 2; }
location = /six { billing_cameras_list; billing_redis_connections 2; }
END
--- run
my @uris = ($URI, '/two', '/three', '/four', '/five');
answers(ask('{"cameras_ids":[3]}', uri => $_), '3', $_) for @uris, @uris;
is($Fake->count('accept'), 5, 'a connection each');

answers(ask('{"cameras_ids":[3]}', uri => '/six'), '3', '/six');
cmp_ok($Fake->count('accept'), '>', 5, 'another where there may be more of them');
is($Fake->count('^2 SELECT 1'), 1, 'the database on one alone');
is($Fake->count('SELECT'), 1, 'and on no other');
is($Fake->count('AUTH'), 1, 'and so the password');



=== TEST 51: a server that was down for long is found within a timeout shorter than the delay
--- fake
listen never
--- http_config
billing_redis_timeout 450ms;
--- run
my ($is, $failed) = keep_asking(6, '{"cameras_ids":[3]}', '503', sub { 0 });
is($failed, 0, 'while it is down');

$Fake->up;
my ($res, $asked);
ok(wait_for(4, sub { $asked++; $res = ask('{"cameras_ids":[3]}'); $res->{status} == 200 }),
   'soon after it is up');
answers($res, '3', 'the answer');

($is, $failed) = keep_asking(1, '{"cameras_ids":[3]}', '3', sub { 0 });
is($failed, 0, 'and none fails any more');
--- logged_times
1 is down:
--- errors_allowed



=== TEST 52: a server that was down for long is found by requests that come now and then
--- fake
listen never
--- http_config
billing_redis_timeout 450ms;
--- run
for (1 .. 4) {
    answers(ask('{"cameras_ids":[3]}'), '503', 'while it is down');
    select undef, undef, undef, 1.2;
}

$Fake->up;
my @status = map {
    select undef, undef, undef, 1.2;
    ask('{"cameras_ids":[3]}')->{status}
} 1 .. 3;

is("@status[1, 2]", '200 200', 'after it is up');
--- errors_allowed



=== TEST 53: attempts to connect are few, however many requests there are
--- fake
accept => close
--- http_config
billing_redis_timeout 300ms;
--- run
my ($is, $failed) = keep_asking(5, '{"cameras_ids":[3]}', '503', sub { 0 });
is($failed, 0, 'all are told');
my $n = $Fake->count('accept');
cmp_ok($n, '>', 3, "$n attempts");
cmp_ok($n, '<', 60, "$n attempts, not more");

$Fake->change('');
recovers('{"cameras_ids":[3]}', '3', 'when it is up');
--- errors_allowed



=== TEST 54: requests that a draining connection does not answer are sent to the first server
--- http_config eval: $::FAKES . 'billing_redis_timeout 30s;'
--- fake
listen never
--- fake2
HMGET *:camera:12 => silent
--- run
answers(ask($EXAMPLE), '3 4', 'on the second');

my $client = client();
$client->send(text('{"cameras_ids":[12]}'));
ok(wait_for(5, sub { $Fake2->count('HMGET \S+:camera:12') }), 'it is asked');

my $start = time;
$Fake->up;
my $res = $client->response;
answers($res, '12', 'answered after all');
is($Fake->count('HMGET t_servers:camera:12'), 1, 'by the first');
cmp_ok(time - $start, '>=', 9, 'when the second had had time enough');
--- timeout: 40
--- errors_allowed



=== TEST 55: the whole text of a server that accepts the password and not the database is logged
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT/7;
billing_redis_timeout 1s;
--- fake
SELECT => error ERR DB index is out of range
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: ERR DB index is out of range$
