# The route with nginx' other parts: bodies in pieces and files, keep-alive,
# HTTP/1.0 and HTTP/2, gzip, error_page, access modules, subrequests.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'http';
use Test::Nginx::Socket 'no_plan';

use IO::Uncompress::Gunzip ();

sub gunzip {
    my ($packed) = @_;

    IO::Uncompress::Gunzip::gunzip(\$packed, \my $text) or return 'not gzip';
    return $text;
}

run_tests();

__DATA__

=== TEST 1: a body that comes in single bytes is answered
--- run
for my $case ([ $EXAMPLE, '3 4' ],
              [ '{"cameras_ids":[3,"4",3],"x":{"y":[null,1.5e3]}}', '3 4' ],
              [ '{"login":"\ud83d\udc64"}', '7' ],
              [ "{\"login\":\"\xf0\x9f\x91\xa4\"}", '7' ],
              [ '{"cameras_ids":["x"]}', 'cameras_ids.0: integer' ],
              [ '  ', 'required' ])
{
    my $client = client();
    my ($head, $body) = text($case->[0]) =~ /\A(.*?\r\n\r\n)(.*)\z/s;

    $client->send($head);
    $client->send_bytes($body);
    answers($client->response, $case->[1], "single bytes of $case->[0]");
}



=== TEST 2: an error in a body names the same byte, whether the body comes whole or in single bytes
--- run
for my $body ('{"cameras_ids":[3,]}', '{"login":"a\qb"}', '{"login":"x"} y',
              "{\"login\":\"a\xff\"}", '{"login":"\ud800"}', '{"x":[[[}', '{"x')
{
    my $whole = ask($body)->{body};
    my $client = client();
    my ($head) = text($body) =~ /\A(.*?\r\n\r\n)/s;

    $client->send($head);
    $client->send_bytes($body);

    my $res = $client->response;
    answers($res, 'body', "single bytes of $body");
    is($res->{body}, $whole, "$body: the same words, the same byte");
}



=== TEST 3: a request that comes in single bytes is answered
--- run
my $client = client();
$client->send_bytes(text($EXAMPLE));
answers($client->response, '3 4', 'single bytes');



=== TEST 4: a chunked body is answered
--- run
for my $chunks ([ $EXAMPLE ], [ split //, $EXAMPLE ],
                [ '{"login":"ad', 'min"', '}' ])
{
    my $client = client();
    $client->send(text(undef, chunks => $chunks));
    answers($client->response, '3 4', @$chunks . ' chunks');
}



=== TEST 5: a chunked body that comes in single bytes is answered
--- run
my $client = client();
$client->send_bytes(text(undef, chunks => [ '{"login":"ad', 'min"', '}' ]));
answers($client->response, '3 4', 'single bytes');



=== TEST 6: a chunked body without a byte is no body
--- run
my $client = client();
$client->send(text(undef, chunks => []));
answers($client->response, 'required', 'no chunks');

$client->send(text(undef, chunks => [], query => '?login=admin'));
answers($client->response, '3 4', 'no chunks, and a query string');



=== TEST 7: a body larger than client_body_buffer_size is answered
--- route
client_body_buffer_size 1k;
--- run
for my $pad (900, 1000, 1024, 1100, 2048, 5000, 70_000, 300_000) {
    my $body = '{"x":"' . 'y' x $pad . '","login":"admin"}';

    answers(ask($body), '3 4', "$pad bytes");
    answers(ask(undef, chunks => [ $body =~ /(.{1,997})/gs ]), '3 4',
            "$pad bytes, chunked");
}

answers(ask('{"x":"' . 'y' x 5000 . '","login":5}'), 'login: string', 'an error');
answers(ask('{"x":"' . 'y' x 5000 . '","login":}'), 'body', 'bad JSON');
--- no_error_log eval
qr/\[warn\] (?!.*a client request body is buffered)/



=== TEST 8: a character may be cut by the edge of a body buffer
--- route
client_body_buffer_size 1k;
--- run
for my $pad (1000 .. 1020) {
    my $body = '{"x":"' . 'y' x $pad . "\",\"login\":\"\xf0\x9f\x91\xa4\"}";
    answers(ask($body), '7', "raw, $pad");

    $body = '{"x":"' . 'y' x $pad . '","login":"\ud83d\udc64"}';
    answers(ask($body), '7', "escaped, $pad");
}



=== TEST 9: a body is answered with client_body_in_file_only
--- route
client_body_in_file_only clean;
--- cases
{"login":"admin"}                               -> 3 4
{"cameras_ids":["x"]}                           -> cameras_ids.0: integer
{"broken":                                      -> body
\x20                                            -> required
?login=admin                                    -> 3 4



=== TEST 10: a body of 200 KB is answered with client_body_in_file_only
--- route
client_body_in_file_only clean;
--- cases eval
'{"x":"' . 'y' x 200_000 . '","login":"admin"} -> 3 4' . "\n"
. '{"x":"' . 'y' x 200_000 . '","login":} -> body'



=== TEST 11: a body is answered with client_body_in_single_buffer
--- route
client_body_in_single_buffer on;
client_body_buffer_size 1k;
--- cases eval
'{"x":"' . 'y' x 5000 . '","login":"admin"} -> 3 4' . "\n"
. '{"login":"admin"} -> 3 4'



=== TEST 12: Expect: 100-continue has a 100 and then the answer
--- run
my $client = client();
my ($head, $body) = text($EXAMPLE, headers => [ 'Expect: 100-continue' ])
                    =~ /\A(.*?\r\n\r\n)(.*)\z/s;

$client->send($head);
is($client->response->{status}, 100, '100 Continue');
$client->send($body);
answers($client->response, '3 4', 'the answer');

$client->send(text('{"cameras_ids":[5]}'));
answers($client->response, '5', 'the next request');



=== TEST 13: Expect: 100-continue with a chunked body has a 100 and then the answer
--- run
my $client = client();
my ($head, $body) = text(undef, headers => [ 'Expect: 100-continue' ],
                         chunks => [ $EXAMPLE ]) =~ /\A(.*?\r\n\r\n)(.*)\z/s;

$client->send($head);
is($client->response->{status}, 100, '100 Continue');
$client->send($body);
answers($client->response, '3 4', 'the answer');



=== TEST 14: Expect: 100-continue with a bad token has a 401 before the body is sent
--- run
my $client = client();
my ($head, $body) = text($EXAMPLE, token => 'nobody',
                         headers => [ 'Expect: 100-continue' ])
                    =~ /\A(.*?\r\n\r\n)(.*)\z/s;

$client->send($head);

my $res = $client->response;
$res = $client->response if $res->{status} == 100;
answers($res, '401', 'before the body was sent');



=== TEST 15: after a 401 whose body was not read, the connection serves the next request
--- run
for my $size (10, 1000, 100_000) {
    my $client = client();

    for my $turn (1 .. 3) {
        $client->send(text('{"x":"' . 'y' x $size . '"}', token => 'nobody'));
        answers($client->response, '401', "a body of $size, bad token, turn $turn");
        $client->send(text($EXAMPLE));
        answers($client->response, '3 4', "good token after that, turn $turn");
    }
}



=== TEST 16: after a 401 whose chunked body was not read, the connection serves the next request
--- run
my $client = client();

for my $turn (1 .. 3) {
    $client->send(text(undef, chunks => [ ('x' x 1000) x 50 ], token => undef));
    answers($client->response, '401', "no token, turn $turn");
    $client->send(text($EXAMPLE));
    answers($client->response, '3 4', "good token after that, turn $turn");
}



=== TEST 17: after a 405 or a 422 with a large body, the connection serves the next request
--- run
my $client = client();
my $large = '{"x":"' . 'y' x 100_000 . '"}';

for my $turn (1 .. 2) {
    $client->send(text($large, method => 'POST'));
    answers($client->response, '405', "POST, turn $turn");
    $client->send(text('{"login":5}'));
    answers($client->response, 'login: string', "a wrong login, turn $turn");
    $client->send(text('{"broken":' . 'y' x 100_000));
    answers($client->response, 'body', "bad JSON, turn $turn");
    $client->send(text($large));
    answers($client->response, 'required', "nothing required, turn $turn");
    $client->send(text($EXAMPLE));
    answers($client->response, '3 4', "good, turn $turn");
}



=== TEST 18: after a body that is ignored for its Content-Type, the connection serves the next request
--- run
my $client = client();

for my $query ('', '?login=admin') {
    $client->send(text(undef, query => $query,
                       headers => [ 'Content-Type: text/plain', 'Content-Length: 7' ])
                  . '{"a":1}');
    answers($client->response, $query ? '3 4' : 'body [^"]+', "text/plain $query");
    $client->send(text($EXAMPLE));
    answers($client->response, '3 4', "after text/plain $query");
}



=== TEST 19: pipelined requests, good and bad, are answered in order
--- run
my $client = client();
my @cases = ([ text($EXAMPLE), '3 4' ],
             [ text($EXAMPLE, token => 'nobody'), '401' ],
             [ text('{"login":5}'), 'login: string' ],
             [ text(undef, query => '?cameras_ids[]=5'), '5' ],
             [ text('{"broken":'), 'body' ],
             [ text($EXAMPLE, method => 'DELETE'), '405' ],
             [ text(undef, chunks => [ '{"login"', ':"mixed"}' ]),
               '4 5 7 10 12 9007199254740991' ],
             [ text(undef, token => undef), '401' ],
             [ text('{"cameras_ids":[7]}'), '7' ]);

$client->send(join '', map { $_->[0] } @cases);
answers($client->response, $cases[$_][1], "pipelined request $_") for 0 .. $#cases;



=== TEST 20: pipelined requests that come in single bytes are answered in order
--- run
my $client = client();
$client->send_bytes(text('{"cameras_ids":[3]}') . text('{}', token => 'nobody')
                    . text('{"cameras_ids":[4]}'));
answers($client->response, '3', 'first');
answers($client->response, '401', 'second');
answers($client->response, '4', 'third');



=== TEST 21: a body that is never finished ends with client_body_timeout
--- route
client_body_timeout 1s;
--- run
my $client = client();
my ($head) = text($EXAMPLE) =~ /\A(.*?\r\n\r\n)/s;
$client->send($head . '{"login":');
my $text = $client->slurp;
unlike($text, qr/\AHTTP\/1\.1 200/, 'no answer to half a body');
ok(!$client->{timedout}, 'and the connection is closed');



=== TEST 22: a client that leaves in the middle of its body does no harm
--- run
for my $how (qw(close reset)) {
    my $client = client();
    my ($head) = text($EXAMPLE) =~ /\A(.*?\r\n\r\n)/s;
    $client->send($head . '{"login":');
    select undef, undef, undef, 0.1;
    $client->$how;
}



=== TEST 23: a body larger than client_max_body_size is a 413
--- route
client_max_body_size 100;
--- run
my $large = '{"x":"' . 'y' x 200 . '","login":"admin"}';

is(ask($large)->{status}, 413, 'Content-Length');
is(ask(undef, chunks => [ $large ])->{status}, 413, 'chunked');
answers(ask(undef, chunks => [ $large ], token => 'nobody'), '401',
        'chunked, and a bad token');
answers(ask('{"login":"admin"}'), '3 4', 'a small one');
--- errors_allowed



=== TEST 24: HTTP/1.0 requests are answered, with and without keep-alive
--- run
my $client = client();
$client->send(text($EXAMPLE, version => '1.0'));
my $res = $client->response;

answers($res, '3 4', 'with a body');
unlike($res->{headers}, qr/^Transfer-Encoding/m, 'not chunked');
like($res->{headers}, qr/^Connection: close\r$/m, 'Connection: close');
is($client->slurp, '', 'and it is closed');

answers(ask(undef, version => '1.0', query => '?login=admin'), '3 4', 'query string');
answers(ask(undef, version => '1.0', query => '?login=nobody'), 'null', 'null');
answers(ask('{}', version => '1.0'), 'required', 'an error');
answers(ask('{}', version => '1.0', token => undef), '401', 'no token');

$client = client();
$client->send(text($EXAMPLE, version => '1.0', headers => [ 'Connection: keep-alive' ]));
answers($client->response, '3 4', 'keep-alive');
$client->send(text('{"cameras_ids":[5]}', version => '1.0'));
answers($client->response, '5', 'after keep-alive');



=== TEST 25: HTTP/2 requests are answered: bodies, errors, HEAD, lists
--- http_config eval
<<'END'
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
    location / {
        billing_cameras_list;
        billing_batch 20;
    }
}
END
--- redis eval
join "\n", map { ("HSET billing:camera:$_ name n$_", "ZADD billing:login:many $_ $_") } 101 .. 400
--- run
my $url = 'http://127.0.0.1:' . $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1};
my @h2 = ('-g', '--http2-prior-knowledge');

my ($exit, $text) = curl($EXAMPLE, @h2, "$url/");
is($exit, 0, 'GET with a body: curl');
like($text, qr/\AHTTP\/2 200 /, 'GET with a body: status');
like($text, qr/^content-type: application\/json$/m, 'Content-Type');
like($text, qr/^cache-control: no-store$/m, 'Cache-Control');
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(3, 4), 'body');

($exit, $text) = curl($EXAMPLE, @h2, '-H', "Authorization: Bearer $Token  ", "$url/");
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(3, 4), 'a token with spaces behind it');

($exit, $text) = curl(undef, @h2, "$url/?cameras_ids[]=5");
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(5), 'query string');

($exit, $text) = curl('{"login":5}', @h2, "$url/");
like($text, qr/\AHTTP\/2 422 /, 'status 422');
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::errors([ 'login', 'string' ]),
   'the words of a 422');

($exit, $text) = curl('{"x":"' . 'y' x 200_000 . '"}', @h2, "$url/?login=admin");
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(3, 4), 'a large body');

# without a body: Debian 12's curl drops an answer that comes before the body
# of the request is sent, even that of nginx' own "return 401"

($exit, $text) = curl(undef, @h2, '-H', 'Authorization: Bearer nobody', "$url/");
like($text, qr/\AHTTP\/2 401 /, 'status 401');
like($text, qr/^www-authenticate: Bearer error="invalid_token"$/m, 'invalid_token');

($exit, $text) = curl(undef, @h2, '-I', "$url/?login=admin");
is($exit, 0, 'HEAD: curl');
like($text, qr/\AHTTP\/2 200 /, 'HEAD: status');
like($text, qr/^content-length: ${\length Billing::Fixtures::answer(3, 4)}$/m,
     'HEAD: Content-Length');

my $many = '[' . join(',', map { Billing::Fixtures::camera($_, { name => "n$_" }) } 101 .. 400) . ']';
($exit, $text) = curl(undef, @h2, "$url/?login=many");
is($exit, 0, 'a list that streams: curl');
is(($text =~ /\n\n(.*)\z/s)[0], $many, 'a list that streams: body');
unlike($text, qr/^(?:content-length|transfer-encoding)/mi, 'a list that streams: no length');

my $redis = redis();
$redis->command('SET', 't_http:camera:390', 'text');
($exit, $text) = curl(undef, @h2, "$url/?login=many");
isnt($exit, 0, 'a fault after the first byte resets the stream');
--- logged
\[error\] .*t_http:camera:390



=== TEST 26: an HTTP/2 stream that is reset while the request waits for Redis disturbs no other one
--- http_config eval
<<'END'
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
    location / {
        billing_cameras_list;
    }
}
billing_redis_timeout 15s;
END
--- fake
once HMGET *:camera:3 => pause 1
--- run
my $url = 'http://127.0.0.1:' . $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1};

my ($exit) = curl('{"cameras_ids":[3]}', '--http2-prior-knowledge', '-m', '0.4', "$url/");
is($exit, 28, 'curl gave up');

my ($ok, $text) = curl('{"cameras_ids":[4]}', '--http2-prior-knowledge', "$url/");
is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(4), 'the next gets its own');



=== TEST 27: an answer is packed by gzip
--- http_config
gzip on;
gzip_types application/json;
gzip_min_length 1;
--- request eval
"GET $Billing::URI?login=admin"
--- more_headers eval
"Authorization: Bearer $Billing::Token\nAccept-Encoding: gzip"
--- response_headers
Content-Encoding: gzip
Content-Type: application/json
Cache-Control: no-store
--- response_body_filters eval: \&::gunzip
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 28: a list of several batches is packed by gzip, and a 422 is not
--- http_config
gzip on;
gzip_types application/json;
gzip_min_length 1;
--- redis eval
join "\n", map { ("HSET billing:camera:$_ name n$_", "ZADD billing:login:many $_ $_") } 101 .. 700
--- run
my @gzip = (headers => [ 'Accept-Encoding: gzip' ]);

my $res = ask(undef, query => '?login=many', @gzip);
like($res->{headers}, qr/^Content-Encoding: gzip\r$/m, 'Content-Encoding');
is(::gunzip($res->{body}),
   '[' . join(',', map { Billing::Fixtures::camera($_, { name => "n$_" }) } 101 .. 700) . ']',
   'the whole list');

$res = ask('{}', @gzip);
is($res->{status}, 422, 'status 422');
is($res->{body}, Billing::Fixtures::required(), '422: nginx does not pack it');



=== TEST 29: the filters sub, charset and add_header work on an answer
--- route
sub_filter_types application/json;
sub_filter 'Camera 1' 'Kamera 1';
charset utf-8;
charset_types application/json;
add_header X-Operator here always;
--- run
my $res = ask('{"login":"admin"}');
(my $answer = Billing::Fixtures::answer(3, 4)) =~ s/Camera 1/Kamera 1/;
is($res->{body}, $answer, 'sub_filter');
like($res->{headers}, qr/^Content-Type: application\/json; charset=utf-8\r$/m, 'charset');
like($res->{headers}, qr/^X-Operator: here\r$/m, 'add_header');

$res = ask('{"login":"admin"}', token => undef);
like($res->{headers}, qr/^X-Operator: here\r$/m, 'add_header on a 401');
--- request eval
"GET $Billing::URI?cameras_ids[]=5"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval: Billing::Fixtures::answer(5)



=== TEST 30: error_page replaces the body, and keeps WWW-Authenticate, Allow and Retry-After
--- user_files
>>> e401.html
operator's 401
>>> e405.html
operator's 405
>>> e422.html
operator's 422
>>> e503.html
operator's 503
>>> e502.html
operator's 502
--- route
error_page 401 /e401.html;
error_page 405 /e405.html;
error_page 422 /e422.html;
error_page 502 /e502.html;
error_page 503 /e503.html;
--- redis
SET billing:camera:20 text
--- run
my $res = ask($EXAMPLE, token => undef);
is($res->{status}, 401, 'status 401');
is($res->{body}, "operator's 401\n", '401: body');
like($res->{headers}, qr/^WWW-Authenticate: Bearer\r$/m, '401: WWW-Authenticate is kept');

$res = ask($EXAMPLE, token => 'nobody');
like($res->{headers}, qr/^WWW-Authenticate: Bearer error="invalid_token"\r$/m, '401: invalid_token');
my $count = () = $res->{headers} =~ /^WWW-Authenticate/mg;
is($count, 1, 'once');

$res = ask($EXAMPLE, method => 'POST');
is($res->{status}, 405, 'status 405');
is($res->{body}, "operator's 405\n", '405: body');
like($res->{headers}, qr/^Allow: GET, HEAD\r$/m, '405: Allow is kept');

$res = ask('{"login":5}');
is($res->{status}, 422, 'status 422');
is($res->{body}, "operator's 422\n", '422: body');

$res = ask('{"cameras_ids":[20]}');
is($res->{status}, 502, 'status 502');
is($res->{body}, "operator's 502\n", '502: body');

redis()->command('DEL', 't_http:synced_at');
$res = ask('{"cameras_ids":[999]}');
is($res->{status}, 503, 'status 503');
is($res->{body}, "operator's 503\n", '503: body');
like($res->{headers}, qr/^Retry-After: \d+\r$/m, '503: Retry-After is kept');
--- errors_allowed



=== TEST 31: error_page may use a named location and change the status
--- config eval
<<"END"
error_page 401 =403 \@denied;
error_page 422 =400 \@wrong;
location = $Billing::URI {
    billing_cameras_list;
}
location \@denied {
    return 403 "go away";
}
location \@wrong {
    default_type application/json;
    return 400 '{"error":true}';
}
END
--- run
my $client = client();

for my $turn (1 .. 2) {
    $client->send(text($EXAMPLE, token => 'nobody'));
    my $res = $client->response;
    is($res->{status}, 403, "403, turn $turn");
    is($res->{body}, 'go away', "403: body, turn $turn");

    $client->send(text('{"login":5}'));
    $res = $client->response;
    is($res->{status}, 400, "400, turn $turn");
    is($res->{body}, '{"error":true}', "400: body, turn $turn");

    $client->send(text($EXAMPLE));
    answers($client->response, '3 4', "good, turn $turn");
}



=== TEST 32: error_page for other statuses does not replace the route's JSON
--- route
error_page 404 500 /e404.html;
--- cases
{"login":5}                                     -> login: string
{"login":"admin"}                               -> 3 4



=== TEST 33: error_page may lead to the route
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /gone {
    error_page 404 = $Billing::URI?cameras_ids[]=5;
    return 404;
}
END
--- run
answers(ask(undef, uri => '/gone'), '5', 'by error_page');



=== TEST 34: auth_request may protect the route
--- config eval
<<"END"
location = $Billing::URI {
    auth_request /auth;
    billing_cameras_list;
    billing_token off;
}
location = /auth {
    internal;
    if (\$http_x_user = "good") {
        return 204;
    }
    return 401;
}
END
--- run
my @good = (token => undef, headers => [ 'X-User: good' ]);

answers(ask($EXAMPLE, @good), '3 4', 'let in, with a body');
answers(ask(undef, query => '?cameras_ids[]=5', @good), '5', 'let in, query string');
answers(ask('{"login":5}', @good), 'login: string', 'let in, and wrong');
is(ask($EXAMPLE, token => undef)->{status}, 401, 'kept out');

my $client = client();
$client->send(text($EXAMPLE, token => undef));
is($client->response->{status}, 401, 'kept out, keep-alive');
$client->send(text($EXAMPLE, @good));
answers($client->response, '3 4', 'let in on the same connection');
--- headers
X-User: good
Content-Type: application/json



=== TEST 35: allow, deny and satisfy may protect the route, which checks the token as well
--- config eval
<<"END"
location = $Billing::URI {
    satisfy any;
    allow 127.0.0.1;
    deny all;
    auth_request /never;
    billing_cameras_list;
}
location = /denied {
    deny all;
    billing_cameras_list;
}
location = /never {
    internal;
    return 403;
}
END
--- run
answers(ask($EXAMPLE), '3 4', 'allowed by address');
answers(ask($EXAMPLE, token => 'nobody'), '401', 'the token is asked for as well');

my $client = client();
$client->send(text($EXAMPLE, uri => '/denied'));
is($client->response->{status}, 403, 'denied');
$client->send(text($EXAMPLE));
answers($client->response, '3 4', 'the next request');
--- logged
\[error\] .*access forbidden by rule



=== TEST 36: the route may be auth_request's subrequest
--- config eval
<<"END"
location = /protected {
    auth_request /check;
    return 200 "protected";
}
location = /static.html {
    auth_request /check;
}
location = /check {
    internal;
    set \$args "cameras_ids[]=3";
    billing_cameras_list;
}
location = $Billing::URI {
    billing_cameras_list;
}
END
--- user_files
>>> static.html
static
--- run
my $res = ask(undef, uri => '/static.html');
is($res->{status}, 200, 'a good token');
is($res->{body}, "static\n", 'a good token: body');

$res = ask(undef, uri => '/static.html', token => undef);
is($res->{status}, 401, 'no token');
like($res->{headers}, qr/^WWW-Authenticate: Bearer\r$/m, 'no token: WWW-Authenticate');

$res = ask(undef, uri => '/static.html', token => 'nobody');
is($res->{status}, 401, 'a bad token');
like($res->{headers}, qr/^WWW-Authenticate: Bearer error="invalid_token"\r$/m,
     'a bad token: WWW-Authenticate');

$res = ask($EXAMPLE, uri => '/static.html');
is($res->{status}, 200, 'with a body, which is not the subrequest\'s');



=== TEST 37: a page may include the route by SSI
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /page.html {
    ssi on;
}
END
--- user_files eval
">>> page.html\n<a><!--#include virtual=\"$Billing::URI?cameras_ids[]=3\" --></a>\n"
. "<b><!--#include virtual=\"$Billing::URI?login=nobody\" --></b>\n"
. "<c><!--#include virtual=\"$Billing::URI?login=admin\" --></c>\n"
--- run
my $page = '<a>' . Billing::Fixtures::answer(3) . "</a>\n<b>null</b>\n<c>"
           . Billing::Fixtures::answer(3, 4) . "</c>\n";

for my $turn (1 .. 3) {
    my $res = ask(undef, uri => '/page.html');
    ok($res->{complete}, "the page is complete, turn $turn");
    is($res->{body}, $page, "the page, turn $turn");
}

my $res = ask('{"cameras_ids":[5]}', uri => '/page.html');
ok($res->{complete}, 'a page that is asked for with a body is complete');



=== TEST 38: a page that includes errors of the route by SSI is complete
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /page.html {
    ssi on;
}
END
--- user_files eval
">>> page.html\n<a><!--#include virtual=\"$Billing::URI?login[]=x\" --></a>\n"
. "<b><!--#include virtual=\"$Billing::URI\" --></b>\n"
. "<c><!--#include virtual=\"$Billing::URI?cameras_ids[]=5\" --></c>\n"
--- run
my $res = ask(undef, uri => '/page.html');
is($res->{status}, 200, 'status');
ok($res->{complete}, 'complete');
like($res->{body}, qr/<c>\Q${\Billing::Fixtures::answer(5)}\E<\/c>\n\z/, 'up to its end');

$res = ask(undef, uri => '/page.html', token => 'nobody');
ok($res->{complete}, 'complete without a good token');
like($res->{body}, qr/<\/c>\n\z/, 'up to its end without a good token');



=== TEST 39: a page that includes two lists of several batches by SSI has them in order
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_batch 7;
}
location = /page.html {
    ssi on;
}
END
--- user_files eval
">>> page.html\n<a><!--#include virtual=\"$Billing::URI?login=many\" --></a>\n"
. "<b><!--#include virtual=\"$Billing::URI?login=more\" --></b>\n"
--- redis eval
join "\n", (map { ("HSET billing:camera:$_ name n$_", "ZADD billing:login:many $_ $_") } 101 .. 300),
           (map { ("HSET billing:camera:$_ name n$_", "ZADD billing:login:more $_ $_") } 301 .. 500)
--- run
my $list = sub {
    '[' . join(',', map { Billing::Fixtures::camera($_, { name => "n$_" }) } @_) . ']';
};

my $res = ask(undef, uri => '/page.html');
ok($res->{complete}, 'complete');
is($res->{body}, '<a>' . $list->(101 .. 300) . "</a>\n<b>" . $list->(301 .. 500)
                 . "</b>\n", 'both lists');



=== TEST 40: the route may be another request's mirror
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /mirrored.html {
    mirror $Billing::URI;
}
END
--- user_files
>>> mirrored.html
mirrored
--- run
my $client = client();

for my $turn (1 .. 3) {
    $client->send(text($EXAMPLE, uri => '/mirrored.html'));
    my $res = $client->response;
    is($res->{status}, 200, "status, turn $turn");
    is($res->{body}, "mirrored\n", "body, turn $turn");
}

$client->send(text($EXAMPLE, uri => '/mirrored.html', token => undef));
is($client->response->{status}, 200, 'a 401 of the mirror is nobody\'s');
$client->send(text('{"broken":', uri => '/mirrored.html'));
is($client->response->{status}, 200, 'a 422 of the mirror is nobody\'s');



=== TEST 41: the route may have a mirror
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    mirror /copy;
}
location = /copy {
    internal;
    return 204;
}
END
--- cases
{"login":"admin"}                               -> 3 4
{"login":5}                                     -> login: string
?cameras_ids[]=5                                -> 5
{"broken":                                      -> body



=== TEST 42: the route may be behind proxy_pass, with and without a body
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /outer {
    proxy_pass http://127.0.0.1:\$server_port$Billing::URI\$is_args\$args;
}
END
--- run
answers(ask($EXAMPLE, uri => '/outer'), '3 4', 'a body');
answers(ask(undef, uri => '/outer?cameras_ids[]=5'), '5', 'a query string');
answers(ask(undef, uri => '/outer?login=admin', token => undef), '401', 'no token');



=== TEST 43: the route may be in a prefix or regex location, or reached by a rewrite
--- config eval
<<"END"
location /api/ {
    billing_cameras_list;
}
location ~ ^/v[0-9]/cameras\$ {
    billing_cameras_list;
}
location = /short {
    rewrite ^ $Billing::URI?cameras_ids[]=4 last;
}
END
--- run
answers(ask(undef, query => '?cameras_ids[]=3'), '3', 'a prefix');
answers(ask(undef, uri => '/v2/cameras?cameras_ids[]=3'), '3', 'a regex');
answers(ask(undef, uri => '/short'), '4', 'a rewrite');
answers(ask(undef, uri => '/short?cameras_ids[]=3'), '3 4',
        'a rewrite keeps the request\'s arguments');



=== TEST 44: limit_req and limit_conn let requests to the route pass
--- http_config
limit_conn_zone $server_port zone=conns:64k;
limit_req_zone $server_port zone=reqs:64k rate=100r/s;
--- route
limit_conn conns 10;
limit_req zone=reqs burst=50;
--- cases
{"login":"admin"}                               -> 3 4
{"login":5}                                     -> login: string
?cameras_ids[]=5                                -> 5



=== TEST 45: a request with Connection: close is answered, and the connection closed
--- run
my $client = client();
$client->send(text($EXAMPLE, headers => [ 'Connection: close' ]));
answers($client->response, '3 4', 'Connection: close');
is($client->slurp, '', 'and it is closed');



=== TEST 46: the access log has the status and the bytes of an answer
--- access_log eval
qr/"GET [^"]+" 200 783 /



=== TEST 47: no 100 Continue before an answer that does not need the body
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /down {
    billing_cameras_list;
    billing_redis unix:/nonexistent.sock;
    billing_redis_timeout 300ms;
}
END
--- run
for ([ 401, 'no token', token => undef ], [ 401, 'a bad token', token => 'nobody' ],
     [ 405, 'a wrong method', method => 'PUT' ], [ 503, 'no Redis', uri => '/down' ])
{
    my ($status, $name, @more) = @$_;

    for my $body ([ 0, $EXAMPLE ], [ 1, undef, chunks => [ $EXAMPLE ] ]) {
        my ($chunked, $text, @chunks) = @$body;
        my ($head) = text($text, @chunks, @more, headers => [ 'Expect: 100-continue' ])
                     =~ /\A(.*?\r\n\r\n)/s;
        my $client = client();
        $client->send($head);
        is($client->response->{status}, $status, "$name, " . ($chunked ? 'chunked' : 'with a length'));
    }
}
--- errors_allowed
--- crit_allowed



=== TEST 48: HTTP/2 bodies without Content-Length are answered: short, in a file, and too large
--- http_config eval
<<'END'
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
    client_max_body_size 512k;
    location / {
        billing_cameras_list;
        add_header X-Length "[$http_content_length]" always;
    }
}
END
--- run
my $url = 'http://127.0.0.1:' . $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1};
my @h2 = ('--http2-prior-knowledge', '-H', 'Content-Length:');
my $pad = sub { '{"x":"' . 'y' x $_[0] . '","login":"admin"}' };

for ([ 'short', $EXAMPLE ], [ 'in a file', $pad->(300_000) ]) {
    my ($size, $body) = @$_;
    my ($exit, $text) = curl($body, @h2, "$url/");

    is($exit, 0, "$size: curl");
    like($text, qr/^x-length: \[\]$/m, "$size: without Content-Length");
    is(($text =~ /\n\n(.*)\z/s)[0], Billing::Fixtures::answer(3, 4), "$size: answer");
}

my ($exit, $text) = curl('{"login":5}', @h2, "$url/");
like($text, qr/\AHTTP\/2 422 /, 'wrong: status');

# nginx resets a stream whose body it does not read: curl may not see the answer

($exit, $text) = curl($pad->(600_000), @h2, "$url/");
like($text, qr/\A(?:HTTP\/2 413 |\z)/, 'too large: status');
--- logged
\[error\] .*client intended to send too large



=== TEST 49: a body that an earlier phase has read is answered
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    mirror /copy;
}
location = /file {
    billing_cameras_list;
    client_body_in_file_only clean;
    mirror /copy;
}
location = /copy {
    internal;
    return 204;
}
END
--- run
my $large = '{"x":"' . 'y' x 300_000 . '","login":"admin"}';

for my $uri ($URI, '/file') {
    my $client = client();

    for (1, 2) {
        for ([ $EXAMPLE, '3 4' ], [ $large, '3 4' ], [ '{"login":5}', 'login: string' ]) {
            my ($body, $expected) = @$_;
            my $name = "$uri, " . length($body) . ' bytes';

            $client->send(text($body, uri => $uri));
            answers($client->response, $expected, $name);

            $client->send(text(undef, uri => $uri, chunks => [ $body =~ /.{1,9999}/g ]));
            answers($client->response, $expected, "$name, chunked");
        }

        $client->send(text(undef, uri => "$uri?cameras_ids[]=5"));
        answers($client->response, '5', "$uri, none");

        # the token is judged after the body was read

        $client->send(text($large, uri => $uri, token => 'nobody'));
        answers($client->response, '401', "$uri, a bad token");
    }
}



=== TEST 50: error_page replaces the body of a 413 and of a 504
--- user_files
>>> e413.html
operator's 413
>>> e504.html
operator's 504
--- route
client_max_body_size 100;
billing_redis_timeout 1s;
error_page 413 /e413.html;
error_page 504 /e504.html;
--- fake
HMGET *:camera:5 => drop
--- run
my $client = client();

$client->send(text('{"x":"' . 'y' x 200 . '"}'));
my $res = $client->response;
is($res->{status}, 413, 'status 413');
is($res->{body}, "operator's 413\n", '413: body');

$client = client();

for my $turn (1, 2) {
    $client->send(text('{"cameras_ids":[5]}'));
    $res = $client->response;
    is($res->{status}, 504, "status 504, turn $turn");
    is($res->{body}, "operator's 504\n", "504: body, turn $turn");

    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', "good, turn $turn");
}
--- errors_allowed



=== TEST 51: an invalid chunked body is a 400, and closes the connection
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /status {
    billing_status;
}
END
--- run
for my $uri ($URI, '/status') {
    my $client = client();

    $client->send("GET $uri HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n");
    is($client->response->{status}, 400, "$uri: status");
    is($client->slurp, '', "$uri: the connection is closed");
}
--- logged
\[error\] .*client sent invalid chunked body



=== TEST 52: a body's temporary file that was truncated is a 500
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    client_body_in_file_only clean;
    mirror /copy;
}
location = /copy {
    internal;
    return 204;
}
END
--- fake
once GET *:token:* => pause 0.5
--- run
my $client = client();
$client->send(text('{"login":"admin"}'));

# the mirror reads the body before the route asks Redis for the token

my @files;
ok(wait_for(5, sub { @files = glob "$Test::Nginx::Util::ServRoot/client_body_temp/*" }),
   'there is a file');
truncate $_, 5 for @files;
is($client->response->{status}, 500, 'status');
--- logged
\[error\] .*request body file "[^"]+" is truncated



=== TEST 53: error_page may lead to another route, whose own error_page is not used for the same status
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    error_page 401 502 = /again;
}
location = /again {
    billing_cameras_list;
    error_page 401 502 /page.html;
}
END
--- user_files
>>> page.html
a page
--- redis
SET billing:camera:999 x
--- run
answers(ask($EXAMPLE, token => 'nobody'), '401', 'a bad token');
answers(ask('{"cameras_ids":[999]}'), '502', 'a bad camera');
--- logged
\[error\] .*camera:999
