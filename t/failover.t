# Redis servers that hang, forget a connection, or have lost their data. No
# request fails as long as another connection or another server can answer.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'failover';
use Test::Nginx::Socket 'no_plan';

our $FAKES = 'billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT'
             . ' redis://127.0.0.1:$TEST_NGINX_FAKE2_PORT;';

our $OWN = 'billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT'
           . ' unix:$TEST_NGINX_REDIS_SOCKET;';

our $STATUS = <<"END";
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
END

# One number of the status page.

sub metric {
    my ($name) = @_;

    my ($value) = Billing::ask(undef, uri => '/status')->{body}
                  =~ /^nginx_billing_\Q$name\E (\d+)/m;
    return $value;
}

# Asks as a caller who leaves after so many seconds: the status, or 0.

sub ask_for {
    my ($seconds, $body) = @_;

    local $Billing::Client::TIMEOUT = $seconds;
    my $client = Billing::client();
    $client->send(Billing::text($body));
    my $status = $client->response->{status};
    $client->close;
    return $status;
}

run_tests();

__DATA__

=== TEST 1: a hung server is given up although each caller leaves before the timeout
--- http_config eval: $::FAKES
--- config eval: $::STATUS
--- fake
--- fake2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change('any => silent');

my @status = map { ::ask_for(0.9, $EXAMPLE) } 1 .. 5;
is("@status[2 .. 4]", '200 200 200', 'callers are answered by the second server');
is($Fake2->count('HMGET') > 0, 1, 'it was asked');
cmp_ok(::metric('redis_timeouts_total'), '>=', 1, 'the timeout is counted');
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: server does not answer



=== TEST 2: a hung server is given up although only the status page asks
--- http_config eval: $::FAKES
--- config eval: $::STATUS
--- fake
--- fake2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change('any => silent');

my $up = sub { ask(undef, uri => '/status')->{body} =~ /^nginx_billing_redis_up\S* 1$/m };
ok($up->() || wait_for(5, $up), 'the second server is found');
ok($up->(), 'and stays found');
--- logged
\[error\] .*is down: server does not answer



=== TEST 3: the callers of a real Redis that is stopped leave early
--- http_config eval: $::OWN
--- server
--databases 2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Server->signal('STOP');

my @status = map { ::ask_for(0.9, $EXAMPLE) } 1 .. 5;
is("@status[2 .. 4]", '200 200 200', 'callers are answered by the second server');
$Server->signal('CONT');
--- logged
\[error\] .*is down: server does not answer



=== TEST 4: an idle connection that was forgotten without a word fails no request
--- fake
--- run
answers(ask($EXAMPLE), '3 4', 'before');

for my $conn (1, 2) {
    select undef, undef, undef, 1.1;
    $Fake->change("conn $conn any => silent");

    my $start = Time::HiRes::time();
    answers(ask($EXAMPLE), '3 4', "connection $conn is forgotten");
    cmp_ok(Time::HiRes::time() - $start, '<', 0.9, 'within its time');
}

is($Fake->count('^2 accept'), 1, 'by another connection');
is($Fake->count('^1 closed'), 1, 'the forgotten one is closed');
--- logged
\[info\] .*idle connection to redis server "127\.0\.0\.1:\d+" does not answer



=== TEST 5: many requests meet a connection that was forgotten
--- fake
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.1;
$Fake->change('conn 1 any => silent');

my @clients = map { client() } 1 .. 20;
$_->send(text('{"cameras_ids":[5]}')) for @clients;
my @wrong = grep { $_->response->{body} ne Billing::Fixtures::answer(5) } @clients;
is(@wrong, 0, 'all are answered');



=== TEST 6: a server that vanishes while its connection is idle is replaced by the next one
--- http_config eval: $::FAKES . 'billing_redis_timeout 2s;'
--- fake
--- fake2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.1;
$Fake->change('any => silent');
answers(ask($EXAMPLE), '3 4', 'the second server answers within the time of the request');
--- logged
\[error\] .*is down: server does not answer



=== TEST 7: a Redis that is only slow after an idle spell keeps its connection
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;
billing_redis_timeout 3s;
--- server
--enable-debug-command yes
--- run
answers(ask($EXAMPLE), '3 4', 'before');
select undef, undef, undef, 1.1;

my $pid = fork;
if ($pid == 0) {
    $Server->command('DEBUG', 'SLEEP', '0.4');
    POSIX::_exit(0);
}
select undef, undef, undef, 0.1;
answers(ask($EXAMPLE), '3 4', 'when Redis sleeps');
waitpid $pid, 0;



=== TEST 8: an empty server that is listed first is not used
--- http_config eval: $::OWN
--- server
--databases 2
--- run
$Server->command('FLUSHALL');
my ($is, $failed) = keep_asking(3, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed');
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" has no data loaded: key "t_failover:synced_at" does not exist
--- logged_times
1 has no data loaded



=== TEST 9: a server that is started again without its data, and loaded later
--- http_config eval: $::OWN . 'billing_redis_timeout 5s;'
--- server
--databases 2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Server->stop;
my ($is, $failed) = keep_asking(0.5, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is down');

$Server->start;
($is, $failed) = keep_asking(4, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed while it is empty');
ok(!$Server->info('commandstats', 'cmdstat_hmget'), 'it is not used');

$Server->command(@$_) for fixtures();
($is, $failed) = keep_asking(8, $EXAMPLE, '3 4',
    sub { $Server->info('commandstats', 'cmdstat_hmget') });
ok($is, 'it is used when it has its data');
is($failed, 0, 'none failed meanwhile');
--- logged_times
1 has no data loaded
1 has its data loaded
--- errors_allowed



=== TEST 10: a server whose data goes during its probation is not used
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s;'
--- fake
listen never
--- fake2
--- run
my ($is, $failed) = keep_asking(0.5, $EXAMPLE, '3 4', sub { 0 });

$Fake->up;
ok(wait_for(5, sub { $Fake->count('ECHO') }), 'it is tried');
$Fake->change('GET *:synced_at => raw $-1\r\n');

($is, $failed) = keep_asking(4, $EXAMPLE, '3 4', sub { $Fake->count('HMGET') });
ok(!$is, 'it is not used');
is($failed, 0, 'none failed');
--- logged
has no data loaded
--- errors_allowed



=== TEST 11: an empty server is used as the last resort, until another one has the data
--- http_config eval: $::FAKES . 'billing_redis_timeout 2s;'
--- fake
GET *:synced_at => raw $-1\r\n
--- fake2
listen never
--- run
answers(ask($EXAMPLE), '3 4', 'it is used while there is no other one');
$Fake2->up;
my $start = Time::HiRes::time();
ok(wait_for(5, sub { ask($EXAMPLE); $Fake2->count('HMGET') }), 'the second is used when it is up');
cmp_ok(Time::HiRes::time() - $start, '<', 1.9, 'without a probation');
my $asked = $Fake->count('HMGET');
my ($is, $failed) = keep_asking(2, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed');
is($Fake->count('HMGET'), $asked, 'the empty one is left alone');
--- errors_allowed



=== TEST 12: a proxy that closes the connection on ECHO is asked by EVAL
--- fake
ECHO => close
--- run
my ($is, $failed) = keep_asking(1, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed');
--- fake_log
^1 ECHO [0-9a-f]{8}\.1$
^2 ECHO [0-9a-f]{8}\.1$
^3 EVAL return ARGV\[1\] 1 t_failover:synced_at [0-9a-f]{8}\.1$
--- no_fake_log
^3 ECHO
^4 accept
--- logged
\[notice\] .*redis server "127\.0\.0\.1:\d+" refuses ECHO



=== TEST 13: a user without the right to ECHO is served by EVAL
--- fake
ECHO => error NOPERM this user has no permissions to run the 'echo' command
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- fake_log
^2 EVAL
--- no_fake_log
^3 accept



=== TEST 14: replies that are out of step are noticed by EVAL, too
--- fake
ECHO => close
conn 3 HMGET => extra *7\r\n$-1\r\n$-1\r\n$-1\r\n$6\r\nforged\r\n$-1\r\n$-1\r\n$-1\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 4
--- fake_log
^4 ECHO
^6 EVAL
--- errors_allowed



=== TEST 15: a server that refuses both ECHO and EVAL is not used
--- fake
ECHO => close
EVAL => close
--- http_config
billing_redis_timeout 500ms;
--- run
answers(ask('{"cameras_ids":[3]}'), '503', 'it cannot be used');
$Fake->change('');
recovers($EXAMPLE, '3 4', 'when it knows ECHO');
--- logged
\[error\] .*is down: server closes the connection on ECHO and on EVAL
--- errors_allowed



=== TEST 16: a worker that stood still reads the replies that arrived before it judges Redis
--- master: 1
--- fake
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change('HMGET *:camera:5 => pause 0.3');

my $client = client();
$client->send(text('{"cameras_ids":[5]}'));
ok(wait_for(2, sub { $Fake->count('HMGET \S+:camera:5') }), 'it is asked');

my $pid = Test::Nginx::Util::get_pid_from_pidfile('stall');
my ($worker) = `ps -o pid= --ppid $pid` =~ /(\d+)/;
kill 'STOP', $worker;
select undef, undef, undef, 2;
kill 'CONT', $worker;

answers($client->response, '5', 'the answer that came meanwhile');
is($Fake->count('accept'), 1, 'one connection');



=== TEST 17: scrapes of the status page take no place in the queue
--- http_config
billing_redis_queue 3;
billing_redis_timeout 20s;
--- config eval: $::STATUS
--- fake
listen never
--- run
my @waiting = map { client() } 1 .. 2;
$_->send(text($EXAMPLE)) for @waiting;
my @scrapes;

# one that waits is answered after half a second

my $at_once = sub {
    @scrapes = map { client() } 1 .. 40;
    $_->send(text(undef, uri => '/status')) for @scrapes;
    my $start = Time::HiRes::time();
    $scrapes[39]->response;
    return Time::HiRes::time() - $start < 0.4;
};

ok(wait_for(5, $at_once), 'a scrape too many is answered at once');
is($scrapes[0]->response->{status}, 200, 'and one that waits');

push @waiting, client();
$waiting[2]->send(text($EXAMPLE));
ok($waiting[2]->idle, 'there is still room for a request');
$Fake->up;
answers($_->response, '3 4', 'a request that waited') for @waiting;
--- errors_allowed



=== TEST 18: pipelines whose callers have left take no place in the queue
--- http_config
billing_redis_queue 5;
billing_redis_timeout 10s;
--- fake
listen 3
--- run
for my $turn (1 .. 4) {
    my @clients = map { client() } 1 .. 5;
    $_->send(text($EXAMPLE)) for @clients;
    select undef, undef, undef, 0.2;
    $_->close for @clients;
    select undef, undef, undef, 0.2;
}

my @waiting = map { client() } 1 .. 5;
$_->send(text($EXAMPLE)) for @waiting;
answers($_->response, '3 4', 'one that stays') for @waiting;
--- errors_allowed



=== TEST 19: connections to Redis have SO_KEEPALIVE, unless the directive turns it off
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /off { billing_cameras_list; billing_redis_socket_keepalive off; }
END
--- fake
--- run
my $timers = sub {
    return scalar grep { /keepalive/ }
           `ss -Htnpo state established "( dport = :$Fake->{port} )"`;
};
answers(ask($EXAMPLE, uri => '/off'), '3 4', 'off');
is($timers->(), 0, 'no keepalive timer');
answers(ask($EXAMPLE), '3 4', 'on');
is($timers->(), 1, 'a keepalive timer');



=== TEST 20: the values of billing_redis_socket_keepalive
--- refuses
billing_redis_socket_keepalive maybe;                           ->
billing_redis_socket_keepalive on; billing_redis_socket_keepalive on; -> "billing_redis_socket_keepalive" directive is duplicate
billing_redis_socket_keepalive;                                 -> invalid number of arguments in "billing_redis_socket_keepalive" directive



=== TEST 21: a server whose data goes while it is used is replaced by the next one, and no request fails
--- http_config eval: $::OWN
--- server
--databases 2
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Server->command('FLUSHALL');

my ($is, $failed) = keep_asking(3, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed');
answers(ask($EXAMPLE, token => 'nobody'), '401', 'a bad token is told from a server without data');
--- logged_times
1 has no data loaded
--- errors_allowed



=== TEST 22: all servers without their data are a 503 at once, with one log line each
--- http_config eval: $::FAKES
--- fake
GET => raw $-1\r\n
--- fake2
GET => raw $-1\r\n
--- run
for (1 .. 20) {
    my $start = Time::HiRes::time();
    my $res = ask($EXAMPLE);
    answers($res, '503', 'a good token');
    like($res->{headers}, qr/^Retry-After: \d+\r$/m, 'Retry-After');
    cmp_ok(Time::HiRes::time() - $start, '<', 0.9, 'at once');
}

$Fake2->change('');
ok(wait_for(4, sub { ask($EXAMPLE)->{status} == 200 }), 'the one that is loaded first is used');
my ($is, $failed) = keep_asking(1, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'and none fails any more');
--- logged_times
2 has no data loaded
--- errors_allowed



=== TEST 23: one server without its data is a 503, until the data is loaded
--- fake
--- run
answers(ask($EXAMPLE), '3 4', 'before');
$Fake->change('GET => raw $-1\r\n');
answers(ask($EXAMPLE), '503', 'a good token, and the data is gone') for 1 .. 10;
$Fake->change('');
answers(ask($EXAMPLE), '3 4', 'at once when the data is back');
ok(wait_for(4, sub { Billing::error_log() =~ /has its data loaded/ }), 'which is logged');
--- logged_times
1 has no data loaded
1 has its data loaded
--- errors_allowed



=== TEST 24: a server that fails in two ways in turn is logged once a second at most
--- http_config
billing_redis_timeout 300ms;
--- fake eval
join '', map({ "conn $_ accept => close\n" } map { 2 * $_ } 1 .. 50),
         "any => error LOADING Redis is loading the dataset in memory\n"
--- run
my ($is, $failed) = keep_asking(4, $EXAMPLE, '503', sub { 0 });
is($failed, 0, 'all are told');
my $lines = () = Billing::error_log() =~ /is down:/g;
cmp_ok($Fake->count('accept'), '>', 6, 'it was tried often');
cmp_ok($lines, '>=', 2, 'both ways are logged');
cmp_ok($lines, '<=', 6, 'and not each time');

$Fake->change('');
recovers($EXAMPLE, '3 4', 'when it is well');
--- errors_allowed



=== TEST 25: a server in its probation gets no connection, even if another one is busy
--- http_config eval: $::FAKES . 'billing_redis_timeout 5s; billing_redis_connections 4;'
--- fake
listen never
--- fake2
HMGET => pause 0.2
--- run
answers(ask($EXAMPLE), '3 4', 'on the second server');
$Fake->up;
ok(wait_for(3, sub { $Fake->count('ECHO') }), 'the first is tried');

for my $turn (1 .. 4) {
    my @clients = map { client() } 1 .. 8;
    $_->send(text($EXAMPLE)) for @clients;
    answers($_->response, '3 4', 'a request') for @clients;
}

is($Fake->count('HMGET'), 0, 'none was sent to the first');
cmp_ok($Fake2->count('accept'), '>', 1, 'the second has got more connections');
--- errors_allowed



=== TEST 26: two idle connections that were forgotten without a word fail no request
--- fake
HMGET => pause 0.3
--- http_config
billing_redis_connections 2;
--- run
my @clients = map { client() } 1 .. 4;

for (@clients) {
    $_->send(text('{"cameras_ids":[5]}'));
    select undef, undef, undef, 0.05;
}

answers($_->response, '5', 'before') for @clients;
is($Fake->count('^2 accept'), 1, 'there are two connections');

select undef, undef, undef, 1.1;
$Fake->change("conn 1 any => silent\nconn 2 any => silent");

my $start = Time::HiRes::time();
answers(ask($EXAMPLE), '3 4', 'both are forgotten');
cmp_ok(Time::HiRes::time() - $start, '<', 0.9, 'within its time');
is($Fake->count('^3 accept'), 1, 'by a third connection');
--- logged
\[info\] .*idle connection to redis server "127\.0\.0\.1:\d+" does not answer



=== TEST 27: with a coarse timer_resolution a server that hangs is given up
--- main_config
timer_resolution 200ms;
--- fake
any => silent
--- http_config
billing_redis_timeout 900ms;
--- run
my $start = Time::HiRes::time();
answers(ask($EXAMPLE), '504', 'it hangs');
cmp_ok(Time::HiRes::time() - $start, '<', 1.9, 'within its time');

$Fake->change('');
recovers($EXAMPLE, '3 4', 'it answers');
--- errors_allowed



=== TEST 28: a connection that is lost once on ECHO does not end ECHO
--- fake
once ECHO => close
--- run
answers(ask($EXAMPLE), '3 4', 'a login');
--- fake_log
^1 ECHO [0-9a-f]{8}\.1$
^2 ECHO [0-9a-f]{8}\.1$
--- no_fake_log
EVAL
--- logged_times
0 refuses ECHO
0 is down



=== TEST 29: a server that is busy when ECHO comes is not asked by EVAL
--- fake
once ECHO => error BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
--- run
answers(ask($EXAMPLE), '3 4', 'a login');
--- fake_log
^2 ECHO [0-9a-f]{8}\.1$
--- no_fake_log
EVAL
--- logged
\[error\] .*is down: BUSY
--- logged_times
0 refuses ECHO



=== TEST 30: ECHO is tried again after a connection was lost
--- fake
once ECHO => error NOPERM this user has no permissions to run the 'echo' command
--- run
answers(ask($EXAMPLE), '3 4', 'by EVAL');
$Fake->change('hangup');
ok(wait_for(5, sub { error_log() =~ /idle connection .* is closed/ }), 'it is lost');
answers(ask($EXAMPLE), '3 4', 'by ECHO');
--- fake_log
^2 EVAL
^3 ECHO [0-9a-f]{8}\.1$
--- no_fake_log
^3 EVAL
--- logged_times
1 refuses ECHO



=== TEST 31: ECHO and EVAL that are refused are logged once each
--- fake
ECHO => error NOPERM this user has no permissions to run the 'echo' command
EVAL => error NOPERM this user has no permissions to run the 'eval' command
--- http_config
billing_redis_timeout 300ms;
--- run
my ($is) = keep_asking(10, $EXAMPLE, '502', sub { $Fake->count('EVAL') > 2 });
ok($is, 'both are tried again');
$Fake->change('');
recovers($EXAMPLE, '3 4', 'when it accepts ECHO');
--- logged
\[error\] .*is down: NOPERM .*'eval' command
--- logged_times
1 refuses ECHO
1 is down
