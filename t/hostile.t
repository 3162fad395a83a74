# Replies of a broken or hostile Redis. The requests concerned get an error; no
# worker crashes, and no request gets the data of another one.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'hostile';
use Test::Nginx::Socket 'no_plan';

# The reply for a forged hash, which no camera has.

our $FORGED = '*7\r\n$-1\r\n$-1\r\n$-1\r\n$6\r\nforged\r\n$-1\r\n$-1\r\n$-1\r\n';

# Many clients ask for different cameras at once, several times: each gets its
# own camera, or an error. How many got their camera, of 120.

sub mix {
    my @ids = (3, 4, 5, 7, 10, 12);
    my ($good, $wrong) = (0, 0);

    for my $turn (1 .. 5) {
        my @clients = map { Billing::client() } 0 .. 23;

        for my $i (0 .. 23) {
            $clients[$i]->send(Billing::text("{\"cameras_ids\":[$ids[$i % 6]]}"));
        }

        for my $i (0 .. 23) {
            my $res = $clients[$i]->response;

            if ($res->{body} eq Billing::Fixtures::answer($ids[$i % 6])) {
                $good++;
            } elsif ($res->{status} !~ /\A50[234]\z/
                     || $res->{body} !~ /\A\{"message":"The camera cache [^"{]+"\}\z/)
            {
                $wrong++;
                Test::More::diag("camera $ids[$i % 6]: $res->{status} $res->{body}");
            }
        }
    }

    Test::More::is($wrong, 0, "no answer is another's");
    return $good;
}

run_tests();

__DATA__

=== TEST 1: replies that come byte by byte give each of many requests its own camera
--- http_config
billing_redis_timeout 20s;
--- fake
any => bytes
--- run
is(::mix(), 120, 'each gets its camera');



=== TEST 2: values of about 16384 and 65536 bytes, the sizes of a receive, are answered
--- redis eval
join "\n", map { "HSET billing:camera:$_ name " . 'n' x $_ }
           16340 .. 16390, 65200 .. 65540, 131072
--- run
for my $id (16340 .. 16390, 65200 .. 65540, 131072) {
    my $res = ask("{\"cameras_ids\":[$id]}");
    my $same = $res->{body} eq
               '[' . Billing::Fixtures::camera($id, { name => 'n' x $id }) . ']';
    ok($same, "$id bytes") or diag("$res->{status}, " . length $res->{body});
}



=== TEST 3: values of 16384 and 16385 bytes are answered, alone and together
--- fake
HMGET *:camera:3 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$16384\r\n\{x*16384}\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:4 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$16385\r\n\{y*16385}\r\n$-1\r\n$-1\r\n$-1\r\n
--- run
for (1 .. 3) {
    ok(ask('{"cameras_ids":[3]}')->{body} eq
       '[' . Billing::Fixtures::camera(3, { name => 'x' x 16384 }) . ']', 'the shorter');
    ok(ask('{"cameras_ids":[4]}')->{body} eq
       '[' . Billing::Fixtures::camera(4, { name => 'y' x 16385 }) . ']', 'the longer');
    ok(ask('{"cameras_ids":[3,4]}')->{body} eq
       '[' . Billing::Fixtures::camera(3, { name => 'x' x 16384 }) . ','
       . Billing::Fixtures::camera(4, { name => 'y' x 16385 }) . ']', 'both');
}
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- no_fake_log
^2 accept



=== TEST 4: a value of nearly a MiB is answered, and a larger one fails only its own request
--- http_config
billing_redis_timeout 10s;
--- fake eval
<<'END' . 'HMGET *:camera:10 => raw *20\r\n' . '$524288\r\n\{y*524288}\r\n' x 20
HMGET *:camera:4 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$1048000\r\n\{z*1048000}\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:5 => raw $10485760\r\n\{x*10485760}\r\n
HMGET *:camera:7 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$10485760\r\n\{x*10485760}\r\n$-1\r\n$-1\r\n$-1\r\n
END
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[5]}                             -> 502
{"cameras_ids":[7]}                             -> 502
{"cameras_ids":[10]}                            -> 502
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 200 "name":"z{30000}
--- fake_log
^1 accept
--- logged
\[error\] .*t_hostile:camera:5\\?" is answered by more than 1 MiB or 4096 elements
redis key \\?"t_hostile:camera:7\\?" is answered by more than 1 MiB or 4096 elements
redis key \\?"t_hostile:camera:10\\?" is answered by more than 1 MiB or 4096 elements



=== TEST 5: arrays nested 10,000 deep are a 502, and the next request is answered
--- fake
HMGET *:camera:4 => raw \{*1\r\n*10000}
HMGET *:camera:5 => raw *2\r\n$4\r\nname\r\n\{*1\r\n*10000}$1\r\nx\r\n
GET *:external:3 => raw \{*1\r\n*10000}:1\r\n
ZRANGEBYSCORE => raw \{*2\r\n*10000}
--- cases
{"cameras_ids":[4]}                             -> 502
{"cameras_ids":[5]}                             -> 502
{"cameras_uuid":["3"]}                          -> 502
{"login":"mixed"}                               -> 502
{"cameras_ids":[3]}                             -> 3
--- run
ok(1, 'the cases are all there is');
--- logged
\[error\] 



=== TEST 6: invalid lengths are a 502, and the next request is answered
--- http_config
billing_redis_timeout 3s;
--- fake
HMGET *:camera:1 => raw *2147483647\r\n
HMGET *:camera:2 => raw *2147483648\r\n
HMGET *:camera:6 => raw *4294967296\r\n
HMGET *:camera:8 => raw *9223372036854775807\r\n
HMGET *:camera:9 => raw *-2\r\n
HMGET *:camera:11 => raw *2\r\n$9223372036854775807\r\n
HMGET *:camera:13 => raw $9223372036854775807\r\n
HMGET *:camera:14 => raw $9223372036854775808\r\n
HMGET *:camera:15 => raw $-2\r\nx\r\n
HMGET *:camera:16 => raw *99999999999999999999999999\r\n
HMGET *:camera:17 => raw *\r\n
HMGET *:camera:18 => raw $\r\n
HMGET *:camera:19 => raw *two\r\n
HMGET *:camera:20 => raw :99999999999999999999999999\r\n
HMGET *:camera:21 => raw *4097\r\n\{$1\r\nx\r\n*4097}
HMGET *:camera:22 => raw *1000000\r\n\{$1\r\nx\r\n*1000000}
HMGET *:camera:23 => raw *4096\r\n\{*1\r\n$1\r\nx\r\n*4096}
HMGET *:camera:24 => raw *-1\r\n
HMGET *:camera:25 => raw $-1\r\n
HMGET *:camera:26 => raw *07\r\n$-1\r\n$-1\r\n$-1\r\n$1\r\nx\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:27 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$01\r\nx\r\n$-1\r\n$-1\r\n$-1\r\n
--- run
for my $id (1, 2, 6, 8, 9, 11, 13 .. 27) {

    my $res = ask("{\"cameras_ids\":[$id]}");
    is($res->{status}, 502, "camera $id");
    recovers('{"cameras_ids":[3]}', '3', "after camera $id");
}
--- logged
\[error\] .*a length in the reply is wrong
redis key \\?"t_hostile:camera:21\\?" is answered by more than 1 MiB or 4096 elements
redis key \\?"t_hostile:camera:22\\?" is answered by more than 1 MiB or 4096 elements
redis key \\?"t_hostile:camera:23\\?" is answered by more than 1 MiB or 4096 elements



=== TEST 7: RESP3 types that were not asked for are a 502, and the next request is answered
--- http_config
billing_redis_timeout 2s;
--- fake
HMGET *:camera:1 => raw %1\r\n$4\r\nname\r\n$6\r\nforged\r\n
HMGET *:camera:2 => raw ~2\r\n$4\r\nname\r\n$6\r\nforged\r\n
HMGET *:camera:6 => raw >2\r\n$4\r\nname\r\n$6\r\nforged\r\n
HMGET *:camera:8 => raw %2147483647\r\n
HMGET *:camera:9 => raw >2147483647\r\n
HMGET *:camera:11 => raw ,3.14\r\n
HMGET *:camera:13 => raw ,\{9*400}\r\n
HMGET *:camera:14 => raw (\{9*400}\r\n
HMGET *:camera:15 => raw #t\r\n
HMGET *:camera:16 => raw _\r\n
HMGET *:camera:17 => raw =10\r\ntxt:forged\r\n
HMGET *:camera:18 => raw =2\r\nxx\r\n
HMGET *:camera:19 => raw |1\r\n$4\r\nname\r\n$6\r\nforged\r\n*0\r\n
HMGET *:camera:20 => raw *?\r\n$4\r\nname\r\n.\r\n
HMGET *:camera:21 => raw $?\r\n;4\r\nname\r\n;0\r\n
HMGET *:camera:22 => raw *2\r\n$4\r\nname\r\n,1.5\r\n
HMGET *:camera:23 => raw *2\r\n+name\r\n#t\r\n
--- run
for my $id (1, 2, 6, 8, 9, 11, 13 .. 23) {
    my $res = ask("{\"cameras_ids\":[$id]}");
    is($res->{status}, 502, "camera $id: status");
    unlike($res->{body}, qr/forged/, "camera $id: body");
    recovers('{"cameras_ids":[3]}', '3', "after camera $id");
}
--- errors_allowed



=== TEST 8: half a reply before the end of the connection, or a reset, is a 502 only when it comes twice
--- fake
2 times HMGET *:camera:3 => partial 100
2 times HMGET *:camera:4 => tear 100
1 times HMGET *:camera:5 => partial 1
1 times HMGET *:camera:7 => tear 1
1 times GET *:external:3 => tear 3
--- run
answers(ask('{"cameras_ids":[3]}'), '502', 'FIN, twice');
answers(ask('{"cameras_ids":[3]}'), '3', 'FIN, over');
answers(ask('{"cameras_ids":[4]}'), '502', 'RST, twice');
answers(ask('{"cameras_ids":[4]}'), '4', 'RST, over');
answers(ask('{"cameras_ids":[5]}'), '5', 'FIN, once');
answers(ask('{"cameras_ids":[7]}'), '7', 'RST, once');
answers(ask('{"cameras_uuid":["3"]}'), '3', 'RST, once, in another reply');
--- logged
\[error\] .*is (?:lost|down)



=== TEST 9: half a reply before the end of the connection, with many requests in flight, mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake
conn 1 HMGET *:camera:12 => partial 20
conn 2 HMGET *:camera:12 => tear 20
--- run
cmp_ok(::mix(), '>', 90, 'most get their camera');
is(::mix(), 120, 'and then all of them');
--- errors_allowed



=== TEST 10: one extra reply before another one mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"once HMGET *:camera:5 => before $::FORGED"
--- run
is(::mix(), 120, 'each gets its camera');
--- fake_log
^2 accept
--- errors_allowed



=== TEST 11: an extra reply before every reply for a camera mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"HMGET *:camera:5 => before $::FORGED"
--- run
::mix();
answers(ask('{"cameras_ids":[5]}'), '502', 'the camera concerned');
answers(ask('{"cameras_ids":[4]}'), '4', 'another');
--- errors_allowed



=== TEST 12: one extra reply within a pipeline mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"once HMGET *:camera:5 => extra $::FORGED\nonce HMGET *:camera:7 => extra $::FORGED$::FORGED"
--- run
is(::mix(), 120, 'each gets its camera');
--- errors_allowed



=== TEST 13: an extra reply within every pipeline mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"HMGET *:camera:5 => extra $::FORGED"
--- run
::mix();
answers(ask('{"cameras_ids":[5]}'), '502', 'the camera concerned');
answers(ask('{"cameras_ids":[4]}'), '4', 'another');
--- errors_allowed



=== TEST 14: an extra reply after each fence mixes up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"ECHO *.1 => delay 0\nECHO => extra $::FORGED"
--- run
::mix();

for my $id (3, 4, 5) {
    my $res = ask("{\"cameras_ids\":[$id]}");
    unlike($res->{body}, qr/forged/, "camera $id");
}

$Billing::Fake->change('');
recovers('{"cameras_ids":[3]}', '3', 'when that is over');
--- errors_allowed



=== TEST 15: a missing reply mixes up no answers
--- http_config
billing_redis_timeout 2s;
--- fake
once HMGET *:camera:5 => drop
once HMGET *:camera:7 => drop
--- run
::mix();
is(::mix(), 120, 'each gets its camera when that is over');
--- errors_allowed



=== TEST 16: a missing reply and an extra one, which leave the number right, mix up no answers
--- http_config
billing_redis_timeout 3s;
--- fake eval
"once HMGET *:camera:5 => drop\nonce HMGET *:camera:7 => before $::FORGED"
--- run
::mix();
is(::mix(), 120, 'each gets its camera when that is over');
--- errors_allowed



=== TEST 17: extra replies of a whole pipeline with a forged fence mix up no answers
--- http_config
billing_redis_timeout 10s;
--- fake eval
"HMGET *:camera:5 => before $::FORGED" . '$10\r\n00000000.1\r\n'
--- run
::mix();
answers(ask('{"cameras_ids":[5]}'), '502', 'the camera concerned');
--- errors_allowed



=== TEST 18: a forged fence with a small number is not accepted
--- fake
conn 1 ECHO *.2 => raw $1\r\n1\r\n
conn 2 ECHO *.2 => raw :1\r\n
conn 3 ECHO *.2 => raw $10\r\n00000000.1\r\n
conn 4 ECHO *.2 => raw +00000000.1\r\n
conn 5 ECHO *.2 => raw $0\r\n\r\n
conn 6 ECHO *.2 => raw $-1\r\n
conn 7 ECHO *.2 => raw *0\r\n
--- http_config
billing_redis_timeout 5s;
--- run
my @status = map { ask("{\"cameras_ids\":[3]}")->{status} } 1 .. 3;
is("@status", '502 502 502', 'each of two tries was refused');
recovers('{"cameras_ids":[3]}', '3', 'when that is over');
--- fake_log
^7 ECHO
--- errors_allowed



=== TEST 19: a fence with the number of its neighbour is not accepted
--- fake
conn 1 ECHO *.2 => fence -1
conn 2 ECHO *.2 => fence 1
conn 3 ECHO *.2 => fence 1000
conn 4 ECHO *.2 => fence 4294967296
--- http_config
billing_redis_timeout 5s;
--- run
my @status = map { ask("{\"cameras_ids\":[3]}")->{status} } 1 .. 2;
is("@status", '502 502', 'each of two tries was refused');
recovers('{"cameras_ids":[3]}', '3', 'when that is over');
--- fake_log
^4 ECHO
--- errors_allowed



=== TEST 20: a stream of errors instead of a reply, after a reply, and on an idle connection
--- fake
HMGET *:camera:4 => raw \{-ERR flood\r\n*20000}
HMGET *:camera:5 => extra \{-ERR flood\r\n*20000}
GET *:external:3 => before \{-ERR flood\r\n*20000}
2 times ECHO *.2 => extra \{-ERR flood\r\n*20000}
--- run
for (1 .. 3) {
    my $res = ask('{"cameras_ids":[3]}');
    like($res->{status}, qr/\A(?:200|502)\z/, 'behind an echo: status');
    is($res->{body}, Billing::Fixtures::answer(3), 'behind an echo: body')
        if $res->{status} == 200;
}

answers(ask('{"cameras_ids":[4]}'), '502', 'instead of an answer');
answers(ask('{"cameras_ids":[5]}'), '502', 'behind an answer');
answers(ask('{"cameras_uuid":["3"]}'), '502', 'in front of an answer');
recovers('{"cameras_ids":[7]}', '7', 'another');
$Fake->change('');
--- errors_allowed



=== TEST 21: a stream of errors, or what is no greeting, before anything was asked
--- fake
conn 1 accept => raw \{-ERR flood\r\n*20000}
conn 2 accept => raw +PONG\r\n+PONG\r\n+PONG\r\n
conn 3 PING => extra +PONG\r\n
conn 4 PING => raw $4\r\nPONG\r\n
conn 5 PING => raw -\r\n
conn 6 PING => raw +PONG\n
conn 7 ECHO => raw $10\r\n00000000.1\r\n
conn 8 ECHO => fence 1
conn 9 ECHO => extra +PONG\r\n
--- http_config
billing_redis_timeout 10s;
--- cases
{"cameras_ids":[3]}                             -> 3
{"cameras_ids":[4]}                             -> 4
--- fake_log
^10 HMGET
--- errors_allowed



=== TEST 22: a stream of errors with many requests in flight mixes up no answers
--- fake
once HMGET *:camera:5 => raw \{-ERR flood\r\n*20000}
--- http_config
billing_redis_timeout 10s;
--- run
cmp_ok(::mix(), '>', 60, 'most get their camera');
is(::mix(), 120, 'and then all of them');
--- errors_allowed



=== TEST 23: bytes that are not text, at any place of a reply, are a 502 and are not logged raw
--- fake
HMGET *:camera:1 => raw \x00
HMGET *:camera:2 => raw \x00\{\xff*70000}
HMGET *:camera:6 => raw \r\n\r\n
HMGET *:camera:8 => raw *7\r\n$-1\r\n$-1\r\n$-1\r\n$3\r\nabcde\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:9 => raw +\{\x00*5000}\r\n
HMGET *:camera:11 => raw -\x00\x1b\r\n
HMGET *:camera:13 => raw -\r\n
HMGET *:camera:14 => raw *0\n
--- http_config
billing_redis_timeout 2s;
--- run
for my $id (1, 2, 6, 8, 9, 11, 13, 14) {
    my $res = ask("{\"cameras_ids\":[$id]}");
    is($res->{status}, 502, "camera $id: status");
    recovers('{"cameras_ids":[3]}', '3', "after camera $id");
}
--- errors_allowed
--- no_error_log eval
[ qr/\x1b/, qr/\x00/ ]



=== TEST 24: a login whose reply has more members than were asked for
--- route
billing_batch 2;
--- fake
ZRANGEBYSCORE *:admin => raw *3\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n
--- cases
{"login":"admin"}                               -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*t_hostile:login:admin



=== TEST 25: a login whose later batch has more members than were asked for
--- route
billing_batch 2;
--- fake
once ZRANGEBYSCORE *:admin => raw *2\r\n$1\r\n3\r\n$1\r\n4\r\n
ZRANGEBYSCORE *:admin => raw *3\r\n$1\r\n5\r\n$1\r\n7\r\n$2\r\n10\r\n
--- run
my $res = ask($EXAMPLE);
ok($res->{status} == 502 || $res->{status} == 200 && !$res->{complete},
   "no whole list: $res->{status}");
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*t_hostile:login:admin



=== TEST 26: a later batch that begins like the first one does not make an endless list
--- route
billing_batch 2;
--- fake
ZRANGEBYSCORE *:admin => raw *2\r\n$1\r\n3\r\n$1\r\n4\r\n
--- run
my $res = ask($EXAMPLE);
ok($res->{status} == 502 || $res->{status} == 200 && !$res->{complete},
   "no whole list: $res->{status}");
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*t_hostile:login:admin



=== TEST 27: values that are too large together fail only their own request
--- fake eval
'HMGET *:camera:4 => raw *7\r\n' . '$200000\r\n\{x*200000}\r\n' x 7
--- cases
{"cameras_ids":[4]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- fake_log
^1 accept
--- logged
\[error\] .*t_hostile:camera:4\\?" is answered by more than 1 MiB or 4096 elements



=== TEST 28: a value that is too large and never ends is waited for until the timeout
--- fake
HMGET *:camera:7 => raw *7\r\n$100000000\r\n\{x*5000000}
--- run
answers(ask('{"cameras_ids":[7]}'), '504', 'the end is not there');
answers(ask('{"cameras_ids":[4]}'), '4', 'another');

# the deadlines of the request and of the connection may be the same millisecond

--- logged
\[error\] .*(?:did not answer in time|server does not answer)



=== TEST 29: a reply that no command asked for closes an idle connection, and fails no request
--- fake
conn 1 ECHO *.3 => later $200\r\n
conn 2 ECHO *.3 => later *
conn 3 ECHO *.3 => later :1\r\n
--- run
for my $conn (1 .. 3) {
    answers(ask('{"cameras_ids":[3]}'), '3', "connection $conn");
    ok(wait_for(10, sub { $conn == (() = error_log() =~ /never sent/g) }), 'closed');
}

answers(ask('{"cameras_ids":[3]}'), '3', 'the last one');
--- fake_log
^2 HMGET
^3 HMGET
^4 HMGET
--- logged_times
3 idle connection to redis server "127.0.0.1:\d+" is closed: reply to a command never sent



=== TEST 30: strings without an end or a length, and elements that are no strings, are a 502
--- fake eval
join "\n", map { "HMGET *:camera:$_->[0] => raw *$_->[1]\\r\\n" . '$-1\r\n' x 3
                 . $_->[2] . '$-1\r\n' x ($_->[3] // 3) }
    [ 1, 7, '$3\r\nabcXY' ], [ 2, 7, '$3\r\nabc\rX' ], [ 6, 7, '$3\r\nabcX\n' ],
    [ 8, 7, ':1\r\n' ], [ 9, 7, '+x\r\n' ], [ 11, 7, '-x\r\n' ],
    [ 13, 7, '*0\r\n' ], [ 14, 6, '*1\r\n$1\r\nx\r\n', 2 ],
    [ 15, 7, '*-1\r\n' ], [ 16, 7, '$\r\n\r\n' ],
    [ 17, 7, '$18446744073709551617\r\nx\r\n' ], [ 18, 8, '$1\r\nx\r\n', 4 ],
    [ 19, 7, '$2147483646\r\nx\r\n' ], [ 20, 7, '$2147483647\r\nx\r\n' ]
--- run
for my $id (1, 2, 6, 8, 9, 11, 13 .. 20) {
    answers(ask("{\"cameras_ids\":[$id]}"), '502', "camera $id");
    recovers('{"cameras_ids":[3]}', '3', "after camera $id");
}
--- errors_allowed



=== TEST 31: a reply of the greatest size is answered, and one of a byte more is a 502
--- fake
HMGET *:camera:4 => raw *7\r\n$6\r\nabcdef\r\n$-1\r\n$-1\r\n$1048570\r\n\{x*1048570}\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:5 => raw *7\r\n$6\r\nabcdef\r\n$-1\r\n$-1\r\n$1048571\r\n\{x*1048571}\r\n$-1\r\n$-1\r\n$-1\r\n
HMGET *:camera:7 => raw *7\r\n\{$-1\r\n*7}
HMGET *:camera:10 => raw *7\r\n\{$-1\r\n*7}
HGETALL *:camera:7 => raw *4096\r\n\{$1\r\nx\r\n*4096}
HGETALL *:camera:10 => raw *4098\r\n\{$1\r\nx\r\n*4098}
--- cases
{"cameras_ids":[4]}                             -> 200 "name":"x{30000}
{"cameras_ids":[5]}                             -> 502
{"cameras_ids":[7]}                             -> 200 \{"id":7,"external_id":null,
{"cameras_ids":[10]}                            -> 502
{"cameras_ids":[3]}                             -> 3
--- fake_log
^1 accept
--- logged
\[error\] .*t_hostile:camera:5\\?" is answered by more than 1 MiB or 4096 elements
redis key \\?"t_hostile:camera:10\\?" is answered by more than 1 MiB or 4096 elements



=== TEST 32: a line that is a byte too long is a 502, and so is one of the greatest length
--- fake
HMGET *:camera:4 => raw +\{x*1048576}\r\n
HMGET *:camera:5 => raw +\{x*1048575}\r\n
--- cases
{"cameras_ids":[4]}                             -> 502
{"cameras_ids":[5]}                             -> 502
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*reply is too large
\[error\] .*camera:5\\?" is not answered by the fields asked for
--- logged_times
1 reply is too large



=== TEST 33: garbage behind a fence does not fail the next request
--- fake
once ECHO => extra garbage\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*reply to a command never sent



=== TEST 34: a reply behind an error is not logged as a part of the error
--- fake
once HMGET => raw -LOADING for now\r\n+forged\r\n
--- cases
{"cameras_ids":[3]}                             -> 3
--- logged
\[error\] .*is down: LOADING for now
--- no_error_log
forged
