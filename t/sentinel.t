# A master and its replicas that sentinels name.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'sentinel';
use Test::Nginx::Socket 'no_plan';
use Billing::DNS;
use Billing::Sentinel;
use POSIX ();

# Three sentinels, a master and two replicas, which have the fixtures.

our $Set = Billing::Sentinel->set('mymaster', replicas => 2, sentinels => 3);

$Set->master->command(@$_) for Billing::fixtures();

# Sentinels that know nothing of the others, nor of a failover: one's master is
# the suite's Redis, and nobody listens on the other's.

our ($Alone, $Dead) = map {
    Billing::Sentinel->new("sentinel monitor mymaster 127.0.0.1 $_ 1")
} $ENV{TEST_NGINX_REDIS_PORT}, Billing::Ports::reserve();

$_->start for $Alone, $Dead;

# Servers and a sentinel with passwords, and others that are known by a name.

our $Secret = Billing::Sentinel->set('other', replicas => 1, sentinels => 1,
    server => [ '--requirepass', 's3cret', '--masterauth', 's3cret',
                '--user', 'reader', 'on', '>r3%der', '~*', '&*', '+@all' ],
    sentinel => [ 'user default on >s3ntinel ~* &* +@all',
                  'user watcher on >w@tcher ~* &* +@all' ],
    password => [ 's3cret', 's3ntinel' ],
    after => [ 'sentinel auth-pass other s3cret' ]);

our $Named = Billing::Sentinel->set('named', replicas => 0, sentinels => 1,
    host => 'localhost',
    sentinel => [ 'sentinel resolve-hostnames yes', 'sentinel announce-hostnames yes' ]);

our $Dns = Billing::DNS->start;

$Named->{servers}[0]->command(@$_) for Billing::fixtures();
$Secret->{servers}[0]->command(@$_) for Billing::fixtures();

sub secret {
    my ($userinfo, $params) = @_;

    return "redis-sentinel://${userinfo}127.0.0.1:" . ($Secret->ports)[0]
           . "/0?master=other$params";
}

sub url {
    my (%opt) = @_;

    my $hosts = join ',', map { "127.0.0.1:$_" } @{ $opt{ports} // [ $Set->ports ] };
    return "redis-sentinel://$hosts/?master=" . ($opt{name} // 'mymaster');
}

# Adds to the answers the address of the Redis that was asked.

our $SHOWN = 'add_header X-Server $billing_redis_server always;';
our $OPTIONS = "billing_cache off; billing_redis_timeout 5s; $SHOWN";
our $CONFIG = 'billing_redis ' . url() . ";\n$OPTIONS";

# Asks for a camera: the port of the server that answered, or the status.

sub port {
    my (%opt) = @_;

    my $res = Billing::ask('{"cameras_ids":[5]}', %opt);

    if ($res->{status} != 200 || $res->{body} ne Billing::Fixtures::answer(5)) {
        Test::More::diag("answered $res->{status}: $res->{body}");
        return $res->{status};
    }

    return $res->{headers} =~ /^X-Server: \S+:(\d+)\r$/m ? $1 : '';
}

# Asks for so many seconds, until a server answers: all answers on the way.

sub moves {
    my ($seconds, $port) = @_;

    my %seen;

    Billing::wait_for($seconds, sub {
        my $now = port();
        $seen{$now}++;
        return defined $port && $now eq $port;
    });

    return \%seen;
}

# Has a replica take the place of the master, which goes on. Returns the port of
# the former master, and of the new one.

sub failover {
    my $old = $Set->master_port;

    # a sentinel that has just seen another failover may give up

    Test::More::ok(Billing::wait_for(30, sub {
        eval { $Set->{sentinels}[0]->command('SENTINEL', 'FAILOVER', 'mymaster') };
        return Billing::wait_for(5, sub { $Set->master_port != $old });
    }), 'the sentinel names another master');

    return ($old, $Set->master_port);
}

# How many reads a server was asked for.

sub reads {
    my ($server) = @_;

    my ($calls) = $server->command('INFO', 'commandstats') =~ /^cmdstat_hmget:calls=(\d+)/m;
    return $calls // 0;
}

# The idle times of nginx's connections to a sentinel, in seconds.

sub controls {
    my ($sentinel) = @_;

    return map { /\bname=nginx-billing\b.*\bidle=(\d+)/ ? $1 : () }
           split /\n/, $sentinel->command('CLIENT', 'LIST');
}

run_tests();

__DATA__

=== TEST 1: the master that sentinels name is asked
--- http_config eval: $::CONFIG
--- run
is(::port(), $::Set->master_port, 'the master') for 1 .. 3;
--- logged
\[notice\] .*redis master "mymaster" is 127\.0\.0\.1:\d+, with 2 replicas, as sentinel "127\.0\.0\.1:\d+" says
--- logged_times
1 redis master "mymaster" is



=== TEST 2: a failover that an operator starts is followed, and no request fails
--- http_config eval: $::CONFIG
--- run
is(::port(), $::Set->master_port, 'before');
my ($old, $new) = ::failover();
my $seen = ::moves(10, $new);
is(join(' ', grep { $_ < 1000 } keys %$seen), '', 'all are answered');
is($seen->{$new}, 1, 'the new master is asked');
is(::port(), $new, 'it stays') for 1 .. 3;
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed



=== TEST 3: a master that crashes, and comes back empty, fails no request and is not asked again
--- http_config eval: $::CONFIG
--- run
my $old = $::Set->master;
is(::port(), $old->{port}, 'before');
$old->stop;

my %seen;
ok(wait_for(30, sub { $seen{::port()}++; $::Set->moved($old->{port}) }),
   'the sentinels name another one');
$old->start;
my $end = time + 13;

while (time < $end) {
    $seen{::port()}++;
    select undef, undef, undef, 0.02;
}

is(join(' ', grep { $_ < 1000 } keys %seen), '', 'all are answered, and none with nothing');
is($old->command('EXISTS', "${Prefix}camera:5"), 1, 'the old one has become a replica');
is(::reads($old), 0, 'it was not asked for a camera');
is(::port(), $::Set->master_port, 'the new master is asked');
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 4: replicas answer while there is no master
--- http_config eval: $::CONFIG
--- run
my $old = $::Set->master;
my @sentinels = @{ $::Set->{sentinels} };
is(::port(), $old->{port}, 'before');

$_->stop for @sentinels[0, 1];
$old->stop;

my ($end, %seen) = (time + 4);
$seen{::port()}++ while time < $end;
is(join(' ', grep { $_ < 1000 } keys %seen), '', 'all are answered');
is($::Set->master_port(2), $old->{port}, 'the sentinel names no other master');

$old->start;
$old->command(@$_) for fixtures();
$_->start for @sentinels[0, 1];
::moves(15, $old->{port});
is(::port(), $old->{port}, 'the master is asked again');
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 5: a replica that was made a master by hand is not asked
--- http_config eval: $::CONFIG . "\n" . 'billing_redis_connect_timeout 300ms;'
--- run
my $old = $::Set->master;
my @sentinels = @{ $::Set->{sentinels} };
my ($one, $two) = grep { $_ != $old } @{ $::Set->{servers} };
is(::port(), $old->{port}, 'before');

$_->stop for @sentinels;
$_->command('REPLICAOF', 'NO', 'ONE') for $one, $two;
my @before = map { ::reads($_) } $one, $two;
$old->stop;
ask($EXAMPLE) for 1 .. 2;
is_deeply([ map { ::reads($_) } $one, $two ], \@before, 'none of the two');

$old->start;
$old->command(@$_) for fixtures();
$_->command('REPLICAOF', '127.0.0.1', $old->{port}) for $one, $two;
$_->start for @sentinels;
ok($::Set->settle(2), 'the sentinels see all servers');
::moves(15, $::Set->master_port);
is(::port(), $::Set->master_port, 'the master is asked again');
--- logged
\[error\] .*redis server "127\.0\.0\.1:\d+" is down: it is a master, but sentinels name another one
--- timeout: 90



=== TEST 6: sentinels that are gone are passed over
--- http_config eval
'billing_redis ' . ::url(ports => [ Billing::Ports::reserve(), $::Set->ports ]) . ";\n$::OPTIONS"
--- run
is(::port(), $::Set->master_port, 'the first sentinel is gone');

my ($used) = grep { ::controls($_) } @{ $::Set->{sentinels} };
ok($used, 'one of the others is connected to');
$used->stop;
is(::port(), $::Set->master_port(1) // $::Set->master_port(2), 'the one in use is gone, too');
ok(wait_for(5, sub { ::port(); grep { $_ != $used && ::controls($_) } @{ $::Set->{sentinels} } }),
   'the next one is connected to');
$used->start;
ok($::Set->settle(2), 'the sentinels see all servers');
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: Connection refused
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: server closed the connection
--- logged_times
0 redis server "\S+" is down



=== TEST 7: no sentinel is left: the last servers are used
--- http_config eval: $::CONFIG
--- run
my $master = $::Set->master_port;
is(::port(), $master, 'before');
$_->stop for @{ $::Set->{sentinels} };

my ($end, %seen) = (time + 4);
$seen{::port()}++ while time < $end;
is(join(' ', keys %seen), $master, 'the master that they named');
$::Set->server($master)->command('CLIENT', 'KILL', 'TYPE', 'normal');
is(::port(), $master, 'and again, when the connection to it is lost');

$_->start for @{ $::Set->{sentinels} };
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 8: a sentinel with an old config epoch is not believed
--- http_config eval
'billing_redis ' . ::url(ports => [ ($::Set->ports)[0], $::Alone->{port} ]) . ";\n$::OPTIONS"
--- run
::failover();
ok($::Set->settle(2), 'the sentinels see all servers');
ask($EXAMPLE);
my $master = $::Set->master_port;
::moves(5, $master);
my ($end, %seen) = (time + 13);

while (time < $end) {
    $seen{::port()}++;
    select undef, undef, undef, 0.02;
}

is(join(' ', keys %seen), $master, 'only the master of the others is asked');
--- logged
\[warn\] .*redis sentinel "127\.0\.0\.1:\d+" is not believed: its config epoch of master "mymaster" is 0, and the newest one is \d+
--- logged_times
1 is not believed
--- timeout: 60



=== TEST 9: the wrong one of two sentinels is asked first, and its master is dead
--- http_config eval
'billing_redis ' . ::url(ports => [ $::Dead->{port}, ($::Set->ports)[0] ]) . ";\n$::OPTIONS"
--- run
is(::port(), $::Set->master_port, 'the other sentinel is asked');
is(::port(), $::Set->master_port, 'and believed from then on') for 1 .. 3;
--- errors_allowed



=== TEST 10: sentinels that do not know the master
--- http_config eval
'billing_redis ' . ::url(name => 'no-such%2Dmaster') . ";\nbilling_redis_timeout 300ms;"
--- run
is(ask($EXAMPLE)->{status}, 503, 'no server') for 1 .. 2;
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: the sentinel knows no such master
--- request
GET /none
--- error_code: 404



=== TEST 11: a server that is no sentinel
--- http_config eval
"billing_redis redis-sentinel://127.0.0.1:$ENV{TEST_NGINX_REDIS_PORT}/?master=mymaster;\nbilling_redis_timeout 300ms;"
--- run
is(ask($EXAMPLE)->{status}, 503, 'no server');
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: the server is no sentinel
--- request
GET /none
--- error_code: 404



=== TEST 12: sentinels are asked while requests come, and not by an idle worker
--- http_config eval: $::CONFIG
--- run
my ($end, $asked) = (time + 3, 0);

while (time < $end) {
    ::port();
    $asked = 1 if grep { defined && $_ == 0 } map { ::controls($_) } @{ $::Set->{sentinels} };
}

is($asked, 1, 'while requests come');
select undef, undef, undef, 4.2;
my @idle = map { ::controls($_) } @{ $::Set->{sentinels} };
is(@idle, 1, 'one connection');
cmp_ok($idle[0], '>=', 3, 'which is idle');



=== TEST 13: an idle worker is told of a new master
--- http_config eval: $::CONFIG
--- run
my $old = $::Set->master;
is(::port(), $old->{port}, 'before');
$old->stop;
ok(wait_for(30, sub { $::Set->moved($old->{port}) }), 'the sentinels name another one');
my $new = $::Set->master_port;
ok(wait_for(15, sub { error_log() =~ /redis master "mymaster" is 127\.0\.0\.1:$new,/ }),
   'without a request');
$old->start;
is(::port(), $new, 'the first request goes to the new master');
is(::reads($old), 0, 'and not to the old one');
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 14: a worker that was idle asks a sentinel before it connects to a server
--- http_config eval: $::CONFIG
--- run
my $old = $::Set->master;
is(::port(), $old->{port}, 'before');

# the worker loses its connections, and does not make others

$old->command('CLIENT', 'KILL', 'TYPE', 'normal');
select undef, undef, undef, 0.3;
$_->command('CLIENT', 'KILL', 'TYPE', 'pubsub') for @{ $::Set->{sentinels} };
::failover();
ok($::Set->settle(2), 'the sentinels see all servers');
$old->command('REPLICAOF', 'NO', 'ONE');
my ($before, $new) = (::reads($old), $::Set->master_port);

# the sentinels' answer comes later than that of the old master would

$_->signal('STOP') for @{ $::Set->{sentinels} };
my $pid = fork // die "fork: $!\n";

if ($pid == 0) {
    select undef, undef, undef, 0.3;
    $_->signal('CONT') for @{ $::Set->{sentinels} };
    POSIX::_exit(0);
}

is(::port(), $new, 'the new master is asked');
waitpid $pid, 0;
is(::reads($old), $before, 'and not the old one');
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60



=== TEST 15: records of the worker's cache do not outlive a failover
--- http_config eval: 'billing_redis ' . ::url() . ";\nbilling_redis_timeout 5s;"
--- run
my $old = $::Set->master;
answers(ask('{"cameras_ids":[5]}'), '5', 'before') for 1 .. 3;
$old->stop;
ok(wait_for(30, sub { ask('{"cameras_ids":[5]}'); $::Set->moved($old->{port}) }),
   'the sentinels name another one');
$::Set->master->command('HSET', "${Prefix}camera:5", 'name', 'after');
ok(wait_for(5, sub { ask('{"cameras_ids":[5]}')->{body} =~ /"name":"after"/ }), 'what changed');
$::Set->master->command(@$_) for fixtures();
$old->start;
ok($::Set->settle(2), 'the sentinels see all servers');
--- errors_allowed
--- timeout: 60




=== TEST 16: sentinels and servers have users and passwords of their own
--- http_config eval
'billing_redis ' . ::secret('reader:r3%25der@', '&sentinel_user=watcher&sentinel_password=w%40tcher')
. ";\n$::OPTIONS"
--- route
billing_redis_timeout 3s;
--- run
is(::port(), $::Secret->{servers}[0]{port}, 'the master is asked');



=== TEST 17: the servers' password is in a file
--- user_files
>>> password
s3cret
--- http_config eval
'billing_redis ' . ::secret('', '&sentinel_password=s3ntinel') . ";\n$::OPTIONS"
. "\nbilling_redis_password_file \$TEST_NGINX_SERVER_ROOT/html/password;"
--- run
is(::port(), $::Secret->{servers}[0]{port}, 'the master is asked');



=== TEST 18: a wrong password of a sentinel is named, and not logged
--- http_config eval
'billing_redis ' . ::secret('reader:r3%25der@', '&sentinel_password=t0ps3cret')
. ";\nbilling_redis_timeout 300ms;"
--- run
is(ask($EXAMPLE)->{status}, 503, 'no server');
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: WRONGPASS invalid username-password pair
--- no_error_log
t0ps3cret
r3%der
--- request
GET /none
--- error_code: 404



=== TEST 19: a sentinel without a password that needs one
--- http_config eval
'billing_redis ' . ::secret('reader:r3%25der@', '') . ";\nbilling_redis_timeout 300ms;"
--- run
is(ask($EXAMPLE)->{status}, 503, 'no server');
--- logged
\[error\] .*redis sentinel "127\.0\.0\.1:\d+" is down: NOAUTH
--- request
GET /none
--- error_code: 404



=== TEST 20: wrong URLs of sentinels are errors that name the URL and the reason
--- refuses
billing_redis redis-sentinel://127.0.0.1;                                 -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: the parameter "master" is missing
billing_redis redis-sentinel://127.0.0.1/0?master=;                       -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: a parameter is empty
billing_redis redis-sentinel://127.0.0.1/?master=a&master=b;              -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: a parameter is duplicate
billing_redis redis-sentinel://127.0.0.1/?master=a&db=1;                  -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: only the parameters "master", "sentinel_user" and "sentinel_password" are known
billing_redis redis-sentinel://?master=a;                                 -> invalid URL "redis-sentinel://" in "billing_redis" directive: no host
billing_redis redis-sentinel://127.0.0.1,,127.0.0.2/?master=a;            -> invalid URL "redis-sentinel://127\.0\.0\.1,,127\.0\.0\.2" in "billing_redis" directive: no host
billing_redis redis-sentinel://127.0.0.1,127.0.0.2:port/?master=a;        -> invalid URL "redis-sentinel://127\.0\.0\.1,127\.0\.0\.2" in "billing_redis" directive: invalid port
billing_redis redis-sentinel://127.0.0.1:70000/?master=a;                 -> invalid URL "redis-sentinel://127\.0\.0\.1:70000" in "billing_redis" directive: invalid port
billing_redis redis-sentinel://127.0.0.1/x?master=a;                      -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: the database must be a number
billing_redis redis-sentinel://127.0.0.1/?master=a&sentinel_user=b;       -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: there is no "sentinel_password" for the "sentinel_user"
billing_redis redis-sentinel://u:50%@127.0.0.1/?master=a;                 -> invalid URL "redis-sentinel://\*\*\*@127\.0\.0\.1" in "billing_redis" directive: a "%" in the user or the password
billing_redis redis-sentinel://127.0.0.1/?master=50%;                     -> invalid URL "redis-sentinel://127\.0\.0\.1" in "billing_redis" directive: a "%" in the user or the password
billing_redis redis-sentinel://unix:/a.sock?master=a;                     -> invalid URL "redis-sentinel://unix" in "billing_redis" directive: the database must be a number
billing_redis redis-sentinel:127.0.0.1;                                   -> invalid URL "redis-sentinel" in "billing_redis" directive: it must begin with "redis://"
billing_redis redis://127.0.0.1 redis-sentinel://127.0.0.2/?master=a;     -> invalid URL "redis-sentinel://127\.0\.0\.2" in "billing_redis" directive: an URL of sentinels must be the only one
billing_redis redis-sentinel://127.0.0.2/?master=a redis://127.0.0.1;     -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: an URL of sentinels must be the only one
billing_redis redis-sentinel://bob@127.0.0.1/?master=a;                   -> no password for the user of redis server "127\.0\.0\.1:26379" in "billing_redis" directive
billing_redis redis-sentinel://no-such-host.invalid/?master=a;            -> invalid URL "redis-sentinel://no-such-host\.invalid" in "billing_redis" directive: host not found



=== TEST 21: no password of a wrong URL is logged
--- refuses
billing_redis redis-sentinel://u:s3cret@127.0.0.1/?sentinel_password=s3cret;           -> (?!.*s3cret).*invalid URL "redis-sentinel://\*\*\*@127\.0\.0\.1" in .*missing
billing_redis redis-sentinel://127.0.0.1/?master=m&sentinel_password=s3cret@&x=1;      -> (?!.*s3cret).*invalid URL "redis-sentinel://\*\*\*@" in .*are known
billing_redis redis-sentinel://u:s3cret,127.0.0.1/?master=m;                           -> (?!.*s3cret).*invalid URL "redis-sentinel://u" in .*invalid port



=== TEST 22: the sentinels' and the servers' hosts are names
--- http_config eval
$ENV{TEST_NGINX_DNS_PORT} = $::Dns->{port};
'resolver 127.0.0.1:$TEST_NGINX_DNS_PORT;'
. "\nbilling_redis redis-sentinel://sentinel.test:" . ($::Named->ports)[0]
. "/?master=named;\n$::OPTIONS"
--- run
$::Dns->answers("sentinel.test 1 127.0.0.1\n");
ask($EXAMPLE);
$::Dns->answers("sentinel.test 1 127.0.0.1\nlocalhost 1 127.0.0.1\n");
is(::port(), $::Named->{servers}[0]{port}, 'the master is asked');
cmp_ok($::Dns->asked('localhost'), '>=', 1, 'the name server was asked for the name');
--- logged
\[notice\] .*redis master "named" is localhost:\d+
--- errors_allowed



=== TEST 23: the servers' hosts are names, and there is no resolver
--- http_config eval
'billing_redis redis-sentinel://127.0.0.1:' . ($::Named->ports)[0]
. "/?master=named;\nbilling_redis_timeout 300ms;"
--- run
is(ask($EXAMPLE)->{status}, 503, 'no server') for 1 .. 2;
--- logged
\[error\] .*redis sentinel names a host, "localhost", and there is no "resolver" to resolve the name
--- logged_times
1 names a host
--- request
GET /none
--- error_code: 404



=== TEST 24: workers that exit leave nothing open
--- master: 2
--- http_config eval: $::CONFIG
--- run
is(::port(), $::Set->master_port, 'the master is asked') for 1 .. 4;
my ($control) = map { ::controls($_) } @{ $::Set->{sentinels} };
ok(defined $control, 'a sentinel is connected to');



=== TEST 25: the status page names the servers that sentinels have named
--- http_config eval: $::CONFIG
--- config
location = /api/v1/billing/cameras/list { billing_cameras_list; }
location = /status { billing_status; }
--- run
is(::port(), $::Set->master_port, 'the master is asked');
my $page = ask(undef, uri => '/status?format=json')->{body};
my $master = $::Set->master_port;
like($page, qr/"servers":\[\{"server":"127\.0\.0\.1:$master","used":true/, 'the master comes first');
is(scalar(() = $page =~ /"used":(?:true|false)/g), 3, 'and two replicas');
