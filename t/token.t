# The token: where it comes from, when it is valid, and that nobody gets to
# see it.

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::Nginx::Socket 'no_plan';
use Billing 'token';

our $OK = '?cameras_ids[]=3 -> 3';

sub bearer { "Authorization: $_[0]" }

run_tests();

__DATA__

=== TEST 1: no token
--- headers
X-Nothing: here
--- cases
?login=admin                                    -> 401 ^\{"message":"Unauthenticated\."\}$
                                                -> 401
--- also
WWW-Authenticate: Bearer
Content-Length: 30



=== TEST 2: a token that is not known
--- headers
Authorization: Bearer nobody-knows-it
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer error="invalid_token"
Content-Length: 30



=== TEST 3: a good token
--- cases
?login=admin                                    -> 3 4
--- also
!WWW-Authenticate



=== TEST 4: the scheme in lower case
--- headers eval: ::bearer("bearer $Billing::Token")
--- cases eval: $::OK



=== TEST 5: the scheme in upper case
--- headers eval: ::bearer("BEARER $Billing::Token")
--- cases eval: $::OK



=== TEST 6: the scheme in any case, and more than one space
--- headers eval: ::bearer("bEaReR   $Billing::Token")
--- cases eval: $::OK



=== TEST 7: another scheme sends no token
--- headers eval: ::bearer("Basic $Billing::Token")
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 8: the scheme alone
--- headers
Authorization: Bearer
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 9: a word that only begins like the scheme
--- headers eval: ::bearer("Bearer$Billing::Token")
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 10: the token without a scheme
--- headers eval: ::bearer($Billing::Token)
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 11: an empty Authorization
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



=== TEST 13: tokens of several KiB
--- redis eval
"SET billing:token:" . Billing::sha256('j' x 7000) . " large"
--- run
answers(ask(undef, query => '?login=admin', token => 'j' x 7000), '3 4',
        'a good token of 7000 characters');
answers(ask(undef, query => '?login=admin', token => 'j' x 7001), '401',
        'a bad token of 7001 characters');



=== TEST 14: lengths at which SHA-256 pads differently
--- redis eval
join "\n", map { "SET billing:token:" . Billing::sha256('t' x $_) . " client" }
               1, 55, 56, 63, 64, 65, 119, 120, 128
--- run
for my $length (1, 55, 56, 63, 64, 65, 119, 120, 128) {
    answers(ask(undef, query => '?login=admin', token => 't' x $length), '3 4',
            "$length characters");
}



=== TEST 15: an empty client's name is a name
--- redis eval
"SET billing:token:" . Billing::sha256('anonymous') . ' ""'
--- headers
Authorization: Bearer anonymous
--- cases eval: $::OK



=== TEST 16: a token that expires, and one that is revoked
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



=== TEST 17: a token's key of the wrong type
--- redis eval
"HSET billing:token:" . Billing::sha256('broken') . ' a b'
--- headers
Authorization: Bearer broken
--- cases
?login=admin                                    -> 502
--- logged
\[error\] 



=== TEST 18: the token is judged before the parameters
--- headers
Authorization: Bearer nobody-knows-it
Content-Type: application/json
--- cases
{"cameras_ids":["x"]}                           -> 401
{"broken":                                      -> 401
?cameras_ids=x                                  -> 401
{}                                              -> 401



=== TEST 19: without a token too
--- headers
Content-Type: application/json
--- cases
{"cameras_ids":["x"]}                           -> 401
{"broken":                                      -> 401



=== TEST 20: billing_token takes the value from elsewhere
--- route
billing_token $http_x_api_key;
--- headers eval
"X-API-Key: $Billing::Token"
--- cases eval: $::OK



=== TEST 21: and then Authorization counts for nothing
--- route
billing_token $http_x_api_key;
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer



=== TEST 22: a wrong value from elsewhere
--- route
billing_token $http_x_api_key;
--- headers
X-API-Key: nobody-knows-it
--- cases
?login=admin                                    -> 401
--- also
WWW-Authenticate: Bearer error="invalid_token"



=== TEST 23: billing_token from an argument and from text
--- route eval
'billing_token token-$arg_key;'
--- headers
X-Nothing: here
--- cases
?cameras_ids[]=3&key=of-token                   -> 3
?cameras_ids[]=3&key=of-tokens                  -> 401



=== TEST 24: billing_token in the server, another one in the location
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



=== TEST 25: billing_token off leaves it to nginx
--- route
billing_token off;
--- headers
X-Nothing: here
--- cases eval: $::OK . "\n?login= -> required"



=== TEST 26: and then a wrong token is nobody's business
--- route
billing_token off;
--- fake
--- headers
Authorization: Bearer nobody-knows-it
--- cases eval: $::OK
--- no_fake_log
(?:GET|EXISTS) t_token:token:



=== TEST 27: billing_token off for one location of a server that has it on
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



=== TEST 28: the token is in no log line and in no command
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



=== TEST 29: nor is it in a line about Redis' faults
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



=== TEST 30: the key is the SHA-256 in lower-case hex
--- fake
--- cases eval: $::OK
--- fake_log eval
'^1 \S+ t_token:token:' . Billing::sha256($Billing::Token) . '$'



=== TEST 31: two Authorization headers are nginx' business, and no way in
--- raw_request eval
"GET $Billing::URI?login=admin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
. "Authorization: Bearer nobody\r\nAuthorization: Bearer $Billing::Token\r\n\r\n"
--- error_code_like: ^40[01]$



=== TEST 32: a client's name that is no text
--- fake
GET *:token:* => raw $2\r\n\xff\xfe\r\n
--- cases
{"login":"admin"}                               -> 502
--- logged
\[error\] .*redis key "t_token:token:[0-9a-f]{64}" holds text that is not UTF-8



=== TEST 33: on the same connection it is looked for together with the rest
--- fake
--- run
my $client = client();

for my $id (3, 4, 5) {
    $client->send(text("{\"cameras_ids\":[$id]}"));
    answers($client->response, $id, "camera $id");
}

$client->send(text('{"cameras_uuid":["3"],"login":"admin"}'));
answers($client->response, '3', 'by its external id');

$client->send(text('{"login":"admin"}'));
answers($client->response, '3 4', 'a list');

$client->send(text('{"cameras_ids":["x"]}'));
is($client->response->{status}, 422, 'what is wrong');

# an ECHO ends what was sent together

my @sent = map { [/^1 (\w+)/mg] } split /^1 ECHO .*\n/m, $Fake->log_text;
my $text = join ' | ', map { "@$_" } @sent;

is($text, 'accept PING GET | HMGET | HMGET GET | HMGET GET'
          . ' | GET GET | ZSCORE HMGET'
          . ' | ZRANGEBYSCORE GET | HMGET HMGET ZSCORE | GET',
   'what was sent together');



=== TEST 34: and when it is revoked it gives nothing away, and no more work to Redis
--- log_level: info
--- fake
--- run
my @clients = map { client() } 1 .. 3;
my ($client, $wrong, $gone) = @clients;

for (@clients) {
    $_->send(text('{"cameras_ids":[3]}'));
    answers($_->response, '3', 'valid');
}

$Fake->change("GET *:token:* => raw \$-1\\r\\n\n"
              . "HMGET *:camera:5 => error WRONGTYPE\n");

for my $turn (1 .. 3) {
    $client->send(text('{"cameras_ids":[5]}'));
    answers($client->response, '401', "revoked, $turn");
}

is($Fake->count('HMGET \S+:camera:5'), 1, 'asked for once');

$wrong->send(text('{"cameras_ids":["x"]}'));
answers($wrong->response, '401', 'revoked, and the parameters are wrong');

$wrong->send(text('{"cameras_ids":["x"]}') =~ s/.\z//sr);
answers($wrong->response, '401', 'the second time before its body is read');

$gone->send(text('{"cameras_ids":[99]}'));
answers($gone->response, '401', 'revoked, and the camera may be gone');
is($Fake->count('HGETALL'), 0, 'which is not looked into');

$Fake->change('');
--- logged
\[info\] .*client sent an invalid billing token
--- errors_allowed



=== TEST 35: another token on the same connection has yet to show that it is valid
--- fake
--- run
my $client = client();

for my $turn (1, 2) {
    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', "valid, $turn");

    $client->send(text('{"cameras_ids":[5]}', token => 'nobody'));
    answers($client->response, '401', "not valid, $turn");
}

is($Fake->count('HMGET \S+:camera:5'), 0, 'nothing was asked for it');



=== TEST 36: nor is a token valid in one location for being so in another
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
--- run
my $client = client();

$client->send(text('{"cameras_ids":[3]}'));
answers($client->response, '3', 'here');

$client->send(text('{"cameras_ids":[5]}', uri => '/other'));
answers($client->response, '401', 'there');

is($Fake->count('HMGET \S+:camera:5'), 0, 'nothing was asked for');



=== TEST 37: revoked, and what else is answered cannot be read
--- fake
HMGET *:camera:5 => raw !\r\n
--- run
my ($client, $revoked) = map { client() } 1, 2;

for ($client, $revoked) {
    $_->send(text('{"cameras_ids":[3]}'));
    answers($_->response, '3', 'valid');
}

$client->send(text('{"cameras_ids":[5]}'));
answers($client->response, '502', 'a valid token');

$Fake->change("GET *:token:* => raw \$-1\\r\\n\n"
              . "HMGET *:camera:5 => raw !\\r\\n\n");

$revoked->send(text('{"cameras_ids":[5]}'));
answers($revoked->response, '401', 'one that is revoked');

# nor can the token's answer

my $broken = client();

$Fake->change('');
$broken->send(text('{"cameras_ids":[3]}'));
answers($broken->response, '3', 'valid again');

my $asked = $Fake->count('GET \S+:token:');

$Fake->change("GET *:token:* => raw !\\r\\n\n");
$broken->send(text('{"cameras_ids":[5]}'));
answers($broken->response, '502', 'nothing can be read');
is($Fake->count('GET \S+:token:') - $asked, 2, 'asked for twice');

$Fake->change('');
--- logged
\[error\] .*what came is no reply
--- errors_allowed



=== TEST 38: whatever is asked for on the same connection, valid and revoked
--- fake
--- run
my $odd = <<'END';
HMGET *:camera:5 => error WRONGTYPE
GET *:external:odd => error WRONGTYPE
ZRANGEBYSCORE *:login:odd => error WRONGTYPE
END

$Fake->change($odd);

my @kinds = (
    '{"cameras_ids":[3,4]}'                        => '3 4',
    '{"cameras_uuid":["3","none"]}'                => '3',
    '{"cameras_ids":[3,7],"login":"admin"}'        => '3',
    '{"login":"admin"}'                            => '3 4',
    '{"cameras_ids":[99]}'                         => 'null',
    '{"cameras_uuid":["none"]}'                    => 'null',
    '{"login":"nobody"}'                           => 'null',
    '{"cameras_ids":[3,5]}'                        => '502',
    '{"cameras_uuid":["3","odd"]}'                 => '502',
    '{"login":"odd"}'                              => '502',
    '{}'                                           => 'required',
);

while (my ($body, $expected) = splice @kinds, 0, 2) {
    my $client = client();

    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', 'valid');

    $client->send(text($body));
    answers($client->response, $expected, $body);

    $client->send(text('{"cameras_ids":[3]}'));
    answers($client->response, '3', 'still valid');

    # it is revoked while the body is under way

    my ($head, $last) = text($body) =~ /\A(.*)(.)\z/s;

    $client->send($head);
    $Fake->change("GET *:token:* => raw \$-1\\r\\n\n$odd");
    $client->send($last);
    answers($client->response, '401', "revoked, $body");

    $Fake->change($odd);
}
--- errors_allowed



=== TEST 39: HTTP/2: streams whose bodies come when the token is revoked
--- http_config eval
<<'END'
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2;
    location / {
        billing_cameras_list;
    }
}
END
--- fake
--- run
my $ports = $Test::Nginx::Util::RandPorts;
my $client = client(port => $ports->{TEST_NGINX_RAND_PORT_1});
my (%body, %ended);

my $frame = sub {
    my ($type, $flags, $stream, $text) = @_;

    $client->send(substr(pack('N', length $text), 1)
                  . pack('CCN', $type, $flags, $stream) . $text);
};

my $open = sub {
    my ($stream) = @_;

    my @fields = (':method' => 'GET', ':scheme' => 'http', ':path' => '/',
                  ':authority' => 'localhost', 'content-type' => 'a/json',
                  authorization => "Bearer $Token");

    $frame->(1, 4, $stream, pack '(xC/a*C/a*)*', @fields);
};

my $answered = sub {
    my @streams = @_;

    while (grep { !$ended{$_} } @streams) {

        while ($client->{in} !~ /\A\0(..)/s
               || length $client->{in} < 9 + unpack 'n', $1)
        {
            $client->fill or return 0;
        }

        my ($length, $type, $flags, $stream) = unpack 'xnCCN', $client->{in};
        my $text = substr $client->{in}, 9, $length;
        substr($client->{in}, 0, 9 + $length) = '';

        $body{$stream} .= $text if $type == 0;
        $ended{$stream} = 1 if $type <= 1 && $flags & 1;
    }

    return 1;
};

$client->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
$frame->(4, 0, 0, '');

$open->(1);
$frame->(0, 1, 1, '{"cameras_ids":[3]}');
ok($answered->(1), 'valid');

$open->($_) for 3, 5, 7, 9;
$frame->(0, 1, 9, '{"cameras_ids":[3]}');
ok($answered->(9), 'and valid while others are under way');
is($body{$_}, Billing::Fixtures::answer(3), "stream $_") for 1, 9;

$Fake->change("GET *:token:* => raw \$-1\\r\\n\n");

$frame->(0, 1, $_, '{"cameras_ids":[5]}') for 3, 5, 7;
ok($answered->(3, 5, 7), 'revoked');
is($body{$_}, '{"message":"Unauthenticated."}', "stream $_") for 3, 5, 7;

is($Fake->count('HMGET \S+:camera:5'), 1, 'asked for once');

$Fake->change('');
