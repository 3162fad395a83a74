# Lists by login alone: batches, streaming, and faults in the middle.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'login';
use Test::Nginx::Socket 'no_plan';

# many() gives a login the cameras from..to; cameras() is the answer for them.

sub many {
    my ($login, $from, $to, $name) = @_;

    $name //= 'Camera';

    return join "\n", map {
        ("HSET billing:camera:$_ external_id ext-$_ name $name-$_ streams high=active",
         "ZADD billing:login:$login $_ $_")
    } $from .. $to;
}

sub cameras {
    my ($name, @ids) = @_;

    return '[' . join(',', map {
        Billing::Fixtures::camera($_, { external_id => "ext-$_", name => "$name-$_",
                                        streams => 'high=active' })
    } @ids) . ']';
}

# The buffers between this server and this client are small, so that a list has
# to wait for its client. The client has already sent its request.

sub slow_server {
    my ($batch, $server, $http) = @_;

    $server //= '';
    $http //= '';

    return <<"END";
$http
server {
    listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1 sndbuf=64k;
    $server
    location / {
        billing_cameras_list;
        billing_batch $batch;
    }
}
END
}

sub slow_client {
    my $client = Billing::client(
        port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1});

    $client->{sock}->setsockopt(Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 65536);
    $client->send(Billing::text(undef, query => '?login=many'));

    return $client;
}

run_tests();

__DATA__

=== TEST 1: a list that fits into two batches has a Content-Length
--- redis eval: ::many('many', 101, 356)
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 356)
--- response_headers eval
"!Transfer-Encoding\nCache-Control: no-store\nContent-Type: application/json\nContent-Length: "
. length ::cameras('Camera', 101 .. 356)



=== TEST 2: a list of one camera more than two batches (of 128, the default) is chunked
--- redis eval: ::many('many', 101, 357)
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 357)
--- response_headers
Transfer-Encoding: chunked
!Content-Length
Cache-Control: no-store
Content-Type: application/json



=== TEST 3: a thousand cameras come in the order of their ids as numbers, not as text
--- redis eval: ::many('many', 950, 1949)
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 950 .. 1949)
--- response_headers
Transfer-Encoding: chunked



=== TEST 4: lists of about one, two and three batches are complete
--- redis eval
join "\n", map { ::many("n$_", 101, 100 + $_) } 1, 4, 5, 6, 9, 10, 11, 15, 16
--- route
billing_batch 5;
--- run
for my $n (1, 4, 5, 6, 9, 10, 11, 15, 16) {
    my $res = ask(undef, query => "?login=n$n");
    my $answer = ::cameras('Camera', 101 .. 100 + $n);

    ok($res->{complete}, "$n cameras: complete");
    is($res->{body}, $answer, "$n cameras: body");

    if ($n <= 10) {
        like($res->{headers}, qr/^Content-Length: ${\length $answer}\r$/m,
             "$n cameras: Content-Length");
    } else {
        like($res->{headers}, qr/^Transfer-Encoding: chunked\r$/m,
             "$n cameras: chunked");
    }
}



=== TEST 5: billing_batch may be 1
--- redis eval: ::many('many', 101, 107)
--- route
billing_batch 1;
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 107)



=== TEST 6: billing_batch may be 1000
--- redis eval: ::many('many', 101, 1100)
--- route
billing_batch 1000;
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 1100)
--- response_headers
!Transfer-Encoding



=== TEST 7: Redis is asked for a login page by page, each page from the last id of the one before
--- redis eval: ::many('many', 101, 107)
--- route
billing_batch 3;
--- fake
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 107)
--- fake_log
^1 ZRANGEBYSCORE t_login:login:many \S+ \+inf LIMIT 0 \d+$
^1 ZRANGEBYSCORE t_login:login:many \(103 \+inf LIMIT 0 \d+$
^1 ZRANGEBYSCORE t_login:login:many \(106 \+inf LIMIT 0 \d+$
^1 ZSCORE t_login:login:many 103$
^1 ZSCORE t_login:login:many 106$
^1 ZSCORE t_login:login:many 107$
--- no_fake_log
ZRANGEBYSCORE .* LIMIT 0 (?:[5-9]|\d\d)



=== TEST 8: whole batches of cameras that do not exist are left out
--- redis eval
::many('many', 101, 130) . "\nDEL " . join "\nDEL ", map { "billing:camera:$_" } 101 .. 112, 115 .. 130
--- route
billing_batch 4;
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 113, 114)



=== TEST 9: a login whose cameras do not exist is null
--- redis eval
::many('many', 101, 130) . "\nDEL " . join "\nDEL ", map { "billing:camera:$_" } 101 .. 130
--- route
billing_batch 4;
--- cases
?login=many                                     -> null



=== TEST 10: a login whose cameras do not exist is a 503 if the cache was never loaded
--- redis eval
::many('many', 101, 130) . "\nDEL billing:synced_at\nDEL " . join "\nDEL ", map { "billing:camera:$_" } 101 .. 130
--- route
billing_batch 4;
--- cases
?login=many                                     -> 503
--- logged
\[error\] .*has no data loaded: key "t_login:synced_at" does not exist



=== TEST 11: ids up to the greatest one are listed
--- redis
HSET billing:camera:9007199254740989 external_id ext-9007199254740989 name Top-9007199254740989 streams high=active
HSET billing:camera:9007199254740990 external_id ext-9007199254740990 name Top-9007199254740990 streams high=active
HSET billing:camera:9007199254740991 external_id ext-9007199254740991 name Top-9007199254740991 streams high=active
ZADD billing:login:top 9007199254740991 9007199254740991 9007199254740990 9007199254740990 9007199254740989 9007199254740989
--- route
billing_batch 1;
--- request eval
"GET $Billing::URI?login=top"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Top', '9007199254740989', '9007199254740990', '9007199254740991')



=== TEST 12: a client with HTTP/1.0 gets the whole list, up to the end of the connection
--- redis eval: ::many('many', 101, 400)
--- run
my $client = client();
$client->send(text(undef, query => '?login=many', version => '1.0'));
my $res = $client->response;

is($res->{status}, 200, 'status');
unlike($res->{headers}, qr/^Transfer-Encoding/mi, 'not chunked');
is($res->{body}, ::cameras('Camera', 101 .. 400), 'body');



=== TEST 13: a camera that breaks the contract in a later batch breaks the list off
--- redis eval
::many('many', 101, 400) . "\nSET billing:camera:390 text"
--- route
billing_batch 20;
--- run
my $res = ask(undef, query => '?login=many');

is($res->{status}, 200, 'status');
like($res->{headers}, qr/^Transfer-Encoding: chunked\r$/m, 'chunked');
ok(!$res->{complete}, 'there is no last chunk');
unlike($res->{body}, qr/\]\s*\z/, 'and no end of the array');
--- logged
\[error\] .*t_login:camera:390



=== TEST 14: a camera that breaks the contract in the first batch is a 502
--- redis eval
::many('many', 101, 400) . "\nSET billing:camera:105 text"
--- route
billing_batch 20;
--- cases
?login=many                                     -> 502
--- logged
\[error\] .*t_login:camera:105



=== TEST 15: a member that breaks the contract in a later batch breaks the list off
--- redis eval
::many('many', 101, 400) . "\nZADD billing:login:many 390.5 half"
--- route
billing_batch 20;
--- run
my $res = ask(undef, query => '?login=many');

is($res->{status}, 200, 'status');
ok(!$res->{complete}, 'there is no last chunk');
--- logged
\[error\] .*t_login:login:many



=== TEST 16: a Redis that stops answering in a later batch breaks the list off
--- redis eval: ::many('many', 101, 160)
--- route
billing_batch 10;
billing_redis_timeout 3s;
--- fake
conn 1 HMGET *:camera:155 => silent
--- run
my $start = time;
my $res = ask(undef, query => '?login=many');

is($res->{status}, 200, 'status');
ok(!$res->{complete}, 'there is no last chunk');
cmp_ok(time - $start, '<', 10, 'and that does not take long');
recovers('{"login":"admin"}', '3 4', 'another connection serves again');
--- logged
\[error\] 



=== TEST 17: a batch whose connection to Redis is closed is asked for again
--- redis eval: ::many('many', 101, 160)
--- route
billing_batch 10;
--- fake
conn 1 HMGET *:camera:155 => close
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 160)
--- fake_log
^2 HMGET t_login:camera:155 external_id\b
--- errors_allowed



=== TEST 18: while a client does not read its list, the worker serves other requests
--- redis eval: ::many('many', 1001, 4000, 'x' x 400)
--- http_config eval: ::slow_server(50)
--- run
my $client = client(port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1});
$client->send(text(undef, query => '?login=many'));

# longer than billing_redis_timeout, which is meant for Redis

select undef, undef, undef, 2.5;

my $start = time;
answers(ask(undef, query => '?login=admin'), '3 4', 'another request meanwhile');
cmp_ok(time - $start, '<', 5, 'another request meanwhile does not wait');

my $res = $client->response;
ok($res->{complete}, 'the slow reader gets all of it');
is($res->{body}, ::cameras('x' x 400, 1001 .. 4000), 'unharmed');
--- timeout: 60



=== TEST 19: while a client does not read its list, most of the list is not fetched from Redis
--- redis eval: ::many('many', 1001, 2000, 'x' x 2000)
--- fake
--- http_config eval: ::slow_server(10)
--- run
my $client = client(port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1});
$client->send(text(undef, query => '?login=many'));
select undef, undef, undef, 2;

my $asked = () = $Billing::Fake->log_text =~ /HMGET/g;
cmp_ok($asked, '<', 500, "while it does not read, $asked of 1000 are fetched");

my $res = $client->response;
is($res->{body}, ::cameras('x' x 2000, 1001 .. 2000), 'and then the rest');
--- timeout: 60



=== TEST 20: the worker survives clients that close or reset the connection in the middle of a list
--- redis eval: ::many('many', 1001, 3000, 'x' x 400)
--- route
billing_batch 10;
--- run
for my $how (qw(close reset)) {
    my $client = client();
    $client->send(text(undef, query => '?login=many'));
    $client->fill;
    $client->$how;
}

select undef, undef, undef, 0.5;
answers(ask(undef, query => '?login=admin'), '3 4', 'the worker is well');



=== TEST 21: two long lists on one connection to Redis each get their own cameras
--- redis eval
::many('one', 1001, 1600) . "\n" . ::many('two', 2001, 2600)
--- route
billing_batch 7;
--- run
my @clients = map { client() } 1 .. 6;

$clients[$_]->send(text(undef, query => $_ % 2 ? '?login=one' : '?login=two'))
    for 0 .. 5;

for my $i (0 .. 5) {
    my $res = $clients[$i]->response;
    ok($res->{complete}, "list $i is complete");
    is($res->{body}, ::cameras('Camera', $i % 2 ? 1001 .. 1600 : 2001 .. 2600),
       "list $i is its own");
}



=== TEST 22: after a HEAD of a list of several batches, the connection serves the next request
--- redis eval: ::many('many', 101, 160)
--- route
billing_batch 5;
--- run
my $client = client();

for my $turn (1 .. 3) {
    my $start = time;
    $client->send(text(undef, query => '?login=many', method => 'HEAD'));
    my $res = $client->response(head => 1);

    is($res->{status}, 200, "HEAD, turn $turn");
    like($res->{headers}, qr/^Content-Type: application\/json\r$/m,
         "HEAD, turn $turn: Content-Type");
    cmp_ok(time - $start, '<', 5, "HEAD, turn $turn: at once");

    $client->send(text($EXAMPLE));
    answers($client->response, '3 4', "GET after that, turn $turn");
}



=== TEST 23: auth_request to a list of several batches is answered
--- redis eval
::many('many', 101, 160) . "\n" . ::many('few', 101, 103)
--- config eval
<<"END"
location = /page.html {
    auth_request /check;
}
location = /few.html {
    auth_request /few;
}
location = /check {
    internal;
    set \$args "login=many";
    billing_cameras_list;
    billing_batch 5;
}
location = /few {
    internal;
    set \$args "login=few";
    billing_cameras_list;
    billing_batch 5;
}
location = $Billing::URI {
    billing_cameras_list;
}
END
--- user_files
>>> page.html
page
>>> few.html
few
--- run
my $client = client();

for my $turn (1 .. 3) {
    my $start = time;
    $client->send(text(undef, uri => '/page.html'));
    my $res = $client->response;

    is($res->{status}, 200, "several batches, turn $turn");
    is($res->{body}, "page\n", "several batches, turn $turn: body");
    cmp_ok(time - $start, '<', 5, "several batches, turn $turn: at once");

    $client->send(text(undef, uri => '/few.html'));
    is($client->response->{body}, "few\n", "one batch, turn $turn");
}

is(ask(undef, uri => '/page.html', token => 'nobody')->{status}, 401, 'a bad token');



=== TEST 24: a Redis that is flushed after the answer has begun breaks the list off
--- redis eval: ::many('many', 101, 160)
--- route
billing_batch 10;
--- fake
HMGET *:camera:15* => raw *7\r\n\{$-1\r\n*7}
HMGET *:camera:160 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:15* => raw *0\r\n
HGETALL *:camera:160 => raw *0\r\n
GET *:synced_at => raw $-1\r\n
--- run
my $res = ask(undef, query => '?login=many');

is($res->{status}, 200, 'status');
ok(!$res->{complete}, 'there is no last chunk');
--- logged
\[info\] .*the cache was emptied while a list was read
\[info\] .*list broken off after 49 cameras
--- errors_allowed



=== TEST 25: eight lists on a slow Redis are answered in time: a second batch does not wait for all first batches
--- redis eval: ::many('many', 101, 200)
--- fake
HMGET *:camera:101 => pause 1
HMGET *:camera:150 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:150 => pause 1
--- http_config
billing_redis_timeout 7800ms;
--- run
my @clients = map { client() } 1 .. 8;
$_->send(text(undef, query => '?login=many')) for @clients;

# pairs of lists take turns: four first batches and one second batch, 5 s; if all
# second batches came behind all first ones, the last answer would come after 8 s

is(join(' ', map { $_->response->{status} } @clients), join(' ', (200) x 8), 'all have an answer');
--- timeout: 40



=== TEST 26: a client that reads slowly gets the list, and one that does not read is timed out
--- redis eval: ::many('many', 1001, 4000, 'x' x 2000)
--- http_config eval: ::slow_server(500, 'send_timeout 2s;', 'billing_redis_timeout 15s;')
--- run
my @clients = map { client(port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1}) } 1 .. 3;
my ($slow, $stuck, $gone) = @clients;
$_->send(text(undef, query => '?login=many')) for @clients;

# All lists begin together. A timeout that is not renewed would thus end the slow
# list together with the stuck one: the slow client reads slowly for longer than that.
# Its first batch, of 1 MB, takes longer, too. 90 times 64 KB are less than the list.

my ($turn, $more) = (0, 5);

while ($turn++ < 90 && $more) {
    $slow->fill;
    select undef, undef, undef, 0.2;
    $gone->reset if $turn == 3;
    $more-- if $more < 5 || error_log() =~ /client timed out/;
}

is($slow->response->{body}, ::cameras('x' x 2000, 1001 .. 4000), 'now and then: all of it');

like(error_log(), qr/\[info\] .*client timed out/, 'not any more: for so long');
my $res = $stuck->response;
is($res->{status}, 200, 'not any more: status');
ok(!$res->{complete}, 'broken off');
--- timeout: 60



=== TEST 27: a long list that waits its turn is answered although the connection is lost meanwhile
--- redis eval: ::many('many', 101, 200)
--- fake
once GET *:token:* => pause 1
HMGET *:camera:101 => silent
--- http_config
billing_redis_timeout 15s;
--- run
my @clients = map { client() } 1 .. 3;
$_->send(text(undef, query => '?login=many')) for @clients;

ok(wait_for(5, sub { $Fake->count('HMGET \S+:camera:101') == 2 }), 'two are asked for');
my $last = pop @clients;
$_->close for @clients;
select undef, undef, undef, 0.3;
is($Fake->count('HMGET \S+:camera:101'), 2, 'not the third');
$Fake->change("hangup\n");
is($last->response->{status}, 200, 'but on the next connection');
--- errors_allowed



=== TEST 28: a batch whose connection breaks after the ids is asked for again, and no camera comes twice
--- redis eval: ::many('many', 101, 105)
--- route
billing_token off;
billing_batch 2;
--- fake
conn 1 ECHO *.2 => close
conn 2 ECHO *.4 => close
--- run
for my $turn (1, 2) {
    is(ask(undef, query => '?login=many')->{body}, ::cameras('Camera', 101 .. 105),
       "list $turn");
}
--- fake_log
^3 ZRANGEBYSCORE t_login:login:many \(104
--- errors_allowed



=== TEST 29: a Redis whose synced_at goes in the middle of a list breaks the list off
--- redis eval: ::many('many', 101, 130)
--- route
billing_batch 10;
--- fake
once GET *:synced_at => raw $10\r\n1700000000\r\n
GET *:synced_at => raw $-1\r\n
--- run
my $res = ask(undef, query => '?login=many');

is($res->{status}, 200, 'status');
ok(!$res->{complete}, 'there is no last chunk');
--- logged
\[info\] .*the cache was emptied while a list was read
--- errors_allowed



=== TEST 30: send_timeout does not count the time that a list waits for Redis
--- redis eval: ::many('many', 1001, 1600, 'x' x 2000)
--- http_config eval: ::slow_server(200, 'send_timeout 1s;', 'billing_redis_timeout 15s;')
--- fake
HMGET *:camera:1401 => pause 2
--- run
my $client = ::slow_client();

select undef, undef, undef, 0.3;
1 while $client->fill(0.5);
ok(!$client->idle(20), 'the last batch');
select undef, undef, undef, 0.3;

is($client->response->{body}, ::cameras('x' x 2000, 1001 .. 1600), 'all of it');



=== TEST 31: send_timeout does not count the time that a subrequest waits for an earlier one
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_batch 10;
    send_timeout 1s;
}
location = /page.html {
    ssi on;
}
END
--- http_config
billing_redis_timeout 15s;
billing_redis_connections 2;
--- user_files eval
">>> page.html\n<a><!--#include virtual=\"$Billing::URI?login=one\" --></a>\n"
. "<b><!--#include virtual=\"$Billing::URI?login=two\" --></b>\n"
--- redis eval
::many('one', 101, 150) . "\n" . ::many('two', 301, 350)
--- fake
HMGET *:camera:140 => pause 3
--- run
my $res = ask(undef, uri => '/page.html');

ok($res->{complete}, 'complete');
is($res->{body}, '<a>' . ::cameras('Camera', 101 .. 150) . "</a>\n<b>"
                 . ::cameras('Camera', 301 .. 350) . "</b>\n", 'both lists');



=== TEST 32: the first two batches are sent together, and the others one by one
--- redis eval: ::many('many', 101, 165)
--- route
billing_batch 10;
--- run
my $client = client();
$client->send(text(undef, query => '?login=many', headers => [ 'Connection: close' ]));

my (undef, $rest) = split /\r\n\r\n/, $client->slurp, 2;
my @chunks;

while ($rest =~ s/\A([0-9a-f]+)\r\n//) {
    push @chunks, substr $rest, 0, hex $1, '';
    $rest =~ s/\A\r\n//;
}

my $all = ::cameras('Camera', 101 .. 165);

is(join('', @chunks), $all, 'all of it');
is(join(' ', map { scalar(() = /"external_id"/g) } @chunks), '20 10 10 10 10 5 0', 'cameras in each chunk');



=== TEST 33: a later batch that fails loses only batches that were not sent yet
--- redis eval
join "\n", map {
    my $first = 1000 * $_ + 1;
    ::many("bad$_", $first, $first + 59), 'SET billing:camera:' . ($first + 10 * $_ - 5) . ' text';
} 3 .. 6
--- route
billing_batch 10;
--- run
my %sent = (3 => 20, 4 => 30, 5 => 40, 6 => 50);

for my $batch (3 .. 6) {
    my $first = 1000 * $batch + 1;
    my $res = ask(undef, query => "?login=bad$batch");
    my $sent = ::cameras('Camera', $first .. $first + $sent{$batch} - 1) =~ s/\]\z//r;

    ok(!$res->{complete}, "batch $batch: there is no last chunk");
    is($res->{body}, $sent, "batch $batch: $sent{$batch} cameras before it");
}
--- logged
\[error\] .*t_login:camera:



=== TEST 34: any pattern of batches without a camera gives the whole list
--- redis eval
join "\n", map {
    my $set = $_;
    my $first = 1000 * ($set + 1);
    (::many("set$set", $first, $first + 11),
     map { 'DEL billing:camera:' . ($first + $_) } grep { $set & 1 << $_ / 2 } 0 .. 11);
} 0 .. 63
--- route
billing_batch 2;
--- run
for my $set (0 .. 63) {
    my $first = 1000 * ($set + 1);
    my @ids = map { $first + $_ } grep { !($set & 1 << $_ / 2) } 0 .. 11;

    is(ask(undef, query => "?login=set$set")->{body}, @ids ? ::cameras('Camera', @ids) : 'null',
       sprintf 'gone: %06b', $set);
}



=== TEST 35: while a client does not read its list, Redis is asked for nothing
--- redis eval: ::many('many', 1001, 2000, 'x' x 2000)
--- fake
--- http_config eval: ::slow_server(50, '', 'billing_redis_timeout 2s;')
--- run
my $client = ::slow_client();

my $asked = 0;

for my $turn (1 .. 3) {
    my $last;

    ok(wait_for(20, sub {
        $last = $Fake->log_text;
        select undef, undef, undef, 1;
        return $last eq $Fake->log_text;
    }), "it waits, turn $turn");

    # longer than billing_redis_timeout, which is meant for Redis

    select undef, undef, undef, 2.5;
    ok($last eq $Fake->log_text, "Redis is asked nothing, turn $turn");

    my $cameras = $Fake->count('HMGET');
    cmp_ok($cameras, '>', $asked, "$cameras are fetched, turn $turn");
    cmp_ok($cameras, '<', 800, "and not the others, turn $turn");
    is($cameras % 50, 0, "in whole batches, turn $turn");
    $asked = $cameras;

    my $length = length($client->{in}) + 300_000;
    1 while length $client->{in} < $length && $client->fill;
}

my $res = $client->response;
ok($res->{complete}, 'the list is complete');
is($res->{body}, ::cameras('x' x 2000, 1001 .. 2000), 'and right');
--- timeout: 60



=== TEST 36: a connection to Redis or to the client breaks while a list waits for its client
--- redis eval: ::many('many', 1001, 2000, 'x' x 2000)
--- fake
--- http_config eval: ::slow_server(10)
--- run
my $answer = ::cameras('x' x 2000, 1001 .. 2000);

my $waiting = sub {
    my ($name) = @_;

    my $client = ::slow_client();
    ok($client->fill, "$name: the list begins");

    ok(wait_for(20, sub {
        my $last = $Fake->log_text;
        select undef, undef, undef, 1;
        return $last eq $Fake->log_text;
    }), "$name: it waits");

    return $client;
};

# the connection to Redis breaks, and Redis can be connected to again

my $client = $waiting->('hangup');
$Fake->change("hangup\n");
my $res = $client->response;
ok($res->{complete}, 'hangup: the list is complete');
is($res->{body}, $answer, 'hangup: and right');

# the connection to Redis breaks, and Redis stays down

$client = $waiting->('down');
$Fake->down;
$res = $client->response;
is($res->{status}, 200, 'down: status');
ok(!$res->{complete}, 'down: there is no last chunk');
ok(index($answer, $res->{body}) == 0, 'down: what there is is right');
$Fake->up;

# the connection to the client breaks

for my $how (qw(close reset)) {
    my $client = $waiting->($how);
    my $asked = $Fake->count('HMGET');
    my $closed = () = error_log() =~ /\[info\] .*client prematurely closed connection/g;

    $client->$how;
    ok(wait_for(10, sub {
        my $now = () = error_log() =~ /\[info\] .*client prematurely closed connection/g;
        return $now > $closed;
    }), "$how: that is seen");
    is($Fake->count('HMGET'), $asked, "$how: and nothing more is fetched");
}
--- logged
\[info\] .*list broken off after
--- timeout: 60
--- errors_allowed



=== TEST 37: a request that comes while a list waits for Redis is answered after the list
--- redis eval: ::many('many', 1001, 1600, 'x' x 2000)
--- http_config eval: ::slow_server(200, '', 'billing_redis_timeout 15s;')
--- fake
HMGET *:camera:1401 => pause 2
--- run
my $client = ::slow_client();

select undef, undef, undef, 0.5;
is($Fake->count('HMGET \S+:camera:1401 '), 0, 'it waits');
ok(wait_for(20, sub {
    $client->fill(0.1);
    return $Fake->count('HMGET \S+:camera:1401 ');
}), 'Redis is asked');

# with a readable socket, epoll reports a write event as well

$client->send(text($EXAMPLE));

is($client->response->{body}, ::cameras('x' x 2000, 1001 .. 1600), 'all of it');
answers($client->response, '3 4', 'and the other request');
is($Fake->count('HMGET \S+:camera:1401 '), 1, 'asked once');



=== TEST 38: each batch has the whole billing_redis_timeout
--- redis eval: ::many('many', 101, 150)
--- http_config
billing_redis_timeout 4s;
--- route
billing_batch 10;
--- fake
HMGET *1 => pause 1.2
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 150)



=== TEST 39: a second batch that fails is an error, without the cameras of the first batch
--- redis eval
join "\n", map { ::many($_->[0], $_->[1], $_->[1] + 39) }
    [ wrong => 101 ], [ mute => 201 ], [ lost => 301 ]
--- http_config
log_format cameras '$request_method $status $billing_cameras';
billing_redis_timeout 2s;
--- route
billing_batch 10;
access_log logs/cameras.log cameras;
--- fake
HMGET *:camera:115 => error WRONGTYPE no hash
HMGET *:camera:215 => silent
HMGET *:camera:315 => close
--- run
my $client = client();
my $log = "$Test::Nginx::Util::ServRoot/logs/cameras.log";

for my $case ([ wrong => 502 ], [ mute => 504 ], [ lost => 502 ]) {
    my ($login, $status) = @$case;

    for my $method (qw(GET HEAD)) {
        $client->send(text(undef, query => "?login=$login", method => $method));
        my $res = $client->response(head => $method eq 'HEAD');

        is($res->{status}, $status, "$login, $method: status");
        like($res->{headers}, qr/^Content-Length: \d+\r$/m, "$login, $method: Content-Length");
        like($res->{body}, $method eq 'HEAD' ? qr/\A\z/ : qr/\A\{"message":"[^"]+"\}\z/,
             "$login, $method: body");
    }
}

my $lines = '';
wait_for(5, sub {
    $lines = do { local (@ARGV, $/) = $log; <> };
    return $lines =~ tr/\n// == 6;
});
is($lines, "GET 502 -\nHEAD 502 -\nGET 504 -\nHEAD 504 -\nGET 502 -\nHEAD 502 -\n", 'access log');
--- errors_allowed



=== TEST 40: a Redis that is flushed between the first two batches is a 503
--- redis eval: ::many('many', 101, 130)
--- route
billing_batch 10;
--- fake
HMGET *:camera:11* => raw *7\r\n\{$-1\r\n*7}
HMGET *:camera:12* => raw *7\r\n\{$-1\r\n*7}
HMGET *:camera:130 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:* => raw *0\r\n
GET *:synced_at => raw $-1\r\n
--- run
my $res = ask(undef, query => '?login=many');

is($res->{status}, 503, 'status');
like($res->{headers}, qr/^Retry-After: \d+\r$/m, 'Retry-After');
like($res->{body}, qr/\A\{"message":"[^"]+"\}\z/, 'body');
--- logged
\[info\] .*the cache was emptied while a list was read
--- errors_allowed



=== TEST 41: a list whose cameras are found only when asked for again has a Content-Length
--- redis eval: ::many('many', 101, 120)
--- route
billing_batch 10;
--- fake eval
join "\n", map { ("once HMGET *:camera:$_ => raw " . '*7\r\n\{$-1\r\n*7}',
                  "once HGETALL *:camera:$_ => raw " . '*0\r\n') } 101 .. 120
--- request eval
"GET $Billing::URI?login=many"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: ::cameras('Camera', 101 .. 120)
--- response_headers eval
"!Transfer-Encoding\nContent-Length: " . length ::cameras('Camera', 101 .. 120)



=== TEST 42: a list whose connection breaks after the ids has the ids of the next connection
--- redis eval: ::many('many', 101, 104)
--- route
billing_token off;
billing_batch 2;
--- fake
--- run
my $two = '*2\r\n$3\r\n101\r\n$3\r\n102\r\n';

is(ask(undef, query => '?cameras_ids[]=3')->{status}, 200, 'there is a connection');

for my $case ([ '*1\r\n$3\r\n103\r\n', [ 103 ] ], [ '*2\r\n$3\r\n103\r\n$3\r\n104\r\n', [ 103, 104 ] ]) {
    my ($then, $ids) = @$case;

    $Fake->change("once ZRANGEBYSCORE * => raw $two\n"
                  . "once ZRANGEBYSCORE * => raw $then\nonce ECHO * => close\n");
    is(ask(undef, query => '?login=many')->{body}, ::cameras('Camera', @$ids),
       "other ones: @$ids");
}

$Fake->change("once ZRANGEBYSCORE * => raw $two\n"
              . "2 times ZRANGEBYSCORE * => raw " . '*0\r\n' . "\nonce ECHO * => close\n");
is(ask(undef, query => '?login=many')->{body}, 'null', 'none');
--- errors_allowed



=== TEST 43: cameras with many streams are never all in memory at once
--- not_in
asan: memory is not given back at once
valgrind: memory is not the worker's alone
--- redis eval
join "\n", map { ("HSET billing:camera:$_ streams " . join(',', ('a=b') x 20_000),
                  "ZADD billing:login:large $_ $_") } 101 .. 130
--- fake
--- run
my $streams = join ',', ('a=b') x 20_000;
my $all = '[' . join(',', map { Billing::Fixtures::camera($_, { streams => $streams }) } 101 .. 130) . ']';
my $pid = Test::Nginx::Util::get_pid_from_pidfile('large');

my $peak = sub {
    open my $in, '<', "/proc/$pid/status" or die "$!\n";
    return (join '', <$in>) =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
};

answers(ask('{"cameras_ids":[3]}'), '3', 'small');
my $before = $peak->();

for ([ 'ids', '{"cameras_ids":[' . join(',', 101 .. 130) . ']}' ],
     [ 'a login', '{"login":"large"}' ],
     [ 'ids of a login', '{"login":"large","cameras_ids":[' . join(',', 101 .. 130) . ']}' ])
{
    my ($name, $body) = @$_;
    my $res = ask($body);

    is($res->{status}, 200, "$name: status");
    ok($res->{complete}, "$name: complete");
    ok($res->{body} eq $all, "$name: body");
}

# each answer has 23 MB

cmp_ok($peak->() - $before, '<', 9000, 'the worker has grown by less than 9 MB');

# few cameras are read twice because they are beyond a batch's bound of bytes

my $asked = $Fake->count('HMGET');
cmp_ok($asked, '<', 3 * 100, "cameras asked for: $asked");
--- timeout: 60



=== TEST 44: batches become large again after a few large cameras
--- redis eval
join "\n", (map { ("HSET billing:camera:$_ streams " . join(',', ('a=b') x 20_000),
                   "ZADD billing:login:mixture $_ $_") } 101 .. 104),
           ::many('mixture', 105, 300)
--- route
billing_batch 50;
--- fake
--- run
my $streams = join ',', ('a=b') x 20_000;
my $all = '[' . join(',', map { Billing::Fixtures::camera($_, { streams => $streams }) } 101 .. 104)
          . ',' . (::cameras('Camera', 105 .. 300) =~ s/\A\[//r);

my $res = ask('{"login":"mixture"}');
ok($res->{complete}, 'complete');
ok($res->{body} eq $all, 'body');

my $rounds = $Fake->count('ECHO');
cmp_ok($rounds, '<', 20, "pipelines: $rounds");



=== TEST 45: a camera without known fields before cameras that fill a batch
--- redis eval
join "\n", 'HSET billing:camera:101 unknown x', 'ZADD billing:login:unknown 101 101',
           map { ("HSET billing:camera:$_ streams " . join(',', ('a=b') x 20_000),
                  "ZADD billing:login:unknown $_ $_") } 102 .. 105
--- fake
--- run
my $streams = join ',', ('a=b') x 20_000;
my $all = '[{"id":101,"external_id":null,"start_at":null,"status":null,"name":null,'
          . '"group_type":null,"streams":[],"preview":null},'
          . join(',', map { Billing::Fixtures::camera($_, { streams => $streams }) } 102 .. 105) . ']';

for ('{"cameras_ids":[101,102,103,104,105]}', '{"login":"unknown"}',
     '{"login":"unknown","cameras_ids":[101,102,103,104,105]}')
{
    my $res = ask($_);
    is($res->{status}, 200, "$_: status");
    ok($res->{body} eq $all, "$_: body");
}

my $asked = $Fake->count('HGETALL');
cmp_ok($asked, '<', 10, "asked for once more: $asked");
