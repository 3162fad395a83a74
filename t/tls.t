# TLS to Redis. Billing::TLS chooses the blocks that the module can run.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'tls';
use Test::Nginx::Socket 'no_plan';
use Billing::TLS;

our $Tls = Billing::TLS->new(
    address => 'IP:127.0.0.1',
    name => 'DNS:redis.example, DNS:localhost',
    wildcard => 'DNS:*.redis.example',
    other => 'DNS:other.example, IP:127.0.0.2',
    nul => 'DNS:127.0.0.1',
);

our $DIR = $Tls->{dir};

sub server {
    return join ' ', $Tls->server(@_);
}

our $URL = 'billing_redis rediss://127.0.0.1:$TEST_NGINX_OWN_PORT;';
our $CA = "billing_redis_ssl_trusted_certificate $DIR/ca.crt;";

our $REASON = $Tls->reason;

$Tls->choose(do { local $/; <DATA> });

run_tests();

__DATA__

=== TEST 1: a hiredis without TLS makes rediss:// an error that says why
--- without
--- refuses eval
join '', map { "$_ $::REASON\n" }
    'billing_redis rediss://127.0.0.1; -> invalid URL "rediss://127\.0\.0\.1" in "billing_redis" directive:',
    'billing_redis rediss://bob:s3cret@127.0.0.1:6380/3; -> (?!.*s3cret).*invalid URL "rediss://\*\*\*@127\.0\.0\.1:6380" .*:',
    'billing_redis unix:/a.sock rediss://127.0.0.1; -> invalid URL "rediss://127\.0\.0\.1" .*:',
    'billing_redis_ssl_verify off; billing_redis rediss://127.0.0.1; -> '



=== TEST 2: a hiredis without TLS accepts the TLS directives when no URL needs TLS
--- without
--- http_config
billing_redis_ssl_verify on;
billing_redis_ssl_name redis.example;
billing_redis_ssl_trusted_certificate none.crt;
billing_redis_ssl_certificate none.crt;
billing_redis_ssl_certificate_key none.key;
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 3: a certificate of the address in the URL is accepted
--- http_config eval: $::URL . $::CA
--- server eval: ::server('address')
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"mixed"}                               -> 4 5 7 10 12 9007199254740991
{"cameras_uuid":["cam-5"]}                      -> 5
{"login":"nobody"}                              -> null



=== TEST 4: a certificate of the name in billing_redis_ssl_name is accepted
--- http_config eval: $::URL . $::CA . 'billing_redis_ssl_name redis.example;'
--- server eval: ::server('name')
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 5: a wildcard certificate is accepted
--- http_config eval: $::URL . $::CA . 'billing_redis_ssl_name a.redis.example;'
--- server eval: ::server('wildcard')
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 6: a certificate of the name in the URL is accepted
--- http_config eval: 'billing_redis rediss://localhost:$TEST_NGINX_OWN_PORT;' . $::CA
--- server eval: ::server('name')
--- cases
{"cameras_ids":[3]}                             -> 3
--- errors_allowed



=== TEST 7: a certificate of another address is refused
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('other')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: IP address mismatch
--- logged_times
1 is down:



=== TEST 8: a certificate of another name is refused
--- http_config eval: $::URL . $::CA . 'billing_redis_ssl_name redis.example; billing_redis_timeout 1s;'
--- server eval: ::server('other')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: hostname mismatch



=== TEST 9: a certificate whose name looks like the address is refused
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('nul')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: IP address mismatch



=== TEST 10: a certificate of a name alone is refused for an address
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('name')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: IP address mismatch



=== TEST 11: a certificate of an unknown CA is refused
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('foreign')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: .*(?:issuer|self.signed) .*certificate



=== TEST 12: an expired certificate is refused
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('expired')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: certificate has expired



=== TEST 13: billing_redis_ssl_verify off accepts any certificate
--- http_config eval: $::URL . 'billing_redis_ssl_verify off;'
--- server eval: ::server('foreign')
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4



=== TEST 14: billing_redis_ssl_verify off accepts another name
--- http_config eval: $::URL . $::CA . 'billing_redis_ssl_verify off; billing_redis_ssl_name redis.example;'
--- server eval: ::server('other')
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 15: a client's certificate is sent to Redis
--- http_config eval
"$::URL $::CA billing_redis_ssl_certificate $::DIR/client.crt; billing_redis_ssl_certificate_key $::DIR/client.key;"
--- server eval: ::server('address', 'yes')
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4



=== TEST 16: a server that wants a client's certificate, and gets none, is a fault
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 1s;'
--- server eval: ::server('address', 'yes')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: 



=== TEST 17: a client's certificate of a CA that the server does not know is a fault
--- http_config eval
"$::URL $::CA billing_redis_ssl_certificate $::DIR/foreign.crt; billing_redis_ssl_certificate_key $::DIR/foreign.key;
billing_redis_timeout 1s;"
--- server eval: ::server('address', 'yes')
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: 



=== TEST 18: invalid values of the TLS directives are errors
--- refuses eval
join '', map { s/DIR/$::DIR/gr . "\n" }
    'billing_redis rediss://127.0.0.1; -> no "billing_redis_ssl_trusted_certificate" for "billing_redis_ssl_verify"',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_verify off; billing_redis_ssl_certificate DIR/client.crt; -> no "billing_redis_ssl_certificate_key" for "billing_redis_ssl_certificate" "/\S+/client\.crt"',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_trusted_certificate DIR/none.crt; -> /none\.crt',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_trusted_certificate DIR/ca.key; -> /ca\.key',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_verify off; billing_redis_ssl_certificate DIR/none.crt; billing_redis_ssl_certificate_key DIR/client.key; -> /none\.crt',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_verify off; billing_redis_ssl_certificate DIR/client.crt; billing_redis_ssl_certificate_key DIR/none.key; -> /none\.key',
    'billing_redis rediss://127.0.0.1; billing_redis_ssl_verify off; billing_redis_ssl_certificate DIR/client.crt; billing_redis_ssl_certificate_key DIR/address.key; -> key values mismatch',
    'billing_redis_ssl_verify on; billing_redis_ssl_verify on; -> is duplicate',
    'billing_redis_ssl_name; -> invalid number of arguments'



=== TEST 19: a key without a certificate is not used
--- http_config eval
"$::URL $::CA billing_redis_ssl_certificate_key $::DIR/none.key;"
--- server eval: ::server('address')
--- cases
{"cameras_ids":[3]}                             -> 3



=== TEST 20: a TLS server may have a user, a password and a database
--- http_config eval
'billing_redis rediss://default:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT/0;' . $::CA
--- server eval: ::server('address')
--- run
$Server->command('CONFIG', 'SET', 'requirepass', 's3cret');
answers(ask('{"cameras_ids":[3]}'), '3', 'with a password');
--- no_error_log
s3cret



=== TEST 21: rediss:// for a Redis without TLS has a log line that says so
--- http_config eval
'billing_redis rediss://127.0.0.1:$TEST_NGINX_REDIS_PORT; billing_redis_timeout 2s;' . $::CA
--- run
# Redis may take the handshake for a command, or wait for the end of a line.

like(ask('{"cameras_ids":[3]}')->{status}, qr/\A50[34]\z/, 'status');
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*is down: .*, the port may be one without TLS$



=== TEST 22: redis:// for a Redis with TLS has a log line that says so
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;
billing_redis_timeout 2s;
--- server eval: ::server('address')
--- run
my $res = ask('{"cameras_ids":[3]}');
like($res->{status}, qr/\A50[234]\z/, 'status');
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*is down: .*, the port may be one with TLS$



=== TEST 23: the next server is used while the first never begins the handshake
--- http_config eval
'billing_redis rediss://127.0.0.1:$TEST_NGINX_FAKE_PORT unix:$TEST_NGINX_REDIS_SOCKET; billing_redis_timeout 5s;' . $::CA
--- fake
any => silent
--- cases
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: server does not answer, the port may be one without TLS$
--- logged_times
1 is down:



=== TEST 24: the next server is used while the first one's certificate is refused
--- http_config eval
'billing_redis rediss://127.0.0.1:$TEST_NGINX_OWN_PORT unix:$TEST_NGINX_REDIS_SOCKET; billing_redis_timeout 5s;' . $::CA
--- server eval: ::server('foreign')
--- run
my ($is, $failed) = keep_asking(3, $EXAMPLE, '3 4', sub { 0 });
is($failed, 0, 'none failed');
--- logged_times
1 is down:
--- errors_allowed



=== TEST 25: garbage instead of a handshake is a fault, and does no harm
--- http_config eval
'billing_redis rediss://127.0.0.1:$TEST_NGINX_FAKE_PORT; billing_redis_timeout 1s;' . $::CA
--- fake
accept => raw \x16\x03\x03\xff\xff\{\xff*70000}
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: 



=== TEST 26: values of about the size of a TLS record are answered
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 3s;'
--- server eval: ::server('address')
--- redis eval
join "\n", map { "HSET billing:camera:$_ name " . 'n' x $_ }
           (map { 16000 + 15 * $_ } 0 .. 60), (map { 49000 + 20 * $_ } 0 .. 30), 200_000, 1_000_000
--- run
my $failed = 0;
my $start = time;

for my $id ((map { 16000 + 15 * $_ } 0 .. 60), (map { 49000 + 20 * $_ } 0 .. 30), 200_000, 1_000_000) {
    my $res = ask("{\"cameras_ids\":[$id]}");
    next if $res->{body} eq
            '[' . Billing::Fixtures::camera($id, { name => 'n' x $id }) . ']';
    diag("$id bytes: $res->{status}, " . length $res->{body}) if $failed++ < 3;
    last if $failed == 3;
}

is($failed, 0, 'each size is read to its end');
cmp_ok(time - $start, '<', 20, 'and at once');
--- timeout: 60



=== TEST 27: several long lists at once are answered over TLS
--- http_config eval: $::URL . $::CA
--- server eval: ::server('address')
--- redis eval
join "\n", map { ("HSET billing:camera:$_ name " . 'x' x ($_ % 1000) . "$_",
                  "ZADD billing:login:many $_ $_") } 1001 .. 2500
--- route
billing_batch 50;
--- run
my $answer = '[' . join(',', map {
    Billing::Fixtures::camera($_, { name => 'x' x ($_ % 1000) . $_ })
} 1001 .. 2500) . ']';

my @clients = map { client() } 1 .. 4;
$_->send(text(undef, query => '?login=many')) for @clients;

for (@clients) {
    my $res = $_->response;
    ok($res->{complete}, 'complete');
    ok($res->{body} eq $answer, 'whole');
}



=== TEST 28: many requests at once share one TLS connection
--- http_config eval: $::URL . $::CA
--- server eval: ::server('address')
--- run
my @ids = (3, 4, 5, 7, 10, 12);

for my $turn (1 .. 5) {
    my @clients = map { client() } 0 .. 29;
    $clients[$_]->send(text("{\"cameras_ids\":[$ids[$_ % 6]]}")) for 0 .. 29;
    answers($clients[$_]->response, $ids[$_ % 6], "client $_") for 0 .. 29;
}



=== TEST 29: an idle TLS connection is kept, whatever session tickets come
--- http_config eval: $::URL . $::CA
--- server eval: ::server('address')
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'the first');
my ($first) = map { /\bid=(\d+) addr=127/ } split /\n/, $Server->command('CLIENT', 'LIST');
select undef, undef, undef, 1;
answers(ask('{"cameras_ids":[4]}'), '4', 'the second');
my ($second) = map { /\bid=(\d+) addr=127/ } split /\n/, $Server->command('CLIENT', 'LIST');
ok($first, 'there is a connection');
is($second, $first, 'and it is the same');



=== TEST 30: a Redis with TLS that is killed and started again within the timeout fails no request
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 10s;'
--- server eval: ::server('address')
--- run
for my $turn (1 .. 3) {
    answers(ask($EXAMPLE), '3 4', "turn $turn: at first");
    $Server->stop;

    my $client = client();
    $client->send(text($EXAMPLE));
    select undef, undef, undef, 0.5;

    $Server->start;
    $Server->command('SET', @$_) for [ "${Billing::Prefix}token:" . sha256($Token), 'x' ];
    my $res = $client->response;
    like($res->{status}, qr/\A(?:200|401|503)\z/, "turn $turn: an answer of the new one");
    unlike($res->{body}, qr/not available/, "turn $turn: it was connected to");
    $Server->command(@$_) for fixtures();
}
--- errors_allowed



=== TEST 31: TLS connections that Redis kills fail no request
--- http_config eval: $::URL . $::CA . 'billing_redis_timeout 5s; billing_redis_connections 2;'
--- server eval: ::server('address')
--- run
my $failed = 0;

for my $turn (1 .. 15) {
    my @clients = map { client() } 1 .. 6;
    $_->send(text($EXAMPLE)) for @clients;
    $Server->command('CLIENT', 'KILL', 'TYPE', 'normal');

    for (@clients) {
        my $res = $_->response;
        $failed += $res->{body} ne Billing::Fixtures::answer(3, 4);
    }
}

is($failed, 0, 'none failed');
--- errors_allowed



=== TEST 32: reloads and QUIT finish a request in flight over TLS, and close an idle connection
--- server eval: ::server('address')
--- http_config eval: $::URL . $::CA
--- run
my $nginx = Billing::Nginx->start(<<"END");
    $::URL $::CA
    billing_redis_prefix $Billing::Prefix;
    billing_redis_timeout 10s;
    server {
        listen 127.0.0.1:%PORT%;
        location / { billing_cameras_list; }
    }
END

for my $turn (1 .. 3) {
    answers(ask($EXAMPLE, port => $nginx->{port}), '3 4', "turn $turn");
    my @old = $nginx->workers;

    $Server->command('CLIENT', 'PAUSE', 1000);
    my $client = client(port => $nginx->{port});
    $client->send(text($EXAMPLE));
    select undef, undef, undef, 0.3;
    $nginx->signal('HUP');
    answers($client->response, '3 4', "turn $turn: in flight");
    $client->close;
    ok($nginx->replaced(5, @old), "turn $turn: the old worker is gone");
}

answers(ask($EXAMPLE, port => $nginx->{port}), '3 4', 'at the end');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');

my @bad = grep { /\[(?:alert|crit|emerg)\]|open socket/ } split /\n/, $nginx->log_text;
is(join("\n", @bad), '', 'no alert in the log');



=== TEST 33: locations with other certificates do not share a TLS connection
--- server eval: ::server('address')
--- config eval
<<"END"
$::URL $::CA
billing_redis_timeout 1s;
location = $Billing::URI { billing_cameras_list; }
location = /off { billing_cameras_list; billing_redis_ssl_verify off; }
location = /other { billing_cameras_list; billing_redis_ssl_name redis.example; }
END
--- http_config
billing_redis unix:/none.sock;
--- run
answers(ask($EXAMPLE), '3 4', 'verified');
answers(ask($EXAMPLE, uri => '/other'), '503', 'another name');
answers(ask($EXAMPLE, uri => '/off'), '3 4', 'not verified');
answers(ask($EXAMPLE), '3 4', 'verified again');
--- logged
\[error\] .*is down: hostname mismatch
