# Sentinels and nodes of a cluster that are broken, or lie.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'hostile_nodes';
use Test::Nginx::Socket 'no_plan';
use Billing::Cluster;

our $FAKE = 'billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;';
our $DOWN = "once HMGET => error CLUSTERDOWN The cluster is down\n";

our $STATUS = <<"END";
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
END

# Words as bulk strings, in the language of a fake's rules.

sub bulk {
    return join '', map { '$' . length($_) . "\\r\\n$_\\r\\n" } @_;
}

# A range of CLUSTER SLOTS; a node is [host, port, further elements].

sub range {
    my ($first, $last, @nodes) = @_;

    my $text = '*' . (2 + @nodes) . "\\r\\n:$first\\r\\n:$last\\r\\n";

    for (@nodes) {
        my ($host, $port, @more) = @$_;
        $text .= '*' . (3 + @more) . '\\r\\n' . bulk($host) . ":$port\\r\\n"
                 . bulk('id') . join '', @more;
    }

    return $text;
}

sub slots {
    return 'raw *' . @_ . '\\r\\n' . join('', map { range(@$_) } @_);
}

# All slots are those of the fakes: a master and its replicas.

sub whole {
    return slots([ 0, 16383, map { [ '127.0.0.1', $_->{port} ] } @_ ]);
}

# The answers of a sentinel without RESP3 that names one server.

sub sentinel {
    my ($port) = @_;

    return 'SENTINEL GET-MASTER-ADDR-BY-NAME => raw *2\\r\\n' . bulk('127.0.0.1', $port) . "\n"
           . 'SENTINEL MASTER => raw *2\\r\\n' . bulk('config-epoch', 1) . "\n"
           . "SENTINEL REPLICAS => raw *0\\r\\n\n";
}

# Some slots are one fake's, and all others are another one's.

sub divided {
    my ($fake, $other, @slots) = @_;

    my ($next, @ranges) = 0;
    my $add = sub {
        my ($first, $last, $node) = @_;
        push @ranges, [ $first, $last, [ '127.0.0.1', $node->{port} ] ] if $first <= $last;
    };

    for my $slot (sort { $a <=> $b } @slots) {
        $add->($next, $slot - 1, $other);
        $add->($slot, $slot, $fake);
        $next = $slot + 1;
    }

    $add->($next, 16383, $other);

    return slots(@ranges);
}

# An nginx whose servers do not answer ends by the signal, and without a fault.
# A signal other than TERM lets it answer the clients' requests before that.

sub ends {
    my ($nginx, $signal, $name, $statuses, @clients) = @_;

    my @old = $nginx->workers;
    $nginx->signal($signal);

    if ($signal ne 'TERM') {
        like($_->response->{status}, $statuses, "$name: answered") for @clients;
    }

    $_->close for @clients;

    if ($signal eq 'HUP') {
        ok($nginx->replaced(10, @old), "$name: the old worker ends");
        $nginx->signal('QUIT');
    }

    is($nginx->ended(10), 'status 0', "$name: nginx ends");
    unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]|open socket|exited on signal/, "$name: the log");
}

sub slot { return Billing::Cluster::slot($Billing::Prefix . $_[0]) }

run_tests();

__DATA__

=== TEST 1: a server that sentinels name says that it is a node of a cluster
--- http_config
billing_redis redis-sentinel://127.0.0.1:$TEST_NGINX_FAKE_PORT/?master=mymaster;
billing_redis_timeout 2s;
--- fake
--- fake2
--- run
$Fake->change(::sentinel($Fake2->{port}));
$Fake2->change("HELLO => raw %3\\r\\n" . ::bulk('proto') . ":3\\r\\n"
               . ::bulk(qw(mode cluster role master)) . "\nCLUSTER => " . ::whole($Fake2));
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_") for 1 .. 3;
select undef, undef, undef, 0.3;
answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'and later');
--- errors_allowed



=== TEST 2: a map that is cut off is not mixed with the next one
--- http_config eval: $::FAKE
--- fake
--- fake2
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'before');
my $slot = ::slot('camera:4');
my $cut = ::slots([ $slot, $slot, [ '127.0.0.1', $Fake2->{port} ] ]) =~ s/raw \*1/cut *2/r;
my $rest = ::slots([ 0, $slot - 1, [ '127.0.0.1', $Fake->{port} ] ],
                   [ $slot + 1, 16383, [ '127.0.0.1', $Fake->{port} ] ]);
$Fake->change("once CLUSTER => $cut*3\\r\\n:0\\r\\n\nCLUSTER => $rest\n$::DOWN");
answers(ask('{"cameras_ids":[3]}'), '3', 'the map is read');
ok(wait_for(5, sub { error_log() =~ /redis cluster: \d+ nodes have/ }), 'a map is used');
cmp_ok($Fake->count('CLUSTER SLOTS'), '>=', 2, 'it was asked for twice');
--- logged
\[notice\] .*redis cluster: 1 nodes have 16383 slots
--- errors_allowed



=== TEST 3: an exiting worker does not look for a sentinel all the time
--- fake
accept => close
--- run
my $nginx = Billing::Nginx->start(<<"END");
    billing_redis redis-sentinel://127.0.0.1:$Fake->{port}/?master=mymaster;
    billing_redis_timeout 2s;
    server {
        listen 127.0.0.1:%PORT%;
        location = $Billing::URI { billing_cameras_list; }
    }
END
my $client = Billing::client(port => $nginx->{port});
$client->send(text($EXAMPLE));
ok(wait_for(5, sub { $Fake->count('accept') }), 'the request waits');
$nginx->signal('QUIT');
is($client->response->{status}, 503, 'no server');
cmp_ok($Fake->count('accept'), '<', 300, 'attempts');
$client->close;
$nginx->stop;
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 4: null is proved by one state of the cluster
--- http_config eval: $::FAKE
--- fake
--- fake2
--- run
my ($external, $synced) = map { ::slot($_) } 'external:none', 'synced_at';
$Fake->change('CLUSTER => ' . ::whole($Fake) . "\n$::DOWN");
answers(ask('{"cameras_ids":[3]}'), '3', 'the map is read');
ok(wait_for(5, sub { error_log() =~ /redis cluster: 1 nodes have/ }), 'and used');
my $to = "127.0.0.1:$Fake2->{port}";
$Fake->change('CLUSTER => ' . ::whole($Fake) . <<"END");

once GET *synced_at => error MOVED $synced $to
once GET *external:none => delay 0
once GET *external:none => error MOVED $external $to
END
answers(ask('{"cameras_uuid":["none"]}'), 'null', 'nothing');
my $n = 0;
$n += $_->count('GET \S*external:none') for $Fake, $Fake2;
cmp_ok($n, '>', 3, 'the key is looked for until the cluster stays as it is');
--- errors_allowed



=== TEST 5: a connection that was lost before its first answer costs no stale answer
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_cache 4m;
billing_cache_stale 60s;
billing_redis_timeout 500ms;
--- fake
resp3 master
conn 1 GET => close
--- run
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_") for 1 .. 3;
$Fake->down;
answers(ask('{"cameras_ids":[3]}'), '3', 'what is kept');
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 6: a replica that has failed once has the map read no more
--- http_config eval: $::FAKE
--- fake
--- fake2
--- fake3
--- run
my $map = 'CLUSTER => ' . ::whole($Fake2, $Fake3) . "\n";
$_->change($map) for $Fake2, $Fake3;
$Fake->change($map . $::DOWN);
ask('{"cameras_ids":[3]}');
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}'); $Fake2->count('HMGET') }), 'the master is asked');
$_->down for $Fake2, $Fake3;
ask('{"cameras_ids":[3]}');
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}'); error_log() =~ /$Fake3->{port}" is down/ }), 'the replica is tried');
$Fake2->up($map);
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}')->{status} == 200 }), 'the master is back');
my $end = time + 2;
ask('{"cameras_ids":[3]}') while time < $end;
my $read = sub { my $n = 0; $n += $_->count('CLUSTER SLOTS') for $Fake, $Fake2, $Fake3; $n };
my $before = $read->();
select undef, undef, undef, 3.2;
cmp_ok($read->() - $before, '<=', 1, 'maps read by an idle worker');
--- errors_allowed



=== TEST 7: an address in the map that is none makes no new nodes
--- http_config
billing_redis redis://localhost:$TEST_NGINX_FAKE_PORT;
--- config eval: $::STATUS
--- fake
--- fake2
--- run
my $ip = '*2\r\n' . ::bulk('ip', '?');
$Fake->change('CLUSTER => ' . ::slots([ 0, 16383, [ 'localhost', $Fake2->{port}, $ip ] ]) . "\n$::DOWN");
$Fake2->change('CLUSTER => ' . ::slots([ 0, 16383, [ 'localhost', $Fake2->{port}, $ip ] ]));

for my $n (1 .. 5) {
    my $read = sub { $Fake->count('CLUSTER SLOTS') + $Fake2->count('CLUSTER SLOTS') };
    my $before = $read->();
    $_->change('CLUSTER => ' . ::slots([ 0, 16383, [ 'localhost', $Fake2->{port}, $ip ] ]) . "\n$::DOWN") for $Fake, $Fake2;
    answers(ask('{"cameras_ids":[3]}'), '3', "answer $n");
    ok(wait_for(5, sub { $read->() > $before }), 'the map is read');
    answers(ask('{"cameras_ids":[3]}'), '3', "answer $n again");
}

cmp_ok($Fake2->count('accept'), '<=', 2, 'connections to the node');
--- errors_allowed



=== TEST 8: a host that a sentinel names is no way to forge a line of the log
--- http_config
billing_redis redis-sentinel://127.0.0.1:$TEST_NGINX_FAKE_PORT/?master=mymaster;
billing_redis_timeout 300ms;
--- fake
SENTINEL GET-MASTER-ADDR-BY-NAME => raw *2\r\n$8\r\nx\nforged\r\n$4\r\n6379\r\n
SENTINEL MASTER => raw *2\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n
SENTINEL REPLICAS => raw *1\r\n*4\r\n$2\r\nip\r\n$8\r\ny\nforged\r\n$4\r\nport\r\n$1\r\n7\r\n
--- run
answers(ask('{"cameras_ids":[3]}'), '503', 'no server');
unlike(error_log(), qr/^forged/m, 'the log');
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 9: a host that a node of a cluster names is no way to forge a line either
--- http_config eval: $::FAKE
--- fake
--- run
my $map = ::slots([ 0, 16382, [ '127.0.0.1', $Fake->{port} ] ], [ 16383, 16383, [ 'x.forged', 7 ] ]);
$map =~ s/x\.forged/x\\nforged/;
$Fake->change("CLUSTER => $map\n$::DOWN");
answers(ask('{"cameras_ids":[3]}'), '3', 'the map is read');
ok(wait_for(5, sub { error_log() =~ /redis cluster: 1 nodes have/ }), 'and used');
unlike(error_log(), qr/^forged/m, 'the log');
--- errors_allowed



=== TEST 10: a token is kept for the time that PTTL has told, counted from when PTTL was sent
--- http_config eval
$::FAKE . 'billing_cache 4m; billing_redis_timeout 10s;'
--- fake
resp3 master
--- run
my $map = 'CLUSTER => ' . ::whole($Fake) . "\n";
$Fake->change($map . $::DOWN);
answers(ask('{"cameras_ids":[3]}'), '3', 'the map is read');
ok(wait_for(5, sub { error_log() =~ /redis cluster: 1 nodes have/ }), 'and used');
my $token = "${Prefix}token:*";
answers(ask('{"cameras_ids":[3]}'), '3', 'the nodes are tracked') for 1 .. 2;
$Fake->change($map . "push >2\\r\\n" . ::bulk('invalidate') . "_\\r\\n\n"
              . "20 times GET $token => error TRYAGAIN later\nPTTL => raw :2500\\r\\n");
select undef, undef, undef, 0.3;
my $end = Time::HiRes::time() + 3.4;
answers(ask('{"cameras_ids":[3]}'), '3', 'after some time');
my $asked = $Fake->count('GET \S*:token:');

while (Time::HiRes::time() < $end) {
    ask('{"cameras_ids":[3]}');
    select undef, undef, undef, 0.05;
}

cmp_ok($Fake->count('GET \S*:token:'), '>', $asked, 'the token is asked for again');
--- errors_allowed



=== TEST 11: workers end while nodes of a cluster do not answer
--- fake
--- fake2
--- run
my $map = 'CLUSTER => ' . ::slots([ 0, 8191, [ '127.0.0.1', $Fake->{port} ] ],
                                  [ 8192, 16383, [ '127.0.0.1', $Fake2->{port} ] ]) . "\n";
my $first = ::slot('token:' . Billing::sha256($Billing::Token)) > 8191 ? ' GET \S*:token:' : ' HMGET ';

for my $cache ('off', '1m') {
    for my $signal (qw(TERM QUIT HUP)) {
        $Fake->change("resp3 master\n$map$::DOWN");
        $Fake2->change("resp3 master\n$map");
        my $nginx = Billing::Nginx->start(<<"END");
    billing_redis redis://127.0.0.1:$Fake->{port};
    billing_redis_prefix $Prefix;
    billing_redis_timeout 3s;
    billing_redis_connections 4;
    billing_cache $cache;
    server {
        listen 127.0.0.1:%PORT%;
        location = $Billing::URI { billing_cameras_list; }
    }
END
        my $name = "$signal, cache $cache";
        my $ask = sub {
            my $client = Billing::client(port => $nginx->{port});
            $client->send(text('{"cameras_ids":[3,4,5,7,10,12]}'));
            return $client;
        };

        is($ask->()->response->{status}, 200, "$name: before") for 1 .. 2;
        ok(wait_for(5, sub { $ask->()->response; $nginx->log_text =~ /2 nodes have 16384 slots/ }),
           "$name: the map is read");

        my $asked = $Fake2->count($first);
        my $push = $cache eq 'off' ? '' : 'push >2\r\n' . ::bulk('invalidate') . '_\r\n';
        $Fake2->change("resp3 master\n${map}any => drop\n$push\n");
        my @clients = map { $ask->() } 1 .. 8;
        ok(wait_for(5, sub { $Fake2->count($first) > $asked }), "$name: they wait");
        select undef, undef, undef, 0.5;

        # requests that came before the push have an answer from the cache

        ::ends($nginx, $signal, $name, qr/200|50[34]/, @clients);
    }
}
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 12: workers end while a name server and sentinels do not answer
--- fake
any => drop
--- run
for my $url ("redis://redis.test:$Fake->{port}",
             "redis-sentinel://sentinel.test:$Fake->{port},127.0.0.1:$Fake->{port}/?master=mymaster")
{
    for my $signal (qw(TERM QUIT HUP)) {
        my $dns = Billing::Ports::reserve();
        my $nginx = Billing::Nginx->start(<<"END");
    resolver 127.0.0.1:$dns;
    billing_redis $url;
    billing_redis_timeout 1s;
    server {
        listen 127.0.0.1:%PORT%;
        location = $Billing::URI { billing_cameras_list; }
    }
END
        my $name = "$signal, $url";
        my @clients = map { Billing::client(port => $nginx->{port}) } 1 .. 4;
        $_->send(text('{"cameras_ids":[3]}')) for @clients;
        select undef, undef, undef, 0.2;
        ::ends($nginx, $signal, $name, qr/50[34]/, @clients);
    }
}
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 13: stale records last until a node of a cluster answers, and not only until one can be connected to
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_cache 4m;
billing_cache_stale 60s;
billing_redis_timeout 500ms;
--- fake
resp3 master
--- run
my $map = 'CLUSTER => ' . ::whole($Fake) . "\n";
$Fake->change($map . $::DOWN);
ask('{"cameras_ids":[3]}');
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}'); error_log() =~ /redis cluster: 1 nodes have/ }), 'the map is read');
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_") for 1 .. 3;
$Fake->down;
answers(ask('{"cameras_ids":[3]}'), '3', 'no node is there');
my $connects = $Fake->count('PING');
$Fake->up("GET => drop\nHMGET => drop\nPTTL => drop\nCLUSTER => drop\n");
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}'); $Fake->count('PING') > $connects + 1 }), 'a node is connected to');
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_ while the node does not answer") for 1 .. 3;
--- errors_allowed
--- request
GET /none
--- error_code: 404



=== TEST 14: a "synced_at" from before a failover, which a master that hung tells late, raises no doubt
--- http_config eval
$::FAKE . 'billing_cache 4m; billing_cache_lag 400ms; billing_redis_timeout 30s;'
--- config eval: $::STATUS
--- fake
resp3 master cluster
--- fake2
resp3 master cluster
--- run
my ($new, $old) = ($Fake, $Fake2);
my $rest = "GET *:synced_at => raw \$10\\r\\n1800000000\\r\\n\n";
my $map = 'CLUSTER => ' . ::divided($old, $new, map { ::slot($_) } qw(synced_at epoch)) . "\n";
$new->change("$map$rest");
$old->change($map);

my $metric = sub {
    my ($value) = ask(undef, uri => '/status')->{body} =~ /^nginx_billing_$_[0] (\d+)/m;
    return $value;
};
my $hit = sub {
    my $before = $metric->('cache_misses_total');
    my $res = ask('{"cameras_ids":[3]}');
    return $res->{status} == 200 && $metric->('cache_misses_total') == $before;
};
my $probes = sub { $_[0]->count('GET \S*:synced_at') };

ok(wait_for(10, sub { $hit->() && $probes->($old) > 1 }), 'the cache is used');

# Only a probe asks for the role: the master hangs with its answer half sent. The
# master tells no map that would count when it answers late.

$old->change("once HELLO => hold\nCLUSTER => raw *0\\r\\n");
my $before = $probes->($old);
ok(wait_for(10, sub { ask('{"cameras_ids":[3]}'); $probes->($old) > $before }), 'a probe waits');

$before = $probes->($new);
$new->change('CLUSTER => ' . ::whole($new, $old) . "\n$rest");
ok(wait_for(10, sub { ask('{"cameras_ids":[3]}'); $probes->($new) > $before + 1 }), 'the new master is probed');

my $generations = $metric->('cache_generations_total');
$old->change('CLUSTER => ' . ::whole($new, $old) . "\nrelease");
$before = $probes->($new);
ok(wait_for(10, sub { ask('{"cameras_ids":[3]}'); $probes->($new) > $before + 3 }), 'four probes later');
is($old->count('closed'), 0, 'the old master has answered on the connection of before');
is($metric->('cache_generations_total'), $generations, 'no generation has ended');
ok(wait_for(10, $hit), 'the cache is used');
--- logged_times
0 Redis did not say so
--- errors_allowed
