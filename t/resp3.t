# RESP3: HELLO, tracked connections, pushes, and what is done without them.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'resp3';
use Test::Nginx::Socket 'no_plan';

our $CACHE = 'billing_cache 32m;';

# The same for tests that do not wait for a timeout.

our $PATIENT = "$CACHE billing_redis_timeout 10s; billing_redis_connect_timeout 5s;";

our $FAKES = 'billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT'
             . " redis://127.0.0.1:\$TEST_NGINX_FAKE2_PORT;\n$CACHE";

our $OWN = "billing_redis redis://127.0.0.1:\$TEST_NGINX_OWN_PORT;\n$PATIENT";

# A push as Redis sends it, and as a rule of the fake has it.

our $PUSH = '>2\r\n$10\r\ninvalidate\r\n*2\r\n$16\r\nt_resp3:camera:3\r\n'
            . '$15\r\nt_resp3:unknown\r\n';

our $OTHERS = '>3\r\n$7\r\nmessage\r\n+a\r\n$2\r\nOK\r\n' . $PUSH
              . '>2\r\n+invalidate\r\n_\r\n>1\r\n$4\r\nnews\r\n';

# The commands of README.md's user, for a user of this name.

sub acl {
    my ($name, @more) = @_;

    return (qw(ACL SETUSER), $name,
            qw(reset on >s3cret ~t_resp3:* +get +pttl +hmget +hgetall +zscore
               +zrangebyscore +ping +echo +select), @more);
}

# How often a line of the log of nginx matches.

sub logged {
    my ($pattern) = @_;

    my $found = () = Billing::error_log() =~ /$pattern/mg;
    return $found;
}

# Asks for something else each time, so that Redis has to be asked.

our $Asked = 0;

sub ask_redis {
    my ($name) = @_;

    $Asked++;
    Billing::answers(Billing::ask("{\"login\":\"nobody-$Asked\"}"), 'null', $name);
}

run_tests();

__DATA__

=== TEST 1: a connection begins with HELLO 3, and is tracked
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"cameras_uuid":["cam-5","010"]}                -> 5 10
--- fake_log
\A1 accept\n1 HELLO 3 SETNAME nginx-billing\n1 CLIENT TRACKING ON BCAST PREFIX t_resp3:\n1 PING\n1 ECHO
--- no_fake_log
^2 accept
^1 AUTH
--- logged
billing redis connection 1 to "127\.0\.0\.1:\d+" is tracked
--- logged_times
1 is tracked$
0 tracked no longer
0 worker's cache



=== TEST 2: without the worker's cache, a connection begins as in RESP2
--- http_config
billing_cache off;
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 PING\n1 ECHO
--- no_fake_log
HELLO
CLIENT



=== TEST 3: HELLO has the password, and the database is selected
--- http_config eval
'billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT/2;' . $::CACHE
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 HELLO 3 AUTH default s3cret SETNAME nginx-billing\n1 SELECT 2\n1 CLIENT TRACKING ON BCAST PREFIX t_resp3:\n1 PING\n1 ECHO
--- no_fake_log
^1 AUTH
--- no_error_log
s3cret



=== TEST 4: HELLO has the user of the URL
--- http_config eval
'billing_redis redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;' . $::CACHE
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
^1 HELLO 3 AUTH bob s3cret SETNAME nginx-billing\n1 CLIENT



=== TEST 5: prefixes that begin with another one are covered by that one
--- http_config eval: $::CACHE
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /b { billing_cameras_list; billing_redis_prefix b:; }
location = /bc { billing_cameras_list; billing_redis_prefix b:c:; }
END
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
CLIENT TRACKING ON BCAST PREFIX t_resp3: PREFIX b:\n



=== TEST 6: with an empty prefix, Redis tells of all keys
--- http_config eval: $::CACHE
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /all { billing_cameras_list; billing_redis_prefix ""; }
END
--- fake
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
CLIENT TRACKING ON BCAST\n



=== TEST 7: a real Redis with a password and a database
--- http_config eval
'billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT/1;' . $::CACHE
--- server: --databases 2
--- run
$Server->command('SWAPDB', 0, 1);
$Server->command('CONFIG', 'SET', 'requirepass', 's3cret');

answers(ask($EXAMPLE), '3 4', 'a login');

my $redis = Billing::Redis->new($Server->{socket});
$redis->command('AUTH', 's3cret');
my ($line) = grep { /name=nginx-billing / } split /\n/, $redis->command('CLIENT', 'LIST');

like($line, qr/ db=1 /, 'the database');
like($line, qr/ flags=tB /, 'tracked');
like($line, qr/ resp=3(?: |$)/, 'RESP3');
like($line, qr/ user=default /, 'the user');
--- logged_times
1 is tracked$
--- no_error_log
s3cret



=== TEST 8: a real Redis with an ACL user
--- http_config eval
'billing_redis redis://t_resp3:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT;' . $::CACHE
--- server
--- run
$Server->command(::acl('t_resp3', '+client|tracking'));

answers(ask($EXAMPLE), '3 4', 'a login');
answers(ask('{"cameras_ids":[3],"login":"admin"}'), '3', 'an id of a login');

my ($line) = grep { /name=nginx-billing / } split /\n/, $Server->command('CLIENT', 'LIST');

like($line, qr/ flags=tB /, 'tracked');
like($line, qr/ user=t_resp3 /, 'the user');
is_deeply($Server->command('ACL', 'LOG'), [], 'Redis denied nothing');
--- logged_times
1 is tracked$
0 worker's cache



=== TEST 9: CLIENT TRACKING that is refused leaves all else as it is, and is logged once
--- http_config eval
'billing_redis redis://t_resp3:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT;' . $::CACHE
--- server
--- run
$Server->command(::acl('t_resp3'));

for (1 .. 2) {
    answers(ask($EXAMPLE), '3 4', 'a login');
    answers(ask('{"cameras_ids":[3],"login":"admin"}'), '3', 'an id of a login');
    answers(ask('{"login":"nobody"}'), 'null', 'nothing');
    $Server->command('CLIENT', 'KILL', 'USER', 't_resp3');
}

$Server->command('ACL', 'SETUSER', 't_resp3', '+client|tracking');
$Server->command('CLIENT', 'KILL', 'USER', 't_resp3');
recovers($EXAMPLE, '3 4', 'with the right to track');
is(::logged('is tracked$'), 1, 'tracked at last');
--- logged
\[notice\] .*redis server "127\.0\.0\.1:\d+" refuses CLIENT TRACKING: "NOPERM [^"]*", the worker's cache is not used
\[notice\] .*redis server "127\.0\.0\.1:\d+" accepts CLIENT TRACKING, the worker's cache is used
--- logged_times
1 refuses CLIENT TRACKING
1 accepts CLIENT TRACKING
0 is down
--- no_error_log
s3cret



=== TEST 10: PTTL that is refused is logged once each time that the right is lost, and so is its return
--- http_config eval
'billing_redis redis://t_resp3:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT;' . $::CACHE
--- server
--- run
$Server->command(::acl('t_resp3', '+client|tracking'));

for my $n (1, 2) {
    $Server->command(qw(ACL SETUSER t_resp3 -pttl));

    # the worker may keep the token

    $Server->command('SET', "${Prefix}token:" . sha256($Token), 'client');
    ok(wait_for(5, sub { ask($EXAMPLE); ::logged('refuses PTTL') == $n }), "loss $n");
    answers(ask($EXAMPLE), '3 4', "loss $n, answer $_") for 1 .. 3;

    $Server->command(qw(ACL SETUSER t_resp3 +pttl));
    ok(wait_for(5, sub { ask($EXAMPLE); ::logged('accepts PTTL') == $n }), "return $n");
    answers(ask($EXAMPLE), '3 4', "return $n, answer $_") for 1 .. 3;
}
--- logged
\[notice\] .*redis refuses PTTL: "NOPERM [^"]*", so the worker's cache keeps no tokens
\[notice\] .*redis accepts PTTL, so the worker's cache keeps tokens
--- logged_times
2 refuses PTTL
2 accepts PTTL



=== TEST 11: a server that knows no HELLO is spoken to in RESP2 on the same connection
--- http_config eval: $::CACHE
--- fake
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'ids');
answers(ask('{"cameras_ids":[3],"login":"admin"}'), '3', 'an id of a login');

$Fake->change('hangup');
ok(wait_for(5, sub { ::logged('idle connection .* is closed') }), 'a lost connection');
recovers($EXAMPLE, '3 4', 'on the next connection');
--- fake_log
\A1 accept\n1 HELLO 3 SETNAME nginx-billing\n1 PING\n1 ECHO
^2 accept\n2 HELLO 3 SETNAME nginx-billing\n2 PING\n2 ECHO
--- no_fake_log
CLIENT
^3 accept
--- logged
\[notice\] .*redis server "127\.0\.0\.1:\d+" refuses HELLO: "ERR unknown command 'HELLO'", the worker's cache is not used
--- logged_times
1 refuses HELLO
0 is tracked$
0 is down



=== TEST 12: after HELLO was refused, the password follows, and is not in the log
--- http_config eval
'billing_redis redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT/2;' . $::CACHE
--- fake
HELLO => error ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'bob' 's3cret'
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
\A1 accept\n1 HELLO 3 AUTH bob s3cret SETNAME nginx-billing\n1 AUTH bob s3cret\n1 SELECT 2\n1 PING\n
--- logged
refuses HELLO: "ERR", the worker's cache is not used
--- no_error_log
s3cret



=== TEST 13: a proxy that wants AUTH before HELLO is spoken to in RESP2
--- http_config eval
'billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;' . $::CACHE
--- fake
HELLO => error NOAUTH Authentication required.
--- cases
{"cameras_ids":[3]}                             -> 3
--- fake_log
^1 AUTH s3cret\n1 PING\n
--- logged_times
1 refuses HELLO
0 is down



=== TEST 14: errors of HELLO about the protocol or a right lead to RESP2
--- http_config eval: $::CACHE
--- fake
conn 1 HELLO => error NOPROTO unsupported protocol version
conn 2 HELLO => error NOPERM this user has no permissions to run the 'hello' command
conn 3 HELLO => error ERR Syntax error in HELLO option 'SETNAME'
conn 4 HELLO => raw +OK\r\n
conn 5 HELLO => raw *4\r\n$5\r\nproto\r\n:2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n
conn 6 HELLO => raw $-1\r\n
--- run
for my $n (1 .. 6) {
    recovers('{"cameras_ids":[3]}', '3', "connection $n");
    $Fake->change(join '', map { "$_\n" } 'hangup', split /\n/, $block->fake);
    wait_for(5, sub { ::logged('idle connection .* is closed') == $n });
}
--- fake_log eval
join '', map { "^$_ HELLO 3 SETNAME nginx-billing\\n$_ PING\n" } 1 .. 6
--- logged_times
0 is tracked$
0 is down



=== TEST 15: a wrong password in HELLO is as bad as one in AUTH
--- http_config eval
'billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_timeout 1s;' . $::CACHE
--- fake
HELLO => error WRONGPASS invalid username-password pair or user is disabled.
--- cases
{"cameras_ids":[3]}                             -> 502
--- no_fake_log
AUTH s3cret\n
PING
--- logged
\[error\] .*is down: WRONGPASS invalid username-password pair or user is disabled\.



=== TEST 16: HELLO without the password that is wanted, and a protected server
--- http_config eval: $::FAKES
--- fake
HELLO => error NOAUTH HELLO must be called with the client already authenticated
--- fake2
HELLO => error DENIED Redis is running in protected mode
--- cases
{"cameras_ids":[3]}                             -> 502
--- no_fake_log
PING
--- no_fake2_log
PING
--- logged
\[error\] .*is down: NOAUTH HELLO must be called
\[error\] .*is down: DENIED Redis is running in protected mode



=== TEST 17: the next server is used while the first is loading, or busy
--- http_config eval: $::FAKES
--- fake
resp3 master
conn 1 PING => error LOADING Redis is loading the dataset in memory
CLIENT => error BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
--- fake2
resp3 master
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'while it is loading');
ok(wait_for(5, sub { $Fake->count('^2 CLIENT') }), 'it is tried again');
answers(ask('{"cameras_ids":[4]}'), '4', 'while it is busy');
--- no_fake_log
HMGET
--- logged
\[error\] .*is down: (?:LOADING|BUSY) Redis is
--- logged_times
0 refuses CLIENT TRACKING
1 is tracked$



=== TEST 18: a proxy that closes each connection on HELLO is spoken to in RESP2
--- http_config eval: $::CACHE
--- fake
HELLO => close
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'ids');
answers(ask($EXAMPLE), '3 4', 'a login');
--- fake_log
\A1 accept\n1 HELLO 3 SETNAME nginx-billing\n2 accept\n2 HELLO 3 SETNAME nginx-billing\n3 accept\n3 PING\n3 ECHO \S+\n(?:3 closed\n)?4 accept\n(?:3 closed\n)?4 HELLO 3 SETNAME nginx-billing\n5 accept\n5 PING\n
--- no_fake_log
^6 accept
--- logged
\[notice\] .*redis server "127\.0\.0\.1:\d+" closes the connection on HELLO, the worker's cache is not used
--- logged_times
1 closes the connection on HELLO
0 is down
0 is tracked$



=== TEST 19: a proxy that resets the connection on HELLO, and knows no ECHO
--- http_config eval: $::CACHE
--- fake
HELLO => rst
ECHO => close
--- run
answers(ask($EXAMPLE), '3 4', 'a login');
--- fake_log
\A1 accept\n1 HELLO 3 SETNAME nginx-billing\n2 accept\n2 HELLO 3 SETNAME nginx-billing\n3 accept\n3 PING\n3 ECHO \S+\n4 accept\n4 PING\n4 ECHO \S+\n5 accept\n5 PING\n5 EVAL .*\n(?:5 closed\n)?6 accept\n(?:5 closed\n)?6 HELLO 3 SETNAME nginx-billing\n7 accept\n7 PING\n7 EVAL
--- logged_times
1 closes the connection on HELLO
0 is down



=== TEST 20: HELLO is tried again after a connection was lost
--- http_config eval: $::CACHE
--- fake
HELLO => close
--- run
answers(ask($EXAMPLE), '3 4', 'in RESP2');

$Fake->change("resp3 master\nhangup");
ok(wait_for(5, sub { ::logged('idle connection .* is closed') }), 'a lost connection');
recovers($EXAMPLE, '3 4', 'in RESP3');
is(::logged('is tracked$'), 1, 'tracked');
--- fake_log
^6 HELLO 3 SETNAME nginx-billing\n6 CLIENT TRACKING
--- logged
\[notice\] .*redis server "127\.0\.0\.1:\d+" accepts CLIENT TRACKING, the worker's cache is used
--- logged_times
1 accepts CLIENT TRACKING



=== TEST 21: attempts are few at a server that closes each connection
--- http_config eval
"billing_redis_timeout 300ms;\n$::CACHE"
--- fake
any => close
--- run
my ($is, $failed) = keep_asking(3, '{"cameras_ids":[3]}', '503', sub { 0 });
is($failed, 0, 'all are told');
my $n = $Fake->count('accept');
cmp_ok($n, '>', 3, "$n attempts");
cmp_ok($n, '<', 100, "$n attempts, not more");
like($Fake->log_text, qr/^\d+ PING$/m, 'RESP2 is tried, too');

$Fake->change('resp3 master');
recovers('{"cameras_ids":[3]}', '3', 'when it answers');
ok(wait_for(5, sub { ::logged('is tracked$') }), 'tracked');
--- logged_times
0 worker's cache
--- errors_allowed



=== TEST 22: an error and an OK for one CLIENT TRACKING cost the connection
--- http_config eval: $::FAKES
--- fake
resp3 master
CLIENT => raw -ERR Prefix 'b:' overlaps with an existing prefix 'b'\r\n+OK\r\n
--- fake2
resp3 master
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
HMGET
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: 
--- logged_times
1 is tracked$



=== TEST 23: pushes before each reply are harmless
--- http_config eval: $::PATIENT
--- fake eval
"resp3 master\nany => before $::OTHERS"
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"cameras_ids":[3],"login":"admin"}             -> 3
{"login":"nobody"}                              -> null
--- no_fake_log
^2 accept
--- logged_times
1 is tracked$
0 tracked no longer



=== TEST 24: pushes behind each reply are harmless
--- http_config eval: $::PATIENT
--- fake eval
"resp3 master\nany => extra $::OTHERS"
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"cameras_ids":[3],"login":"admin"}             -> 3
{"login":"nobody"}                              -> null
--- no_fake_log
^2 accept
--- logged_times
1 is tracked$
0 tracked no longer



=== TEST 25: pushes that come byte by byte are harmless
--- http_config eval
"billing_redis_timeout 20s;\nbilling_redis_connect_timeout 10s;\n$::CACHE"
--- fake eval
"resp3 master\nHELLO => bytes\nany => before $::OTHERS"
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
{"cameras_ids":[3],"login":"admin"}             -> 3
--- no_error_log
never sent
out of step



=== TEST 26: a push does not stand for the reply of a server that hangs
--- http_config eval: $::FAKES . 'billing_redis_timeout 2s;'
--- fake
resp3 master
--- fake2
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'on the first');

$Fake->change('any => silent');
my $client = client();
$client->send(text('{"login":"nobody"}'));

wait_for(1.5, sub { $Fake->change("any => silent\npush $::PUSH"); 0 });

is($client->response->{status}, 504, 'a request to the first');
is(::logged('connection 1 is tracked no longer'), 1, 'the connection is given up');
::ask_redis('a request to the second');
like($Fake2->log_text, qr/CLIENT TRACKING/, 'the second was asked');
--- logged_times
1 connection 1 is tracked no longer
--- errors_allowed



=== TEST 27: a reply to no command costs the connection, a push does not
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');

$Fake->change("push $::PUSH");
ok(wait_for(5, sub { ::logged('push: "invalidate"') }), 'a push');
::ask_redis('after a push');
is($Fake->count('accept'), 1, 'on the same connection');

$Fake->change('push ' . $::PUSH . '+OK\r\n');
ok(wait_for(5, sub { $Fake->count('^1 closed') }), 'a reply too many');
is(::logged('tracked no longer'), 1, 'tracked no longer');
recovers($EXAMPLE, '3 4', 'after that');
is(::logged('is tracked$'), 2, 'tracked again');
--- logged
idle connection to redis server "127\.0\.0\.1:\d+" is closed: reply to a command never sent



=== TEST 28: pushes on a connection in RESP2 cost the connection
--- http_config eval: $::PATIENT
--- fake
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change("push $::PUSH");
ok(wait_for(5, sub { $Fake->count('^1 closed') }), 'closed');
recovers($EXAMPLE, '3 4', 'after that');



=== TEST 29: requests are served while a push of 100000 keys is read
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');

my $pid = Test::Nginx::Util::get_pid_from_pidfile($block->name);
my ($worker) = grep { /\d/ } split /\s+/, `ps -o pid= --ppid $pid`;
$pid = $worker if $worker;
kill 'STOP', $pid;

$Fake->change('push >2\r\n$10\r\ninvalidate\r\n*100000\r\n'
              . '\{$20\r\nt_resp3:external:abc\r\n*100000}');
select undef, undef, undef, 0.5;

my $client = client();
$client->send(text('{"cameras_ids":["x"]}'));
select undef, undef, undef, 0.1;
kill 'CONT', $pid;

is($client->response->{status}, 422, 'a request that needs no Redis');
::ask_redis('a request that does');
ok(wait_for(5, sub { ::logged('push: end') }), 'the push is read');

my ($during) = Billing::error_log() =~ /push: "invalidate"(.*?)push: end/s;
like($during, qr/GET \S+ HTTP/, 'the request came in between');
is($Fake->count('accept'), 1, 'on one connection');
--- no_error_log
tracked no longer



=== TEST 30: a script that writes 100000 keys
--- http_config eval: $::OWN
--- server
--- run
answers(ask($EXAMPLE), '3 4', 'before');

$Server->command('EVAL', "for i = 1, 100000 do redis.call('SET', KEYS[1] .. i, 1) end",
                 1, 't_resp3:external:many-');

like(ask('{"cameras_ids":[5]}')->{body}, qr/"id":5,/, 'a camera');
my ($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { ::logged('push: end') });
ok($is, 'one push');
is($failed, 0, 'all requests are answered');
$Server->command('HSET', 't_resp3:camera:5', 'name', 'New');
ok(wait_for(5, sub { ask('{"cameras_ids":[5]}')->{body} =~ /"New"/ }), 'the next change is seen');
--- logged_times
1 is tracked$
0 tracked no longer



=== TEST 31: names in a push that are longer than any key are passed over
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');

$Fake->change('push >2\r\n$10\r\ninvalidate\r\n*2\r\n$3000000\r\n\{x*3000000}\r\n'
              . '$16\r\nt_resp3:camera:3\r\n');
ok(wait_for(10, sub { ::logged('push: end') }), 'the push is read');
::ask_redis('after that');
is($Fake->count('accept'), 1, 'on the same connection');
--- no_error_log
begins anew



=== TEST 32: a change of the server's role is seen
--- http_config eval: $::OWN
--- server
--- run
my $port = Billing::Server->free_port;
answers(ask($EXAMPLE), '3 4', 'on a master');
is(::logged('is to a replica now'), 0, 'no replica yet');

$Server->command('REPLICAOF', '127.0.0.1', $port);
my ($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { ::logged('is to a replica now') });
ok($is, 'a replica');
is(::logged('connection 1 is tracked no longer'), 1, 'what was read of the master is dropped');
is(::logged('connection 1 to \S+ is tracked'), 2, 'and the connection is the owner again');

$Server->command('REPLICAOF', 'NO', 'ONE');
($is, $failed) = keep_asking(10, $EXAMPLE, '3 4', sub { ::logged('is to a master now') });
ok($is, 'a master again');
is($failed, 0, 'no request fails');
is(::logged('connection 1 to \S+ is tracked'), 3, 'the owner once more');
--- logged_times
1 is to a replica now
1 is to a master now



=== TEST 33: a server that is a replica from the beginning
--- http_config eval: $::PATIENT
--- fake
resp3 replica
--- run
my ($is, $failed) = keep_asking(2, $EXAMPLE, '3 4', sub { $Fake->count('HELLO') >= 2 });
ok($is, 'the role is asked for');
is($failed, 0, 'no request fails');
answers(ask($EXAMPLE), '3 4', 'after that');
--- logged_times
1 is tracked$
0 now



=== TEST 34: a connection whose role cannot be read is tracked no longer
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change('HELLO => error NOPERM this user has no permissions');

my ($is, $failed) = keep_asking(5, $EXAMPLE, '3 4', sub { ::logged('tracked no longer') });
ok($is, 'tracked no longer');
($is, $failed) = keep_asking(1.5, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'no request fails');
is($Fake->count('accept'), 1, 'on the same connection');
--- logged_times
1 is tracked$
1 tracked no longer
1 refuses HELLO: "NOPERM this user has no permissions"



=== TEST 35: replies of RESP3's own types
--- http_config eval: $::CACHE
--- redis
HSET billing:camera:20 location roof
ZADD billing:login:exact 20 20 9007199254740991 9007199254740991 100000000000000000 100000000000000000
HSET billing:camera:100000000000000000 name Big
--- cases
{"cameras_ids":[20]}                            -> 200 \A\[\{"id":20,"external_id":null,
{"cameras_ids":[21]}                            -> null
{"cameras_ids":[20,3],"login":"exact"}          -> 200 \A\[\{"id":20,[^]]*"streams":\[\],"preview":null\}\]\z
{"cameras_ids":[9007199254740991],"login":"exact"}    -> 9007199254740991
{"cameras_ids":[100000000000000000],"login":"exact"}  -> 200 \A\[\{"id":100000000000000000,
--- logged_times
1 is tracked$



=== TEST 36: scores that are no ids
--- http_config eval: $::PATIENT
--- fake
resp3 master
1 times ZSCORE => raw ,3.5\r\n
1 times ZSCORE => raw ,inf\r\n
1 times ZSCORE => raw ,nan\r\n
1 times ZSCORE => raw ,-3\r\n
1 times ZSCORE => raw #t\r\n
--- cases
{"cameras_ids":[3],"login":"admin"}             -> 502
{"cameras_ids":[3],"login":"admin"}             -> 502
{"cameras_ids":[3],"login":"admin"}             -> 502
{"cameras_ids":[3],"login":"admin"}             -> 502
{"cameras_ids":[3],"login":"admin"}             -> 502
{"cameras_ids":[3],"login":"admin"}             -> 3
--- errors_allowed



=== TEST 37: with more connections than one, all requests go over the tracked one
--- http_config eval
"billing_redis_connections 4;\n$::PATIENT"
--- fake
resp3 master
ZRANGEBYSCORE => pause 0.3
--- run
my @clients = map { client() } 1 .. 8;
$clients[$_]->send(text("{\"login\":\"nobody-$_\"}")) for 0 .. 7;
answers($clients[$_]->response, 'null', "client $_") for 0 .. 7;
--- no_fake_log
^2 accept



=== TEST 38: the next connection is tracked after one was lost
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
for my $n (1 .. 3) {
    recovers($EXAMPLE, '3 4', "connection $n");
    is(::logged('is tracked$'), $n, "$n tracked");
    $Fake->change('hangup');
    ok(wait_for(5, sub { ::logged('tracked no longer') == $n }), "$n lost");
}

my @order = Billing::error_log() =~ /billing redis connection (\d+ is tracked no longer|\d+ to \S+ is tracked)/g;
s/ to \S+// for @order;
is("@order[0 .. 3]", '1 is tracked 1 is tracked no longer 2 is tracked 2 is tracked no longer',
   'one at a time');



=== TEST 39: a tracked connection drains when a better server is back
--- http_config eval: $::FAKES . 'billing_redis_timeout 20s;'
--- fake
listen never
--- fake2
resp3 master
HMGET *:camera:12 => pause 6
--- run
answers(ask($EXAMPLE), '3 4', 'on the second');

my $client = client();
$client->send(text('{"cameras_ids":[12]}'));
ok(wait_for(5, sub { $Fake2->count('HMGET \S+:camera:12') }), 'in flight');

$Fake->up('resp3 master');
ok(wait_for(10, sub { ::logged('is tracked$') == 2 }), 'another one is tracked');
is(::logged('tracked no longer'), 1, 'the second server is not, any more');
ok($client->idle(0.01), 'while a request is in flight on the second');
answers($client->response, '12', 'what was in flight');
::ask_redis('on the first');
like($Fake->log_text, qr/nobody/, 'the first was asked');
--- logged_times
1 tracked no longer
--- errors_allowed



=== TEST 40: a connection that does not answer after an idle spell is tracked no longer
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.2;

$Fake->change('conn 1 any => silent');
::ask_redis('over another connection');
is(::logged('connection 1 is tracked no longer'), 1, 'the first');
is(::logged('connection 2 to \S+ is tracked'), 1, 'the second');
--- logged_times
2 is tracked$
1 tracked no longer



=== TEST 41: a connection that answers late after an idle spell is tracked again
--- http_config eval: $::PATIENT
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.2;

$Fake->change("listen never\nonce any => pause 0.5");
my $res = ask($EXAMPLE);
is($res->{status}, 200, 'late');
is(::logged('connection 1 is tracked no longer'), 1, 'not the owner meanwhile');
is(::logged('connection 1 to \S+ is tracked'), 2, 'the owner again');

$Fake->change('listen 0');
answers(ask($EXAMPLE), '3 4', 'after that');
--- errors_allowed



=== TEST 42: all requests go over the tracked connection while another one is ready, too
--- http_config eval
"billing_redis_connections 2;\n$::PATIENT"
--- fake
resp3 master
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.2;

# the first connection answers late, and the second one is ready even later

$Fake->change("conn 1 once any => pause 0.4\nconn 2 HELLO => pause 1");
answers(ask($EXAMPLE), '3 4', 'late');
ok(wait_for(5, sub { ::logged('connection 2 to \S+ is ready') }), 'the second');

$Fake->change('ZRANGEBYSCORE => pause 0.1');
my @clients = map { client() } 1 .. 8;
$clients[$_]->send(text("{\"login\":\"nobody-$_\"}")) for 0 .. 7;
answers($clients[$_]->response, 'null', "client $_") for 0 .. 7;
--- no_fake_log
^2 (?:GET|ZRANGEBYSCORE)
--- logged_times
1 connection 1 is tracked no longer
2 connection 1 to \S+ is tracked$



=== TEST 43: a tracked connection that ends with the worker
--- http_config eval: $::CACHE
--- fake
resp3 master
--- run
my $nginx = Billing::Nginx->start(<<"END");
server {
    listen 127.0.0.1:%PORT%;
    location = $URI {
        billing_redis redis://127.0.0.1:\$TEST_NGINX_FAKE_PORT;
        billing_redis_prefix $Billing::Prefix;
        billing_cache 32m;
        billing_cameras_list;
    }
}
END
answers(ask($EXAMPLE, port => $nginx->{port}), '3 4', 'a request');

my @old = $nginx->workers;
$nginx->signal('HUP');
ok($nginx->replaced(10, @old), 'new workers');
answers(ask($EXAMPLE, port => $nginx->{port}), '3 4', 'a request after the reload');

$nginx->signal('TERM');
is($nginx->ended(10), 'status 0', 'ended');
my $found = () = $nginx->log_text =~ /tracked no longer/g;
is($found, 2, 'each worker had an owner and lost it');
unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]/, 'no alert');



=== TEST 44: a connection that is lost while HELLO is awaited costs no cache
--- http_config eval: $::CACHE
--- fake
conn 1 HELLO => close
resp3 master
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'ids');
--- fake_log
\A1 accept\n1 HELLO 3 SETNAME nginx-billing\n2 accept\n2 HELLO 3 SETNAME nginx-billing\n2 CLIENT TRACKING
--- logged
is tracked$
--- logged_times
0 closes the connection on HELLO
0 is down



=== TEST 45: a proxy whose server is down, and that closes connections meanwhile, costs no cache
--- http_config eval: $::CACHE
--- fake
2 times HELLO => close
resp3 master
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'ids');
--- fake_log
^2 HELLO 3 SETNAME nginx-billing\n3 accept\n3 PING\n3 ECHO \S+\n(?:3 closed\n)?4 accept\n(?:3 closed\n)?4 HELLO 3 SETNAME nginx-billing\n4 CLIENT TRACKING
--- no_fake_log
^5 accept
--- logged
is tracked$
--- logged_times
0 closes the connection on HELLO
0 is down
