# The token: where a request has it, when it is valid, and that no log shows it.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'token';
use Test::Nginx::Socket 'no_plan';

our $OK = '?cameras_ids[]=3 -> 3';

sub bearer { "Authorization: $_[0]" }

run_tests();

__DATA__

=== TEST 1: a request without a token is a 401
--- headers
X-Nothing: here
--- cases
?login=admin                                    -> 401 ^\{"message":"Unauthenticated\."\}$
                                                -> 401
--- also
WWW-Authenticate: Bearer
Content-Length: 30



=== TEST 2: an unknown token is a 401 with invalid_token
--- headers
Authorization: Bearer nobody-knows-it
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer error="invalid_token"
Content-Length: 30



=== TEST 3: a valid token is answered
--- cases
?login=admin                                    -> 3 4
--- also
!WWW-Authenticate



=== TEST 4: the scheme may be in lower case
--- headers eval: ::bearer("bearer $Billing::Token")
--- cases eval: $::OK



=== TEST 5: the scheme may be in upper case
--- headers eval: ::bearer("BEARER $Billing::Token")
--- cases eval: $::OK



=== TEST 6: the scheme may be in mixed case, with several spaces behind it
--- headers eval: ::bearer("bEaReR   $Billing::Token")
--- cases eval: $::OK



=== TEST 7: another scheme counts as no token
--- headers eval: ::bearer("Basic $Billing::Token")
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 8: the scheme alone counts as no token
--- headers
Authorization: Bearer
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 9: a word that only begins like the scheme counts as no token
--- headers eval: ::bearer("Bearer$Billing::Token")
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 10: a token without a scheme counts as no token
--- headers eval: ::bearer($Billing::Token)
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 11: an empty Authorization counts as no token
--- headers
Authorization:
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 12: a token is compared whole, and its case matters
--- run
for my $token (uc $Token, "${Token}x", substr($Token, 0, -1), "$Token $Token",
               "x$Token", sha256($Token), '*')
{
    my $res = ask(undef, query => '?login=admin', token => $token);
    answers($res, '401', "token \"$token\"");
    like($res->{headers}, qr/^WWW-Authenticate: Bearer error="invalid_token"\r$/m,
         "token \"$token\": invalid_token");
}



=== TEST 13: tokens of 7,000 characters are looked up
--- redis eval
"SET billing:token:" . Billing::sha256('j' x 7000) . " large"
--- run
answers(ask(undef, query => '?login=admin', token => 'j' x 7000), '3 4',
        'a good token of 7000 characters');
answers(ask(undef, query => '?login=admin', token => 'j' x 7001), '401',
        'a bad token of 7001 characters');



=== TEST 14: tokens of all lengths at which the padding of SHA-256 changes are looked up
--- redis eval
join "\n", map { "SET billing:token:" . Billing::sha256('t' x $_) . " client" }
               1, 55, 56, 63, 64, 65, 119, 120, 128
--- run
for my $length (1, 55, 56, 63, 64, 65, 119, 120, 128) {
    answers(ask(undef, query => '?login=admin', token => 't' x $length), '3 4',
            "$length characters");
}



=== TEST 15: a token whose client's name is empty is valid
--- redis eval
"SET billing:token:" . Billing::sha256('anonymous') . ' ""'
--- headers
Authorization: Bearer anonymous
--- cases eval: $::OK



=== TEST 16: a token that has expired or was revoked is a 401 at once
--- run
my $redis = redis();
my $key = 't_token:token:' . sha256('short-lived');

$redis->command('SET', $key, 'x', 'PX', 60_000);
answers(ask(undef, query => '?login=admin', token => 'short-lived'), '3 4',
        'before it expires');

$redis->command('PEXPIRE', $key, 1);
select undef, undef, undef, 0.1;
answers(ask(undef, query => '?login=admin', token => 'short-lived'), '401',
        'after it expired');

$redis->command('SET', $key, 'x');
answers(ask(undef, query => '?login=admin', token => 'short-lived'), '3 4',
        'granted again');

$redis->command('DEL', $key);
answers(ask(undef, query => '?login=admin', token => 'short-lived'), '401',
        'revoked');



=== TEST 17: a token's key of the wrong type is a 502
--- redis eval
"HSET billing:token:" . Billing::sha256('broken') . ' a b'
--- headers
Authorization: Bearer broken
--- cases
?login=admin                                    -> 502
--- logged
\[error\] 



=== TEST 18: wrong parameters with a bad token are a 401
--- headers
Authorization: Bearer nobody-knows-it
Content-Type: application/json
--- cases
{"cameras_ids":["x"]}                           -> 401
{"broken":                                      -> 401
?cameras_ids=x                                  -> 401
{}                                              -> 401



=== TEST 19: wrong parameters without a token are a 401
--- headers
Content-Type: application/json
--- cases
{"cameras_ids":["x"]}                           -> 401
{"broken":                                      -> 401



=== TEST 20: billing_token may take the token from another header
--- route
billing_token $http_x_api_key;
--- headers eval
"X-API-Key: $Billing::Token"
--- cases eval: $::OK



=== TEST 21: billing_token with another header ignores Authorization
--- route
billing_token $http_x_api_key;
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 22: an unknown token in another header is a 401 with invalid_token
--- route
billing_token $http_x_api_key;
--- headers
X-API-Key: nobody-knows-it
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer error="invalid_token"



=== TEST 23: billing_token may be made of text and an argument
--- route eval
'billing_token token-$arg_key;'
--- headers
X-Nothing: here
--- cases
?cameras_ids[]=3&key=of-token                   -> 3
?cameras_ids[]=3&key=of-tokens                  -> 401



=== TEST 24: billing_token of a location replaces that of the server
--- http_config
billing_token $http_x_none;
--- config eval
<<"END"
billing_token \$http_x_server;
location = $Billing::URI {
    billing_cameras_list;
}
location = /own {
    billing_cameras_list;
    billing_token \$http_x_own;
}
END
--- run
my @good = (headers => [ "X-Server: $Token", "X-Own: no" ], token => undef);
my @own = (headers => [ "X-Server: no", "X-Own: $Token" ], token => undef);

answers(ask(undef, query => '?login=admin', @good), '3 4', 'the server\'s');
answers(ask(undef, query => '?login=admin', @own), '401', 'not the server\'s');
answers(ask(undef, uri => '/own?login=admin', @own), '3 4', 'the location\'s');
answers(ask(undef, uri => '/own?login=admin', @good), '401', 'not the location\'s');
--- headers eval
"X-Server: $Billing::Token\nContent-Type: application/json"



=== TEST 25: billing_token off answers requests without a token
--- route
billing_token off;
--- headers
X-Nothing: here
--- cases eval: $::OK . "\n?login= -> required"



=== TEST 26: billing_token off asks Redis for no token
--- route
billing_token off;
--- fake
--- headers
Authorization: Bearer nobody-knows-it
--- cases eval: $::OK
--- no_fake_log
(?:GET|EXISTS) t_token:token:



=== TEST 27: billing_token off may be set for one location
--- http_config
billing_token $http_x_api_key;
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_token off;
}
location = /checked {
    billing_cameras_list;
}
END
--- run
answers(ask(undef, query => '?login=admin', token => undef), '3 4', 'off');
answers(ask(undef, uri => '/checked?login=admin', token => undef), '401', 'on');



=== TEST 28: no log line and no command has the token itself
--- log_level: info
--- fake
--- run
answers(ask(undef, query => '?login=admin', token => "very-secret-$_"), '401',
        "secret $_") for 1 .. 3;
answers(ask(undef, query => '?login=', token => $Token), 'required', 'known');
--- no_fake_log
very-secret
token-of-token
--- fake_log
t_token:token:[0-9a-f]{64}$
--- no_error_log
very-secret
token-of-token



=== TEST 29: no log line about an error of Redis has the token itself
--- log_level: info
--- fake
GET *token* => error WRONGTYPE Operation against a key holding the wrong kind of value
--- headers
Authorization: Bearer very-secret
--- cases
?login=admin                                    -> 502
--- logged
\[error\] 
--- no_error_log
very-secret



=== TEST 30: a token's key is the SHA-256 in lower-case hexadecimal digits
--- fake
--- cases eval: $::OK
--- fake_log eval
'^1 \S+ t_token:token:' . Billing::sha256($Billing::Token) . '$'



=== TEST 31: two Authorization headers are refused
--- raw_request eval
"GET $Billing::URI?login=admin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
. "Authorization: Bearer nobody\r\nAuthorization: Bearer $Billing::Token\r\n\r\n"
--- error_code_like: ^40[01]$



=== TEST 32: a client's name that is not UTF-8 is a 502
--- fake
GET *:token:* => raw $2\r\n\xff\xfe\r\n
--- cases
{"login":"admin"}                               -> 502
--- logged
\[error\] .*redis key "t_token:token:[0-9a-f]{64}" holds text that is not UTF-8



=== TEST 33: on a kept connection, each request looks its token up first
--- fake
--- run
my $client = client();

for my $id (3, 4) {
    $client->send(text("{\"cameras_ids\":[$id]}"));
    answers($client->response, $id, "camera $id");
}

$client->send(text('{"cameras_uuid":["3"],"login":"admin"}'));
answers($client->response, '3', 'by its external id');

$client->send(text('{"login":"admin"}'));
answers($client->response, '3 4', 'a list');

$client->send(text('{"cameras_ids":["x"]}'));
is($client->response->{status}, 422, 'wrong parameters');

# an ECHO ends each pipeline

my @sent = map { [/^1 (\w+)/mg] } split /^1 ECHO .*\n/m, $Fake->log_text;
my $text = join ' | ', map { "@$_" } @sent;

is($text, 'accept PING | GET | HMGET | GET | HMGET | GET | GET | ZSCORE HMGET'
          . ' | GET | ZRANGEBYSCORE | HMGET HMGET ZSCORE | GET',
   'the pipelines');



=== TEST 34: a token that is revoked is a 401 on a kept connection
--- log_level: info
--- fake
--- run
my ($client, $wrong) = map { client() } 1, 2;

for ($client, $wrong) {
    $_->send(text('{"cameras_ids":[3]}'));
    answers($_->response, '3', 'valid');
}

$Fake->change("GET *:token:* => raw \$-1\\r\\n\n");

for my $turn (1 .. 3) {
    $client->send(text('{"cameras_ids":[5]}'));
    answers($client->response, '401', "revoked, turn $turn");
}

$wrong->send(text('{"cameras_ids":["x"]}'));
answers($wrong->response, '401', 'revoked, and the parameters are wrong');

is($Fake->count('HMGET \S+:camera:5'), 0, 'no camera was asked for');

$Fake->change('');
$client->send(text('{"cameras_ids":[3]}'));
answers($client->response, '3', 'valid again');
--- logged
\[info\] .*client sent an invalid billing token



=== TEST 35: good and bad tokens in turn on a kept connection are told apart
--- fake
--- run
my $client = client();

for my $turn (1, 2) {
    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', "valid, turn $turn");

    $client->send(text('{"cameras_ids":[5]}', token => 'nobody'));
    answers($client->response, '401', "not valid, turn $turn");
}

is($Fake->count('HMGET \S+:camera:5'), 0, 'the bad token asked for no camera');



=== TEST 36: a token is valid only for the prefix that has it
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /other {
    billing_cameras_list;
    billing_redis_prefix t_other:;
}
END
--- fake
--- redis
SET t_other:synced_at 1700000000
--- run
my $client = client();

for my $turn (1, 2) {
    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', "the route, turn $turn");

    $client->send(text('{"cameras_ids":[5]}', uri => '/other'));
    answers($client->response, '401', "the other location, turn $turn");
}

is($Fake->count('HMGET \S+:camera:5'), 0, 'the other location asked for no camera');



=== TEST 37: a token's reply that is invalid is a 502, and the next request is answered
--- fake
GET *:token:* => raw !\r\n
--- run
my $client = client();

$client->send(text('{"cameras_ids":[3]}'));
answers($client->response, '502', 'the reply is none');

$Fake->change('');
$client->send(text('{"cameras_ids":[3]}'));
answers($client->response, '3', 'the next request');
--- logged
\[error\] .*what came is no reply



=== TEST 38: an unknown token costs Redis two commands, and a valid one costs one
--- fake
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'valid');
is($Fake->count('^1 GET '), 1, 'valid: the token');

answers(ask('{"cameras_ids":[3]}', token => 'nobody'), '401', 'not valid');
is($Fake->count('^1 GET '), 3, 'not valid: the token and synced_at');
is($Fake->count('^1 GET t_token:synced_at'), 1, 'synced_at once');



=== TEST 39: a token that is missing from a server without data is a 503, not a 401
--- fake
GET *:synced_at => raw $-1\r\n
GET *:token:* => raw $-1\r\n
--- run
for my $token ($Token, 'nobody', $Token, 'nobody') {
    my $res = ask('{"cameras_ids":[3]}', token => $token);

    answers($res, '503', "token \"$token\"");
    like($res->{headers}, qr/^Retry-After: \d+\r$/m, "token \"$token\": Retry-After");
}

$Fake->change('');
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}')->{status} == 200 }), 'data is loaded');
--- logged_times
1 \[error\] .*has no data loaded
--- errors_allowed



=== TEST 40: an unknown token is a 401 when two connections answer its lookups
--- http_config
billing_redis_connections 2;
--- run
my @clients = map { client() } 1 .. 20;

for my $turn (1 .. 5) {
    $_->send(text('{"cameras_ids":[3]}', token => 'nobody')) for @clients;
    is(join(' ', map { $_->response->{status} } @clients), join(' ', (401) x 20), "turn $turn");
}
