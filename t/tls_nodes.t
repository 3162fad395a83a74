# A Redis Cluster and sentinels with TLS: real servers. The nodes have a port without
# TLS as well, which the worker must not use. Billing::TLS chooses the blocks that the
# module can run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'tls_nodes';
use Test::Nginx::Socket 'no_plan';
use Billing::Cluster;
use Billing::DNS;
use Billing::Sentinel;
use Billing::TLS;

# All nodes are at one address, and their names differ.

our $Tls = Billing::TLS->new(
    (map { ("node$_" => "DNS:node$_.example, DNS:redis.example, IP:127.0.0.1") } 0 .. 5),
    name => 'DNS:localhost, DNS:sentinel.test, DNS:redis.example',
    address => 'IP:127.0.0.1',
    other => 'DNS:other.example, IP:127.0.0.2',
);

our $DIR = $Tls->{dir};
our $CA = "billing_redis_ssl_trusted_certificate $DIR/ca.crt;";

our ($Cluster, $Set, $Named, $Dns, @Nodes);

start() if $Tls->{there};

END { $Cluster->stop if $Cluster }

sub start {
    my @replication = ('--tls-replication', 'yes');

    $Cluster = Billing::Cluster->new(timeout => 1000, each => sub {
        return ($Tls->server("node$_[0]"), @replication, '--tls-cluster', 'yes',
                '--port', Billing::Ports::reserve());
    });
    $Cluster->start;
    @Nodes = $Cluster->nodes;
    fill();

    my @lines = ("tls-ca-cert-file $DIR/ca.crt", 'tls-auth-clients no',
                 'tls-replication yes', 'tls-port auto');

    $Set = Billing::Sentinel->set('mymaster', replicas => 1, sentinels => 3,
        server => [ $Tls->server('address'), @replication ],
        sentinel => [ @lines, certificate_lines('address') ]);

    $Named = Billing::Sentinel->set('named', replicas => 0, sentinels => 1,
        host => 'localhost',
        server => [ $Tls->server('name'), @replication ],
        sentinel => [ @lines, certificate_lines('name'), 'sentinel resolve-hostnames yes',
                      'sentinel announce-hostnames yes' ]);

    for my $set ($Set, $Named) {
        $set->{servers}[0]->command(@$_) for Billing::fixtures();
    }

    $Dns = Billing::DNS->start;
    $Dns->answers("sentinel.test 1 127.0.0.1\nlocalhost 1 127.0.0.1\n");
}

sub certificate_lines {
    my ($name) = @_;

    return ("tls-cert-file $DIR/$name.crt", "tls-key-file $DIR/$name.key");
}

# The certificate that a server has from now on. A sentinel is started anew for this.

sub present {
    my ($server, $name) = @_;

    if ($server->isa('Billing::Sentinel')) {
        $server->stop;
        $server->configure(certificate_lines($name));
        $server->start;
        return;
    }

    $server->command('CONFIG', 'SET', 'tls-cert-file', "$DIR/$name.crt", 'tls-key-file',
                     "$DIR/$name.key");
}

# --- the cluster

sub seed {
    my ($host) = @_;

    return 'billing_redis rediss://' . ($host // '127.0.0.1') . ":$Nodes[0]{port};";
}

our $STATUS = <<"END";
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
END

# The fixtures, and a login with 300 cameras.

sub fill {
    $Cluster->load(Billing::fixtures());
    $Cluster->load(map { [ 'HSET', key($_), 'name', "Camera $_" ] } 100001 .. 100300);
    $Cluster->load([ 'ZADD', "${Billing::Prefix}login:long",
                     map { ($_, $_) } 100001 .. 100300 ]);
}

sub key {
    my ($id) = @_;

    return "${Billing::Prefix}camera:$id";
}

sub camera {
    my ($id) = @_;

    return Billing::Fixtures::camera($id, { name => "Camera $id" });
}

sub ids {
    my ($res) = @_;

    return join ' ', $res->{body} =~ /\{"id":(\d+)/g;
}

# The n-th camera whose key is on the node, as the cluster is now.

sub id_of {
    my ($node, $n) = @_;

    my @ids = grep { $Cluster->owner(Billing::Cluster::slot(key($_))) == $node }
              100001 .. 100100;

    return $ids[$n // 0];
}

# Asks for one camera: its name, or the status and the body.

sub name_of {
    my ($id) = @_;

    my $res = Billing::ask("{\"cameras_ids\":[$id]}");

    return $1 if $res->{status} == 200 && $res->{body} =~ /"name":"([^"]*)"/;
    return "$res->{status} $res->{body}";
}

# The server's ports of the connections on which nginx was answered.

sub ports {
    my ($server) = @_;

    return map { /\baddr=127\S*:\d+ laddr=\S*:(\d+) .*\bcmd=(?:echo|get|cluster\|slots)\b/ ? $1 : () }
           split /\n/, $server->command('CLIENT', 'LIST', 'TYPE', 'normal');
}

sub metric {
    my ($name) = @_;

    my ($value) = Billing::ask(undef, uri => '/status')->{body}
                  =~ /^nginx_billing_\Q$name\E(?:\{.*?\})? (\d+)/m;
    return $value;
}

sub announce {
    my ($node, $name) = @_;

    $node->command('CONFIG', 'SET', 'cluster-announce-hostname', $name);
    $node->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type',
                   $name eq '' ? 'ip' : 'hostname');
}

# All nodes announce names, except that one of them is another one; or none.

sub announce_all {
    my ($names, %other) = @_;

    announce($Nodes[$_], $names ? $other{$_} // "node$_.example" : '') for 0 .. $#Nodes;

    $Cluster->wait_for('the names are known', sub {
        my %is = map { my @range = @$_; map { $_->[0] => 1 } @range[2 .. $#range] }
                 @{ $_[0]->command('CLUSTER', 'SLOTS') };
        return $names ? keys %is == 6 && !grep({ !$is{$_} } values %other)
                      : keys %is == 1;
    });
}

# --- the sentinels

sub url {
    my ($scheme, $set, $host) = @_;

    return "$scheme://" . join(',', map { ($host // '127.0.0.1') . ":$_" } $set->ports)
           . "/?master=$set->{name}";
}

our $OPTIONS = "$CA billing_cache off; billing_redis_timeout 5s;"
               . ' add_header X-Server $billing_redis_server always;';

# Asks for a camera: the port of the server that answered, or the status.

sub port {
    my $res = Billing::ask('{"cameras_ids":[5]}');

    if ($res->{status} != 200 || $res->{body} ne Billing::Fixtures::answer(5)) {
        Test::More::diag("answered $res->{status}: $res->{body}");
        return $res->{status};
    }

    return $res->{headers} =~ /^X-Server: \S+:(\d+)\r$/m ? $1 : '';
}

$Tls->choose(do { local $/; <DATA> });

# The last blocks change which nodes there are.

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a hiredis without TLS makes rediss-sentinel:// an error that says why
--- without
--- refuses eval
join '', map { "$_ " . $::Tls->reason . "\n" }
    'billing_redis rediss-sentinel://127.0.0.1/?master=m; -> invalid URL "rediss-sentinel://127\.0\.0\.1" in "billing_redis" directive:',
    'billing_redis rediss-sentinel://bob:s3cret@127.0.0.1,127.0.0.2:5000/0?master=m; -> (?!.*s3cret).*invalid URL "rediss-sentinel://\*\*\*@127\.0\.0\.1,127\.0\.0\.2:5000" .*:'



=== TEST 2: all selectors are answered by a cluster with TLS
--- http_config eval: ::seed() . $::CA
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[10,3,5,4,3]}                    -> 3 4 5 10
{"cameras_uuid":["3"]}                          -> 3
{"login":"admin"}                               -> 3 4
{"cameras_ids":[999]}                           -> null
{"login":"nobody"}                              -> null
--- logged
\[notice\] .*redis cluster: 3 nodes have 16384 slots



=== TEST 3: a list comes from all nodes with TLS, and their other ports are not used
--- http_config eval: ::seed() . $::CA
--- run
for my $turn (1 .. 3) {
    my $res = ask('{"login":"long"}');
    ok($res->{complete}, 'complete');
    is($res->{body}, '[' . join(',', map { ::camera($_) } 100001 .. 100300) . ']', "list $turn");
}

my @masters = $::Cluster->masters;

for my $n (0 .. $#masters) {
    my @ports = ::ports($masters[$n]);
    cmp_ok(@ports, '>=', 1, "node $n is connected to");
    is(join(' ', grep { $_ != $masters[$n]{port} } @ports), '', 'at its port for TLS');
}



=== TEST 4: MOVED and ASK lead to the other node's port for TLS
--- http_config eval: ::seed() . $::CA
--- config eval: $::STATUS
--- run
my ($from, $to) = ($::Cluster->masters)[1, 2];
my $id = ::id_of($from);
my $slot = Billing::Cluster::slot(::key($id));
is(::name_of($id), "Camera $id", 'before');
ok(wait_for(5, sub { (::metric('cluster_slots') // 0) == 16384 }), 'the map is read');
my $redirects = ::metric('redis_redirects_total');

$::Cluster->migrate($slot, $from, $to);
$::Cluster->migrate_keys($slot, $from, $to);
is(::name_of($id), "Camera $id", "ASK $_") for 1 .. 3;
is(::metric('redis_redirects_total') - $redirects, 3, 'each was redirected');
$::Cluster->assign($slot, $to);
is(::name_of($id), "Camera $id", "MOVED $_") for 1 .. 20;
is(join(' ', map { ::ports($_) } $to), $to->{port}, 'one connection, with TLS');
$::Cluster->move($slot, $from);
is(::name_of($id), "Camera $id", 'and back');
--- logged
billing redis redirected: "ASK \d+ 127\.0\.0\.1:\d+"



=== TEST 5: over TLS the worker's cache of a cluster is told of changes
--- http_config eval: ::seed() . $::CA . 'billing_cache 4m; billing_cache_lag 1h;'
--- config eval: $::STATUS
--- run
for my $node ($::Cluster->masters) {
    my $id = ::id_of($node, 1);
    ok(wait_for(5, sub {
        my $hits = ::metric('cache_hits_total');
        ::name_of($id);
        return ::metric('cache_hits_total') >= $hits + 2;
    }), "camera $id is kept");
    $node->command('HSET', ::key($id), 'name', 'changed');
    ok(wait_for(2, sub { ::name_of($id) eq 'changed' }), 'a change is seen');
    $node->command('HSET', ::key($id), 'name', "Camera $id");
    ok(wait_for(2, sub { ::name_of($id) eq "Camera $id" }), 'and the next one');
}



=== TEST 6: a node whose certificate is for another address is refused, and its replica answers
--- http_config eval: ::seed() . $::CA . 'billing_redis_timeout 2s;'
--- run
my $node = ($::Cluster->masters)[1];
my ($id, $other) = map { ::id_of($_) } $node, ($::Cluster->masters)[0];
::present($node, 'other');
is(::name_of($other), "Camera $other", 'another node answers');
is(::name_of($id), "Camera $id", 'the replica answers');
is(join(' ', ::ports($node)), '', 'the node is not connected to');

::present($::Cluster->replica(1), 'other');
$::Cluster->replica(1)->command('CLIENT', 'KILL', 'TYPE', 'normal');
like(::name_of($id), qr/^50[34] /, 'no node answers');
is(::name_of($other), "Camera $other", 'another node answers');

::present($_, 'node1') for $node, $::Cluster->replica(1);
ok(wait_for(10, sub { ::name_of($id) eq "Camera $id" }), 'with its own certificate it does');
like(Billing::error_log(), qr/\[error\] .*redis server "127\.0\.0\.1:$_->{port}" is down: IP address mismatch, "127\.0\.0\.1" expected$/m,
     "node $_->{port} is named") for $node, $::Cluster->replica(1);
--- logged
\[error\] .*is down: IP address mismatch



=== TEST 7: nodes that announce names are verified by these
--- http_config eval: ::seed() . $::CA
--- run
::announce_all(1);
my $res = ask('{"login":"long"}');
is(::ids($res), join(' ', 100001 .. 100300), "list $_") for 1 .. 3;
cmp_ok(scalar(::ports($_)), '>=', 1, "node $_->{port} is connected to") for $::Cluster->masters;
my ($from, $to) = ($::Cluster->masters)[1, 2];
my $id = ::id_of($from);
my $slot = Billing::Cluster::slot(::key($id));
$::Cluster->move($slot, $to);
is(::name_of($id), "Camera $id", "MOVED $_") for 1 .. 5;
$::Cluster->move($slot, $from);
::announce_all(0);
--- logged
billing redis redirected: "MOVED \d+ node\d\.example:\d+"



=== TEST 8: a node whose certificate does not have the announced name is refused, and is named
--- http_config eval: ::seed() . $::CA . 'billing_redis_timeout 2s;'
--- run
::announce_all(1, 1 => 'node7.example', 4 => 'node8.example');
my ($zero, $one) = $::Cluster->masters;
my ($id, $other) = map { ::id_of($_) } $one, $zero;
is(::name_of($other), "Camera $other", 'another node answers');
like(::name_of($id), qr/^50[34] /, 'neither the node nor its replica answers');
is(::name_of($other), "Camera $other", 'another node answers');
is(join(' ', ::ports($one)), '', 'the node is not connected to');
like(Billing::error_log(),
     qr/\[error\] .*redis server "127\.0\.0\.1:$one->{port}" is down: hostname mismatch, "node7\.example" expected$/m,
     'the line has both');
::announce_all(1);
ok(wait_for(10, sub { ::name_of($id) eq "Camera $id" }), 'with a right name it does');
::announce_all(0);
--- logged
\[error\] .*is down: hostname mismatch



=== TEST 9: billing_redis_ssl_name is the name of all nodes
--- http_config eval: ::seed() . $::CA . 'billing_redis_ssl_name redis.example;'
--- run
::announce_all(1, 1 => 'node7.example');
my $res = ask('{"login":"long"}');
is(::ids($res), join(' ', 100001 .. 100300), "list $_") for 1 .. 3;
cmp_ok(scalar(::ports($_)), '>=', 1, "node $_->{port} is connected to") for $::Cluster->masters;
::announce_all(0);



=== TEST 10: nodes without the name in billing_redis_ssl_name are refused
--- http_config eval: ::seed() . $::CA . 'billing_redis_ssl_name node0.example; billing_redis_timeout 1s;'
--- route
billing_token off;
--- request
GET /none
--- error_code: 404
--- run
my ($zero, $one) = $::Cluster->masters;
my ($id, $other) = map { ::id_of($_) } $one, $zero;
is(::name_of($other), "Camera $other", 'the node with the name answers');
like(::name_of($id), qr/^50[34] /, 'another one does not');
is(join(' ', map { ::ports($_) } $one, ($::Cluster->masters)[2]), '', 'nor is it connected to');
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: hostname mismatch



=== TEST 11: nodes without a host are verified by the name of the server that was asked
--- http_config eval: ::seed('localhost') . $::CA . 'billing_redis_timeout 2s;'
--- route
billing_token off;
--- request
GET /none
--- error_code: 404
--- run
my ($zero, $one) = $::Cluster->masters;
my ($id, $other) = map { ::id_of($_) } $one, $zero;
$_->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint') for @::Nodes;
::present($_, 'name') for $zero, $::Cluster->replica(0), $one;
::present($::Cluster->replica(1), 'node4');
is(::name_of($other), "Camera $other", 'the seed answers');
is(::name_of($id), "Camera $id", 'a node with the same name answers');
::present($one, 'node1');
$one->command('CLIENT', 'KILL', 'TYPE', 'normal');
like(::name_of($id), qr/^50[34] /, 'one without does not');
::present($::Nodes[$_], "node$_") for 0 .. 5;
$_->command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'ip') for @::Nodes;
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: hostname mismatch



=== TEST 12: the nodes get the client's certificate
--- http_config eval
::seed() . "$::CA billing_redis_ssl_certificate $::DIR/client.crt; billing_redis_ssl_certificate_key $::DIR/client.key;"
--- run
$_->command('CONFIG', 'SET', 'tls-auth-clients', 'yes') for @::Nodes;
my $res = ask('{"login":"long"}');
is(::ids($res), join(' ', 100001 .. 100300), "list $_") for 1 .. 2;
$_->command('CONFIG', 'SET', 'tls-auth-clients', 'no') for @::Nodes;



=== TEST 13: workers that exit close their connections with TLS to nodes and sentinels
--- http_config eval: ::seed() . $::CA
--- run
my $nginx = Billing::Nginx->start(<<"END");
    $::CA
    billing_redis_prefix $Billing::Prefix;
    billing_redis_timeout 5s;
    server {
        listen 127.0.0.1:%PORT%;
        location / { billing_cameras_list; ${\ ::seed() } }
        location /sentinel { billing_cameras_list; billing_redis ${\ ::url('rediss-sentinel', $::Set) }; }
    }
END

my @port = (port => $nginx->{port});

for my $turn (1 .. 3) {
    my @old = $nginx->workers;
    is(::ids(ask('{"login":"long"}', @port)), join(' ', 100001 .. 100300), "turn $turn: the cluster");
    answers(ask('{"cameras_ids":[5]}', uri => '/sentinel', @port), '5', "turn $turn: the sentinels' master");
    $nginx->signal('HUP');
    ok($nginx->replaced(5, @old), "turn $turn: the old worker is gone");
}

is(::ids(ask('{"login":"long"}', @port)), join(' ', 100001 .. 100300), 'at the end');
answers(ask('{"cameras_ids":[5]}', uri => '/sentinel', @port), '5', 'both');
$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]|open socket/, 'no alert in the log');



=== TEST 14: sentinels with TLS name a master with TLS
--- http_config eval: 'billing_redis ' . ::url('rediss-sentinel', $::Set) . ";\n$::OPTIONS"
--- run
is(::port(), $::Set->master_port, 'the master') for 1 .. 3;
--- logged
\[notice\] .*redis master "mymaster" is 127\.0\.0\.1:\d+, with 1 replicas, as sentinel "127\.0\.0\.1:\d+" says



=== TEST 15: a failover that sentinels with TLS make is followed, and no request fails
--- http_config eval: 'billing_redis ' . ::url('rediss-sentinel', $::Set) . ";\n$::OPTIONS"
--- run
my $old = $::Set->master_port;
is(::port(), $old, 'before');
ok(wait_for(30, sub {
    eval { $::Set->{sentinels}[0]->command('SENTINEL', 'FAILOVER', 'mymaster') };
    return wait_for(5, sub { $::Set->master_port != $old });
}), 'the sentinel names another master');
my ($new, %seen) = ($::Set->master_port);
ok(wait_for(10, sub { my $now = ::port(); $seen{$now}++; $now eq $new }), 'it is asked');
is(join(' ', grep { $_ < 1000 } keys %seen), '', 'all are answered');
ok($::Set->settle(1), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 16: a master with TLS crashes: no request fails, and the replica takes over
--- http_config eval: 'billing_redis ' . ::url('rediss-sentinel', $::Set) . ";\n$::OPTIONS billing_redis_timeout 10s;" =~ s/billing_redis_timeout 5s;//r
--- run
my $old = $::Set->master;
is(::port(), $old->{port}, 'before');
$old->stop;
my %seen;
ok(wait_for(30, sub { $seen{::port()}++; $::Set->moved($old->{port}) }), 'the sentinels name another one');
is(::port(), $::Set->master_port, 'which is asked');
is(join(' ', grep { $_ < 1000 } keys %seen), '', 'all are answered');
$old->start;
ok($::Set->settle(1), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 17: a sentinel whose certificate is for another address is refused, and another one is asked
--- http_config eval: 'billing_redis ' . ::url('rediss-sentinel', $::Set) . ";\n$::OPTIONS"
--- run
my ($first, @others) = @{ $::Set->{sentinels} };
is(::port(), $::Set->master_port, 'the master');
::present($first, 'other');
is(::port(), $::Set->master_port(1), 'the master is asked');
::present($_, 'other') for @others;
ok(wait_for(10, sub {
    ::port();
    return 3 == grep { error_log() =~ /redis sentinel "127\.0\.0\.1:$_->{port}" is down: IP address mismatch/ }
                $first, @others;
}), 'each is named');
is(::port(), $::Set->master_port, 'the master is known');
::present($_, 'address') for $first, @others;
ok($::Set->settle(1), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 18: a master whose certificate is for another address is refused, and its replica answers
--- http_config eval: 'billing_redis ' . ::url('rediss-sentinel', $::Set) . ";\n$::OPTIONS"
--- run
my $master = $::Set->master;
my ($replica) = grep { $_ != $master } @{ $::Set->{servers} };
::present($master, 'other');
is(::port(), $replica->{port}, 'the replica');
like(error_log(), qr/\[error\] .*redis server "127\.0\.0\.1:$master->{port}" is down: IP address mismatch/,
     'the master is named');
::present($master, 'address');
ok(wait_for(10, sub { ::port() eq $master->{port} }), 'with its own certificate it is asked');
--- logged
\[error\] .*is down: IP address mismatch



=== TEST 19: names of sentinels and of servers are verified
--- http_config eval
$ENV{TEST_NGINX_DNS_PORT} = $::Dns->{port};
"resolver 127.0.0.1:\$TEST_NGINX_DNS_PORT;\nbilling_redis "
. ::url('rediss-sentinel', $::Named, 'sentinel.test') . ";\n$::OPTIONS"
--- run
is(::port(), $::Named->{servers}[0]{port}, 'the master is asked');
--- logged
\[notice\] .*redis master "named" is localhost:\d+
--- errors_allowed



=== TEST 20: a server whose certificate does not have the name that sentinels give is refused
--- http_config eval
$ENV{TEST_NGINX_DNS_PORT} = $::Dns->{port};
"resolver 127.0.0.1:\$TEST_NGINX_DNS_PORT;\nbilling_redis "
. ::url('rediss-sentinel', $::Named, 'sentinel.test') . ";\n$::OPTIONS" =~ s/5s/1s/r
--- run
::present($::Named->{servers}[0], 'address');
is(ask('{"cameras_ids":[5]}')->{status}, 503, 'no server');
::present($::Named->{servers}[0], 'name');
ok(wait_for(10, sub { ::port() eq $::Named->{servers}[0]{port} }), 'with its name it is asked');
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: hostname mismatch, "localhost" expected$
--- errors_allowed



=== TEST 21: a sentinel whose certificate does not have the name in the URL is refused
--- http_config eval
$ENV{TEST_NGINX_DNS_PORT} = $::Dns->{port};
"resolver 127.0.0.1:\$TEST_NGINX_DNS_PORT;\nbilling_redis "
. ::url('rediss-sentinel', $::Named, 'sentinel.test') . ";\n$::OPTIONS" =~ s/5s/1s/r
--- run
::present($::Named->{sentinels}[0], 'address');
is(ask('{"cameras_ids":[5]}')->{status}, 503, 'no server');
::present($::Named->{sentinels}[0], 'name');
ok(wait_for(10, sub { ::port() eq $::Named->{servers}[0]{port} }), 'with its name it is asked');
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: hostname mismatch, "sentinel\.test" expected$
--- errors_allowed



=== TEST 22: a URL of sentinels with the wrong scheme has a log line that says so
--- http_config
billing_redis_timeout 1s;
--- config eval
"$::CA
location = /tls { billing_cameras_list; billing_redis rediss-sentinel://127.0.0.1:$ENV{TEST_NGINX_REDIS_PORT}/?master=m; }
location = /plain { billing_cameras_list; billing_redis ${\ ::url('redis-sentinel', $::Named) }; }"
--- run
is(ask('{"cameras_ids":[5]}', uri => "/$_")->{status}, 503, $_) for qw(tls plain);
--- request
GET /none
--- error_code: 404
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: .*, the port may be one without TLS$
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: .*, the port may be one with TLS$



=== TEST 23: CLUSTER FAILOVER of a cluster with TLS fails no request
--- http_config eval: ::seed() . $::CA . 'billing_redis_timeout 5s;'
--- run
my ($master, $replica) = (($::Cluster->masters)[1], $::Cluster->replica(1));
my $id = ::id_of($master);
is(::name_of($id), "Camera $id", 'before');
$replica->command('CLUSTER', 'FAILOVER');
my (undef, $failed) = keep_asking(10, "{\"cameras_ids\":[$id]}", '200 ' . quotemeta '[' . ::camera($id) . ']',
                                  sub { $master->info('replication', 'role') eq 'slave' });
is($failed, 0, 'no answer is wrong');
is(::name_of($id), "Camera $id", "answer $_") for 1 .. 3;
is(join(' ', ::ports($replica)), $replica->{port}, 'the new master is asked, with TLS');



=== TEST 24: a master of a cluster with TLS is killed: no request fails
--- http_config eval: ::seed() . $::CA . 'billing_redis_timeout 5s;'
--- run
my ($master, $replica) = (($::Cluster->masters)[2], $::Cluster->replica(2));
my $id = ::id_of($master);
is(::name_of($id), "Camera $id", 'before');
$master->stop;
my ($is, $failed) = keep_asking(15, "{\"cameras_ids\":[$id]}", '200 ' . quotemeta '[' . ::camera($id) . ']',
                                sub { $replica->info('replication', 'role') eq 'master' });
is($is, 1, 'the replica takes over');
is($failed, 0, 'no answer is wrong');
is(::name_of($id), "Camera $id", "answer $_") for 1 .. 3;
--- errors_allowed
