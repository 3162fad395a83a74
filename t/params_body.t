# Parameters in a JSON body: which bodies are read, what counts as sent, what is
# ignored, and how JSON is parsed.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'params_body';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: each parameter alone, in a JSON body
--- cases
{"cameras_ids":[3]}                                     -> 3
{"cameras_ids":[4,3]}                                   -> 3 4
{"cameras_uuid":["cam-5"]}                              -> 5
{"cameras_uuid":["cam-5","3"]}                          -> 3 5
{"login":"admin"}                                       -> 3 4
{"login":"mixed"}                                       -> 4 5 7 10 12 9007199254740991



=== TEST 2: the documentation's example, and variants of it
--- cases
{"cameras_ids":[],"cameras_uuid":[],"login":"admin"}    -> 3 4
{"cameras_ids": [], "cameras_uuid": [], "login": "string"}  -> null
{"cameras_ids":[3],"cameras_uuid":[],"login":""}        -> 3
{"cameras_ids":null,"cameras_uuid":["4"],"login":null}  -> 4



=== TEST 3: null, empty arrays and objects, and blank strings count as not sent
--- cases
{}                                                      -> required
{"cameras_ids":null}                                    -> required
{"cameras_ids":[]}                                      -> required
{"cameras_ids":""}                                      -> required
{"cameras_ids":"  "}                                    -> required
{"cameras_uuid":null}                                   -> required
{"cameras_uuid":[]}                                     -> required
{"cameras_uuid":" \t"}                                  -> required
{"login":null}                                          -> required
{"login":""}                                            -> required
{"login":" "}                                           -> required
{"login":" \t\r\n "}                                    -> required
{"login":"\u0020\u0009"}                                -> required
{"login":[]}                                            -> required
{"login":{}}                                            -> required
{"cameras_ids":{}}                                      -> required
{"cameras_uuid":{}}                                     -> required
{"cameras_ids":[],"cameras_uuid":"","login":null}       -> required



=== TEST 4: strings in a body are trimmed
--- cases
{"login":" admin"}                                      -> 3 4
{"login":"admin "}                                      -> 3 4
{"login":"\t\r\n\f\u000b admin\u0000 "}                  -> 3 4
{"login":" a b "}                                       -> 5
{"login":"\u00a0"}                                      -> required
{"login":"\xc2\xa0"}                                    -> required
{"cameras_uuid":[" 3 ","\u3000cam-5\ufeff"]}            -> 3 5
{"cameras_ids":[" 3","4\u200b"]}                        -> 3 4
{"cameras_ids":"\u2060"}                                -> required



=== TEST 5: an empty or blank body counts as no body
--- cases
                                                        -> required
\x20                                                    -> required
\x0d\x0a\x09\x20                                        -> required
?login=admin                                            -> 3 4
?login=admin \x20\x0a                                   -> 3 4



=== TEST 6: JSON that is not an object holds no parameters
--- cases
[]                                                      -> required
[ ]                                                     -> required
[1]                                                     -> required
[{"login":"admin"}]                                     -> required
["login","admin"]                                       -> required
3                                                       -> required
-1.5e3                                                  -> required
"login"                                                 -> required
true                                                    -> required
null                                                    -> required
?login=admin []                                         -> 3 4
?login=admin null                                       -> 3 4
?cameras_ids[]=4 [{"cameras_ids":[3]}]                  -> 4



=== TEST 7: the last one counts of a JSON key that is given twice
--- cases
{"login":"mixed","login":"admin"}                       -> 3 4
{"login":"admin","login":null}                          -> required
{"login":5,"login":"admin"}                             -> 3 4
{"login":"admin","login":5}                             -> login: string
{"cameras_ids":[4,5],"cameras_ids":[3]}                 -> 3
{"cameras_ids":["x"],"cameras_ids":[3]}                 -> 3
{"cameras_ids":[3],"cameras_ids":["x"]}                 -> cameras_ids.0: integer
{"cameras_ids":[3],"cameras_ids":[]}                    -> required
{"cameras_ids":[3],"cameras_ids":{}}                    -> required
{"cameras_ids":{"0":4},"cameras_ids":[3]}               -> 3
{"cameras_ids":[4],"cameras_ids":{"a":3}}               -> 3
{"cameras_uuid":["3","4"],"cameras_uuid":["cam-5"]}     -> 5
{"login":"admin","x":1,"\u006cogin":"mixed","cameras_ids":[5]} -> 5



=== TEST 8: unknown members of a body are ignored
--- cases
{"page":1,"login":"admin"}                              -> 3 4
{"login":"admin","limit":{"a":[1,2,{"login":"mixed"}]}} -> 3 4
{"x":[[],{},null,true,-0.5e-7,"\u0000"],"login":"admin"} -> 3 4
{"":"","login":"admin"}                                 -> 3 4
{"Login":"admin"}                                       -> required
{"LOGIN":"admin"}                                       -> required
{"login ":"admin"}                                      -> required
{"logi":"admin"}                                        -> required
{"logins":"admin"}                                      -> required
{"login\u0000":"admin"}                                 -> required
{"camera_ids":[3]}                                      -> required
{"cameras_ids[]":[3]}                                   -> required
{"a":{"login":"admin"}}                                 -> required
{"a":[{"cameras_ids":[3]}],"b":{"cameras_uuid":["3"]}}  -> required
{"x":1e999,"login":"admin"}                             -> 3 4
{"x":123456789012345678901234567890,"login":"admin"}    -> 3 4



=== TEST 9: keys and strings may be spelled in every way that JSON allows
--- cases
{"\u006c\u006F\u0067in":"\u0061dmin"}                   -> 3 4
{"login":"\u0438\u0432\u0430\u043d"}                    -> 3 5
{"login":"\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd"}            -> 3 5
{"login":"\ud83d\udc64"}                                -> 7
{"login":"\uD83D\uDC64"}                                -> 7
{"login":"\xf0\x9f\x91\xa4"}                            -> 7
{"login":"nul\u0000byte"}                               -> 4
{"login":"line\r\nbreak"}                               -> 5
{"cameras_uuid":["nul\u0000byte"]}                      -> 5
{"cameras_uuid":["a\r\nb"]}                             -> 10
{"cameras_uuid":["\ud83c\udfa5-7"]}                     -> 7
{"cameras_ids":["\u0033"]}                              -> 3
\x0a { "login" : "admin" } \x0d\x0a                     -> 3 4
{\x09"cameras_ids"\x0a:\x0d[\x203\x20,\x0a4\x09]\x20}   -> 3 4



=== TEST 10: an error with the key "body" names the byte at which JSON is wrong
--- cases
{                                                       -> body
}                                                       -> body
[                                                       -> body
{]                                                      -> body
{"login"                                                -> body
{"login":                                               -> body
{"login":}                                              -> body
{"login":"admin"                                        -> body
{"login":"admin"]                                       -> body
{"login":"admin",}                                      -> body
{"login":"admin"}}                                      -> body
{"login":"admin"} x                                     -> body
{"login":"admin"}{"login":"mixed"}                      -> body
{"login":"admin"} []                                    -> body
{"login":"admin                                         -> body
{"login":'admin'}                                       -> body
{'login':"admin"}                                       -> body
{login:"admin"}                                         -> body
{"cameras_ids":[3,]}                                    -> body
{"cameras_ids":[,3]}                                    -> body
{"cameras_ids":[3 4]}                                   -> body
{"cameras_ids":[03]}                                    -> body
{"cameras_ids":[+3]}                                    -> body
{"cameras_ids":[.5]}                                    -> body
{"cameras_ids":[3.]}                                    -> body
{"cameras_ids":[0x3]}                                   -> body
{"cameras_ids":[1e]}                                    -> body
{"cameras_ids":[-]}                                     -> body
{"cameras_ids":[NaN]}                                   -> body
{"cameras_ids":[Infinity]}                              -> body
{"login":True}                                          -> body
{"login":nul}                                           -> body
{"login":"a\qb"}                                        -> body
{"login":"a\u12g4"}                                     -> body
{"login":"a\u12"}                                       -> body
{"login":"tab\x09"}                                     -> body
{"login":"nul\x00"}                                     -> body
{"login":"line\x0a"}                                    -> body
{"login":"admin"} // comment                            -> body
/* comment */ {"login":"admin"}                         -> body
\xef\xbb\xbf{"login":"admin"}                           -> body
login=admin                                             -> body
x                                                       -> body
\x00                                                    -> body



=== TEST 11: JSON that is wrong is an error even if the query string holds a parameter
--- cases
?login=admin {"x":                                      -> body
?cameras_ids[]=3 {"login":"\xff"}                       -> body
?login=admin x                                          -> body
{"login":"admin"}\x0c                                   -> body
{"login":\x0b"admin"}                                   -> body
{"login":"a\x0c"}                                       -> body
{"login":"admin"}"                                      -> body
{"login":"admin"} "x\\                                  -> body
[]"                                                     -> body
5 "\xd0                                                 -> body



=== TEST 12: a body that is not UTF-8 is an error
--- cases
{"login":"\xff"}                                        -> body
{"login":"\xfe\xbf"}                                    -> body
{"login":"a\x80"}                                       -> body
{"login":"\xc3"}                                        -> body
{"login":"\xc3("}                                       -> body
{"login":"\xe2\x82"}                                    -> body
{"login":"\xe2\x82x"}                                   -> body
{"login":"\xf0\x9f\x91"}                                -> body
{"login":"caf\xe9"}                                     -> body
{"x":"\xff","login":"admin"}                            -> body
{"\xff":1,"login":"admin"}                              -> body
{"x":["\xff"],"login":"admin"}                          -> body
{"x":{"y":"\xff"},"login":"admin"}                      -> body
{"cameras_uuid":["\xff"]}                               -> body
{"cameras_ids":["\xff"]}                                -> body



=== TEST 13: overlong forms, surrogates and code points beyond U+10FFFF in a body are errors
--- cases
{"login":"\xc0\x80"}                                    -> body
{"login":"\xc0\xaf"}                                    -> body
{"login":"\xc1\xbf"}                                    -> body
{"login":"\xe0\x80\xaf"}                                -> body
{"login":"\xe0\x9f\xbf"}                                -> body
{"login":"\xf0\x80\x80\xaf"}                            -> body
{"login":"\xf0\x8f\xbf\xbf"}                            -> body
{"login":"\xed\xa0\x80"}                                -> body
{"login":"\xed\xbf\xbf"}                                -> body
{"login":"\xed\xa0\xbd\xed\xb1\xa4"}                    -> body
{"login":"\xf4\x90\x80\x80"}                            -> body
{"login":"\xf5\x80\x80\x80"}                            -> body
{"login":"\xf8\x88\x80\x80\x80"}                        -> body
{"\xc0\xaf":1,"login":"admin"}                          -> body
{"login":"\ud800"}                                      -> body
{"login":"\udc00"}                                      -> body
{"login":"\uD800"}                                      -> body
{"login":"\uDC00x"}                                     -> body
{"login":"\uD83D\uD83D"}                                -> body
{"login":"\ud800x"}                                     -> body
{"login":"\ud83d\u0041"}                                -> body
{"login":"\ud83d\ud83d"}                                -> body
{"login":"\udc64\ud83d"}                                -> body
{"login":"\ud83d\\udc64"}                               -> body
{"x":"\ud800","login":"admin"}                          -> body
{"\udfff":1,"login":"admin"}                            -> body
{"login":"\xed\x9f\xbf"}                                -> null
{"login":"\xee\x80\x80"}                                -> null
{"login":"\xef\xbf\xbf"}                                -> null
{"login":"\xf4\x8f\xbf\xbf"}                            -> null
{"login":"\uffff"}                                      -> null
{"login":"\udbff\udfff"}                                -> null
{"login":"\\ud800"}                                     -> null



=== TEST 14: JSON may be nested 511 levels deep, as in PHP's json_decode()
--- cases eval
my $case = sub {
    my ($depth, $open, $close, $expected) = @_;
    # the body's own object is the first level
    my $n = $depth - 1;
    return '{"login":"admin","x":' . $open x $n . '1' . $close x $n
           . "} -> $expected\n";
};
$case->(511, '[', ']', '3 4') . $case->(512, '[', ']', 'body')
    . $case->(511, '{"a":', '}', '3 4') . $case->(512, '{"a":', '}', 'body')
    . '{"x":' . '[' x 5000 . " -> body\n"



=== TEST 15: a body of 900,000 brackets is an error, and the worker lives
--- cases eval
'{"x":' . '[' x 900_000 . " -> body\n" . '[' x 900_000 . " -> body\n"



=== TEST 16: a Content-Type with parameters is JSON
--- cases
{"login":"admin"}                                       -> 3 4
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/json; charset=utf-8"



=== TEST 17: a Content-Type in upper case is JSON
--- cases
{"login":"admin"}                                       -> 3 4
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: APPLICATION/JSON"



=== TEST 18: a Content-Type with "+json" is JSON
--- cases
{"login":"admin"}                                       -> 3 4
{"login":                                               -> body
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/vnd.api+Json"



=== TEST 19: a Content-Type "text/json" is JSON
--- cases
{"login":"admin"}                                       -> 3 4
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: text/json"



=== TEST 20: a body without a Content-Type is ignored, and the answer says so
--- cases
{"login":"admin"}                                       -> body [^"]*Content-Type[^"]*
{"login":                                               -> body [^"]*Content-Type[^"]*
?login=admin {"login":"mixed"}                          -> 3 4
?cameras_ids[]=3 not JSON at all                        -> 3
?cameras_ids[]=x {"cameras_ids":[3]}                    -> cameras_ids.0: integer
--- headers eval
"Authorization: Bearer $Billing::Token"



=== TEST 21: a body with a form's Content-Type is ignored
--- cases
login=admin                                             -> body [^"]*Content-Type[^"]*
?login=admin login=mixed                                -> 3 4
                                                        -> required
?login=                                                 -> required
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/x-www-form-urlencoded"



=== TEST 22: a body with the Content-Type "json" is ignored
--- cases
{"login":"admin"}                                       -> body [^"]*Content-Type[^"]*
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: json"



=== TEST 23: a body with the Content-Type "text/plain" is ignored
--- cases
{"login":"admin"}                                       -> body [^"]*Content-Type[^"]*
?page=1 {"login":"admin"}                               -> body [^"]*Content-Type[^"]*
?login= {"login":"admin"}                               -> body [^"]*Content-Type[^"]*
--- headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: text/plain"



=== TEST 24: a parameter of the body is taken before the one of the query string
--- cases
?login=mixed {"login":"admin"}                          -> 3 4
?login=admin {"login":"nobody"}                         -> null
?cameras_ids[]=4 {"cameras_ids":[3]}                    -> 3
?cameras_ids[]=x {"cameras_ids":[3]}                    -> 3
?cameras_ids[]=3 {"cameras_ids":["x"]}                  -> cameras_ids.0: integer
?cameras_ids[]=3 {"cameras_ids":false}                  -> cameras_ids: array
?cameras_uuid[]=4 {"cameras_uuid":["3"]}                -> 3
?login[]=x {"login":"admin"}                            -> 3 4
?login=admin {"cameras_ids":[4,5]}                      -> 4
?cameras_uuid[]=cam-5 {"login":"mixed"}                 -> 5
?cameras_ids[]=3&cameras_uuid[]=3 {"login":"admin"}     -> 3



=== TEST 25: a parameter that the body sends as null or empty is taken from the query string
--- cases
?cameras_ids[]=3 {"cameras_ids":[]}                     -> 3
?cameras_ids[]=3 {"cameras_ids":null}                   -> 3
?cameras_ids[]=3 {"cameras_ids":""}                     -> 3
?cameras_ids[]=3 {"cameras_ids":{}}                     -> 3
?login=admin {"login":[]}                               -> 3 4
?login= {"login":[],"cameras_ids":[3]}                  -> login: string
?cameras_uuid[]=4 {"cameras_uuid":[]}                   -> 4
?login=admin {"login":""}                               -> 3 4
?login=admin {"login":" "}                              -> 3 4
?login=admin {"cameras_ids":[],"cameras_uuid":[],"login":null} -> 3 4
?login=admin {}                                         -> 3 4
?login= {"login":""}                                    -> required
?cameras_ids[]=x {"cameras_ids":[]}                     -> cameras_ids.0: integer



=== TEST 26: a large body of unknown members and white space
--- cases eval
'{"x":"' . 'y' x 300_000 . '","login":"admin"} -> 3 4' . "\n"
. '{"x":[' . join(',', ('{"login":"mixed"}') x 20_000) . '],"login":"admin"} -> 3 4'
. "\n" . ' ' . '\x20' x 70_000 . '{"login":"admin"}' . '\x20' x 70_000 . " -> 3 4\n"



=== TEST 27: the byte that an error names is the first wrong one, or up to 8 bytes behind it
--- run
for my $case ([ '{"login":"admin"} x', 18 ], [ '{"cameras_ids":[3,]}', 18 ],
              [ '{"login":True}', 9 ], [ '{"login":"tab' . "\t" . '"}', 13 ],
              [ '{"login":"' . "\xff" . '"}', 10 ], [ '{"login":"a\qb"}', 11 ],
              [ ' ' x 5000 . '{]', 5001 ], [ '{"x":"' . 'y' x 5000 . '"', 5007 ],
              [ '{"login":"\ud800"}', 10 ], [ '{"x":' . '[' x 600, 516 ])
{
    my ($body, $offset) = @$case;
    my ($byte) = ask($body)->{body} =~ / at byte (\d+)/;
    my $text = length $body > 40 ? substr($body, 0, 20) . '...' : $body;

    ok(defined $byte && $byte >= $offset && $byte <= $offset + 8,
       "$text: byte $offset, and it says " . ($byte // 'nothing'));
}



=== TEST 28: CPU time is linear in the size of the body, whatever pieces it comes in
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
}
location = /file {
    billing_cameras_list;
    client_max_body_size 10m;
    error_log logs/error.log error;
}
location = /memory {
    billing_cameras_list;
    client_max_body_size 10m;
    client_body_buffer_size 9m;
    error_log logs/error.log error;
}
END
--- run
# The CPU time of nginx, in ticks: it does not depend on what else runs here.

my $pid = do {
    open my $in, '<', "$Test::Nginx::Util::ServRoot/logs/nginx.pid" or die "nginx.pid: $!\n";
    0 + <$in>;
};

my $ticks = sub {
    my $sum = 0;

    for my $process ($pid, grep { /\d/ } split /\s+/, `ps -o pid= --ppid $pid`) {
        open my $in, '<', "/proc/$process/stat" or next;
        my @fields = split ' ', <$in> =~ s/\A.*\) //sr;
        $sum += $fields[11] + $fields[12];
    }

    return $sum;
};

my $cost = sub {
    my ($uri, $body, $size) = @_;

    my $text = text($size ? undef : $body, uri => $uri,
                    $size ? (chunks => [ $body =~ /(.{1,$size})/gs ]) : ());
    my $before = $ticks->();

    for (1 .. 4) {
        my $client = client();
        $client->send($text);
        answers($client->response, 'required', "$uri, chunks of " . ($size // 'any size'));
    }

    return $ticks->() - $before;
};

# one string of escapes, and the same bytes in many strings

my $escapes = sub {
    my ($size, $n) = @_;
    return '{"x":["' . join('","', ('\u0041' x ($size / 6 / $n)) x $n) . '"]}';
};

for my $case ([ '/file', 4_000_000 ], [ '/memory', 4_000_000 ],
              [ '/file', 1_000_000, 1000 ], [ '/memory', 1_000_000, 100 ],
              [ '/memory', 60_000, 1 ])
{
    my ($uri, $size, $chunk) = @$case;
    my $many = $cost->($uri, $escapes->($size, 2000), $chunk);
    my $one = $cost->($uri, $escapes->($size, 1), $chunk);

    cmp_ok($one, '<=', 3 * $many + 5, "$uri, $size bytes, chunks of " . ($chunk // 'any size')
           . ": $one ticks for one string, $many for many");
}



=== TEST 29: the memory reserved for yajl suffices: otherwise the log has an alert
--- cases eval
my $text = sub { '\n' . 'y' x $_[0] };
my $deep = '[' x 508;
my $end = ']' x 508;
'{"x":"' . $text->(300_000) . '","login":"admin"} -> 3 4' . "\n"
. '{"x":"' . $text->(300_000) . " -> body\n"
. '{"x":["' . $text->(2_000) . "\",$deep\"" . $text->(300_000) . "\"$end],\"login\":\"admin\"} -> 3 4\n"
. '{"x":["' . $text->(150_000) . "\",$deep\"" . $text->(270_000) . "\",\"" . 'y' x 262_143
    . " -> body\n"
. '{"x":' . '1' x 300_000 . " -> body\n"
. '{"x":"' . '\u0041' x 50_000 . '\ud800","login":"admin"} -> body' . "\n"
