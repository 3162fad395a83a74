# Redis in states that operators know: down, slow, loading, refusing, cut off.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'redis';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: a connection begins with PING and a fence; each pipeline ends with a fence
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 PING\n
^1 ECHO [0-9a-f]{8}\.\d+$
^1 HMGET t_redis:camera:3 external_id\b
--- no_fake_log
AUTH
SELECT
^2 accept



=== TEST 2: all requests of a worker share one connection
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
{"cameras_uuid":["cam-5"]}                      -> 5
{"login":"nobody"}                              -> null
{"login":5}                                     -> login: string
--- no_fake_log
^2 accept



=== TEST 3: a URL with a user, a password and a database
--- http_config
billing_redis redis://loader:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT/7;
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 AUTH loader s3cret\n1 SELECT 7\n1 PING\n
--- no_error_log
s3cret



=== TEST 4: a URL with a password alone
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 AUTH (?:default )?s3cret\n1 PING\n



=== TEST 5: a real Redis over TCP
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT;
--- cases
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"cameras_ids":[3]}                             -> 3



=== TEST 6: another database over TCP and over the Unix socket
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT/9;
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_token off;
}
location = /unix {
    billing_cameras_list;
    billing_token off;
    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET?db=9;
}
location = /first {
    billing_cameras_list;
    billing_token off;
    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET;
}
END
--- run
my $redis = redis();
$redis->command('SELECT', 9);
$redis->command('HSET', 't_redis:camera:3', 'name', 'In nine');

my $nine = '[' . Billing::Fixtures::camera(3, { name => 'In nine' }) . ']';
is(ask(undef, query => '?cameras_ids[]=3')->{body}, $nine, 'over TCP');
is(ask(undef, uri => '/unix?cameras_ids[]=3')->{body}, $nine, 'over the socket');
answers(ask(undef, uri => '/first?cameras_ids[]=3'), '3', 'the first database');
--- request eval
"GET $Billing::URI?cameras_ids[]=3"
--- response_body_like: In nine



=== TEST 7: a database that does not exist is a 502
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT/99999;
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] 



=== TEST 8: a password that Redis refuses is a 502
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
AUTH => error WRONGPASS invalid username-password pair or user is disabled.
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*WRONGPASS
--- no_error_log
s3cret



=== TEST 9: a password that is missing is a 502
--- fake
any => error NOAUTH Authentication required.
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*NOAUTH



=== TEST 10: connections that are refused until the timeout are a 503
--- fake
listen never
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 503
{"login":"admin"}                               -> 503
--- logged
\[error\] 



=== TEST 11: a Unix socket that does not exist is a 503
--- http_config
billing_redis unix:$TEST_NGINX_SERVER_ROOT/html/none.sock;
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[(?:error|crit)\] .*none\.sock
--- errors_allowed
--- crit_allowed



=== TEST 12: wrong parameters are a 422 although Redis is down
--- fake
listen never
--- route
billing_token off;
--- cases
{"login":5}                                     -> login: string
{}                                              -> required
{"broken":                                      -> body



=== TEST 13: wrong parameters with a token are a 503, as Redis has to judge the token first
--- fake
listen never
--- http_config
billing_redis_timeout 1s;
--- cases
{"login":5}                                     -> 503
--- logged
\[error\] 



=== TEST 14: a request without a token is a 401 although Redis is down
--- fake
listen never
--- headers
X-Nothing: here
--- cases
?login=admin                                    -> 401



=== TEST 15: a Redis that comes up within the timeout fails no request
--- fake
listen 2
--- http_config
billing_redis_timeout 10s;
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- errors_allowed



=== TEST 16: a Redis that comes up after the timeout is found by later requests
--- fake
listen never
--- http_config
billing_redis_timeout 1s;
--- run
answers(ask('{"login":"admin"}'), '503', 'while it is down');
$Fake->up;

my $res;

for (1 .. 20) {
    $res = ask('{"login":"admin"}');
    last if $res->{status} == 200;
    select undef, undef, undef, 0.2;
}

answers($res, '3 4', 'when it is up again');
--- errors_allowed



=== TEST 17: a Redis that accepts connections and never answers is a 504
--- fake
any => silent
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 504
--- logged
\[error\] 



=== TEST 18: a Redis that stops answering later is a 504
--- fake
HMGET => silent
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 504
--- logged
\[error\] 



=== TEST 19: when one key is not answered, no camera takes the place of another one
--- fake
once HMGET *:camera:4 => drop
--- http_config
billing_redis_timeout 1s;
--- run
my $res = ask('{"cameras_ids":[3,4,5]}');
like($res->{status}, qr/\A(?:200|502|504)\z/, 'status');
is($res->{body}, Billing::Fixtures::answer(3, 4, 5), 'no camera takes another\'s place')
    if $res->{status} == 200;
answers(ask('{"cameras_ids":[3,4,5]}'), '3 4 5', 'the same again');
answers(ask('{"cameras_ids":[5]}'), '5', 'another');
--- errors_allowed



=== TEST 20: all commands of a request share one timeout
--- fake
GET => delay 0.9
--- http_config
billing_redis_timeout 2s;
--- run
my $start = time;
answers(ask('{"cameras_uuid":["3"],"login":"admin"}'), '504', 'slow all the way');
cmp_ok(time - $start, '<=', 4, 'and not more than the timeout in all');
--- request eval
"GET $Billing::URI\n{}"
--- more_headers
Content-Type: application/json
--- error_code: 401
--- logged
\[error\] 



=== TEST 21: a slow Redis is waited for within the timeout
--- fake
any => delay 0.3
--- http_config
billing_redis_timeout 15s;
--- cases
{"cameras_ids":[3],"cameras_uuid":["3"],"login":"admin"} -> 3
{"login":"admin"}                               -> 3 4
--- errors_allowed



=== TEST 22: a reply that comes after its request has ended reaches no other request
--- fake
once HMGET *:camera:3 => pause 2
--- http_config
billing_redis_timeout 1s;
--- run
answers(ask('{"cameras_ids":[3]}'), '504', 'too late');

for my $id (4, 5, 7) {
    answers(ask("{\"cameras_ids\":[$id]}"), $id, "camera $id right after that");
}

select undef, undef, undef, 2;
answers(ask('{"cameras_ids":[10]}'), '10', 'when the late answer has come');
--- errors_allowed



=== TEST 23: a caller who leaves while Redis is awaited disturbs no other caller
--- fake
once HMGET *:camera:3 => pause 1
--- http_config
billing_redis_timeout 5s;
--- run
for my $how (qw(close reset)) {
    my $client = client();
    $client->send(text('{"cameras_ids":[3]}'));
    select undef, undef, undef, 0.3;
    $client->$how;
}

for my $id (4, 5, 3) {
    answers(ask("{\"cameras_ids\":[$id]}"), $id, "camera $id for those who wait");
}



=== TEST 24: many callers leave at once, and one stays
--- fake
once HMGET => pause 1
--- http_config
billing_redis_timeout 5s;
--- run
my @clients = map { client() } 1 .. 30;
$_->send(text('{"login":"mixed"}')) for @clients;
select undef, undef, undef, 0.3;
$_ % 2 ? $clients[$_]->close : $clients[$_]->reset for 0 .. 28;
answers($clients[29]->response, '4 5 7 10 12 9007199254740991', 'the one that stayed');
answers(ask('{"login":"admin"}'), '3 4', 'and the next');



=== TEST 25: a connection that is closed at a command is made anew, and the request answered
--- fake
conn 1 HMGET => close
--- cases
{"cameras_ids":[3,4]}                           -> 3 4
{"login":"admin"}                               -> 3 4
--- fake_log
^2 HMGET t_redis:camera:3 external_id\b
--- errors_allowed



=== TEST 26: a connection that is closed at the token is made anew, and the request answered
--- fake
conn 1 any *token* => close
--- cases
{"cameras_ids":[3,4]}                           -> 3 4
--- errors_allowed



=== TEST 27: a connection that is reset at a command is made anew, and the request answered
--- fake
conn 1 HMGET => rst
--- cases
{"cameras_ids":[3,4]}                           -> 3 4
--- errors_allowed



=== TEST 28: a connection that is closed within a reply is made anew, and the request answered
--- fake
conn 1 HMGET => partial 40
--- cases
{"cameras_ids":[3,4]}                           -> 3 4
--- errors_allowed



=== TEST 29: a connection that is closed when it is accepted is made anew
--- fake
conn 1 accept => close
--- cases
{"cameras_ids":[3,4]}                           -> 3 4
--- errors_allowed



=== TEST 30: a request whose connection is closed twice is a 502, the next one is answered
--- fake
2 times HMGET => close
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] 



=== TEST 31: a request whose connection is reset twice is a 502, the next one is answered
--- fake
2 times HMGET => rst
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] 



=== TEST 32: a request whose reply is cut twice is a 502, the next one is answered
--- fake
2 times HMGET => partial 60
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] 



=== TEST 33: an idle connection that Redis closed is made anew
--- fake
conn 1 HMGET => hangup 0.3
--- run
answers(ask('{"cameras_ids":[5]}'), '5', 'before');
select undef, undef, undef, 1;
answers(ask('{"cameras_ids":[3]}'), '3', 'after');
--- fake_log
^2 HMGET t_redis:camera:3 external_id\b
--- errors_allowed



=== TEST 34: a byte behind a reply is a 502, and closes the connection
--- fake
conn 1 HMGET *:camera:5 => extra \x00
--- cases
{"cameras_ids":[5]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- fake_log
^2 HMGET t_redis:camera:3 external_id\b
--- logged
\[error\] 



=== TEST 35: a reply that no command asked for reaches no request
--- fake
conn 1 HMGET *:camera:3 => extra *7\r\n$-1\r\n$-1\r\n$-1\r\n$6\r\nforged\r\n$-1\r\n$-1\r\n$-1\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 4
{"cameras_ids":[5]}                             -> 5
--- fake_log
^2 accept
--- errors_allowed



=== TEST 36: a reply on an idle connection reaches no request
--- fake
conn 1 ECHO *.3 => extra $6\r\nforged\r\n
--- run
for my $id (3, 4, 5, 7) {
    answers(ask("{\"cameras_ids\":[$id]}"), $id, "camera $id");
    select undef, undef, undef, 0.1;
}
--- errors_allowed



=== TEST 37: a fence with another number closes the connection, and the request is answered
--- fake
conn 1 ECHO *.2 => raw $3\r\n999\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 4
--- fake_log
^2 accept
--- errors_allowed



=== TEST 38: a fence with another number on every connection is a 502
--- fake
ECHO *.2 => raw $3\r\n999\r\n
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] 



=== TEST 39: a reply that is garbage is a 502, and its command is not sent again
--- fake
conn 1 HMGET => raw HTTP/1.1 400 Bad Request\r\n\r\n
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[4]}                             -> 4
--- fake_log
^2 HMGET t_redis:camera:4 external_id\b
--- no_fake_log
^2 HMGET t_redis:camera:3 external_id\b
--- logged
\[error\] 



=== TEST 40: replies that are always garbage are a 502
--- fake
HMGET => raw HTTP/1.1 400 Bad Request\r\n\r\n
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_uuid":["3"]}                          -> 502
--- logged
\[error\] 



=== TEST 41: a server that is no Redis is an error, and not a crash
--- fake
accept => raw SSH-2.0-OpenSSH_9.2p1\r\n
any => raw Protocol mismatch.\r\n
--- http_config
billing_redis_timeout 1s;
--- run
my $res = ask('{"cameras_ids":[3]}');
like($res->{status}, qr/\A50[234]\z/, 'status');
like($res->{body}, qr/\A\{"message":"[^"]+"\}\z/, 'body');
--- request eval
"GET $Billing::URI\n{}"
--- more_headers
Content-Type: application/json
--- error_code: 401
--- logged
\[error\] 



=== TEST 42: replies of the wrong type are a 502
--- fake
HMGET *:camera:3 => raw :3\r\n
HMGET *:camera:4 => raw $3\r\nabc\r\n
HMGET *:camera:5 => raw +OK\r\n
HMGET *:camera:10 => raw *1\r\n$4\r\nname\r\n
HMGET *:camera:12 => raw *2\r\n$4\r\nname\r\n*0\r\n
HMGET *:camera:7 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:7 => raw *2\r\n:1\r\n:2\r\n
HMGET *:camera:8 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:8 => raw *1\r\n$4\r\nname\r\n
HMGET *:camera:9 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:9 => raw :1\r\n
HMGET *:camera:13 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:13 => raw *4\r\n$1\r\na\r\n:1\r\n$4\r\nname\r\n$1\r\nb\r\n
HMGET *:camera:11 => raw *7\r\n\{$-1\r\n*6}:1\r\n
HMGET *:camera:14 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:14 => raw *2\r\n$4\r\nname\r\n$-1\r\n
HMGET *:camera:15 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:15 => raw *2\r\n$-1\r\n$4\r\nname\r\n
GET *:external:3 => raw *0\r\n
GET *:external:4 => raw :4\r\n
--- cases
{"cameras_ids":[7]}                             -> 502
{"cameras_ids":[8]}                             -> 502
{"cameras_ids":[9]}                             -> 502
{"cameras_ids":[13]}                            -> 502
{"cameras_ids":[11]}                            -> 502
{"cameras_ids":[14]}                            -> 502
{"cameras_ids":[15]}                            -> 502
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[4]}                             -> 502
{"cameras_ids":[5]}                             -> 502
{"cameras_ids":[10]}                            -> 502
{"cameras_ids":[12]}                            -> 502
{"cameras_uuid":["3"]}                          -> 502
{"cameras_uuid":["4"]}                          -> 502
--- logged
\[error\] 



=== TEST 43: a value that is equal to the name of a field
--- fake
once HMGET *:camera:3 => raw *7\r\n\{$-1\r\n*7}
once HGETALL *:camera:3 => raw *4\r\n$4\r\nname\r\n$1\r\nb\r\n$1\r\na\r\n$6\r\nstatus\r\n
--- run
my $res = ask('{"cameras_ids":[3]}');
is($res->{status}, 200, 'status');
like($res->{body}, qr/"status":null,"name":"b"/, 'body');



=== TEST 44: sorted sets of the wrong shape are a 502
--- fake
ZRANGEBYSCORE *:admin => raw :3\r\n
ZRANGEBYSCORE *:mixed => raw *1\r\n$-1\r\n
ZRANGEBYSCORE *:gone => raw *2\r\n$1\r\n3\r\n*0\r\n
ZRANGEBYSCORE *:42 => raw *2\r\n$1\r\n4\r\n$1\r\n3\r\n
ZSCORE *:admin => raw *0\r\n
--- cases
{"login":"admin"}                               -> 502
{"login":"mixed"}                               -> 502
{"login":"gone"}                                -> 502
{"login":"42"}                                  -> 502
{"login":"admin","cameras_ids":[3]}             -> 502
--- logged
\[error\] 



=== TEST 45: NOPERM and other errors are a 502
--- fake
HMGET *:camera:3 => error NOPERM this user has no permissions to run the 'hmget' command
HMGET *:camera:4 => error WRONGTYPE Operation against a key holding the wrong kind of value
HMGET *:camera:5 => error ERR unknown command 'HMGET'
GET *:external:3 => error NOPERM No permissions to access a key
ZRANGEBYSCORE => error NOPERM this user has no permissions to run the 'zrangebyscore' command
ZSCORE => error NOPERM this user has no permissions to run the 'zscore' command
--- cases
{"cameras_ids":[3]}                             -> 502
{"cameras_ids":[4]}                             -> 502
{"cameras_ids":[5]}                             -> 502
{"cameras_uuid":["3"]}                          -> 502
{"login":"admin"}                               -> 502
{"login":"admin","cameras_ids":[10]}            -> 502
{"cameras_ids":[10]}                            -> 10
--- logged
\[error\] .*NOPERM



=== TEST 46: an error in the middle of a pipeline is a 502, and keeps the connection
--- fake
HMGET *:camera:4 => error NOPERM no
--- cases
{"cameras_ids":[3,4,5]}                         -> 502
{"cameras_ids":[3,5]}                           -> 3 5
{"cameras_ids":[5]}                             -> 5
--- no_fake_log
^2 accept
--- logged
\[error\] .*NOPERM



=== TEST 47: a Redis that is loading for a moment fails no request
--- fake
5 times any => error LOADING Redis is loading the dataset in memory
--- http_config
billing_redis_timeout 15s;
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- errors_allowed



=== TEST 48: a Redis that is loading all the time is a 503
--- fake
any => error LOADING Redis is loading the dataset in memory
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] 



=== TEST 49: a replica that lost its master for a moment fails no request
--- fake
2 times HMGET => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
--- http_config
billing_redis_timeout 15s;
--- cases
{"cameras_ids":[3]}                             -> 3
--- errors_allowed



=== TEST 50: a replica that lost its master for good is a 503
--- fake
conn 1 PING => delay 0
PING => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
HMGET => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 503
--- fake_log
^1 HMGET
^2 PING
--- logged
\[error\] .*MASTERDOWN



=== TEST 51: replies that come byte by byte
--- fake
any => bytes
--- http_config
billing_redis_timeout 15s;
--- cases
{"cameras_ids":[3,4,5]}                         -> 3 4 5
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"login":"nobody"}                              -> null



=== TEST 52: the next server is used while the first is down
--- fake
listen never
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 10s;
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- errors_allowed



=== TEST 53: the next server is used while the first is loading
--- fake
any => error LOADING Redis is loading the dataset in memory
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT redis://127.0.0.1:$TEST_NGINX_REDIS_PORT;
billing_redis_timeout 10s;
--- cases
{"cameras_ids":[3]}                             -> 3
--- errors_allowed



=== TEST 54: the next server is used while the first is cut off from its master
--- fake
HMGET => error MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 10s;
--- cases
{"cameras_ids":[3]}                             -> 3
--- errors_allowed



=== TEST 55: the first server is used, and not the next
--- fake
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT unix:$TEST_NGINX_SERVER_ROOT/html/none.sock;
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
^1 HMGET



=== TEST 56: two locations use two servers
--- fake
HMGET *:camera:3 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$4\r\nfake\r\n$-1\r\n$-1\r\n$-1\r\n
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /real {
    billing_cameras_list;
    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET;
}
END
--- run
is(ask(undef, query => '?cameras_ids[]=3')->{body},
   '[' . Billing::Fixtures::camera(3, { name => 'fake' }) . ']', 'the fake one');
answers(ask(undef, uri => '/real?cameras_ids[]=3'), '3', 'the real one');
--- request eval
"GET $Billing::URI?cameras_ids[]=3"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body_like: fake



=== TEST 57: many requests at once share a connection, and each gets its own answer
--- fake
--- http_config
billing_redis_timeout 15s;
--- run
my @ids = (3, 4, 5, 7, 10, 12);
my @clients = map { client() } 1 .. 40;

$clients[$_]->send(text("{\"cameras_ids\":[$ids[$_ % 6]]}")) for 0 .. 39;
answers($clients[$_]->response, $ids[$_ % 6], "client $_") for 0 .. 39;
--- no_fake_log
^2 accept



=== TEST 58: a connection is closed with many requests in flight, and all are answered
--- fake
conn 1 HMGET *:camera:12 => close
--- http_config
billing_redis_timeout 15s;
--- run
my @ids = (3, 4, 5, 7, 10, 12);
my @clients = map { client() } 1 .. 30;

$clients[$_]->send(text("{\"cameras_ids\":[$ids[$_ % 6]]}")) for 0 .. 29;
answers($clients[$_]->response, $ids[$_ % 6], "client $_") for 0 .. 29;
--- errors_allowed



=== TEST 59: with a master process, workers exit with idle connections
--- master: 2
--- run
my @clients = map { client() } 1 .. 20;
$_->send(text('{"login":"admin"}')) for @clients;
answers($_->response, '3 4', 'a worker') for @clients;



=== TEST 60: a request in flight is answered through a reload
--- master: 2
--- fake
once HMGET *:camera:3 => pause 1
--- http_config
billing_redis_timeout 10s;
--- run
answers(ask('{"cameras_ids":[4]}'), '4', 'before');

my $client = client();
$client->send(text('{"cameras_ids":[3]}'));
select undef, undef, undef, 0.3;

my $pid = Test::Nginx::Util::get_pid_from_pidfile('reload');
kill 'HUP', $pid;

answers($client->response, '3', 'the request in flight');
answers(ask('{"cameras_ids":[5]}'), '5', 'after');
--- no_error_log
open socket



=== TEST 61: old workers exit after a reload although they have idle connections
--- master: 1
--- run
answers(ask('{"cameras_ids":[4]}'), '4', 'before');

my $pid = Test::Nginx::Util::get_pid_from_pidfile('reload');
my $children = sub { join ' ', sort split /\s+/, `ps -o pid= --ppid $pid` };
my $old = $children->();
kill 'HUP', $pid;

my $now = $old;

for (1 .. 50) {
    $now = $children->();
    last if $now =~ /\A\s*\d+\s*\z/ && $now ne $old;
    select undef, undef, undef, 0.1;
}

isnt($now, $old, 'there is another worker');
like($now, qr/\A\s*\d+\s*\z/, 'and only one');
answers(ask('{"cameras_ids":[4]}'), '4', 'after');
--- no_error_log
open socket



=== TEST 62: an idle connection that Redis resets is made anew
--- route
billing_token off;
--- fake
once ECHO *.2 => tear 100000
--- run
answers(ask('{"cameras_ids":[5]}'), '5', 'before');
select undef, undef, undef, 1;
answers(ask('{"cameras_ids":[3]}'), '3', 'after');
--- fake_log
^2 HMGET t_redis:camera:3 external_id\b
--- logged
\[info\] .*idle connection to redis server "127.0.0.1:\d+" is closed: Connection reset by peer



=== TEST 63: replies count only if the fence behind them came
--- route
billing_token off;
--- fake
conn 1 HMGET *:camera:4 => error WRONGTYPE
conn 1 ECHO *.2 => close
conn 2 HMGET *:camera:3 => raw *7\r\n\{$-1\r\n*7}
conn 2 HGETALL *:camera:3 => raw *0\r\n
--- cases
{"cameras_ids":[3,4]}                           -> 4
--- errors_allowed



=== TEST 64: a request in flight is not sent twice by a reload
--- master: 1
--- fake
once HMGET *:camera:3 => pause 0.3
once HMGET *:camera:4 => pause 1.5
--- http_config
billing_redis_timeout 10s;
--- run
my @clients = map { client() } 3, 4;
$clients[$_]->send(text('{"cameras_ids":[' . (3, 4)[$_] . ']}')) for 0, 1;
answers($clients[0]->response, '3', 'the first');

kill 'HUP', Test::Nginx::Util::get_pid_from_pidfile('reload');

answers($clients[1]->response, '4', 'the request in flight');
is($Fake->count('HMGET \S+:camera:4'), 1, 'is asked for once');
--- no_error_log
open socket



=== TEST 65: a request that is too late does not cost others the connection
--- fake
HMGET *:camera:3 => pause 0.4
HMGET *:camera:4 => pause 0.8
HMGET *:camera:5 => pause 1.6
HMGET *:camera:7 => pause 2
--- config
billing_token off;
billing_redis_timeout 10s;
location = /short { billing_cameras_list; billing_redis_timeout 1s; }
location = /long { billing_cameras_list; }
--- run
my @clients = map { client() } 3, 4, 5, 7;
my @uris = qw(/long /long /short /long);

for (0 .. 3) {
    $clients[$_]->send(text('{"cameras_ids":[' . (3, 4, 5, 7)[$_] . ']}', uri => $uris[$_]));
}

answers($clients[$_]->response, (3, 4, '504', 7)[$_], "request $_") for 0 .. 3;
is($Fake->count('accept'), 1, 'one connection');
--- request
GET /long?cameras_ids[]=10
--- response_body eval: Billing::Fixtures::answer(10)
--- logged
\[error\] .*did not answer in time



=== TEST 66: connections that are closed at one request after the other, and all are answered
--- route
billing_token off;
--- fake
once HMGET *:camera:10 => pause 0.5
conn 1 HMGET *:camera:3 => close
conn 2 HMGET *:camera:4 => close
conn 3 HMGET *:camera:5 => close
--- http_config
billing_redis_timeout 15s;
--- run
my @ids = (10, 3, 4, 5);
my @clients = map { client() } @ids;

for (0 .. 3) {
    $clients[$_]->send(text("{\"cameras_ids\":[$ids[$_]]}"));
    select undef, undef, undef, 0.05;
}

answers($clients[$_]->response, $ids[$_], "camera $ids[$_]") for 0 .. 3;
is(join(' ', $Fake->log_text =~ /^2 HMGET \S+:camera:(\d+)/mg), '3 4 5', 'in their order');
--- fake_log
^4 HMGET \S+:camera:5
--- errors_allowed



=== TEST 67: a connection that is closed as a command is about to be written
--- master: 1
--- route
billing_token off;
--- fake
--- run
my $client = client();
$client->send(text('{"cameras_ids":[3]}'));
answers($client->response, '3', 'before');

# what the worker finds when it goes on: the request, and then the end

my $pid = Test::Nginx::Util::get_pid_from_pidfile('close');
my ($worker) = `ps -o pid= --ppid $pid` =~ /(\d+)/;
kill 'STOP', $worker;
$client->send(text('{"cameras_ids":[4]}'));
select undef, undef, undef, 0.1;
$Fake->change("hangup\n");
select undef, undef, undef, 0.1;
kill 'CONT', $worker;

answers($client->response, '4', 'after');
--- errors_allowed



=== TEST 68: the fences of two connections have different salts
--- fake
conn 1 HMGET => close
--- run
answers(ask('{"cameras_ids":[4]}'), '4', 'before');

my @salts = map { $Fake->log_text =~ /^$_ ECHO ([0-9a-f]{8})\.\d+$/m } 1, 2;
is(@salts, 2, 'echoes on both');
isnt($salts[0], $salts[1], 'nothing');
--- errors_allowed



=== TEST 69: a Redis that is busy with a script for a while fails no request
--- http_config
billing_redis_timeout 5s;
--- fake
4 times HMGET => error BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
--- cases
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*is down: BUSY Redis is busy running a script
