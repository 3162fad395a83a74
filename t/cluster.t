# A Redis Cluster: real servers, three masters with a replica each, and fakes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'cluster';
use Test::Nginx::Socket 'no_plan';
use Billing::Cluster;

our $Cluster = Billing::Cluster->new(timeout => 1000);
$Cluster->start;

END { $Cluster->stop if $Cluster }

our @Nodes = $Cluster->nodes;
$ENV{"TEST_NGINX_NODE$_\_PORT"} = $Nodes[$_]{port} for 0 .. $#Nodes;

# No node hangs: an answer that takes long is the machine's doing, and no fault.

our $SEED = 'billing_redis redis://127.0.0.1:$TEST_NGINX_NODE0_PORT;
    billing_redis_connect_timeout 5s; billing_redis_timeout 5s;';

our $STATUS = <<"END";
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
END

# Loads the fixtures, and a login with 1,000 cameras.

sub fill {
    $_->command('FLUSHALL') for $Cluster->masters;
    $Cluster->load(Billing::fixtures());
    $Cluster->load(map { [ 'HSET', "${Billing::Prefix}camera:$_", 'name', "Camera $_" ] }
                   100001 .. 101000);
    $Cluster->load([ 'ZADD', "${Billing::Prefix}login:long",
                     map { ($_, $_) } 100001 .. 101000 ]);
}

# A slot, and two cameras whose keys are in the slot. For each n another slot.

sub neighbours {
    my ($n) = @_;

    my $slot = Billing::Cluster::slot("${Billing::Prefix}camera:10000$n");
    my $other = 200001;

    $other++ until Billing::Cluster::slot("${Billing::Prefix}camera:$other") == $slot;

    $Cluster->load([ 'HSET', "${Billing::Prefix}camera:$other", 'name', "Camera $other" ]);
    return ($slot, "10000$n", $other);
}

# A reply to CLUSTER SLOTS as a rule for a fake: ranges of [first, last, nodes],
# a node being [host, port, further elements as RESP].

sub slots {
    my @ranges = @_;

    my $bulk = sub { defined $_[0] ? '$' . length($_[0]) . "\\r\\n$_[0]\\r\\n" : '$-1\\r\\n' };
    my $text = '*' . @ranges . '\\r\\n';

    for (@ranges) {
        my ($first, $last, @nodes) = @$_;
        $text .= '*' . (2 + @nodes) . "\\r\\n:$first\\r\\n:$last\\r\\n";

        for (@nodes) {
            my ($host, $port, @more) = @$_;
            $text .= '*' . (3 + @more) . '\\r\\n' . $bulk->($host) . ":$port\\r\\n"
                     . $bulk->('id') . join '', @more;
        }
    }

    return "CLUSTER => raw $text\n";
}

# The ids of an answer, in its order.

sub ids {
    my ($res) = @_;

    return join ' ', $res->{body} =~ /\{"id":(\d+)/g;
}

sub one {
    my ($id) = @_;

    return '[' . Billing::Fixtures::camera($id, { name => "Camera $id" }) . ']';
}

# How often a server was asked for cameras.

sub reads {
    my ($server) = @_;

    my ($n) = $server->command('INFO', 'commandstats') =~ /^cmdstat_hmget:calls=(\d+)/m;
    return $n // 0;
}

sub metric {
    my ($name) = @_;

    my ($value) = Billing::ask(undef, uri => '/status')->{body}
                  =~ /^nginx_billing_\Q$name\E(?:\{.*?\})? (\d+)/m;
    return $value;
}

fill();

# A cluster that never fails over.

our $Second = Billing::Cluster->new(masters => 2, timeout => 60000, args => [
    qw(--appendonly yes --cluster-replica-no-failover yes) ]);
$Second->start;
$Second->load(Billing::fixtures());
$Second->load(map { [ 'HSET', "${Billing::Prefix}camera:$_", 'name', "Camera $_" ] }
              100001 .. 100100);

our $Gone = ($Second->masters)[1];
our $Id = (grep { $Second->owner(Billing::Cluster::slot("${Billing::Prefix}camera:$_"))->{port}
                  == $Gone->{port} } 100001 .. 100100)[0];
$ENV{TEST_NGINX_SECOND_PORT} = ($Second->masters)[0]{port};

END { $Second->stop if $Second }

# The last blocks change which nodes there are.

no_shuffle();
run_tests();

__DATA__

=== TEST 1: all selectors answer as with one server
--- http_config eval: $::SEED
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[10,3,5,4,3]}                    -> 3 4 5 10
{"cameras_uuid":["3"]}                          -> 3
{"login":"admin"}                               -> 3 4
{"login":"admin","cameras_ids":[3,10]}          -> 3
{"cameras_ids":[999]}                           -> null
{"cameras_uuid":["none"]}                       -> null
{"login":"nobody"}                              -> null
{"login":5}                                     -> login: string
--- logged
\[notice\] .*redis cluster: 3 nodes have 16384 slots



=== TEST 2: with a cache in the worker, a server's HELLO shows the cluster, and all nodes' answers are kept
--- http_config eval: $::SEED . 'billing_cache 4m;'
--- config eval: $::STATUS
--- run
answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', "answer $_") for 1 .. 3;
$::Cluster->load([ 'HSET', "${Prefix}camera:100001", 'name', 'changed' ]);
like(ask('{"cameras_ids":[100001]}')->{body}, qr/"name":"changed"/, 'a change is seen at once');
$::Cluster->load([ 'HSET', "${Prefix}camera:100001", 'name', 'Camera 100001' ]);
is(ask('{"cameras_ids":[100001]}')->{body}, ::one(100001), 'and the next one');
cmp_ok(::metric('cache_hits_total'), '>', 4, 'hits');
is(::metric('redis_redirects_total') < 8, 1, 'commands went to the right nodes at once');
--- logged
\[notice\] .*redis cluster: 3 nodes have 16384 slots
billing redis part: \d+ commands for "127\.0\.0\.1:\d+"



=== TEST 3: a list of 1,000 cameras streams over all nodes
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
ask('{"cameras_ids":[3]}');
ok(wait_for(5, sub { ::metric('redis_refreshes_total') }), 'the map is read');
my $redirects = ::metric('redis_redirects_total');
my @before = map { ::reads($_) } $::Cluster->masters;
my $res = ask('{"login":"long"}');
is($res->{status}, 200, 'status');
ok($res->{complete}, 'complete');
is(::ids($res), join(' ', 100001 .. 101000), 'all ids in order');
is($res->{body}, '[' . join(',', map { ::one($_) =~ s/^\[|\]$//gr } 100001 .. 101000) . ']', 'all of it');
is(scalar(grep { ::reads(($::Cluster->masters)[$_]) - $before[$_] > 200 } 0 .. 2), 3, 'by all nodes');
is(::metric('redis_redirects_total'), $redirects, 'each command was sent to the right node');



=== TEST 4: a slot that has moved is found, and the map is read once and not per request
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
my ($slot, $one, $two) = ::neighbours(4);
my ($to) = grep { $_->{port} != $::Cluster->owner($slot)->{port} } $::Cluster->masters;
is(ask("{\"cameras_ids\":[$one]}")->{body}, ::one($one), 'before');
ok(wait_for(5, sub { ::metric('redis_refreshes_total') }), 'the map is read');
my ($redirects, $refreshes) = map { ::metric("redis_${_}_total") } qw(redirects refreshes);

$::Cluster->move($slot, $to);
my @wrong = grep { ask("{\"cameras_ids\":[$one]}")->{body} ne ::one($one) } 1 .. 50;
is(@wrong, 0, 'no answer is wrong');

# none, if the map was being read anyway

my $moved = ::metric('redis_redirects_total') - $redirects;
cmp_ok($moved, '<=', 1, 'one redirect');
ok(!$moved || wait_for(5, sub { ::metric('redis_refreshes_total') > $refreshes }), 'the map is read again');
cmp_ok(::metric('redis_refreshes_total') - $refreshes, '<=', 2, 'once');
is(ask("{\"cameras_ids\":[$two]}")->{body}, ::one($two), 'the other camera of the slot');
is(::metric('redis_redirects_total') - $redirects, $moved, 'without a redirect');



=== TEST 5: while a slot is migrated, a key is found where it is
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
my ($slot, $one, $two) = ::neighbours(5);
my $from = $::Cluster->owner($slot);
my ($to) = grep { $_->{port} != $from->{port} } $::Cluster->masters;
is(ask("{\"cameras_ids\":[$one,$two]}")->{status}, 200, 'before');
ok(wait_for(5, sub { ::metric('redis_refreshes_total') }), 'the map is read');
my $redirects = ::metric('redis_redirects_total');

$::Cluster->migrate($slot, $from, $to);
$from->command('MIGRATE', '127.0.0.1', $to->{port}, "${Prefix}camera:$one", 0, 5000);
my $both = ::one($one) =~ s/\]$/,/r . ::one($two) =~ s/^\[//r;
is(ask("{\"cameras_ids\":[$one,$two]}")->{body}, $both, "answer $_") for 1 .. 5;
is(::metric('redis_redirects_total') - $redirects, 5, 'one ASK each');
$::Cluster->migrate_keys($slot, $from, $to);
is(ask("{\"cameras_ids\":[$one,$two]}")->{body}, $both, 'all keys have moved');
$::Cluster->assign($slot, $to);
is(ask("{\"cameras_ids\":[$one,$two]}")->{body}, $both, 'the slot has moved');
--- logged
billing redis redirected: "ASK \d+ 127\.0\.0\.1:\d+"
mode 1



=== TEST 6: what is not there is not there while a slot is migrated either
--- http_config eval: $::SEED
--- run
my $slot = Billing::Cluster::slot("${Prefix}camera:999");
my $from = $::Cluster->owner($slot);
my ($to) = grep { $_->{port} != $from->{port} } $::Cluster->masters;
$::Cluster->migrate($slot, $from, $to);
answers(ask('{"cameras_ids":[999]}'), 'null', 'a missing camera');
answers(ask('{"cameras_ids":[999,3]}'), '3', 'beside one that is there');
$_->command('CLUSTER', 'SETSLOT', $slot, 'STABLE') for $from, $to;



=== TEST 7: a tag in the prefix puts all keys on one node
--- http_config eval: $::SEED
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; billing_redis_prefix "x{tag}y:"; billing_token off; }
location = /status { billing_status; }
--- run
$::Cluster->load(map { [ $_->[0], $_->[1] =~ s/^billing:/x{tag}y:/r, @$_[2 .. $#$_] ] }
                 Billing::Fixtures::commands());
my $owner = $::Cluster->owner(Billing::Cluster::slot('tag'));
answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', 'before the map is known');
ok(wait_for(5, sub { (::metric('cluster_slots') // 0) == 16384 }), 'the map is read');
my ($before, $redirects) = (::reads($owner), ::metric('redis_redirects_total'));
answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', 'all are found');
is(::reads($owner) - $before, 4, 'on one node');
is(::metric('redis_redirects_total'), $redirects, 'at once');
--- errors_allowed



=== TEST 8: a cache that was never loaded is a 503, also in a cluster
--- http_config eval: $::SEED
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; billing_redis_prefix "none:"; billing_token off; }
--- cases
{"cameras_ids":[3]}                             -> 503 has not been loaded
{"login":"admin"}                               -> 503 has not been loaded
--- logged
\[error\] .*"none:synced_at" does not exist



=== TEST 9: the status page shows the nodes and the slots
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
answers(ask($EXAMPLE), '3 4', 'an answer');
ok(wait_for(5, sub { (::metric('cluster_slots') // 0) == 16384 }), 'all slots');
is(::metric('cluster_nodes'), 6, 'six nodes');
cmp_ok(::metric('redis_redirects_total'), '>=', 1, 'redirects');
cmp_ok(::metric('redis_refreshes_total'), '>=', 1, 'refreshes');
my $json = ask(undef, uri => '/status?format=json')->{body};
like($json, qr/"cluster_slots":16384/, 'JSON');
is(scalar(() = $json =~ /"unloaded":false/g), 6, 'with each node');
like($json, qr/"server":"127.0.0.1:$_->{port}"/, "node $_->{port}") for @::Nodes;



=== TEST 10: a cluster has one database
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_NODE0_PORT/3;
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: ERR (?:SELECT is not allowed in cluster mode|DB index is out of range)



=== TEST 11: without the right to CLUSTER SLOTS, redirects suffice
--- http_config
billing_redis redis://t_cluster:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
--- config eval: $::STATUS
--- run
my @acl = ('ACL', 'SETUSER', 't_cluster', 'on', '>s3cret', "~$Prefix*",
           qw(+get +hmget +hgetall +zscore +zrangebyscore +ping +echo +asking));
$_->command(@acl) for $::Cluster->masters;
answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', "answer $_") for 1 .. 3;
ok(wait_for(5, sub {
    my $redirects = ::metric('redis_redirects_total');
    ask('{"cameras_ids":[3,4,5,10]}') for 1 .. 5;
    return ::metric('redis_redirects_total') == $redirects;
}), 'what was learnt is known');
$_->command(@acl, '+cluster|slots') for $::Cluster->masters;
my $id = 100001;
ok(wait_for(8, sub { ask('{"cameras_ids":[' . $id++ . ']}'); (::metric('cluster_slots') // 0) == 16384 }),
   'with the right, the map is read');
--- logged
\[error\] .*refuses CLUSTER SLOTS: "NOPERM



=== TEST 12: TRYAGAIN and CLUSTERDOWN are waited for, within the deadline
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_timeout 2s;
--- fake
--- run
my $slots = ::slots([ 0, 16383, [ '127.0.0.1', $Fake->{port} ] ]);
$Fake->change($slots . "once HMGET => error MOVED 5 127.0.0.1:$Fake->{port}");
answers(ask('{"cameras_ids":[3]}'), '3', 'MOVED to the same node');
$Fake->change($slots . '3 times HMGET *:camera:4 => error TRYAGAIN Multiple keys request during rehashing of slot');
answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'TRYAGAIN');
$Fake->change($slots . '3 times HMGET => error CLUSTERDOWN The cluster is down');
answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'CLUSTERDOWN');
$Fake->change($slots . 'HMGET *:camera:4 => error CLUSTERDOWN Hash slot not served');
my ($start, $asked, $res);

# the deadline may pass while the node is asked once more: that is a 504

for (1 .. 4) {
    $start = Time::HiRes::time();
    $asked = $Fake->count('HMGET t_cluster:camera:4');
    $res = ask('{"cameras_ids":[3,4]}');
    last if $res->{status} != 504;
}

answers($res, '503', 'CLUSTERDOWN all the time');
cmp_ok(abs(Time::HiRes::time() - $start - 2), '<', 0.5, 'at the deadline');
cmp_ok($Fake->count('HMGET t_cluster:camera:4') - $asked, '<', 100, 'and not asked without a pause');
answers(ask('{"cameras_ids":[3]}'), '3', 'others are answered');
$Fake->change($slots);
--- no_error_log
" is down:
--- errors_allowed



=== TEST 13: nodes that name each other, and a node that is gone, end at the deadline
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_timeout 1s;
--- fake
--- fake2
--- fake3
--- run
my $slot = Billing::Cluster::slot("${Prefix}camera:4");
my $slots = ::slots([ 0, 16383, [ '127.0.0.1', $Fake->{port} ] ]);
$Fake3->down;

for my $kind (qw(MOVED ASK)) {
    $Fake->change($slots . "HMGET *:camera:4 => error $kind $slot 127.0.0.1:$Fake2->{port}");
    $Fake2->change("HMGET *:camera:4 => error MOVED $slot 127.0.0.1:$Fake->{port}");
    like(ask('{"cameras_ids":[3,4]}')->{status}, qr/^50[34]$/, "$kind in a circle");
    answers(ask('{"cameras_ids":[3]}'), '3', 'others are answered');

    $Fake->change($slots . "HMGET *:camera:4 => error $kind $slot 127.0.0.1:$Fake3->{port}");
    like(ask('{"cameras_ids":[3,4]}')->{status}, qr/^50[34]$/, "$kind to a node that is gone");
    answers(ask('{"cameras_ids":[3]}'), '3', 'others are answered');
}

cmp_ok($Fake->count('HMGET t_cluster:camera:4'), '<', 400, 'nobody is asked without end');
$Fake->change($slots);
answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'at last');
--- errors_allowed



=== TEST 14: nodes without an address, and with a name
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
--- fake2
--- fake3
--- run
my $slot = Billing::Cluster::slot("${Prefix}camera:4");
my $ip = '*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n';
my @ranges = ([ 0, $slot - 1, [ '', $Fake->{port} ] ],
              [ $slot, $slot, [ 'two.example', $Fake2->{port}, $ip ] ],
              [ $slot + 1, 16383, [ undef, $Fake->{port} ] ]);
my $slots = ::slots(@ranges);
$Fake->change($slots . 'once HMGET => error CLUSTERDOWN The cluster is down');
answers(ask('{"cameras_ids":[3]}'), '3', 'the map is read');
ok(wait_for(5, sub { $Fake->count('CLUSTER SLOTS') }), 'from the seed');
answers(ask('{"cameras_ids":[3,4,5]}'), '3 4 5', 'all nodes answer');
is($Fake2->count('HMGET t_cluster:camera:4'), 1, 'the name has an address');
is($Fake2->count('HMGET'), 1, 'and one slot');

$Fake2->change("once HMGET => error MOVED $slot :$Fake3->{port}");
answers(ask('{"cameras_ids":[3,4,5]}'), '3 4 5', 'MOVED without an address');
is($Fake3->count('HMGET t_cluster:camera:4'), 1, 'goes to the host of the node that was asked');
--- errors_allowed



=== TEST 15: real servers that announce their names
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
for my $n (0 .. $#::Nodes) {
    $::Nodes[$n]->command('CONFIG', 'SET', 'cluster-announce-hostname', "node$n.example");
    $::Nodes[$n]->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname');
}

$::Cluster->wait_for('the names are known', sub {
    my %names = map { my @range = @$_; map { $_->[0] => 1 } @range[2 .. $#range] } @{ $_[0]->command('CLUSTER', 'SLOTS') };
    return 6 == grep { /^node\d\.example$/ } keys %names;
});

answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', "answer $_") for 1 .. 3;
is(::ids(ask('{"login":"long"}')), join(' ', 100001 .. 101000), 'a long list');
is(::metric('cluster_nodes'), 6, 'all nodes have addresses');
$_->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint') for @::Nodes;
my ($slot, $one) = ::neighbours(6);
my ($to) = grep { $_->{port} != $::Cluster->owner($slot)->{port} } $::Cluster->masters;
my $refreshes = ::metric('redis_refreshes_total');
$::Cluster->move($slot, $to);
is(ask("{\"cameras_ids\":[$one]}")->{body}, ::one($one), 'nodes without any host');
ok(wait_for(5, sub { ::metric('redis_refreshes_total') > $refreshes }), 'the map is read');
is(::ids(ask('{"login":"long"}')), join(' ', 100001 .. 101000), 'a long list again');

for (@::Nodes) {
    $_->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'ip');
    $_->command('CONFIG', 'SET', 'cluster-announce-hostname', '');
}
--- logged
billing redis redirected: "MOVED \d+ node\d\.example:\d+"
billing redis redirected: "MOVED \d+ :\d+"



=== TEST 16: the name of a seed is known
--- http_config
billing_redis redis://localhost:$TEST_NGINX_FAKE_PORT;
--- fake
--- fake2
--- run
my $slot = Billing::Cluster::slot("${Prefix}camera:4");
my $slots = ::slots([ 0, $slot - 1, [ '127.0.0.1', $Fake->{port} ] ],
                    [ $slot, $slot, [ 'localhost', $Fake2->{port} ] ],
                    [ $slot + 1, 16383, [ '127.0.0.1', $Fake->{port} ] ]);
$Fake->change($slots . 'once HMGET => error CLUSTERDOWN The cluster is down');
answers(ask('{"cameras_ids":[3,5]}'), '3 5', 'the map is read');
ok(wait_for(5, sub { ask('{"cameras_ids":[4]}'); $Fake2->count('HMGET t_cluster:camera:4') }), 'the name has an address');
--- errors_allowed



=== TEST 17: a name that nobody knows the address of is passed over
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
--- run
my $slots = ::slots([ 0, 8191, [ '127.0.0.1', $Fake->{port} ] ],
                    [ 8192, 16383, [ 'two.example', 7001 ] ]);
$Fake->change($slots . 'once HMGET => error CLUSTERDOWN The cluster is down');
answers(ask('{"cameras_ids":[3,4,5,10]}'), '3 4 5 10', "answer $_") for 1 .. 3;
is(scalar(() = Billing::error_log() =~ /without an address/g), 1, 'said once');
--- errors_allowed
--- logged
\[error\] .*redis cluster announces node "two\.example:7001" without an address
\[notice\] .*redis cluster: 1 nodes have 8192 slots



=== TEST 18: maps that make no sense are not used
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
--- run
my $down = 'once HMGET => error CLUSTERDOWN The cluster is down';

for my $map ('*0\r\n', ':5\r\n', '*1\r\n:5\r\n', '*1\r\n*2\r\n:0\r\n:99999\r\n', '*1\r\n*3\r\n:0\r\n:5\r\n:7\r\n',
             '*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$9\r\n127.0.0.1\r\n:7\r\n',
             '*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\nx\r\n:70000\r\n', '$2\r\nab\r\n', '-ERR unknown\r\n',
             '*1\r\n*3\r\n*1\r\n:1\r\n:5\r\n*0\r\n', '*1\r\n*3\r\n:0\r\n:9\r\n*3\r\n$2\r\n::\r\n:1\r\n$-1\r\n',
             '*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$300\r\n\{x*300}\r\n:7\r\n')
{
    my $asked = $Fake->count('CLUSTER SLOTS');
    $Fake->change("CLUSTER => raw $map\n$down");
    answers(ask('{"cameras_ids":[3]}'), '3', "$map");
    ok(wait_for(5, sub { $Fake->count('CLUSTER SLOTS') > $asked }), "$map is read");
}

$Fake->change(::slots([ 0, 16383, [ '127.0.0.1', $Fake->{port} ] ]) . $down);
answers(ask('{"cameras_ids":[3]}'), '3', 'a good map');
--- errors_allowed



=== TEST 19: more nodes than there is room for
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_redis_timeout 4s;
--- fake
--- run
my $slots = ::slots(map { [ 10 * $_, 10 * $_ + 9, [ '127.0.0.1', $_ ? 10000 + $_ : $Fake->{port} ] ] } 0 .. 1199);
$Fake->change($slots . 'once HMGET => error CLUSTERDOWN The cluster is down');
my $id = (grep { Billing::Cluster::slot("${Prefix}camera:$_") > 12000 } 3, 4, 5, 10, 7, 8, 9)[0];
answers(ask("{\"cameras_ids\":[$id]}"), $id, 'a slot without a node is asked for elsewhere');
ok(wait_for(5, sub { error_log() =~ /more than 1024 nodes/ }), 'logged');
$Fake->change(::slots([ 0, 16383, [ '127.0.0.1', $Fake->{port} ] ]));
--- logged_times
1 redis cluster has more than 1024 nodes, the others are not used
--- errors_allowed



=== TEST 20: a server that is no node of a cluster any more
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
once HMGET => error MOVED 5 127.0.0.1:1
CLUSTER => error ERR This instance has cluster support disabled
--- cases
{"cameras_ids":[10]}                            -> 10
{"cameras_ids":[3,4]}                           -> 3 4
{"cameras_ids":[5]}                             -> 5
--- logged
\[warn\] .*is no node of a cluster any more
--- errors_allowed



=== TEST 21: while slots are migrated atomically, and back, all answers are right
--- needs_command: cluster|migrateslots
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
my ($home, $other) = $::Cluster->masters;
my $list = join ' ', 100001 .. 101000;
my @ids = grep { my $slot = Billing::Cluster::slot("${Prefix}camera:$_"); $slot >= 1000 && $slot <= 3000 }
          100001 .. 101000;
is(::ids(ask('{"login":"long"}')), $list, 'before');
ok(wait_for(5, sub { (::metric('cluster_slots') // 0) == 16384 }), 'the map is read');
my $redirects = ::metric('redis_redirects_total');
my ($asked, @wrong);

my $requests = sub {
    my $id = $ids[$asked++ % @ids];
    push @wrong, $id if ask("{\"cameras_ids\":[$id]}")->{body} ne ::one($id);
    push @wrong, 'the list' if $asked % 4 == 0 && ::ids(ask('{"login":"long"}')) ne $list;
};

for my $to ($other, $home, $other, $home) {
    $::Cluster->migrate_slots(1000, 3000, $to, $requests);
    $requests->() for 1 .. 8;
}

is(join(' ', @wrong), '', 'no answer is wrong');
cmp_ok($asked, '>', 32, 'requests came meanwhile');
cmp_ok(::metric('redis_redirects_total') - $redirects, '>=', 4, 'and were redirected');



=== TEST 22: a replica answers while its master is gone
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_SECOND_PORT;
billing_redis_timeout 3s;
--- config eval: $::STATUS
--- run
my $id = $::Id;
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), 'before');
ok(wait_for(5, sub { (::metric('cluster_slots') // 0) == 16384 }), 'the map is read');
my $reads = ::reads($::Second->replica(1));
$::Gone->stop;
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), "answer $_") for 1 .. 10;
cmp_ok(::reads($::Second->replica(1)) - $reads, '>=', 9, 'by the replica');

$::Gone->start;
ok(wait_for(15, sub { ask("{\"cameras_ids\":[$id]}")->{body} eq ::one($id) && ::reads($::Gone) }), 'the master is back');
$reads = ::reads($::Second->replica(1));
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), "answer $_") for 1 .. 5;
is(::reads($::Second->replica(1)), $reads, 'and is asked');
--- logged
mode 2
--- errors_allowed



=== TEST 23: a master that is back is asked again, and a replica is asked for reads only
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
--- fake
--- fake2
--- fake3
--- run
$Fake->change(::slots([ 0, 16383, map { [ '127.0.0.1', $_->{port} ] } $Fake2, $Fake3 ])
              . 'once HMGET => error CLUSTERDOWN The cluster is down');
answers(ask('{"cameras_ids":[3]}'), '3', 'before');
ok(wait_for(5, sub { ask('{"cameras_ids":[3]}'); $Fake2->count('HMGET') }), 'the master is asked');
is($Fake3->count('HMGET'), 0, 'and not the replica');
$Fake2->down;
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_") for 1 .. 5;
is($Fake3->count('HMGET'), 5, 'the replica is asked');
like($Fake3->log_text, qr/ READONLY\n\d+ HMGET .*\n\d+ READWRITE\n\d+ ECHO/, 'for reads');

my $asked = $Fake2->count('HMGET');
$Fake2->up;
ok(wait_for(10, sub { ask('{"cameras_ids":[3]}'); $Fake2->count('HMGET') > $asked }), 'the master is asked again');
my $reads = $Fake3->count('HMGET');
answers(ask('{"cameras_ids":[3]}'), '3', "answer $_ of the master") for 1 .. 3;
is($Fake3->count('HMGET'), $reads, 'and the replica is not');
--- errors_allowed



=== TEST 24: CLUSTER FAILOVER: the new master is asked
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
my ($master, $replica) = (($::Cluster->masters)[1], $::Cluster->replica(1));
my $id = (grep { $::Cluster->owner(Billing::Cluster::slot("${Prefix}camera:$_"))->{port} == $master->{port} }
          100001 .. 101000)[0];
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), 'before');
$replica->command('CLUSTER', 'FAILOVER');
my (undef, $failed) = keep_asking(10, "{\"cameras_ids\":[$id]}", '200 ' . quotemeta ::one($id),
                                  sub { $master->info('replication', 'role') eq 'slave' });
is($failed, 0, 'no answer is wrong');
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), 'after');
my ($old, $new) = (::reads($master), ::reads($replica));
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), "answer $_") for 1 .. 5;
is(::reads($replica) - $new, 5, 'the new master is asked');
is(::reads($master), $old, 'and not the old one');



=== TEST 25: a master is killed: no request fails
--- http_config eval: $::SEED
--- config eval: $::STATUS
--- run
my ($master, $replica) = (($::Cluster->masters)[2], $::Cluster->replica(2));
my $id = (grep { $::Cluster->owner(Billing::Cluster::slot("${Prefix}camera:$_"))->{port} == $master->{port} }
          100001 .. 101000)[0];
is(ask("{\"cameras_ids\":[$id,3]}")->{status}, 200, 'before');
$master->stop;
my ($is, $failed) = keep_asking(15, "{\"cameras_ids\":[$id]}", '200 ' . quotemeta ::one($id),
                                sub { $replica->info('replication', 'role') eq 'master' });
is($is, 1, 'the replica takes over');
is($failed, 0, 'no answer is wrong');
my $reads = ::reads($replica);
is(ask("{\"cameras_ids\":[$id]}")->{body}, ::one($id), "answer $_") for 1 .. 5;
is(::reads($replica) - $reads, 5, 'the new master is asked');
--- errors_allowed



=== TEST 26: a server whose HELLO names no cluster is none, whatever the user may ask
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_cache 8m;
--- fake
resp3 master
2 times HMGET => error MOVED 5 127.0.0.1:1
CLUSTER => error NOPERM this user has no permissions to run the 'cluster|slots' command
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'MOVED');
ok(wait_for(5, sub { $Fake->count('CLUSTER SLOTS') }), 'the map is asked for');
ok(wait_for(5, sub {
    my $before = $Fake->count('HMGET');
    ask('{"cameras_ids":[3]}');
    return $Fake->count('HMGET') == $before;
}), 'the cache is used');
my $before = $Fake->count('accept|CLUSTER SLOTS|HMGET');
my ($is, $failed) = keep_asking(2.5, '{"cameras_ids":[3]}', '3', sub { 0 });
is($failed, 0, 'none failed');
is($Fake->count('accept|CLUSTER SLOTS|HMGET'), $before, 'the cache is used on');
--- logged_times
1 \[warn\] .*is no node of a cluster any more
0 refuses CLUSTER SLOTS
--- errors_allowed



=== TEST 27: a map that could not be read at first is asked for again by the next requests
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_cache off;
--- config eval: $::STATUS
--- fake
once HMGET => error MOVED 5 127.0.0.1:1
once CLUSTER => error ERR not now
--- run
answers(ask('{"cameras_ids":[3]}'), '3', 'MOVED');
ok(wait_for(5, sub { $Fake->count('CLUSTER SLOTS') }), 'the map is asked for');
$Fake->change(::slots([ 0, 16383, [ '127.0.0.1', $Fake->{port} ] ]));
ok(wait_for(5, sub {
    answers(ask('{"cameras_ids":[3,4]}'), '3 4', 'a seed answers');
    return (::metric('cluster_slots') // 0) == 16384;
}), 'the map is read');
--- logged_times
1 \[error\] .*refuses CLUSTER SLOTS: "ERR not now"
--- errors_allowed
