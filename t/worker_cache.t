# The cache in the worker: what it keeps, and that it is never older than the
# rules of ngx_http_billing_coherence.h allow. Each block asks until its records
# are kept ("warm"), changes something, and looks at the next answer.

use strict;
use warnings;

use Billing 'worker_cache';
use Test::Nginx::Socket 'no_plan';
use Time::HiRes qw(sleep time);


our $CACHE = 'billing_cache 8m; ';

our $CONFIG = <<"END";
    location = $Billing::URI {
        billing_cameras_list;
        add_header X-Cache \$billing_cache always;
    }
    location = /status {
        billing_status;
    }
END

# One answer: "STATUS CACHE NAMES", with the name of each camera, or the body.

sub get {
    my ($query, %opt) = @_;

    my $res = Billing::ask(undef, query => "?$query", %opt);
    my ($cache) = $res->{headers} =~ /^X-Cache: (\w+)\r$/m;
    my @names = $res->{body} =~ /"name":"([^"]*)"/g;

    return join ' ', $res->{status}, $cache // '-',
                @names ? join ',', @names : $res->{status} == 200 ? $res->{body} : ();
}

# The same without what the cache had to do with it.

sub answer {
    my ($status, $cache, @rest) = split / /, get(@_), 3;
    return join ' ', $status, @rest;
}

# Asks until everything comes from the cache; returns the last answer.

sub warm {
    my ($query, %opt) = @_;

    my $answer;
    Billing::wait_for(3, sub { ($answer = get($query, %opt)) =~ / HIT / });
    return $answer;
}

# How many commands of callers the suite's Redis has had since the last time.

my %seen;

sub commands {
    my $n = 0;

    for (split /\r\n/, Billing::redis()->command(qw(INFO commandstats))) {
        my ($name, $calls) = /^cmdstat_([a-z]+):calls=(\d+)/ or next;
        next if $name !~ /^(?:get|hmget|hgetall|zrangebyscore|zscore|pttl)$/;
        $n += $calls - ($seen{$name} // 0);
        $seen{$name} = $calls;
    }

    return $n;
}

sub metric {
    my ($name) = @_;

    my ($value) = Billing::ask(undef, uri => '/status')->{body}
                  =~ /^nginx_billing_\Q$name\E (\d+)/m;
    return $value;
}

sub command {
    my @words = @_;

    $words[1] =~ s/\Abilling:/$Billing::Prefix/ if defined $words[1];
    return Billing::redis()->command(@words);
}

# Waits until the answer is the one that is expected: returns the milliseconds.

sub until_is {
    my ($query, $expected, %opt) = @_;

    my $start = time;
    Billing::wait_for(3, sub { get($query, %opt) =~ /$expected/ });
    return (time - $start) * 1000;
}

run_tests();

__DATA__

=== TEST 1: cameras, ids, logins and tokens are kept, and Redis is not asked again
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
for my $query ('cameras_ids[]=3', 'cameras_ids[]=4&cameras_ids[]=3',
               'cameras_uuid[]=cam-5', 'login=admin',
               'login=admin&cameras_ids[]=3')
{
    my $first = ::answer($query);
    my $kept = ::warm($query);
    is($kept =~ s/ HIT / /r, $first, "$query: the answer is the same");

    ::commands();
    is(::get($query), $kept, "$query: and comes from the cache") for 1 .. 20;
    cmp_ok(::commands(), '<=', 2, "$query: Redis has had nothing but a probe");
}



=== TEST 2: a changed camera, id, login and token are seen at once
--- http_config eval: $::CACHE . 'billing_cache_lag 1h;'
--- config eval: $::CONFIG
--- run
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept');
::command(qw(HSET billing:camera:3 name Changed));
cmp_ok(::until_is('cameras_ids[]=3', 'Changed'), '<', 200, 'a changed field');
::warm('cameras_ids[]=3');
::command(qw(HDEL billing:camera:3 name));
cmp_ok(::until_is('cameras_ids[]=3', '^200 \w+ \[.*"name":null'), '<', 200,
       'a field that is gone');
::command('HSET', 'billing:camera:3', 'name', 'Camera 1');

is(::warm('cameras_uuid[]=3'), '200 HIT Camera 1', 'kept');
::command(qw(SET billing:external:3 4));
cmp_ok(::until_is('cameras_uuid[]=3', 'Camera 2'), '<', 200, 'an id that has moved');
::command(qw(SET billing:external:3 3));

is(::warm('login=admin'), '200 HIT Camera 1,Camera 2', 'kept');
::command(qw(ZREM billing:login:admin 3));
cmp_ok(::until_is('login=admin', '^200 \w+ Camera 2$'), '<', 200, 'a member that is gone');
::warm('login=admin');
::command(qw(ZADD billing:login:admin 3 3));
cmp_ok(::until_is('login=admin', 'Camera 1,Camera 2'), '<', 200, 'a new member');

is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept');
::command('DEL', 'billing:token:' . sha256($Token));
cmp_ok(::until_is('cameras_ids[]=3', '^401'), '<', 100, 'a revoked token');
::command('SET', 'billing:token:' . sha256($Token), 'client worker_cache');
cmp_ok(::until_is('cameras_ids[]=3', '^200'), '<', 100, 'a token that is new');



=== TEST 3: nothing absent is kept, and "null" is read from Redis each time
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');

for my $query ('cameras_ids[]=777', 'login=nobody', 'cameras_uuid[]=nothing',
               'login=admin&cameras_ids[]=5')
{
    is(::answer($query), '200 null', "$query: null");
    ::commands();
    is(::answer($query), '200 null', "$query: null once more");
    cmp_ok(::commands(), '>=', 3, "$query: after all of it was read twice");
}

::command(qw(HSET billing:camera:777 name New));
is(::answer('cameras_ids[]=777'), '200 New', 'a new camera is there at once');

# the index is read before the hash: a hash that was missing must not be kept

::command(qw(SET billing:external:new 778));
is(::answer('cameras_uuid[]=new'), '200 null', 'no camera yet');
::command(qw(HSET billing:camera:778 name Newer));
is(::answer('cameras_uuid[]=new'), '200 Newer', 'and now there is one');



=== TEST 4: a bad token costs Redis one GET beside its time to live, and keeps nothing
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
my $records = ::metric('cache_records');
::commands();

for my $n (1 .. 20) {
    is(ask(undef, query => '?cameras_ids[]=3', token => "bad $n")->{status}, 401, 'refused');
}

cmp_ok(::commands(), '<=', 2 * 20 + 4, 'what Redis was asked');
is(::metric('cache_records'), $records, 'nothing was kept');



=== TEST 5: a token is not kept beyond its time to live
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
my $key = 'billing:token:' . sha256('short');

::command('SET', $key, 'Short', 'PX', 700);
my $start = Time::HiRes::time;
like(::warm('cameras_ids[]=3', token => 'short'), qr/^200 HIT/, 'the token is kept');

# CLIENT PAUSE WRITE: the key expires, and Redis tells of it only at the end

::command(qw(CLIENT PAUSE 1500 WRITE));

ok(wait_for(3, sub { ::get('cameras_ids[]=3', token => 'short') =~ /^401/ }), 'refused');
cmp_ok(Time::HiRes::time - $start, '>=', 0.65, 'not too early');
cmp_ok(Time::HiRes::time - $start, '<', 0.9, 'not too late');
::command(qw(CLIENT UNPAUSE));



=== TEST 6: with timer_resolution, a token is not kept beyond its time to live
--- main_config
timer_resolution 2s;
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
my $key = 'billing:token:' . sha256('short');

::warm('cameras_ids[]=3');
::command('SET', $key, 'Short', 'PX', 600);
my $start = Time::HiRes::time;
like(::warm('cameras_ids[]=3', token => 'short'), qr/^200 HIT/, 'the token is kept');
::command(qw(CLIENT PAUSE 1500 WRITE));

ok(wait_for(3, sub { ::get('cameras_ids[]=3', token => 'short') =~ /^401/ }), 'refused');
cmp_ok(Time::HiRes::time - $start, '<', 0.9, 'in time');
::command(qw(CLIENT UNPAUSE));



=== TEST 7: an idle worker sends Redis nothing
--- http_config eval: $::CACHE . 'billing_cache_lag 100ms;'
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
wait_for(1, sub { ::commands() == 0 });
Time::HiRes::sleep 0.5;
is(::commands(), 0, 'no command within five times the lag');

# what was kept is used again once Redis has answered anything

::get('cameras_ids[]=3');
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept all the while');



=== TEST 8: when Redis hangs, the cache answers until the lag has passed
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 500ms; billing_redis_timeout 300ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
$Server->signal('STOP');
my $start = Time::HiRes::time;

is(::get('cameras_ids[]=3'), '200 HIT Camera 1', 'at first');

my $last = $start;
my $answer;
wait_for(3, sub { $answer = ::get('cameras_ids[]=3'); $last = Time::HiRes::time if $answer =~ /^200/;
                  $answer !~ /^200/ });

like($answer, qr/^50[34]/, 'in the end');
cmp_ok($last - $start, '>=', 0.2, 'the cache is used for a while');
cmp_ok($last - $start, '<', 0.75, 'and not for longer than the lag');

$Server->signal('CONT');
ok(wait_for(5, sub { ::get('cameras_ids[]=3') =~ /^200/ }), 'Redis is back');
--- errors_allowed



=== TEST 9: with the connection, all that was read over it is gone
--- http_config eval: $::CACHE . 'billing_cache_lag 1h;'
--- config eval: $::CONFIG
--- run
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept');

# nobody tells the worker of this change

my $redis = redis();
$redis->pipeline([ 'MULTI' ], [ qw(CLIENT KILL TYPE normal SKIPME yes) ],
                 [ 'HSET', "${Prefix}camera:3", 'name', 'Unheard' ], [ 'EXEC' ]);

cmp_ok(::until_is('cameras_ids[]=3', 'Unheard'), '<', 300, 'the change is seen');
$redis->command('HSET', "${Prefix}camera:3", 'name', 'Camera 1');
--- errors_allowed



=== TEST 10: FLUSHALL, and a write to "epoch", drop everything
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 1h;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept');
my $generations = ::metric('cache_generations_total');
$Server->command('SET', "${Prefix}epoch", 1);
ok(wait_for(1, sub { ::metric('cache_generations_total') > $generations }), 'epoch');
unlike(::get('cameras_ids[]=3'), qr/ HIT /, 'Redis is asked again');

::warm('cameras_ids[]=3');
$Server->command('FLUSHALL');
ok(wait_for(1, sub { ::get('cameras_ids[]=3') =~ /^503/ }), 'FLUSHALL');
--- cases
?cameras_ids[]=3 -> 503 message
--- errors_allowed



=== TEST 11: SWAPDB, of which Redis does not tell, is found by synced_at
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 400ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept');

my $redis = Billing::Redis->new($Server->{socket});
$redis->command('SELECT', 1);
$redis->pipeline(Billing::fixtures(), [ 'SET', "${Prefix}synced_at", 1700000001 ],
                 [ 'HSET', "${Prefix}camera:3", 'name', 'Swapped' ]);

# Redis tells of keys in every database: the probe after that has to be through

::get('cameras_ids[]=3'), Time::HiRes::sleep 0.1 for 1 .. 6;
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'kept once more');
$redis->command(qw(SWAPDB 0 1));

cmp_ok(::until_is('cameras_ids[]=3', 'Swapped'), '<', 1000, 'found out');

# for the second time, there is no cache on this connection

is(::warm('cameras_ids[]=3'), '200 HIT Swapped', 'the other one is kept');
::get('cameras_ids[]=3'), Time::HiRes::sleep 0.1 for 1 .. 6;
$redis->command(qw(SWAPDB 0 1));
cmp_ok(::until_is('cameras_ids[]=3', 'Camera 1'), '<', 1000, 'found out once more');
Time::HiRes::sleep 0.1;
::get('cameras_ids[]=3');
is(::get('cameras_ids[]=3'), '200 MISS Camera 1', 'and the cache is not used any more');
--- logged
\[warn\] .*redis key "t_worker_cache:synced_at" has changed, and Redis did not say so: the worker's cache begins anew
\[warn\] .*redis key "t_worker_cache:synced_at" has changed, and Redis did not say so: the worker's cache is not used on this connection



=== TEST 12: a loader that writes synced_at all the time raises no doubt
--- http_config eval: $::CACHE . 'billing_cache_lag 50ms;'
--- config eval: $::CONFIG
--- run
for my $n (1 .. 60) {
    ::command('SET', 'billing:synced_at', 1700000000 + $n);
    ::get('cameras_ids[]=3');
    Time::HiRes::sleep 0.01;
}

# and one that writes it now and then, with several probes in between

for my $n (1 .. 4) {
    ::command('SET', 'billing:synced_at', 1700001000 + $n);
    ::get('cameras_ids[]=3'), Time::HiRes::sleep 0.01 for 1 .. 15;
}

# what was read 50 ms ago is too old: warm() waits for so long between two answers

my $answer = '';

for (1 .. 1000) {
    $answer = ::get('cameras_ids[]=3');
    last if $answer =~ / HIT /;
}

is($answer, '200 HIT Camera 1', 'the cache is used');
--- no_error_log
did not say so



=== TEST 13: a replica's records are not used for longer than the lag
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
$Server->command('REPLICAOF', '127.0.0.1', Billing::Ports::reserve());

my $hits = 0;
my $asked = sub {
    my ($n) = $Server->command(qw(INFO commandstats)) =~ /^cmdstat_hmget:calls=(\d+)/m;
    return $n // 0;
};

# without the bound, the records would be used until they change

ok(wait_for(5, sub { $hits++ if ::get('cameras_ids[]=3') =~ / HIT /;
                     $hits > 5 && $asked->() >= 4 }),
   'records are used, and read again and again');



=== TEST 14: a server that becomes a replica is noticed on the connection in use
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
my $generations = ::metric('cache_generations_total');
$Server->command('REPLICAOF', '127.0.0.1', Billing::Ports::reserve());

ok(wait_for(2, sub { ::get('cameras_ids[]=3');
                     ::metric('cache_generations_total') > $generations }),
   'the cache begins anew');



=== TEST 15: without the right to read, the cache answers until the lag has passed
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 300ms;
    billing_redis redis://reader:pw@127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
$Server->command('ACL', 'SETUSER', 'reader', 'on', '>pw', "~$Prefix*", '+@all');
::warm('cameras_ids[]=3');
$Server->command('ACL', 'SETUSER', 'reader', 'resetkeys');

cmp_ok(::until_is('cameras_ids[]=3', '^502'), '<', 700, 'errors do not keep the cache fresh');
--- cases
?cameras_ids[]=3 -> 502 message
--- errors_allowed



=== TEST 16: with billing_cache_stale, the cache answers while no server does
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 100ms; billing_cache_stale 2s; billing_redis_timeout 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
my $key = "${Prefix}token:" . sha256('short');
$Server->command('SET', $key, 'Short', 'PX', 1200);

::warm('cameras_ids[]=3');
::warm('login=admin');
::warm('cameras_ids[]=3', token => 'short');
$Server->stop;
my $start = Time::HiRes::time;

is(::get('cameras_ids[]=3'), '200 STALE Camera 1', 'a camera');
is(::get('login=admin'), '200 STALE Camera 1,Camera 2', 'a login');
like(::get('cameras_ids[]=3', token => 'short'), qr/^200/, 'a token');
like(::get('cameras_ids[]=777'), qr/^50[234]/, 'null never comes from it');

Time::HiRes::sleep $start + 1.3 - Time::HiRes::time;
is(::get('cameras_ids[]=3'), '200 STALE Camera 1', 'still');
like(::get('cameras_ids[]=3', token => 'short'), qr/^50[234]/, 'the token has expired');

ok(wait_for(3, sub { ::get('cameras_ids[]=3') =~ /^50[234]/ }), 'and no more');
cmp_ok(Time::HiRes::time - $start, '<', 2.7, 'when the time has passed');
--- cases
?cameras_ids[]=3 -> 503 message
--- errors_allowed



=== TEST 17: what was stale is gone with the first answer of any server
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 100ms; billing_cache_stale 1h; billing_redis_timeout 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
::warm('cameras_ids[]=4');
$Server->stop;
is(::get('cameras_ids[]=3'), '200 STALE Camera 1', 'stale');
$Server->start;
Billing::Redis->new($Server->{socket})->pipeline(Billing::fixtures(),
    [ 'HSET', "${Prefix}camera:3", 'name', 'Back' ]);
ok(wait_for(5, sub { ::get('cameras_ids[]=3') =~ /Back/ }), 'the new data');
is(::answer('cameras_ids[]=3'), '200 Back', 'and only that') for 1 .. 5;
is(::warm('cameras_ids[]=3'), '200 HIT Back', 'kept');
$Server->stop;
is(::get('cameras_ids[]=3'), '200 STALE Back', 'stale once more');
like(::get('cameras_ids[]=4'), qr/^50[234]/, 'without what was read before');
--- cases
?cameras_ids[]=4 -> 503 message
--- errors_allowed



=== TEST 18: without billing_cache_stale, nothing stale is used
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 100ms; billing_redis_timeout 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
::warm('cameras_ids[]=3');
$Server->stop;
like(::get('cameras_ids[]=3'), qr/^50[234]/, 'no answer');
--- cases
?cameras_ids[]=3 -> 503 message
--- errors_allowed



=== TEST 19: a small cache is bounded, and the answers are right
--- http_config: billing_cache 1m;
--- config eval: $::CONFIG
--- run
my @ids = 100001 .. 102000;
redis()->pipeline((map { [ 'HSET', "${Prefix}camera:$_", 'name', "C$_",
                           'preview', 'x' x 1000 ] } @ids),
                  [ 'ZADD', "${Prefix}login:big", map { ($_, $_) } @ids ]);

for (1 .. 3) {
    is(::answer('login=big'), '200 ' . join(',', map { "C$_" } @ids), 'the list');
    cmp_ok(::metric('cache_bytes'), '<=', 1024 * 1024, 'the memory is bounded');
}

cmp_ok(::metric('cache_evictions_total'), '>', 100, 'records were evicted');
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'and small requests find their place');



=== TEST 20: a list of several pages comes from the cache, and changes are seen in each
--- http_config eval: 'billing_cache 32m;'
--- config eval: $::CONFIG
--- run
my @ids = 100001 .. 102500;
redis()->pipeline((map { [ 'HSET', "${Prefix}camera:$_", 'name', "C$_" ] } @ids),
                  [ 'ZADD', "${Prefix}login:pages", map { ($_, $_) } @ids ]);

my $all = sub { join ',', map { "C$_" } @ids };

# the header of a long list is sent before its end: the commands tell

my $kept = sub { ::commands(); ::answer('login=pages'); ::commands() <= 2 };

is(::answer('login=pages'), '200 ' . $all->(), 'all of it');
ok(wait_for(5, $kept), 'is kept');
is(::answer('login=pages'), '200 ' . $all->(), 'and the same');

for my $n (100001, 101000, 101001, 102000, 102500) {
    ::command('ZREM', 'billing:login:pages', $n);
    @ids = grep { $_ != $n } @ids;
    my $list = $all->();
    ok(wait_for(1, sub { ::answer('login=pages') eq "200 $list" }), "without $n");
    ok(wait_for(5, $kept), 'is kept');
    is(::answer('login=pages'), "200 $list", 'and the same');
}



=== TEST 21: prefixes that begin with one another work side by side
--- http_config eval: $::CACHE
--- config eval
join '', map { "location = /$_->[0] { billing_cameras_list; billing_token off;"
               . " billing_redis_prefix $_->[1];"
               . ' add_header X-Cache $billing_cache always; }' }
    [ a => 'p:' ], [ b => 'p:x:' ], [ c => 'q:' ], [ d => 'p:x:y:' ]
--- run
my %prefix = (a => 'p:', b => 'p:x:', c => 'q:', d => 'p:x:y:');

for my $name (sort keys %prefix) {
    redis()->pipeline([ 'HSET', "$prefix{$name}camera:3", 'name', "at $name" ],
                      [ 'SET', "$prefix{$name}synced_at", 1700000000 ]);
    my $uri = "/$name?cameras_ids[]=3";
    is(::warm('', uri => $uri), "200 HIT at $name", "$name is kept");
    redis()->command('HSET', "$prefix{$name}camera:3", 'name', "new $name");
    ok(wait_for(1, sub { ::get('', uri => $uri) =~ /new $name/ }), "$name: a change is seen");
}
--- request
GET /a?cameras_ids[]=3
--- error_code: 200



=== TEST 22: "billing_cache off" in a location asks Redis each time
--- http_config eval: $::CACHE
--- config eval
$::CONFIG . 'location = /off { billing_cameras_list; billing_cache off;'
          . ' add_header X-Cache $billing_cache always; }'
--- run
is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', 'the other location');
is(::get('', uri => '/off?cameras_ids[]=3'), '200 - Camera 1', 'off') for 1 .. 3;



=== TEST 23: what two locations with the same servers must agree on
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- refuses
billing_cache 1k;              -> invalid value "1k" in "billing_cache" directive, it must be "off" or a size of at least 1m
billing_cache on;              -> invalid value "on" in "billing_cache" directive, it must be "off" or a size of at least 1m
billing_cache -5m;             -> invalid value "-5m" in "billing_cache" directive
billing_cache 8m 9m;           -> invalid number of arguments in "billing_cache" directive
billing_cache 8m; billing_cache 8m;         -> "billing_cache" directive is duplicate
billing_cache_lag 0;           -> invalid value "0" in "billing_cache_lag" directive
billing_cache_lag soon;        -> invalid value "soon" in "billing_cache_lag" directive
billing_cache_stale soon;      -> invalid value "soon" in "billing_cache_stale" directive
billing_redis unix:/n; billing_cache 8m; } location /two { billing_cameras_list; billing_redis unix:/n; billing_cache 9m; -> "billing_cache" is 8388608 and 9437184
billing_redis unix:/n; billing_cache_lag 1s; } location /two { billing_cameras_list; billing_redis unix:/n; billing_cache_lag 2s; -> "billing_cache_lag" is 1000 and 2000
billing_redis unix:/n; billing_cache_stale 1s; } location /two { billing_cameras_list; billing_redis unix:/n; billing_cache_stale 2s; -> "billing_cache_stale" is 1000 and 2000



=== TEST 24: a reload begins with an empty cache and leaves no connection behind
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- run
my $conf = <<"CONF";
    billing_cache 8m;
    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET;
    billing_redis_prefix $Prefix;
    server {
        listen 127.0.0.1:%PORT%;
$::CONFIG
    }
CONF

my $nginx = Billing::Nginx->start($conf);
is(::warm('cameras_ids[]=3', port => $nginx->{port}), '200 HIT Camera 1', 'kept');
ok($nginx->reconfigure($conf), 'reloaded');
is(::get('cameras_ids[]=3', port => $nginx->{port}), '200 MISS Camera 1', 'empty');
is(::warm('cameras_ids[]=3', port => $nginx->{port}), '200 HIT Camera 1', 'kept again');
$nginx->signal('QUIT');
is($nginx->ended(10), 'status 0', 'nginx ends');
unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]|open socket/, 'no alert');



=== TEST 25: a change between a reply and the end of its pipeline keeps the reply from being kept
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- fake
resp3 master
--- run
my $push = sub { my $key = "${Prefix}$_[0]";
                 '>2\r\n$10\r\ninvalidate\r\n*1\r\n$' . length($key) . "\\r\\n$key\\r\\n" };

is(::warm('cameras_ids[]=4'), '200 HIT Camera 2', 'the token is kept');

for ([ 'extra', 10, 'Ten' ], [ 'before', 12, 'Twelve' ]) {
    my ($way, $id, $name) = @$_;
    my $query = "cameras_ids[]=$id";

    $Fake->change("resp3 master\nonce HMGET => $way " . $push->("camera:$id"));
    is(::answer($query), "200 $name", "$way: the reply");
    my $asked = $Fake->count('HMGET');
    is(::answer($query), "200 $name", "$way: the next one");
    is($Fake->count('HMGET'), $asked + 1, "$way: is asked for again");
    is(::get($query), "200 HIT $name", "$way: and kept");
    $Fake->change("resp3 master\npush " . $push->("camera:$id"));
    ok(wait_for(1, sub { ::get($query) !~ / HIT / }), "$way: until a push");
}

# the two replies for a token, with a change between them

$Fake->change("resp3 master\npush " . $push->('token:' . sha256($Token))
              . "\nonce GET *token* => extra " . $push->('token:' . sha256($Token)));
Time::HiRes::sleep 0.1;
::get('cameras_ids[]=4');
my $asked = $Fake->count('GET .*token:');
::get('cameras_ids[]=4');
is($Fake->count('GET .*token:'), $asked + 1, 'the token is asked for again');



=== TEST 26: what a connection that was lost has answered is not kept
--- http_config eval: $::CACHE
--- config eval: $::CONFIG
--- fake
resp3 master
--- run
is(::warm('cameras_ids[]=4'), '200 HIT Camera 2', 'the token is kept');
$Fake->change("resp3 master\nonce HMGET => hangup 0");
is(::answer('cameras_ids[]=3'), '200 Camera 1', 'asked for twice');
ok(wait_for(2, sub { ::get('cameras_ids[]=3') =~ / HIT / }), 'kept over the new connection');
--- errors_allowed



=== TEST 27: what is read over a connection that is not trusted is never used as stale
--- server
--- http_config eval
$::CACHE . 'billing_cache_lag 100ms; billing_cache_stale 1h; billing_redis_timeout 200ms;
    billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;'
--- config eval: $::CONFIG
--- run
my $redis = Billing::Redis->new($Server->{socket});

for my $n (1, 2) {
    $redis->command('SELECT', 1);
    $redis->pipeline(Billing::fixtures(), [ 'SET', "${Prefix}synced_at", 1700000000 + $n ]);
    is(::warm('cameras_ids[]=3'), '200 HIT Camera 1', "$n: kept");
    ::get('cameras_ids[]=3'), Time::HiRes::sleep 0.05 for 1 .. 8;
    $redis->command(qw(SWAPDB 0 1));
    ok(wait_for(2, sub { ::get('cameras_ids[]=3');
                         (() = Billing::error_log() =~ /did not say so/g) >= $n }), "$n: a doubt");
}

is(::get('cameras_ids[]=3'), '200 MISS Camera 1', 'the cache is not used');
$Server->stop;
like(::get('cameras_ids[]=3'), qr/^50/, 'nor when no server answers') for 1 .. 3;
--- errors_allowed
--- cases
?cameras_ids[]=3 -> 503 message
