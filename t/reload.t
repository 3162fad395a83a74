# Reloading and ending nginx: an old worker finishes its requests and then ends.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'reload';
use Test::Nginx::Socket 'no_plan';

# A long list of cameras with long names, and the answer for it.

sub many {
    my ($from, $to) = @_;

    return join "\n", map {
        ("HSET billing:camera:$_ name " . 'x' x 900 . "$_", "ZADD billing:login:many $_ $_")
    } $from .. $to;
}

sub cameras {
    return '[' . join(',', map {
        Billing::Fixtures::camera($_, { name => 'x' x 900 . $_ })
    } @_) . ']';
}

# A separate nginx, with the same Redis as the block.

sub nginx {
    my ($redis, $more, %opt) = @_;

    return Billing::Nginx->start(<<"END", %opt);
    billing_redis $redis;
    billing_redis_prefix $Billing::Prefix;
    $more
    server {
        listen 127.0.0.1:%PORT% sndbuf=64k;
        location = $Billing::URI {
            billing_cameras_list;
            billing_batch 20;
        }
        location = /unused {
            billing_cameras_list;
            billing_redis unix:/nonexistent.sock;
        }
    }
END
}

our $FAKE = 'redis://127.0.0.1:$TEST_NGINX_FAKE_PORT';
our $REAL = 'unix:$TEST_NGINX_REDIS_SOCKET';

# A client that keeps its connection open keeps an old worker for nginx'
# lingering_timeout: the clients below close theirs before a test waits for the
# worker.

# Lines that no log may have at the end.

sub clean {
    my ($nginx) = @_;

    my @bad = grep { /\[(?:alert|crit|emerg)\]|open socket|exited on signal/ }
              split /\n/, $nginx->log_text;
    Test::More::is(join("\n", @bad), '', 'no alert in the log');
}

# The rest of a response, in small pieces over some seconds.

sub read_slowly {
    my ($client, $seconds) = @_;

    my $end = time + $seconds;

    while (time < $end) {
        sysread $client->{sock}, $client->{in}, 4096, length $client->{in} or last;
        select undef, undef, undef, 0.1;
    }

    return $client->response;
}

run_tests();

__DATA__

=== TEST 1: requests in flight are answered through a reload
--- fake
HMGET => pause 2
--- http_config
billing_redis_timeout 15s;
--- run
my $nginx = ::nginx($::FAKE, 'billing_redis_timeout 15s;');
my @old = $nginx->workers;
my @ids = (3, 4, 5, 7);
my @clients = map { client(port => $nginx->{port}) } 0 .. 3;
$clients[$_]->send(text("{\"cameras_ids\":[$ids[$_]]}")) for 0 .. 3;
select undef, undef, undef, 0.5;

$nginx->signal('HUP');
wait_for(10, sub { $nginx->workers > 1 });
$Fake->change('');

answers(ask('{"cameras_ids":[10]}', port => $nginx->{port}), '10', 'the new worker meanwhile');
answers($clients[$_]->response, $ids[$_], "camera $ids[$_]") for 0 .. 3;
$_->close for @clients;
ok($nginx->replaced(5, @old), 'the old worker is gone soon');

$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'and nginx ends');
ok(wait_for(5, sub { $Fake->count('closed') == $Fake->count('accept') }),
   'its connections are closed');
::clean($nginx);



=== TEST 2: requests that wait for a connection are answered through a reload
--- fake
listen 4
--- run
my $nginx = ::nginx($::FAKE, 'billing_redis_timeout 15s;');
my @old = $nginx->workers;
my @clients = map { client(port => $nginx->{port}) } 0 .. 3;
$_->send(text('{"cameras_ids":[5]}')) for @clients;
select undef, undef, undef, 0.5;

$nginx->signal('HUP');
answers($_->response, '5', 'one that waited') for @clients;
$_->close for @clients;
ok($nginx->replaced(5, @old), 'the old worker is gone soon');
::clean($nginx);



=== TEST 3: requests whose connection to Redis breaks during a reload are answered
--- fake
conn 1 HMGET => pause 2
conn 1 ECHO *.2 => close
--- run
my $nginx = ::nginx($::FAKE, 'billing_redis_timeout 15s; billing_token off;');
my @old = $nginx->workers;
$Fake->change("conn 1 HMGET => pause 2\nconn 1 any => close");

my $client = client(port => $nginx->{port});
$client->send(text('{"cameras_ids":[5]}'));
wait_for(5, sub { $Fake->count('HMGET') });

$nginx->signal('HUP');
answers($client->response, '5', 'it is sent again by the old worker');
$client->close;
ok($nginx->replaced(5, @old), 'the old worker is gone soon');
::clean($nginx);
--- request eval
"GET $Billing::URI"
--- error_code: 401



=== TEST 4: a list whose client reads slowly is finished by the old worker after a reload
--- redis eval: ::many(1001, 2500)
--- run
my $nginx = ::nginx($::REAL, '');
my @old = $nginx->workers;
my $client = client(port => $nginx->{port});
$client->send(text(undef, query => '?login=many'));
$client->fill;

$nginx->signal('HUP');
wait_for(10, sub { $nginx->workers > 1 });
answers(ask($EXAMPLE, port => $nginx->{port}), '3 4', 'the new worker meanwhile');
ok(scalar(grep { $_ eq $old[0] } $nginx->workers), 'the old worker is still there');

my $res = ::read_slowly($client, 3);
ok($res->{complete}, 'the list is complete');
ok($res->{body} eq ::cameras(1001 .. 2500), 'and whole');
$client->close;
ok($nginx->replaced(5, @old), 'the old worker is gone soon');
::clean($nginx);
--- timeout: 60



=== TEST 5: QUIT finishes requests in flight and a list whose client reads slowly
--- redis eval: ::many(1001, 2500)
--- fake
HMGET *:camera:5 => pause 2
--- run
my $nginx = ::nginx($::FAKE, 'billing_redis_timeout 20s; billing_redis_connections 2;', workers => 2);
my $reader = client(port => $nginx->{port});
$reader->send(text(undef, query => '?login=many'));
$reader->fill;

my @clients = map { client(port => $nginx->{port}) } 1 .. 4;
$_->send(text('{"cameras_ids":[5]}')) for @clients;
wait_for(5, sub { $Fake->count('HMGET t_reload:camera:5$') });
$nginx->signal('QUIT');

answers($_->response, '5', 'a request in flight') for @clients;
my $res = ::read_slowly($reader, 2);
ok($res->{complete}, 'the list is complete');
ok($res->{body} eq ::cameras(1001 .. 2500), 'and whole');
$_->close for @clients, $reader;

is($nginx->ended(5), 'status 0', 'nginx ends');
::clean($nginx);
--- timeout: 60



=== TEST 6: QUIT ends a worker whatever the state of its connection to Redis
--- fake
--- run
my $nginx = ::nginx($::FAKE, '');
answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '3', 'an idle connection');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'an idle connection: nginx ends');
::clean($nginx);

$nginx = ::nginx($::FAKE, '');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'no connection: nginx ends');
::clean($nginx);

$Fake->change('listen full');
$nginx = ::nginx($::FAKE, 'billing_redis_timeout 1s; billing_redis_connect_timeout 30s;');
answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '503', 'a connection that is being made');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'a connection that is being made: nginx ends');
::clean($nginx);

$Fake->down;
$nginx = ::nginx($::FAKE, 'billing_redis_timeout 1s;');
answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '503', 'a server that is down');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'a server that is down: nginx ends');
::clean($nginx);

$Fake->up;



=== TEST 7: QUIT and a reload end a worker that probes the first server
--- fake
listen never
--- fake2
--- run
my $two = "$::FAKE redis://127.0.0.1:\$TEST_NGINX_FAKE2_PORT";
my $nginx = ::nginx($two, 'billing_redis_timeout 5s;');
my @old = $nginx->workers;
answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '3', 'on the second');
$nginx->signal('HUP');
ok($nginx->replaced(5, @old), 'the old worker is gone soon');

answers(ask('{"cameras_ids":[3]}', port => $nginx->{port}), '3', 'on the second');
$Fake->up;
ok(wait_for(5, sub { $Fake->count('PING') }), 'the first is probed');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
::clean($nginx);



=== TEST 8: TERM ends nginx with requests in flight
--- not_in
valgrind: nginx does not free what requests hold that TERM ends
--- fake
HMGET => pause 20
--- run
my $nginx = ::nginx($::FAKE, 'billing_redis_timeout 30s;');
my @clients = map { client(port => $nginx->{port}) } 1 .. 4;
$_->send(text('{"cameras_ids":[5]}')) for @clients;
wait_for(5, sub { $Fake->count('HMGET') == 4 });
$nginx->signal('TERM');
is($nginx->ended(5), 'status 0', 'nginx ends at once');
is($_->response->{status}, 0, 'a request is broken off') for @clients;

my @bad = grep { /exited on signal|\[(?:crit|emerg)\]/ } split /\n/, $nginx->log_text;
is(join("\n", @bad), '', 'nothing crashed');
$Fake->change('');



=== TEST 9: many reloads under load, with slow readers, fail no request
--- redis eval: ::many(1001, 1600)
--- run
my $nginx = ::nginx($::REAL, 'billing_redis_timeout 10s;', workers => 2);
my @old = $nginx->workers;
my @readers;
my ($failed, $asked) = (0, 0);

for my $turn (1 .. 10) {
    if ($turn <= 4) {
        push @readers, client(port => $nginx->{port});
        $readers[-1]->send(text(undef, query => '?login=many'));
        $readers[-1]->fill;
    }

    $nginx->signal('HUP');
    my $end = Time::HiRes::time() + 0.5;

    while (Time::HiRes::time() < $end) {
        my @clients = map { client(port => $nginx->{port}) } 1 .. 4;
        $_->send(text($EXAMPLE)) for @clients;

        for (@clients) {
            my $res = $_->response;
            $asked++;
            next if $res->{body} eq Billing::Fixtures::answer(3, 4);
            diag("answer $asked: $res->{status} $res->{body}") if $failed++ == 0;
        }

        select undef, undef, undef, 0.05;
    }
}

is($failed, 0, "none of $asked requests failed");

for my $reader (@readers) {
    my $res = $reader->response;
    ok($res->{complete} && $res->{body} eq ::cameras(1001 .. 1600), 'a slow reader has it all');
    $reader->close;
}

ok($nginx->replaced(10, @old), 'the first workers are gone');
ok(wait_for(10, sub { $nginx->workers == 2 }), 'and only two are there');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
::clean($nginx);
--- timeout: 60
