# Long lists: their memory, and what happens while they are sent.

use strict;
use warnings;

use Billing 'long_lists';
use Test::Nginx::Socket 'no_plan';


our $CONFIG = <<"END";
    location = $Billing::URI {
        billing_cameras_list;
    }
END

# A long list of cameras, each of some hundred bytes.

sub fill {
    my ($server, $n) = @_;

    my @commands = map { [ 'HSET', "${Billing::Prefix}camera:$_", 'name', "N$_", 'preview', 'x' x 900 ] }
                   100001 .. 100000 + $n;

    $server->pipeline(splice @commands, 0, 1000) while @commands;
    $server->pipeline([ 'ZADD', "${Billing::Prefix}login:long",
                        map { ($_, $_) } 100001 .. 100000 + $n ]);
}

# The beginning of an HTTP/2 connection, with windows that never end, and a GET
# in stream 1.

sub http2 {
    my ($path) = @_;

    my $field = sub { join '', map { chr(length) . $_ } @_ };
    my $frame = sub {
        my ($type, $flags, $stream, $payload) = @_;
        return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream)
               . $payload;
    };

    return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
           . $frame->(4, 0, 0, pack 'nN', 4, 0x7fffffff)
           . $frame->(8, 0, 0, pack 'N', 0x7fff0000)
           . $frame->(1, 5, 1, "\x82\x86\x04" . $field->($path) . "\x01" . $field->('localhost')
                                 . "\x00" . $field->('authorization', "Bearer $Billing::Token"));
}

sub rst_stream {
    return pack 'CnCCNN', 0, 4, 3, 0, 1, 8;
}

run_tests();

__DATA__

=== TEST 1: HTTP/2: a client resets a list of which frames wait to be sent
--- http_config
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 http2 sndbuf=16k;
    http2_chunk_size 64k;
    location / {
        billing_cameras_list;
    }
}
--- config eval: $::CONFIG
--- run
::fill(redis(), 5000);

my $port = $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1};

for my $n (1 .. 3) {
    my $client = client(port => $port);
    $client->send(::http2('/?login=long'));

    # the first part of a list has its memory elsewhere

    1 while length $client->{in} < 1_000_000 && $client->fill;
    Time::HiRes::sleep 0.2;
    $client->send(::rst_stream());
    Time::HiRes::sleep 0.2;
    my $before = length $client->{in};
    1 while $client->fill(0.3);
    cmp_ok(length $client->{in}, '>', $before, "client $n: the frames that waited are sent");
    $client->close;
}



=== TEST 2: QUIT finishes a list that comes from the worker's cache
--- config eval: $::CONFIG
--- run
::fill(redis(), 3000);

my $nginx = Billing::Nginx->start(<<"END", level => "debug", alerts => 1);
    billing_redis redis://127.0.0.1:$ENV{TEST_NGINX_REDIS_PORT};
    billing_redis_prefix $Prefix;
    billing_cache 64m;
    billing_cache_lag 1h;
    server {
        listen 127.0.0.1:%PORT%;
        location / {
            billing_cameras_list;
            add_header X-Cache \$billing_cache always;
        }
    }
END

# QUIT comes while the worker sends the list, turn by turn of its event loop.

my ($hits, $cut) = (0, 0);

for (1 .. 10) {
    my $old = ($nginx->workers)[0];

    # the second answer keeps what the first one was too early for

    my ($whole) = map { ask(undef, port => $nginx->{port}, query => '?login=long') } 1 .. 2;

    my $client = client(port => $nginx->{port});
    $client->send(Billing::text(undef, query => '?login=long'));
    $client->fill;
    kill 'QUIT', $old;

    my $res = $client->response;
    $hits++ if $res->{headers} =~ /^X-Cache: HIT/m;
    $cut++ if !$res->{complete} || $res->{body} ne $whole->{body};
    ok($nginx->replaced(10, $old), 'the worker ends');
}

cmp_ok($hits, '>', 0, "$hits lists came from the cache");
is($cut, 0, 'all lists were whole');
unlike($nginx->log_text, qr/\[alert\]/, 'no alert');



=== TEST 3: chunks of a list whose client pauses are not looked at after they are freed
--- http_config
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 sndbuf=16k;
    location / {
        billing_cameras_list;
    }
}
--- config eval: $::CONFIG
--- run
::fill(redis(), 5000);

my $client = client(port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1});
$client->send(Billing::text(undef, query => '?login=long'));

for my $part (1 .. 8) {
    1 while length $client->{in} < $part * 500_000 && $client->fill;
    Time::HiRes::sleep 0.1;
}

my $res = $client->response;
ok($res->{complete}, 'the list is whole');
is(scalar(() = $res->{body} =~ /"name":"N\d+"/g), 5000, 'all cameras are in it');
