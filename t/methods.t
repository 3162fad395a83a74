# GET, HEAD and, if allowed, POST; 405 for all others.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'methods';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: POST is a 405
--- method: POST
--- cases
?login=admin                                    -> 405
{"login":"admin"}                               -> 405
{"broken":                                      -> 405
--- also
Allow: GET, HEAD



=== TEST 2: PUT is a 405
--- method: PUT
--- cases
{"login":"admin"}                               -> 405
--- also
Allow: GET, HEAD



=== TEST 3: PATCH is a 405
--- method: PATCH
--- cases
{"login":"admin"}                               -> 405
--- also
Allow: GET, HEAD



=== TEST 4: DELETE is a 405
--- method: DELETE
--- cases
?login=admin                                    -> 405
--- also
Allow: GET, HEAD



=== TEST 5: OPTIONS is a 405
--- method: OPTIONS
--- cases
?login=admin                                    -> 405
--- also
Allow: GET, HEAD



=== TEST 6: a WebDAV method is a 405
--- method: PROPFIND
--- cases
?login=admin                                    -> 405
--- also
Allow: GET, HEAD



=== TEST 7: an unknown method is a 405
--- method: BREW
--- cases
?login=admin                                    -> 405
--- also
Allow: GET, HEAD



=== TEST 8: a wrong method with a bad token is a 405, not a 401
--- method: POST
--- headers
Authorization: Bearer nobody-knows-it
--- cases
?login=admin                                    -> 405
--- also
!WWW-Authenticate



=== TEST 9: a wrong method costs Redis no command
--- method: POST
--- fake
listen never
--- cases
?login=admin                                    -> 405



=== TEST 10: POST is answered with billing_allow_post
--- route
billing_allow_post on;
--- method: POST
--- cases
{"login":"admin"}                               -> 3 4
{"cameras_ids":[3]}                             -> 3
?login=admin                                    -> 3 4
{"login":5}                                     -> login: string
{"broken":                                      -> body
                                                -> required



=== TEST 11: PUT is a 405 with billing_allow_post
--- route
billing_allow_post on;
--- method: PUT
--- cases
{"login":"admin"}                               -> 405
--- also
Allow: GET, HEAD, POST



=== TEST 12: GET is answered with billing_allow_post
--- route
billing_allow_post on;
--- cases
{"login":"admin"}                               -> 3 4



=== TEST 13: a form sent by POST is ignored, and the answer says so
--- route
billing_allow_post on;
--- method: POST
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/x-www-form-urlencoded"
--- cases
login=admin                                     -> body [^"]*Content-Type[^"]*
?login=admin login=mixed                        -> 3 4



=== TEST 14: POST needs a token with billing_allow_post
--- route
billing_allow_post on;
--- method: POST
--- headers
Content-Type: application/json
--- cases
{"login":"admin"}                               -> 401



=== TEST 15: billing_allow_post is inherited, and a location may switch it off
--- http_config
billing_allow_post on;
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /off {
    billing_cameras_list;
    billing_allow_post off;
}
END
--- run
answers(ask('{"login":"admin"}', method => 'POST'), '3 4', 'on');

my $res = ask('{"login":"admin"}', method => 'POST', uri => '/off');
answers($res, '405', 'off');
like($res->{headers}, qr/^Allow: GET, HEAD\r$/m, 'off: Allow');



=== TEST 16: HEAD is GET without a body
--- run
for my $case ([ '{"login":"admin"}', 200, Billing::Fixtures::answer(3, 4) ],
              [ '{"login":"nobody"}', 200, 'null' ],
              [ '{"login":5}', 422, Billing::Fixtures::errors([ 'login', 'string' ]) ],
              [ '{}', 422, Billing::Fixtures::required() ])
{
    my ($body, $status, $answer) = @$case;
    my $client = client();

    $client->send(text($body, method => 'HEAD'));
    my $res = $client->response(head => 1);

    is($res->{status}, $status, "HEAD $body: status");
    like($res->{headers}, qr/^Content-Length: ${\length $answer}\r$/m,
         "HEAD $body: Content-Length");
    like($res->{headers}, qr/^Content-Type: application\/json\r$/m,
         "HEAD $body: Content-Type");
    like($res->{headers}, qr/^Cache-Control: no-store\r$/m,
         "HEAD $body: Cache-Control");

    # the connection is at the next response's first byte
    $client->send(text($body));
    $res = $client->response;
    is($res->{body}, $answer, "GET $body on the same connection");
}



=== TEST 17: HEAD without a token is a 401 without a body
--- run
my $client = client();

$client->send(text(undef, method => 'HEAD', query => '?login=admin', token => undef));
my $res = $client->response(head => 1);

is($res->{status}, 401, 'status');
like($res->{headers}, qr/^WWW-Authenticate: Bearer\r$/m, 'WWW-Authenticate');
like($res->{headers}, qr/^Content-Length: 30\r$/m, 'Content-Length');

$client->send(text(undef, query => '?login=admin'));
answers($client->response, '3 4', 'the next request');



=== TEST 18: HEAD of a list of several batches has no body
--- redis eval
join "\n", map { ("HSET billing:camera:$_ name n$_", "ZADD billing:login:many $_ $_") } 101 .. 150
--- route
billing_batch 10;
--- run
my $client = client();

$client->send(text(undef, method => 'HEAD', query => '?login=many'));
my $res = $client->response(head => 1);

is($res->{status}, 200, 'status');
unlike($res->{headers}, qr/^Content-Length:/m, 'no Content-Length');

$client->send(text(undef, query => '?login=admin'));
answers($client->response, '3 4', 'the next request');



=== TEST 19: limit_except refuses a method before the route does
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    limit_except GET {
        deny all;
    }
}
END
--- run
answers(ask('{"login":"admin"}'), '3 4', 'GET');
is(ask('{"login":"admin"}', method => 'HEAD')->{status}, 200, 'HEAD');
is(ask('{"login":"admin"}', method => 'POST')->{status}, 403, 'POST');
--- logged
\[error\] .*access forbidden by rule



=== TEST 20: limit_except inherits the route of its location
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    limit_except POST {
        allow all;
    }
}
END
--- run
answers(ask('{"login":"admin"}'), '3 4', 'GET');
answers(ask(undef, query => '?login=admin'), '3 4', 'GET by query string');
is(ask('{"login":"admin"}', method => 'HEAD')->{status}, 200, 'HEAD');
answers(ask('{"login":"admin"}', method => 'POST'), '405', 'POST');
answers(ask('{"login":"admin"}', method => 'PUT'), '405', 'PUT');



=== TEST 21: limit_except inherits the directives of its location
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_allow_post on;
    billing_token \$http_x_key;
    billing_max_ids 1;
    limit_except GET {
        allow all;
    }
}
END
--- headers eval
"X-Key: $Billing::Token\nContent-Type: application/json"
--- run
my @key = (method => 'POST', headers => [ "X-Key: $Token" ]);

answers(ask('{"login":"admin"}', @key), '3 4', 'POST');
answers(ask('{"login":"admin"}', method => 'POST'), '401', 'POST without');
answers(ask('{"cameras_ids":[3,4]}', @key), 'cameras_ids: many 1', 'POST of two');
