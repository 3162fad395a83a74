# The cache contract: only a cache that was loaded answers null; data that break
# the contract are answered with 502, and a log line names the key.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'cache';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: a cache that was loaded answers null when no camera is found
--- cases
{"cameras_ids":[999]}                           -> null
{"cameras_ids":[0]}                             -> null
{"cameras_ids":[-1]}                            -> null
{"cameras_uuid":["nobody"]}                     -> null
{"login":"nobody"}                              -> null
{"login":"gone"}                                -> null
{"cameras_ids":[3],"login":"nobody"}            -> null
{"cameras_ids":[3],"cameras_uuid":["4"]}        -> null



=== TEST 2: a cache that was never loaded is a 503 when no camera is found
--- redis
DEL billing:synced_at
--- cases
{"cameras_ids":[999]}                           -> 503
{"cameras_ids":[0]}                             -> 503
{"cameras_ids":[-1]}                            -> 503
{"cameras_uuid":["nobody"]}                     -> 503
{"login":"nobody"}                              -> 503
{"login":"gone"}                                -> 503
{"cameras_ids":[3],"login":"nobody"}            -> 503
{"cameras_ids":[3],"cameras_uuid":["4"]}        -> 503
?login=nobody                                   -> 503
--- logged
\[error\] .*redis key "t_cache:synced_at" does not exist: the cache has never been loaded



=== TEST 3: a cache without synced_at answers with the cameras that it has
--- redis
DEL billing:synced_at
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_uuid":["cam-5"]}                      -> 5
{"login":"admin"}                               -> 3 4
{"cameras_ids":[3,999]}                         -> 3



=== TEST 4: Redis is not asked for synced_at when cameras are found
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
synced_at



=== TEST 5: a synced_at that is no integer breaks the contract
--- redis
SET billing:synced_at yesterday
--- cases
{"cameras_ids":[999]}                           -> 502
{"login":"nobody"}                              -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*t_cache:synced_at



=== TEST 6: an empty synced_at breaks the contract
--- redis
SET billing:synced_at ""
--- cases
{"cameras_ids":[999]}                           -> 502
--- logged
\[error\] .*t_cache:synced_at



=== TEST 7: a synced_at that is no string breaks the contract
--- redis
DEL billing:synced_at
HSET billing:synced_at a b
--- cases
{"cameras_ids":[999]}                           -> 502
--- logged
\[error\] .*t_cache:synced_at



=== TEST 8: an index entry whose camera is gone is skipped
--- redis
SET billing:external:ghost 777
ZADD billing:login:halfway 3 3 777 777 5 5
--- cases
{"cameras_uuid":["ghost"]}                      -> null
{"cameras_uuid":["ghost","3"]}                  -> 3
{"login":"halfway"}                             -> 3 5
{"cameras_ids":[777,3],"login":"halfway"}       -> 3
{"cameras_uuid":["ghost"],"login":"halfway"}    -> null



=== TEST 9: a camera that is no hash breaks the contract
--- redis
SET billing:camera:20 text
ZADD billing:login:broken 20 20
SET billing:external:broken 20
--- cases
{"cameras_ids":[20]}                            -> 502
{"cameras_ids":[3,20]}                          -> 502
{"cameras_uuid":["broken"]}                     -> 502
{"login":"broken"}                              -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*t_cache:camera:20



=== TEST 10: an external_id that is no string breaks the contract
--- redis
HSET billing:external:broken a b
--- cases
{"cameras_uuid":["broken"]}                     -> 502
{"cameras_uuid":["3","broken"]}                 -> 502
{"cameras_uuid":["3"]}                          -> 3
--- logged
\[error\] .*t_cache:external:broken



=== TEST 11: an external_id whose value is no camera id breaks the contract
--- redis
SET billing:external:bad-text abc
SET billing:external:bad-empty ""
SET billing:external:bad-zero 0
SET billing:external:bad-minus -3
SET billing:external:bad-real 3.0
SET billing:external:bad-space " 3"
SET billing:external:bad-tail 3x
SET billing:external:bad-nul "3\x00"
SET billing:external:bad-large 9223372036854775808
SET billing:external:bad-wrap 18446744073709551619
--- cases
{"cameras_uuid":["bad-text"]}                   -> 502
{"cameras_uuid":["bad-empty"]}                  -> 502
{"cameras_uuid":["bad-zero"]}                   -> 502
{"cameras_uuid":["bad-minus"]}                  -> 502
{"cameras_uuid":["bad-real"]}                   -> 502
{"cameras_uuid":["bad-space"]}                  -> 502
{"cameras_uuid":["bad-tail"]}                   -> 502
{"cameras_uuid":["bad-nul"]}                    -> 502
{"cameras_uuid":["bad-large"]}                  -> 502
{"cameras_uuid":["bad-wrap"]}                   -> 502
{"cameras_uuid":["3","bad-text"]}               -> 502
--- logged
\[error\] .*t_cache:external:bad-text
redis key \\?"t_cache:external:bad-empty
redis key \\?"t_cache:external:bad-zero
redis key \\?"t_cache:external:bad-minus
redis key \\?"t_cache:external:bad-real
redis key \\?"t_cache:external:bad-space
redis key \\?"t_cache:external:bad-tail
redis key \\?"t_cache:external:bad-nul
redis key \\?"t_cache:external:bad-large
redis key \\?"t_cache:external:bad-wrap



=== TEST 12: a login that is no sorted set breaks the contract
--- redis
SET billing:login:text 3
HSET billing:login:hash 3 3
--- cases
{"login":"text"}                                -> 502
{"login":"hash"}                                -> 502
{"cameras_ids":[3],"login":"text"}              -> 502
--- logged
\[error\] .*t_cache:login:text
redis key \\?"t_cache:login:hash



=== TEST 13: a member of a login that is no camera id breaks the contract
--- redis
ZADD billing:login:word 3 three
ZADD billing:login:real 3 3.0
ZADD billing:login:zero 3 03
ZADD billing:login:later 3 3 4 four
--- cases
{"login":"word"}                                -> 502
{"login":"real"}                                -> 502
{"login":"zero"}                                -> 502
{"login":"later"}                               -> 502
--- logged
\[error\] .*t_cache:login:word
redis key \\?"t_cache:login:real
redis key \\?"t_cache:login:zero
redis key \\?"t_cache:login:later



=== TEST 14: a score that is not equal to its member breaks the contract
--- redis
ZADD billing:login:other 4 3
ZADD billing:login:half 3.5 3
ZADD billing:login:beyond 9007199254740993 9007199254740993
ZADD billing:login:hides 3 3 4 10 5 5 6 6
--- route
billing_batch 2;
--- cases
{"login":"other"}                               -> 502
{"login":"half"}                                -> 502
{"login":"beyond"}                              -> 502
{"login":"hides"}                               -> 502
{"cameras_ids":[3],"login":"other"}             -> 502
{"cameras_ids":[3],"login":"half"}              -> 502
--- logged
\[error\] .*t_cache:login:other
redis key \\?"t_cache:login:half
redis key \\?"t_cache:login:beyond
redis key \\?"t_cache:login:hides



=== TEST 15: streams that are not a list of type=status break the contract
--- redis
HSET billing:camera:20 streams high
HSET billing:camera:21 streams high=active,low
HSET billing:camera:22 streams high=active,
HSET billing:camera:23 streams ,
HSET billing:camera:24 streams "high active"
--- cases
{"cameras_ids":[20]}                            -> 502
{"cameras_ids":[21]}                            -> 502
{"cameras_ids":[22]}                            -> 502
{"cameras_ids":[23]}                            -> 502
{"cameras_ids":[24]}                            -> 502
{"cameras_ids":[3,20]}                          -> 502
--- logged
\[error\] .*t_cache:camera:20
redis key \\?"t_cache:camera:21
redis key \\?"t_cache:camera:22
redis key \\?"t_cache:camera:23
redis key \\?"t_cache:camera:24



=== TEST 16: text that is not UTF-8 breaks the contract in each field
--- redis
HSET billing:camera:20 external_id "\xff"
HSET billing:camera:21 start_at "\xff"
HSET billing:camera:22 status "\xff"
HSET billing:camera:23 name "\xff"
HSET billing:camera:24 group_type "\xff"
HSET billing:camera:25 streams "\xff=active"
HSET billing:camera:26 streams "high=\xff"
HSET billing:camera:27 preview "\xff"
--- cases
{"cameras_ids":[20]}                            -> 502
{"cameras_ids":[21]}                            -> 502
{"cameras_ids":[22]}                            -> 502
{"cameras_ids":[23]}                            -> 502
{"cameras_ids":[24]}                            -> 502
{"cameras_ids":[25]}                            -> 502
{"cameras_ids":[26]}                            -> 502
{"cameras_ids":[27]}                            -> 502
--- logged
\[error\] .*t_cache:camera:20
redis key \\?"t_cache:camera:21
redis key \\?"t_cache:camera:22
redis key \\?"t_cache:camera:23
redis key \\?"t_cache:camera:24
redis key \\?"t_cache:camera:25
redis key \\?"t_cache:camera:26
redis key \\?"t_cache:camera:27



=== TEST 17: each way of not being UTF-8 breaks the contract
--- redis
HSET billing:camera:20 name "\xc0\x80"
HSET billing:camera:21 name "\xe0\x80\xaf"
HSET billing:camera:22 name "\xf0\x80\x80\xaf"
HSET billing:camera:23 name "\xed\xa0\x80"
HSET billing:camera:24 name "\xf4\x90\x80\x80"
HSET billing:camera:25 name "a\x80"
HSET billing:camera:26 name "\xe2\x82"
HSET billing:camera:27 name "\xf8\x88\x80\x80\x80"
HSET billing:camera:28 name "1234567\xff"
HSET billing:camera:29 name "12345678\xff"
HSET billing:camera:30 name "\xff23456781234567812345678"
HSET billing:camera:31 name "1234567812345678123\xff5678"
--- cases
{"cameras_ids":[20]}                            -> 502
{"cameras_ids":[21]}                            -> 502
{"cameras_ids":[22]}                            -> 502
{"cameras_ids":[23]}                            -> 502
{"cameras_ids":[24]}                            -> 502
{"cameras_ids":[25]}                            -> 502
{"cameras_ids":[26]}                            -> 502
{"cameras_ids":[27]}                            -> 502
{"cameras_ids":[28]}                            -> 502
{"cameras_ids":[29]}                            -> 502
{"cameras_ids":[30]}                            -> 502
{"cameras_ids":[31]}                            -> 502
--- logged
\[error\] .*t_cache:camera:20



=== TEST 18: fields that the module does not read may hold anything
--- redis
HSET billing:camera:20 name ok junk "\xff" "\xfe" x
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[' . Billing::Fixtures::camera(20, { name => 'ok' }) . ']'



=== TEST 19: control characters of a key are escaped in the log
--- redis
SET "billing:external:x\x0d\x0a2026/01/01 [forged] line" abc
--- cases
{"cameras_uuid":["x\r\n2026/01/01 [forged] line"]} -> 502
--- logged
\[error\] .*t_cache:external:x
--- no_error_log eval
qr/^2026\/01\/01 \[forged\]/



=== TEST 20: external ids and logins that look like commands are only looked for
--- redis
SET billing:canary alive
--- cases
{"login":"x\r\nDEL t_cache:canary\r\n"}         -> null
{"login":"\r\n*2\r\n$3\r\nDEL\r\n$14\r\nt_cache:canary\r\n"} -> null
{"cameras_uuid":["x\r\nFLUSHALL\r\n","\r\n*1\r\n$8\r\nFLUSHALL\r\n"]} -> null
{"cameras_uuid":["$-1\r\n","*0\r\n","+OK\r\n","-ERR\r\n",":1\r\n"]} -> null
{"login":"*"}                                   -> null
{"login":"admin*"}                              -> null
{"login":"%s%n"}                                -> null
?login=x%0d%0aDEL%20t_cache:canary%0d%0a        -> null
{"login":"admin"}                               -> 3 4



=== TEST 21: a login that looks like a DEL command deletes nothing
--- redis
SET billing:canary alive
--- run
for my $login ('x\r\nDEL t_cache:canary\r\n',
               '\r\n*2\r\n$3\r\nDEL\r\n$14\r\nt_cache:canary\r\n')
{
    answers(ask("{\"login\":\"$login\"}"), 'null', 'a login like a command');
}

is(redis()->command('GET', 't_cache:canary'), 'alive', 'the key is still there');



=== TEST 22: each key in a command begins with the prefix
--- fake
--- cases
{"cameras_ids":[3],"cameras_uuid":["3"],"login":"admin"} -> 3
{"login":"admin"}                               -> 3 4
{"login":"nobody"}                              -> null
--- fake_log
^1 HMGET t_cache:camera:3 external_id\b
^1 GET t_cache:external:3$
^1 ZSCORE t_cache:login:admin 3$
^1 ZRANGEBYSCORE t_cache:login:admin 
^1 GET t_cache:synced_at$
^1 (?:GET|EXISTS) t_cache:token:[0-9a-f]{64}$
--- no_fake_log
^\d+ \S+ (?!t_cache:)\S*(?:camera|external|login|token|synced_at)



=== TEST 23: a location may have its own prefix
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_token off;
    billing_redis_prefix t_cache:;
}
location = /other {
    billing_cameras_list;
    billing_token off;
    billing_redis_prefix t_cache_other:;
}
END
--- run
redis()->command('DEL', 't_cache_other:synced_at');
redis()->command('HSET', 't_cache_other:camera:3', 'name', 'another');

my $res = ask(undef, uri => '/other?cameras_ids[]=3');
is($res->{body}, '[' . Billing::Fixtures::camera(3, { name => 'another' }) . ']',
   'the other prefix holds another camera');
answers(ask('{"cameras_ids":[4]}', uri => '/other'), '503', 'never loaded');

redis()->command('DEL', 't_cache_other:camera:3');
--- logged
\[error\] .*redis key "t_cache_other:synced_at" does not exist: the cache has never been loaded



=== TEST 24: cameras of other logins are left out of an answer for ids and a login
--- cases
{"cameras_ids":[3,4,5],"login":"mixed"}         -> 4 5
{"cameras_ids":[4,3,5],"login":"mixed"}         -> 4 5
{"cameras_ids":[4,5,3],"login":"mixed"}         -> 4 5
{"cameras_ids":[3,8,4],"login":"mixed"}         -> 4
{"cameras_ids":[4,3,8],"login":"mixed"}         -> 4
{"cameras_ids":[3,4,8],"login":"mixed"}         -> 4
{"cameras_ids":[3],"login":"mixed"}             -> null
{"cameras_ids":[3,8,9],"login":"mixed"}         -> null
{"cameras_ids":[6,4,5],"login":"mixed"}         -> 4 5
{"cameras_ids":[4,6,5],"login":"mixed"}         -> 4 5
{"cameras_ids":[4,5,6],"login":"mixed"}         -> 4 5
{"cameras_uuid":["3","4","cam-5"],"login":"mixed"} -> 4 5
{"cameras_uuid":["4","3","cam-5"],"login":"mixed"} -> 4 5
{"cameras_uuid":["4","cam-5","3"],"login":"mixed"} -> 4 5
{"cameras_uuid":["none","4","cam-5"],"login":"mixed"} -> 4 5
{"cameras_uuid":["4","cam-5","none"],"login":"mixed"} -> 4 5
{"cameras_ids":[3,4,5],"cameras_uuid":["3","4","cam-5"],"login":"mixed"} -> 4 5
{"cameras_ids":[3,4,5],"cameras_uuid":["4"],"login":"mixed"} -> 4



=== TEST 25: an array as the reply for synced_at breaks the contract
--- fake
GET *:synced_at => raw *0\r\n
--- cases
{"login":"nobody"}                              -> 502
--- logged
\[error\] .*redis key "t_cache:synced_at" is not answered by a string



=== TEST 26: cameras that are loaded while a request is answered are found
--- fake
once HMGET *:camera:3 => raw *7\r\n\{$-1\r\n*7}
once HGETALL *:camera:3 => raw *0\r\n
once GET *:external:cam-5 => raw $-1\r\n
once ZRANGEBYSCORE *:admin => raw *0\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_uuid":["cam-5"]}                      -> 5
{"login":"admin"}                               -> 3 4
{"login":"nobody"}                              -> null



=== TEST 27: 50 commands with a long prefix and long ids are sent in the order of the ids
--- route eval: 'billing_token off; billing_max_ids 50; billing_redis_prefix ' . 'p' x 100 . ':;'
--- fake
HMGET => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$1\r\nx\r\n$-1\r\n$-1\r\n$-1\r\n
--- run
my $fields = join ' ', qw(external_id start_at status name group_type streams preview);

for my $first (map { 10 ** $_ } 2 .. 15) {
    my @ids = ($first .. $first + 49);
    my $res = ask('{"cameras_ids":[' . join(',', @ids) . ']}');
    my @sent = $Fake->log_text =~ /^1 HMGET p{100}:camera:(\d+) $fields$/mg;
    is("$res->{status} @sent[-50 .. -1]", "200 @ids", "from $first");
}
--- request eval
"GET $Billing::URI?cameras_ids[]=3"
--- response_body_like: "id":3,



=== TEST 28: a login's members must ascend: an equal id breaks the contract
--- fake
once ZRANGEBYSCORE *:twice => raw *2\r\n$1\r\n3\r\n$1\r\n3\r\n
once ZRANGEBYSCORE *:less => raw *2\r\n$1\r\n4\r\n$1\r\n3\r\n
once ZRANGEBYSCORE *:again => raw *2\r\n$1\r\n3\r\n$1\r\n4\r\n
once ZRANGEBYSCORE *:again => raw *1\r\n$1\r\n4\r\n
ZSCORE *:again => raw $1\r\n4\r\n
--- route
billing_batch 2;
--- cases
{"login":"twice"}                               -> 502
{"login":"less"}                                -> 502
{"login":"again"}                               -> 502
{"login":"admin"}                               -> 3 4
--- logged
\[error\] .*redis key \\?"t_cache:login:twice\\?" holds a score that is not its member
redis key \\?"t_cache:login:less\\?" holds a score that is not its member
redis key \\?"t_cache:login:again\\?" holds a score that is not its member



=== TEST 29: a score is equal to its member in any form that a double is printed in
--- fake
ZSCORE *:login:plain => raw $1\r\n3\r\n
ZSCORE *:login:point => raw $3\r\n3.0\r\n
ZSCORE *:login:exponent => raw $4\r\n3e+0\r\n
ZSCORE *:login:hundred => raw $5\r\n30e-1\r\n
ZSCORE *:login:half => raw $3\r\n3.5\r\n
ZSCORE *:login:comma => raw $3\r\n3,0\r\n
ZSCORE *:login:tail => raw $2\r\n3x\r\n
ZSCORE *:login:minus => raw $2\r\n-3\r\n
ZSCORE *:login:hex => raw $3\r\n0x3\r\n
ZSCORE *:login:infinite => raw $3\r\ninf\r\n
ZSCORE *:login:empty => raw $0\r\n\r\n
ZSCORE *:login:large => raw $5\r\n3e+99\r\n
--- cases
{"cameras_ids":[3],"login":"plain"}             -> 3
{"cameras_ids":[3],"login":"point"}             -> 3
{"cameras_ids":[3],"login":"exponent"}          -> 3
{"cameras_ids":[3],"login":"hundred"}           -> 3
{"cameras_ids":[3],"login":"half"}              -> 502
{"cameras_ids":[3],"login":"comma"}             -> 502
{"cameras_ids":[3],"login":"tail"}              -> 502
{"cameras_ids":[3],"login":"minus"}             -> 502
{"cameras_ids":[3],"login":"hex"}               -> 502
{"cameras_ids":[3],"login":"infinite"}          -> 502
{"cameras_ids":[3],"login":"empty"}             -> 502
{"cameras_ids":[3],"login":"large"}             -> 502
--- logged
\[error\] .*redis key \\?"t_cache:login:half\\?" holds a score that is not its member
redis key \\?"t_cache:login:comma\\?" holds a score that is not its member



=== TEST 30: the score of the largest id is compared exactly
--- fake
ZSCORE *:login:largest => raw $16\r\n9007199254740991\r\n
ZSCORE *:login:exponent => raw $21\r\n9.007199254740991e+15\r\n
ZSCORE *:login:rounded => raw $5\r\n9e+15\r\n
--- cases
{"cameras_ids":[9007199254740991],"login":"largest"} -> 9007199254740991
{"cameras_ids":[9007199254740991],"login":"exponent"} -> 9007199254740991
{"cameras_ids":[9007199254740991],"login":"rounded"} -> 502
--- logged
\[error\] .*redis key \\?"t_cache:login:rounded\\?" holds a score that is not its member



=== TEST 31: a broken contract is logged once, then counted, and logged when it is kept again
--- redis
HSET billing:camera:20 streams broken
HSET billing:camera:21 streams broken
--- run
my $count = sub { my ($re) = @_; my @lines = Billing::error_log() =~ /$re/mg; scalar @lines };

my $start = Time::HiRes::time();
my $asked = 0;

while (Time::HiRes::time() - $start < 5) {
    ask('{"cameras_ids":[20]}');
    ask('{"cameras_ids":[21]}');
    ask('{"cameras_ids":[3]}');
    $asked += 2;
}

is($count->(qr/\[error\] \S+ \*\d+ redis key "t_cache:camera:20" holds streams/), 1,
   'the first key is named once');
is($count->(qr/\[warn\] .* keep the cache contract again/), 0,
   'cameras that are right do not end it');

my $counts = $count->(qr/\[error\] .* more replies broke the cache contract/);
cmp_ok($counts, '>=', 1, 'the others are counted');
cmp_ok($counts, '<=', 3, 'less and less often');

redis()->command('HSET', 't_cache:camera:20', 'streams', '');

ok(wait_for(20, sub {
    ask('{"cameras_ids":[20]}');
    $count->(qr/\[warn\] .* redis replies keep the cache contract again, after $asked that broke it/);
}), "a line tells that it is kept again, after $asked faults");

ask('{"cameras_ids":[21]}');
is($count->(qr/\[error\] \S+ \*\d+ redis key "t_cache:camera:21" holds streams/), 1,
   'the next fault is named at once');
--- errors_allowed



=== TEST 32: a cache that was never loaded is logged once, and its first sync as well
--- redis
DEL billing:synced_at
--- run
my $count = sub { my ($re) = @_; my @lines = Billing::error_log() =~ /$re/mg; scalar @lines };

answers(ask('{"cameras_ids":[3]}'), '3', 'a camera that is there');

ok(wait_for(20, sub {
    is(ask('{"cameras_ids":[999]}')->{status}, 503, 'status');
    $count->(qr/\[error\] .* more replies broke the cache contract, the last one: redis key "t_cache:synced_at"/);
}), 'the requests after the first one are counted');

is($count->(qr/\[error\] \S+ \*\d+ redis key "t_cache:synced_at" does not exist: the cache has never been loaded/),
   1, 'one line names the key');
is($count->(qr/\[warn\] .* keep the cache contract again/), 0, 'which is still true');

redis()->command('SET', 't_cache:synced_at', int time);

ok(wait_for(20, sub {
    ask('{"cameras_ids":[999]}');
    $count->(qr/\[warn\] .* keep the cache contract again/);
}), 'a line tells that it was loaded');
--- errors_allowed



=== TEST 33: each set of servers has its own log line
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_token off;
}
location = /other {
    billing_cameras_list;
    billing_token off;
    billing_redis_queue 99;
}
END
--- redis
HSET billing:camera:20 streams broken
--- run
for my $uri ($Billing::URI, '/other', $Billing::URI, '/other') {
    answers(ask('{"cameras_ids":[20]}', uri => $uri), '502', $uri);
}
--- logged_times
2 \[error\] \S+ \*\d+ redis key "t_cache:camera:20" holds streams
--- errors_allowed



=== TEST 34: a right that the user lacks is logged once
--- fake
HMGET => error NOPERM this user has no permissions
--- run
answers(ask("{\"cameras_ids\":[$_]}"), '502', "camera $_") for 3 .. 12;
$Fake->change('');
answers(ask('{"cameras_ids":[4]}'), '4', 'afterwards');
--- logged_times
1 \[error\] \S+ \*\d+ redis key "t_cache:camera:\d+" cannot be read: NOPERM this user has no permissions
--- errors_allowed



=== TEST 35: a Redis that is emptied between two lookups of synced_at is no null
--- fake
once GET t_cache:synced_at => pause 0
--- run
for my $body ('{"cameras_ids":[999]}', '{"cameras_uuid":["nobody"]}', '{"login":"nobody"}') {
    $Fake->change("once GET t_cache:synced_at => pause 0\n"
                  . 'GET t_cache:synced_at => raw $-1\r\n');
    answers(ask($body), '503', $body);
}
--- errors_allowed
