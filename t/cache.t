# The cache contract: an empty cache is not an empty answer, and data that
# breaks the contract is an error that names the key.

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::Nginx::Socket 'no_plan';
use Billing 'cache';

run_tests();

__DATA__

=== TEST 1: nothing found in a cache that was loaded
--- cases
{"cameras_ids":[999]}                           -> null
{"cameras_ids":[0]}                             -> null
{"cameras_ids":[-1]}                            -> null
{"cameras_uuid":["nobody"]}                     -> null
{"login":"nobody"}                              -> null
{"login":"gone"}                                -> null
{"cameras_ids":[3],"login":"nobody"}            -> null
{"cameras_ids":[3],"cameras_uuid":["4"]}        -> null



=== TEST 2: nothing found in a cache that was never loaded
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
--- errors_allowed



=== TEST 3: synced_at counts only when nothing was found
--- redis
DEL billing:synced_at
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_uuid":["cam-5"]}                      -> 5
{"login":"admin"}                               -> 3 4
{"cameras_ids":[3,999]}                         -> 3



=== TEST 4: synced_at is not looked for in vain
--- fake
--- cases
{"cameras_ids":[3]}                             -> 3
{"login":"admin"}                               -> 3 4
--- no_fake_log
synced_at



=== TEST 5: a synced_at that is no integer
--- redis
SET billing:synced_at yesterday
--- cases
{"cameras_ids":[999]}                           -> 502
{"login":"nobody"}                              -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*t_cache:synced_at



=== TEST 6: an empty synced_at
--- redis
SET billing:synced_at ""
--- cases
{"cameras_ids":[999]}                           -> 502
--- logged
\[error\] .*t_cache:synced_at



=== TEST 7: a synced_at of another type
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



=== TEST 9: a camera that is no hash
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



=== TEST 10: an external_id that is no string
--- redis
HSET billing:external:broken a b
--- cases
{"cameras_uuid":["broken"]}                     -> 502
{"cameras_uuid":["3","broken"]}                 -> 502
{"cameras_uuid":["3"]}                          -> 3
--- logged
\[error\] .*t_cache:external:broken



=== TEST 11: an external_id that leads to no id
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
\[error\] .*t_cache:external:bad-empty
\[error\] .*t_cache:external:bad-zero
\[error\] .*t_cache:external:bad-minus
\[error\] .*t_cache:external:bad-real
\[error\] .*t_cache:external:bad-space
\[error\] .*t_cache:external:bad-tail
\[error\] .*t_cache:external:bad-nul
\[error\] .*t_cache:external:bad-large
\[error\] .*t_cache:external:bad-wrap



=== TEST 12: a login that is no sorted set
--- redis
SET billing:login:text 3
HSET billing:login:hash 3 3
--- cases
{"login":"text"}                                -> 502
{"login":"hash"}                                -> 502
{"cameras_ids":[3],"login":"text"}              -> 502
--- logged
\[error\] .*t_cache:login:text
\[error\] .*t_cache:login:hash



=== TEST 13: a member of a login that is no integer
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
\[error\] .*t_cache:login:real
\[error\] .*t_cache:login:zero
\[error\] .*t_cache:login:later



=== TEST 14: a score that is not its member's
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
\[error\] .*t_cache:login:half
\[error\] .*t_cache:login:beyond
\[error\] .*t_cache:login:hides



=== TEST 15: streams that are not type=status
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
\[error\] .*t_cache:camera:21
\[error\] .*t_cache:camera:22
\[error\] .*t_cache:camera:23
\[error\] .*t_cache:camera:24



=== TEST 16: text that is not UTF-8, in each field
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
\[error\] .*t_cache:camera:21
\[error\] .*t_cache:camera:22
\[error\] .*t_cache:camera:23
\[error\] .*t_cache:camera:24
\[error\] .*t_cache:camera:25
\[error\] .*t_cache:camera:26
\[error\] .*t_cache:camera:27



=== TEST 17: the ways in which text is not UTF-8
--- redis
HSET billing:camera:20 name "\xc0\x80"
HSET billing:camera:21 name "\xe0\x80\xaf"
HSET billing:camera:22 name "\xf0\x80\x80\xaf"
HSET billing:camera:23 name "\xed\xa0\x80"
HSET billing:camera:24 name "\xf4\x90\x80\x80"
HSET billing:camera:25 name "a\x80"
HSET billing:camera:26 name "\xe2\x82"
HSET billing:camera:27 name "\xf8\x88\x80\x80\x80"
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



=== TEST 18: fields that the module does not read may hold anything
--- redis
HSET billing:camera:20 name ok junk "\xff" "\xfe" x
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[' . Billing::Fixtures::camera(20, { name => 'ok' }) . ']'



=== TEST 19: a key in the log is no way to write lines into it
--- redis
SET "billing:external:x\x0d\x0a2026/01/01 [forged] line" abc
--- cases
{"cameras_uuid":["x\r\n2026/01/01 [forged] line"]} -> 502
--- logged
\[error\] .*t_cache:external:x
--- no_error_log eval
qr/^2026\/01\/01 \[forged\]/



=== TEST 20: ids and logins cannot become commands
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



=== TEST 21: and did not
--- redis
SET billing:canary alive
--- run
for my $login ('x\r\nDEL t_cache:canary\r\n',
               '\r\n*2\r\n$3\r\nDEL\r\n$14\r\nt_cache:canary\r\n')
{
    answers(ask("{\"login\":\"$login\"}"), 'null', 'a login like a command');
}

is(redis()->command('GET', 't_cache:canary'), 'alive', 'the key is still there');



=== TEST 22: the prefix is part of every key
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



=== TEST 23: a prefix of a location's own
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
--- errors_allowed



=== TEST 24: cameras that are not the login's, first, in the middle and last
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



=== TEST 25: a synced_at that is answered by no string
--- fake
GET *:synced_at => raw *0\r\n
--- cases
{"login":"nobody"}                              -> 502
--- logged
\[error\] .*redis key "t_cache:synced_at" is not answered by a string



=== TEST 26: a cache that is loaded between the lookups and that of synced_at
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



=== TEST 27: commands that are longer than most, and many of them
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
