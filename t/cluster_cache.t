# The cache in the worker with a Redis Cluster: each node is a source of its own.
# Cameras are named by their node, as @Ids has some for each of the three masters.
# Most blocks have a lag of an hour, so that no time makes right what news have to.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'cluster_cache';
use Test::Nginx::Socket 'no_plan';
use Time::HiRes qw(sleep time);

use Billing::Cluster;

our $Cluster = Billing::Cluster->new(timeout => 3000,
                                     args => [ qw(--cluster-replica-no-failover yes) ]);
$Cluster->start;

END { $Cluster->stop if $Cluster }

our @Nodes = $Cluster->nodes;
$ENV{"TEST_NGINX_NODE$_\_PORT"} = $Nodes[$_]{port} for 0 .. $#Nodes;

our $CACHE = 'billing_redis redis://127.0.0.1:$TEST_NGINX_NODE0_PORT;
    billing_cache 8m; billing_cache_lag ';

# A lag that has not passed since the machine was started, when its clock began.

our $AGES = do {
    open my $in, '<', '/proc/uptime' or die "cannot open /proc/uptime: $!\n";
    int(3 * (split / /, <$in>)[0]) + 3600 . 's';
};

our $CONFIG = <<"END";
    location = $Billing::URI {
        billing_cameras_list;
        billing_token off;
        add_header X-Cache \$billing_cache always;
    }
    location = /token {
        billing_cameras_list;
        add_header X-Cache \$billing_cache always;
    }
    location = /status {
        billing_status;
    }
END

# --- the data

sub key {
    my ($name) = @_;

    return "$Billing::Prefix$name";
}

# The index of the master that has a key now.

sub place {
    my ($key) = @_;

    my $owner = $Cluster->owner(Billing::Cluster::slot($key));
    return (grep { $Nodes[$_]{port} == $owner->{port} } 0 .. $#Nodes)[0];
}

our @Ids = ([], [], []);
our ($Epoch, $Synced) = map { place(key($_)) } 'epoch', 'synced_at';

# a node that has neither of both

our ($Other) = grep { $_ != $Epoch && $_ != $Synced } 0 .. 2;

for my $id (100001 .. 100060) {
    push @{ $Ids[ place(key("camera:$id")) ] }, $id;
}

sub fill {
    $_->command('FLUSHALL') for $Cluster->masters;
    $Cluster->load(Billing::fixtures());
    $Cluster->load(map { [ 'HSET', key("camera:$_"), 'name', "Camera $_" ] }
                   100001 .. 100060);
}

fill();

# Writes to the node that has the key, wherever its slot is now.

sub command {
    my @words = @_;

    return $Nodes[ place($words[1]) ]->command(@words);
}

# --- what is asked

sub get {
    my ($id, %opt) = @_;

    $opt{uri} = ($opt{uri} // $Billing::URI) . "?cameras_ids[]=$id";

    my $res = Billing::ask(undef, %opt);
    my ($cache) = $res->{headers} =~ /^X-Cache: (\w+)\r$/m;
    my ($name) = $res->{body} =~ /"name":"([^"]*)"/;

    return join ' ', $res->{status}, $cache // '-', $name // $res->{body};
}

sub hit {
    my ($id, $name) = @_;

    return "200 HIT " . ($name // "Camera $id");
}

# Asks until the answer comes from the cache; returns the last answer.

sub warm {
    my ($id, %opt) = @_;

    my $answer = '';
    Billing::wait_for(10, sub { ($answer = get($id, %opt)) =~ / HIT / });
    return $answer;
}

sub cached {
    my (@ids) = @_;

    Test::More::is(warm($_), hit($_), "camera $_ is kept") for @ids;
}

# Milliseconds until the answer is the one that is expected.

sub until_is {
    my ($id, $expected, %opt) = @_;

    my $start = time;
    Billing::wait_for(3, sub { get($id, %opt) =~ /$expected/ });
    return (time - $start) * 1000;
}

# With a lag of an hour, an answer that news did not make right stays wrong. So this
# many milliseconds tell them apart, however busy the machine is.

our $NEWS = 1000;

# How often a node, or each of them, has run commands: those of the cache since the
# last time that it was asked.

my %seen;

sub commands {
    my ($names, @nodes) = @_;

    my $n = 0;

    for my $node (grep { $_->{pid} } @nodes ? @nodes : @Nodes) {
        for (split /\r\n/, $node->command(qw(INFO commandstats))) {
            my ($name, $calls) = /^cmdstat_([a-z|]+):calls=(\d+)/ or next;
            next if $name !~ /^(?:$names)$/;
            $n += $calls - ($seen{"$node->{port} $name"} // 0);
            $seen{"$node->{port} $name"} = $calls;
        }
    }

    return $n;
}

our $READS = 'get|hmget|hgetall|zrangebyscore|zscore|pttl';
our $ALL = "$READS|echo|ping|hello|cluster\\|slots|asking|readonly";

sub metric {
    my ($name) = @_;

    my ($value) = Billing::ask(undef, uri => '/status')->{body}
                  =~ /^nginx_billing_\Q$name\E (\d+)/m;
    return $value;
}

# The connections that a node tells of changes.

sub tracked {
    my ($node) = @_;

    return $node->command('CLIENT', 'LIST') =~ /\bid=(\d+) .* flags=\w*t/g;
}

# The last block changes which nodes there are.

no_shuffle();
run_tests();

__DATA__

=== TEST 1: what all nodes have is kept, and none of them is asked again
--- http_config eval: "$::CACHE$::AGES;"
--- config eval: $::CONFIG
--- run
my @ids = map { @$_[0 .. 2] } @::Ids;
::cached(@ids);
::warm(join('&cameras_ids[]=', @ids));
::commands($::READS);
like(::get(join('&cameras_ids[]=', @ids)), qr/^200 HIT /, "answer $_") for 1 .. 20;
is(::commands($::READS), 0, 'no node was asked');
is(::metric('cache_records') >= 9, 1, 'records');
is(scalar(grep { ::tracked($_) } @::Nodes[0 .. 2]), 3, 'each node tells of changes');



=== TEST 2: a change on each node is seen at once, and a revoked token
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
for my $n (0 .. 2) {
    my $id = $::Ids[$n][0];
    ::cached($id);
    ::command('HSET', ::key("camera:$id"), 'name', 'Changed');
    cmp_ok(::until_is($id, 'Changed'), '<', $::NEWS, "node $n: a changed camera");
    is(::warm($id), ::hit($id, 'Changed'), 'kept again');
    ::command('HSET', ::key("camera:$id"), 'name', "Camera $id");
    cmp_ok(::until_is($id, "Camera $id"), '<', $::NEWS, 'and back');
}

my $id = $::Ids[0][0];
like(::warm($id, uri => '/token'), qr/^200 HIT/, 'a token is kept');
::command('DEL', ::key('token:' . sha256($Token)));
cmp_ok(::until_is($id, '^401', uri => '/token'), '<', $::NEWS, 'until it is revoked');
::command('SET', ::key('token:' . sha256($Token)), 'client', 'PX', 500);
my $start = Time::HiRes::time;
like(::warm($id, uri => '/token'), qr/^200 HIT/, 'a token that expires is kept');
cmp_ok(::until_is($id, '^401', uri => '/token'), '<', 600, 'not for longer');
cmp_ok(Time::HiRes::time - $start, '>', 0.45, 'and not for less');
::command('SET', ::key('token:' . sha256($Token)), 'client');



=== TEST 3: where slots have moved, both nodes' records begin anew and are right
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
my $to = ($::Other + 1) % 3;
my ($moves, $stays) = @{ $::Ids[$::Other] };
my $there = $::Ids[$to][0];
my $third = $::Ids[($::Other + 2) % 3][0];
::cached($moves, $stays, $there, $third);

my $slot = Billing::Cluster::slot(::key("camera:$moves"));
$::Cluster->move($slot, $::Nodes[$to]);
::command('HSET', ::key("camera:$moves"), 'name', 'Moved');
cmp_ok(::until_is($moves, 'Moved'), '<', $::NEWS, 'the camera of the slot');

# the map is read after MOVED; all nodes begin anew with that of "epoch"

Time::HiRes::sleep 0.3;
is(::get($stays), "200 MISS Camera $stays", 'another camera of the node before');
is(::get($there), "200 MISS Camera $there", 'a camera of the node now');
is(::get($third), $to == $::Epoch ? "200 MISS Camera $third" : ::hit($third), 'of the third node');
is(::warm($moves), ::hit($moves, 'Moved'), 'kept again');
::command('HSET', ::key("camera:$moves"), 'name', "Camera $moves");
cmp_ok(::until_is($moves, "Camera $moves"), '<', $::NEWS, 'and a change is seen');
$::Cluster->move($slot, $::Nodes[$::Other]);



=== TEST 4: no answer is old while slots are migrated atomically, nor after that
--- needs_command: cluster|migrateslots
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
my ($home, $other) = ($::Nodes[$::Other], $::Nodes[($::Other + 1) % 3]);
my ($id, $same) = @{ $::Ids[$::Other] };
my @slots = sort { $a <=> $b } map { Billing::Cluster::slot(::key("camera:$_")) } $id, $same;
::cached($id, $same);
my ($n, $slowest, @wrong) = (0, 0);

# a write is refused when its slot has just moved

my $change = sub {
    my $name = 'Changed ' . ++$n;
    wait_for(5, sub { eval { ::command('HSET', ::key("camera:$id"), 'name', $name); 1 } })
        or push @wrong, "write $n";
    my $ms = ::until_is($id, "$name\$");
    $slowest = $ms if $ms > $slowest;
    push @wrong, ::get($same) if ::get($same) !~ /^200 \w+ Camera $same$/;
};

for my $to ($other, $home, $other, $home) {
    $::Cluster->migrate_slots(@slots, $to, $change);
    $change->() for 1 .. 5;
    ::cached($same);
    is(::warm($id), ::hit($id, "Changed $n"), 'kept again');
    $change->();
}

cmp_ok($slowest, '<', 300, "each of $n changes is seen at once");
is(join(' ', @wrong), '', 'what did not change is the same');
::command('HSET', ::key("camera:$id"), 'name', "Camera $id");
::cached($id);



=== TEST 5: a slot that another node has taken without a word is found within the lag
--- http_config eval: $::CACHE . '500ms;'
--- config eval: $::CONFIG
--- run
my $id = $::Ids[$::Other][3];
my $slot = Billing::Cluster::slot(::key("camera:$id"));
my $to = $::Nodes[($::Other + 1) % 3];
::cached($id);
$to->command('CLUSTER', 'SETSLOT', $slot, 'IMPORTING',
             $::Nodes[$::Other]->command('CLUSTER', 'MYID'));
$to->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->command('CLUSTER', 'MYID'));
$to->command('HSET', ::key("camera:$id"), 'name', 'Taken');
cmp_ok(::until_is($id, 'Taken'), '<', 700, 'the new node is asked');
is(::warm($id), ::hit($id, 'Taken'), 'and what it says is kept');
$to->command('HSET', ::key("camera:$id"), 'name', "Camera $id");
wait_for(5, sub { $::Cluster->owner($slot)->{port} == $to->{port} });
$::Cluster->move($slot, $::Nodes[$::Other]);



=== TEST 6: what comes after ASKING is not kept
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
my $id = $::Ids[$::Other][4];
my $slot = Billing::Cluster::slot(::key("camera:$id"));
my ($from, $to) = ($::Nodes[$::Other], $::Nodes[($::Other + 1) % 3]);
::cached($id);
$::Cluster->migrate($slot, $from, $to);
$::Cluster->migrate_keys($slot, $from, $to);
::commands('asking', $to);
like(::get($id), qr/^200 MISS Camera $id$/, "answer $_") for 1 .. 5;
is(::commands('asking', $to), 5, 'each by ASKING');

# a key that the node did not have, and gets by ASKING

my $redis = Billing::Redis->new($to->{socket});
$redis->pipeline([ 'ASKING' ], [ 'HSET', ::key("camera:$id"), 'name', 'Asked' ]);
is(::get($id), '200 MISS Asked', 'a change is seen');
$::Cluster->assign($slot, $to);
is(::warm($id), ::hit($id, 'Asked'), 'kept when the slot has moved');
::command('HSET', ::key("camera:$id"), 'name', "Camera $id");
$::Cluster->move($slot, $from);



=== TEST 7: nodes are asked about slots and for keys while the cache is used, and not otherwise
--- http_config eval: $::CACHE . '200ms;'
--- config eval: $::CONFIG
--- run
my $id = $::Ids[$::Other][0];
::cached($id);
::commands("$::ALL", @::Nodes);
my $end = Time::HiRes::time + 2;
my ($hits, $answers) = (0, 0);

while (Time::HiRes::time < $end) {
    $hits += ::get($id) =~ / HIT /;
    $answers++;
    Time::HiRes::sleep 0.02;
}

cmp_ok($hits, '>', $answers / 2, 'hits');
my $slots = ::commands('cluster\\|slots');
cmp_ok($slots, '>=', 10, 'CLUSTER SLOTS');
cmp_ok($slots, '<=', 22, 'every half lag');
my @probes = map { ::commands('get', $::Nodes[$_]) } 0 .. 2;
cmp_ok($probes[$_], '>=', 10, "node $_: probes") for $::Other, $::Epoch;
cmp_ok($probes[$_], '<=', 22, "node $_: every half lag") for 0 .. 2;

Time::HiRes::sleep 0.3;
::commands($::ALL, @::Nodes[0 .. 2]);
Time::HiRes::sleep 1;
is(::commands($::ALL, @::Nodes[0 .. 2]), 0, 'an idle worker sends nothing');
::get($id);
is(::warm($id), ::hit($id), 'and what was kept is used again');



=== TEST 8: "epoch" makes all nodes' records begin anew
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
my @ids = map { $_->[0] } @::Ids;
::cached(@ids);
::command('SET', ::key('epoch'), 1);
Time::HiRes::sleep 0.1;
is(::get($_), "200 MISS Camera $_", "camera $_") for @ids;
::cached(@ids);

# its node may have no connection that tells of it, and have one later

my ($epoch, $other) = @ids[$::Epoch, $::Other];
my $redis = Billing::Redis->new($::Nodes[$::Epoch]{socket});
$redis->pipeline([ 'MULTI' ], [ 'CLIENT', 'KILL', 'TYPE', 'normal' ],
                 [ 'SET', ::key('epoch'), 2 ], [ 'EXEC' ]);
ok(wait_for(2, sub { ::get($epoch) !~ / HIT / }), 'the connection is lost');
::cached($epoch);
is(::get($other), "200 MISS Camera $other", 'another node begins anew');

# nor does a node that has lost all its keys say whether "epoch" was among them

::cached($other);
$::Nodes[$::Epoch]->command('FLUSHALL');
Time::HiRes::sleep 0.1;
is(::get($other), "200 MISS Camera $other", 'as with FLUSHALL of that node');
::fill();



=== TEST 9: while the node of "epoch" does not answer, no node's records are used
--- http_config
billing_redis redis://t_epoch:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
billing_cache 8m;
billing_cache_lag 400ms;
--- config eval: $::CONFIG
--- run
$_->command('ACL', 'SETUSER', 't_epoch', 'on', '>s3cret', '~*', '+@all') for @::Nodes;
my $id = $::Ids[$::Other][0];
::cached($id);

# all but what has a key is answered

$::Nodes[$::Epoch]->command('ACL', 'SETUSER', 't_epoch', 'resetkeys');
Time::HiRes::sleep 0.45;
is(::get($id), "200 MISS Camera $id", 'its own node answers instead'), Time::HiRes::sleep 0.05
    for 1 .. 10;
$::Nodes[$::Epoch]->command('ACL', 'SETUSER', 't_epoch', '~*');
::cached($id);

# nothing at all is

$::Nodes[$::Epoch]->signal('STOP');
Time::HiRes::sleep 0.6;
my @answers = map { Time::HiRes::sleep 0.05; ::get($id) } 1 .. 10;
$::Nodes[$::Epoch]->signal('CONT');
is(scalar(grep { $_ eq "200 MISS Camera $id" } @answers), 10, 'the same when it hangs');
::cached($id);
--- errors_allowed



=== TEST 10: with braces in the prefix one node has all keys, and the others are not asked
--- http_config eval: $::CACHE . '200ms;'
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; billing_token off; billing_redis_prefix "{tag}y:"; add_header X-Cache $billing_cache always; }
--- run
my $place = ::place('{tag}y:');
$::Cluster->load(map { [ $_->[0], $_->[1] =~ s/^\Q$Prefix\E/{tag}y:/r, @$_[2 .. $#$_] ] }
                 Billing::fixtures());
is(::warm(3), ::hit(3, 'Camera 1'), 'kept');
::commands($::READS);
my @hits = grep { Time::HiRes::sleep 0.02; ::get(3) =~ /^200 HIT/ } 1 .. 40;
cmp_ok(@hits, '>', 30, 'hits');
my @reads = map { ::commands($::READS, $::Nodes[$_]) } 0 .. 2;
cmp_ok($reads[$place], '>=', 4, 'probes');
is($reads[$_], 0, "node $_ is not asked") for grep { $_ != $place } 0 .. 2;
::command('HSET', '{tag}y:camera:3', 'name', 'Changed');
cmp_ok(::until_is(3, 'Changed'), '<', 100, 'a change is seen');
is(::warm(3), ::hit(3, 'Changed'), 'kept again');
::command('SET', '{tag}y:epoch', 1);
Time::HiRes::sleep 0.02;
is(::get(3), '200 MISS Changed', 'and so is "epoch"');
::command('HSET', '{tag}y:camera:3', 'name', 'Camera 1');



=== TEST 11: two prefixes, each with an "epoch" of its own
--- http_config eval: $::CACHE . '1h;'
--- config eval
$::CONFIG . 'location = /two { billing_cameras_list; billing_token off;
    billing_redis_prefix two:; add_header X-Cache $billing_cache always; }';
--- run
$::Cluster->load(map { [ $_->[0], $_->[1] =~ s/^\Q$Prefix\E/two:/r, @$_[2 .. $#$_] ] }
                 Billing::fixtures());
my $id = $::Ids[$::Other][0];

for my $prefix ($Prefix, 'two:') {
    ::cached($id);
    is(::warm(3, uri => '/two'), ::hit(3, 'Camera 1'), 'the other prefix');
    ::command('SET', "${prefix}epoch", 1);
    Time::HiRes::sleep 0.1;
    is(::get($id), "200 MISS Camera $id", "${prefix}epoch: all begin anew");
    is(::get(3, uri => '/two'), '200 MISS Camera 1', 'the other prefix, too');
}

::warm(3, uri => '/two');
::command('HSET', 'two:camera:3', 'name', 'Changed');
cmp_ok(::until_is(3, 'Changed', uri => '/two'), '<', $::NEWS, 'a change is seen');



=== TEST 12: a reload begins with an empty cache, and a worker that exits leaves nothing behind
--- http_config eval: $::CACHE . '1h;'
--- config eval: $::CONFIG
--- run
my $conf = "$::CACHE 4s; billing_redis_prefix $Prefix;
    server { listen 127.0.0.1:%PORT%; $::CONFIG }";
my $nginx = Billing::Nginx->start($conf, alerts => 1);
my @port = (port => $nginx->{port});
my @ids = map { $_->[0] } @::Ids;

is(::warm($_, @port), ::hit($_), 'kept') for @ids;
ok($nginx->reconfigure($conf, alerts => 1), 'reloaded');
is(::get($_, @port), "200 MISS Camera $_", 'empty') for @ids;
is(::warm($_, @port), ::hit($_), 'kept again') for @ids;

# a node owes the answer to a probe, which is due after half the lag

Time::HiRes::sleep 2.1;
$::Nodes[$::Other]->signal('STOP');
like(::get($ids[$::Other], @port), qr/^200 HIT/, 'a probe is sent');
$nginx->signal('QUIT');
is($nginx->ended(10), 'status 0', 'nginx ends');
$::Nodes[$::Other]->signal('CONT');
ok(wait_for(3, sub { !grep { ::tracked($_) } $::Cluster->masters }), 'no connection is left');
unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]|open socket|exited on signal/, 'no alert');



=== TEST 13: nodes that do not let the worker track changes are used without the cache
--- http_config
billing_redis redis://t_plain:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
billing_cache 8m;
--- config eval: $::CONFIG
--- run
$_->command('ACL', 'SETUSER', 't_plain', 'on', '>s3cret', '~*', '+@all', '-client|tracking')
    for @::Nodes;
my $hits = ::metric('cache_hits_total');
my @ids = map { $_->[0] } @::Ids;
is(::get($_), "200 MISS Camera $_", "camera $_") for (@ids) x 4;
is(::metric('cache_hits_total'), $hits, 'nothing is kept');

# once for each server, and not for each connection

for my $node (@::Nodes[0 .. 2]) {
    $node->command('CLIENT', 'KILL', 'USER', 't_plain');
}

is(::get($_), "200 MISS Camera $_", "camera $_ once more") for @ids;
my %said;
$said{$_}++ for Billing::error_log() =~ /server "([^"]*)" refuses CLIENT TRACKING/g;
is(join(' ', grep { $said{$_} > 1 } keys %said), '', 'said once');
--- logged
\[notice\] .*refuses CLIENT TRACKING: "NOPERM



=== TEST 14: nodes that speak RESP2 only are used without the cache
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
billing_cache 8m;
--- config eval: $::CONFIG
--- fake
--- run
my $slots = 'CLUSTER => raw *1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n'
            . ":$Fake->{port}\\r\\n\n";
$Fake->change($slots . "once HMGET => error MOVED 5 127.0.0.1:$Fake->{port}");
my $hits = ::metric('cache_hits_total');
is(::get(3), '200 MISS Camera 1', "answer $_") for 1 .. 5;
ok(wait_for(5, sub { $Fake->count('CLUSTER SLOTS') }), 'the map is read');
is(::get(3), '200 MISS Camera 1', "answer $_") for 1 .. 5;
is(::metric('cache_hits_total'), $hits, 'no hit');

# once for the seed and once for the node, and not for each connection

$Fake->change($slots . 'once HMGET => hangup 0');
is(::get(3), '200 MISS Camera 1', 'over a new connection');
my @said = Billing::error_log() =~ /refuses (HELLO)/g;
is(scalar @said, 2, 'said once');
--- logged
\[notice\] .*refuses HELLO
--- errors_allowed



=== TEST 15: without the right to CLUSTER SLOTS the cache is not used
--- http_config
billing_redis redis://t_slots:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
billing_cache 8m;
--- config eval: $::CONFIG
--- run
$_->command('ACL', 'SETUSER', 't_slots', 'on', '>s3cret', '~*', '+@all', '-cluster|slots')
    for @::Nodes;
my $hits = ::metric('cache_hits_total');
my @ids = map { $_->[0] } @::Ids;

# a redirect shows the node of "epoch" all the same

my $like = 200001;
$like++ until Billing::Cluster::slot(::key("camera:$like")) == Billing::Cluster::slot(::key('epoch'));
is(::get($like), '200 MISS null', 'no camera');
like(::get($_), qr/^200 \w+ Camera $_$/, "camera $_") for (@ids) x 4;
is(::metric('cache_hits_total'), $hits, 'no hit');
ok(wait_for(5, sub { ::get($ids[0]); ::metric('cache_untracked') == 1 }), 'the status page says so');
$_->command('ACL', 'SETUSER', 't_slots', '+cluster|slots') for @::Nodes;
::cached($ids[0]);
is(::metric('cache_untracked'), 0, 'with the right, it does not');

# a right that is taken away

$_->command('ACL', 'SETUSER', 't_slots', '-cluster|slots') for @::Nodes;
ok(wait_for(10, sub { ::get($ids[0]) !~ / HIT / && ::metric('cache_untracked') == 1 }), 'once more');
$_->command('ACL', 'SETUSER', 't_slots', '+cluster|slots') for @::Nodes;
::cached($ids[0]);
is(::metric('cache_untracked'), 0, 'and back');
--- logged
\[error\] .*refuses CLUSTER SLOTS: "NOPERM



=== TEST 16: one node of several that refuses PTTL is logged once
--- http_config
billing_redis redis://t_pttl:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
billing_cache 8m;
--- config eval: $::CONFIG
--- run
$_->command('ACL', 'SETUSER', 't_pttl', 'on', '>s3cret', '~*', '+@all') for @::Nodes;
my @tokens;

for my $n (1 .. 20) {
    push @{ $tokens[ ::place(::key('token:' . sha256("wrong $n"))) ] }, "wrong $n";
}

my $refused = sub {
    my $found = () = Billing::error_log() =~ /refuses PTTL/g;
    return $found;
};
my $ask = sub { is(ask(undef, uri => '/token', token => $tokens[$_[0]][0])->{status}, 401, 'asked') };

# PTTL is sent over a connection that is told of changes

ok(wait_for(5, sub { $ask->($_) for 0 .. 2; ::commands('pttl', $::Nodes[0]) }), 'all are tracked');
$::Nodes[0]->command('ACL', 'SETUSER', 't_pttl', '-pttl');
$ask->($_) for (0 .. 2) x 5;
is($refused->(), 1, 'once');
$::Nodes[0]->command('ACL', 'SETUSER', 't_pttl', '+pttl');
$ask->($_) for (0 .. 2) x 2;
--- logged_times
1 refuses PTTL
1 accepts PTTL



=== TEST 17: one node of several that refuses CLUSTER SLOTS is logged once, and again after it has told its slots
--- http_config
billing_redis redis://t_map:s3cret@127.0.0.1:$TEST_NGINX_NODE0_PORT;
billing_cache 8m; billing_cache_lag 100ms;
--- config eval: $::CONFIG
--- run
my $node = $::Nodes[1];
$_->command('ACL', 'SETUSER', 't_map', 'on', '>s3cret', '~*', '+@all') for @::Nodes;

# the nodes are asked in turn

my $readings = sub {
    my $end = ::metric('redis_refreshes_total') + 25;
    return wait_for(30, sub { ::get($::Ids[0][0]); ::metric('redis_refreshes_total') >= $end });
};

for my $n (1, 2) {
    ok($readings->(), 'the slots are read');
    $node->command('ACL', 'SETUSER', 't_map', '-cluster|slots');
    ok($readings->(), 'and while a node refuses');
    my @refused = Billing::error_log() =~ /refuses CLUSTER SLOTS/g;
    is(@refused, $n, "logged: $n");
    $node->command('ACL', 'SETUSER', 't_map', '+cluster|slots');
}
--- logged
\[error\] .*refuses CLUSTER SLOTS: "NOPERM



=== TEST 18: a demoted node is not used any more
--- http_config eval: $::CACHE . '400ms;'
--- config eval: $::CONFIG
--- run
my ($master, $replica) = ($::Nodes[$::Other], $::Cluster->replica($::Other));
my $id = $::Ids[$::Other][0];
::cached($id);
ok($::Cluster->promote($replica), 'a failover');
ok(wait_for(10, sub { $master->info('replication', 'role') eq 'slave' }), 'demoted');
::commands($::READS, $master, $replica);
ok(wait_for(0.7, sub { ::get($id); ::commands($::READS, $replica) }), 'the new master is asked');
::cached($id);
::commands($::READS, $master);
my @hits = grep { Time::HiRes::sleep 0.05; ::get($id) =~ /^200 HIT/ } 1 .. 20;
cmp_ok(@hits, '>', 15, 'hits');
is(::commands($::READS, $master), 0, 'the old one is not');
$replica->command('HSET', ::key("camera:$id"), 'name', 'Changed');
cmp_ok(::until_is($id, 'Changed'), '<', 100, 'a change is seen');
$replica->command('HSET', ::key("camera:$id"), 'name', "Camera $id");
ok(wait_for(10, sub { $master->info('replication', 'master_link_status') eq 'up' }), 'in step');
ok($::Cluster->promote($master), 'a failover');
ok(wait_for(10, sub { $replica->info('replication', 'role') eq 'slave' }), 'and back');



=== TEST 19: what a replica answers is not kept
--- http_config eval: $::CACHE . '200ms; billing_redis_timeout 5s;'
--- config eval: $::CONFIG
--- run
my ($master, $replica) = ($::Nodes[$::Other], $::Cluster->replica($::Other));
my $id = $::Ids[$::Other][0];
::cached($id);
$master->stop;
Time::HiRes::sleep 0.2;
::commands('hmget', $replica);
is(::get($id), "200 MISS Camera $id", "answer $_") for 1 .. 10;
is(::commands('hmget', $replica), 10, 'all of them by the replica');
--- errors_allowed
