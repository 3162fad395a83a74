# The rules of the parameters and the words of the 422, through the body.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'validation';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: the messages of a 422 in full
--- request eval
[
"GET $Billing::URI\n{}",
"GET $Billing::URI\n" . '{"cameras_ids":"3"}',
"GET $Billing::URI\n" . '{"cameras_ids":["a","b","c"],"login":7}',
"GET $Billing::URI\n" . '{"cameras_uuid":[true],"login":false}',
"GET $Billing::URI\n" . '{"cameras_ids":{"k1":"x","a.b C":"y"},"cameras_uuid":"' . 'z' x 31 . '"}',
]
--- more_headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/json"
--- error_code eval
[ 422, 422, 422, 422, 422 ]
--- response_body eval
[
'{"message":"The cameras ids field is required when none of cameras uuid / login are present. (and 2 more errors)",'
. '"errors":{"cameras_ids":["The cameras ids field is required when none of cameras uuid / login are present."],'
. '"cameras_uuid":["The cameras uuid field is required when none of cameras ids / login are present."],'
. '"login":["The login field is required when none of cameras ids / cameras uuid are present."]}}',

'{"message":"The cameras ids field must be an array.","errors":{"cameras_ids":["The cameras ids field must be an array."]}}',

'{"message":"The login field must be a string. (and 3 more errors)",'
. '"errors":{"login":["The login field must be a string."],'
. '"cameras_ids.0":["The cameras_ids.0 field must be an integer."],'
. '"cameras_ids.1":["The cameras_ids.1 field must be an integer."],'
. '"cameras_ids.2":["The cameras_ids.2 field must be an integer."]}}',

'{"message":"The login field must be a string. (and 1 more error)",'
. '"errors":{"login":["The login field must be a string."],'
. '"cameras_uuid.0":["The cameras_uuid.0 field must be a string."]}}',

'{"message":"The cameras uuid field must be an array. (and 3 more errors)",'
. '"errors":{"cameras_uuid":["The cameras uuid field must be an array.",'
. '"The cameras uuid field must not have more than 30 items."],'
. '"cameras_ids.k1":["The cameras_ids.k1 field must be an integer."],'
. '"cameras_ids.a.b C":["The cameras ids.a.b c field must be an integer."]}}',
]



=== TEST 2: cameras_ids and cameras_uuid must be arrays
--- cases
{"cameras_ids":"3"}                                     -> cameras_ids: array
{"cameras_ids":3}                                       -> cameras_ids: array
{"cameras_ids":0}                                       -> cameras_ids: array
{"cameras_ids":3.5}                                     -> cameras_ids: array
{"cameras_ids":true}                                    -> cameras_ids: array
{"cameras_ids":false}                                   -> cameras_ids: array
{"cameras_ids":"[3]"}                                   -> cameras_ids: array
{"cameras_uuid":"3"}                                    -> cameras_uuid: array
{"cameras_uuid":5}                                      -> cameras_uuid: array
{"cameras_uuid":false}                                  -> cameras_uuid: array
{"cameras_ids":{},"cameras_uuid":3}                     -> cameras_uuid: array
{"cameras_ids":"3","cameras_uuid":"4","login":"admin"}  -> cameras_ids: array, cameras_uuid: array



=== TEST 3: the login must be a string
--- cases
{"login":5}                                             -> login: string
{"login":0}                                             -> login: string
{"login":42}                                            -> login: string
{"login":"42"}                                          -> 4
{"login":"0"}                                           -> 5
{"login":1.5}                                           -> login: string
{"login":true}                                          -> login: string
{"login":false}                                         -> login: string
{"login":["admin"]}                                     -> login: string
{"login":[[]]}                                          -> login: string
{"login":{"0":"admin"}}                                 -> login: string
{"login":[],"cameras_ids":[3]}                          -> login: string
{"login":{},"cameras_uuid":["3"]}                       -> login: string
{"login":[],"cameras_ids":[]}                           -> required
{"login":{"login":"admin"}}                             -> login: string



=== TEST 4: members of cameras_ids that are integers
--- cases
{"cameras_ids":[3]}                                     -> 3
{"cameras_ids":["3"]}                                   -> 3
{"cameras_ids":["3",4]}                                 -> 3 4
{"cameras_ids":[0]}                                     -> null
{"cameras_ids":["0"]}                                   -> null
{"cameras_ids":[-0]}                                    -> null
{"cameras_ids":[-1]}                                    -> null
{"cameras_ids":["-1"]}                                  -> null
{"cameras_ids":[-3]}                                    -> null
{"cameras_ids":[0,-1,3]}                                -> 3
{"cameras_ids":[999]}                                   -> null
{"cameras_ids":[9007199254740991]}                      -> 9007199254740991
{"cameras_ids":[9007199254740992]}                      -> null
{"cameras_ids":[9007199254740993]}                      -> null
{"cameras_ids":[9223372036854775807]}                   -> 9223372036854775807
{"cameras_ids":["9223372036854775807"]}                 -> 9223372036854775807
{"cameras_ids":[9223372036854775806]}                   -> null
{"cameras_ids":[-9223372036854775808]}                  -> null
{"cameras_ids":["-9223372036854775808"]}                -> null
{"cameras_ids":["+3"]}                                  -> 3
{"cameras_ids":["+0"]}                                  -> null
{"cameras_ids":["-0"]}                                  -> null
{"cameras_ids":["+9223372036854775807"]}                -> 9223372036854775807
{"cameras_ids":[" 3"]}                                  -> 3
{"cameras_ids":["4 "]}                                  -> 4
{"cameras_ids":["3\n"]}                                 -> 3
{"cameras_ids":["3\u0000"]}                             -> 3
{"cameras_ids":[3.0]}                                   -> 3
{"cameras_ids":[3.000]}                                 -> 3
{"cameras_ids":[-3.0]}                                  -> null
{"cameras_ids":[3e0]}                                   -> 3
{"cameras_ids":[0.3e1]}                                 -> 3
{"cameras_ids":[300e-2]}                                -> 3
{"cameras_ids":[1E+1]}                                  -> 10
{"cameras_ids":[1e2]}                                   -> null
{"cameras_ids":[0.0]}                                   -> null
{"cameras_ids":[-0.0e999]}                              -> null
{"cameras_ids":[9007199254740991.0]}                    -> 9007199254740991
{"cameras_ids":[9007199254740991000e-3]}                -> 9007199254740991
{"cameras_ids":[9007199254740992.0]}                    -> null
{"cameras_ids":[-9007199254740992.0]}                   -> null



=== TEST 5: members of cameras_ids that are no integers
--- cases
{"cameras_ids":[9223372036854775808]}                   -> cameras_ids.0: integer
{"cameras_ids":["9223372036854775808"]}                 -> cameras_ids.0: integer
{"cameras_ids":[-9223372036854775809]}                  -> cameras_ids.0: integer
{"cameras_ids":["-9223372036854775809"]}                -> cameras_ids.0: integer
{"cameras_ids":[18446744073709551619]}                  -> cameras_ids.0: integer
{"cameras_ids":["18446744073709551619"]}                -> cameras_ids.0: integer
{"cameras_ids":[99999999999999999999999999]}            -> cameras_ids.0: integer
{"cameras_ids":[3.5]}                                   -> cameras_ids.0: integer
{"cameras_ids":[3.5e0]}                                 -> cameras_ids.0: integer
{"cameras_ids":[3e-1]}                                  -> cameras_ids.0: integer
{"cameras_ids":[3.0000000000000001]}                    -> cameras_ids.0: integer
{"cameras_ids":[9007199254740993.0]}                    -> cameras_ids.0: integer
{"cameras_ids":[9007199254740994.0]}                    -> cameras_ids.0: integer
{"cameras_ids":[1e16]}                                  -> cameras_ids.0: integer
{"cameras_ids":[9223372036854775807.0]}                 -> cameras_ids.0: integer
{"cameras_ids":[1e99999999999999999999999999]}          -> cameras_ids.0: integer
{"cameras_ids":[1e-99999999999999999999999999]}         -> cameras_ids.0: integer
{"cameras_ids":[1e999]}                                 -> cameras_ids.0: integer
{"cameras_ids":[true]}                                  -> cameras_ids.0: integer
{"cameras_ids":[false]}                                 -> cameras_ids.0: integer
{"cameras_ids":[null]}                                  -> cameras_ids.0: integer
{"cameras_ids":[[]]}                                    -> cameras_ids.0: integer
{"cameras_ids":[[3]]}                                   -> cameras_ids.0: integer
{"cameras_ids":[{}]}                                    -> cameras_ids.0: integer
{"cameras_ids":[{"id":3}]}                              -> cameras_ids.0: integer
{"cameras_ids":[""]}                                    -> cameras_ids.0: integer
{"cameras_ids":[" "]}                                   -> cameras_ids.0: integer
{"cameras_ids":["+"]}                                   -> cameras_ids.0: integer
{"cameras_ids":["++3"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["+-3"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["- 3"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["3 4"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["+03"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["-00"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["+9223372036854775808"]}                -> cameras_ids.0: integer
{"cameras_ids":["0x1A"]}                                -> cameras_ids.0: integer
{"cameras_ids":["--3"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["-"]}                                   -> cameras_ids.0: integer
{"cameras_ids":["03"]}                                  -> cameras_ids.0: integer
{"cameras_ids":["00"]}                                  -> cameras_ids.0: integer
{"cameras_ids":["-03"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["3.0"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["1e2"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["0x3"]}                                 -> cameras_ids.0: integer
{"cameras_ids":["\u0000"]}                              -> cameras_ids.0: integer
{"cameras_ids":["\u0663"]}                              -> cameras_ids.0: integer
{"cameras_ids":["three"]}                               -> cameras_ids.0: integer
{"cameras_ids":[[],3,{},"x"]}                           -> cameras_ids.0: integer, cameras_ids.2: integer, cameras_ids.3: integer



=== TEST 6: an array in an array is one wrong member, whatever it holds
--- cases
{"cameras_ids":[[1,2,3],4]}                             -> cameras_ids.0: integer
{"cameras_ids":[3,[1,[2,{"a":[3]}]],4,"x"]}             -> cameras_ids.3: integer, cameras_ids.1: integer
{"cameras_ids":[{"cameras_ids":[3],"login":"admin"},3]} -> cameras_ids.0: integer
{"cameras_uuid":["3",{"a":["x",["y"]]},[],"4"]}         -> cameras_uuid.2: string, cameras_uuid.1: string
{"login":["a",["b"]],"cameras_ids":[3]}                 -> login: string



=== TEST 7: errors of members that are arrays come behind those of the other members
--- cases
{"cameras_ids":[{"a":1},"x",[],"y",[[]],{}]}            -> cameras_ids.1: integer, cameras_ids.2: integer, cameras_ids.3: integer, cameras_ids.5: integer, cameras_ids.0: integer, cameras_ids.4: integer
{"cameras_uuid":[["3"],null,{"b":"c"},1.5]}             -> cameras_uuid.1: string, cameras_uuid.3: string, cameras_uuid.0: string, cameras_uuid.2: string
?cameras_ids[a][b]=3&cameras_ids[]=x                    -> cameras_ids.0: integer, cameras_ids.a: integer



=== TEST 8: members of cameras_uuid
--- cases
{"cameras_uuid":["3"]}                                  -> 3
{"cameras_uuid":[3]}                                    -> 3
{"cameras_uuid":[3,"4"]}                                -> 3 4
{"cameras_uuid":["010"]}                                -> 10
{"cameras_uuid":[10]}                                   -> null
{"cameras_uuid":[-1]}                                   -> 7
{"cameras_uuid":["-1"]}                                 -> 7
{"cameras_uuid":[0]}                                    -> null
{"cameras_uuid":[" 3\n"]}                               -> 3
{"cameras_uuid":["ext 12+&"]}                           -> 12
{"cameras_uuid":["nobody"]}                             -> null
{"cameras_uuid":["gone-6"]}                             -> null
{"cameras_uuid":["gone-6","4"]}                         -> 4
{"cameras_uuid":["alias-of-3","3"]}                     -> 3



=== TEST 9: members of cameras_uuid that are neither strings nor integers
--- cases
{"cameras_uuid":[""]}                                   -> cameras_uuid.0: string
{"cameras_uuid":[" \u00a0"]}                            -> cameras_uuid.0: string
{"cameras_uuid":[null]}                                 -> cameras_uuid.0: string
{"cameras_uuid":[true]}                                 -> cameras_uuid.0: string
{"cameras_uuid":[false]}                                -> cameras_uuid.0: string
{"cameras_uuid":[3.5]}                                  -> cameras_uuid.0: string
{"cameras_uuid":[3.0]}                                  -> cameras_uuid.0: string
{"cameras_uuid":[1e2]}                                  -> cameras_uuid.0: string
{"cameras_uuid":[[]]}                                   -> cameras_uuid.0: string
{"cameras_uuid":[["3"]]}                                -> cameras_uuid.0: string
{"cameras_uuid":[{}]}                                   -> cameras_uuid.0: string
{"cameras_uuid":["3",null,"4",1.5]}                     -> cameras_uuid.1: string, cameras_uuid.3: string



=== TEST 10: lengths in a body are counted in characters
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $eye = '\xf0\x9f\x8e\xa5';
my $man = '\ud83d\udc64';
$case->('{"login":"' . 'x' x 255 . '"}', '5')
. $case->('{"login":"' . 'x' x 256 . '"}', 'login: long')
. $case->('{"login":"' . 'x' x 70_000 . '"}', 'login: long')
. $case->('{"login":"' . $man x 255 . '"}', '4')
. $case->('{"login":"' . $man x 256 . '"}', 'login: long')
. $case->('{"login":"a' . '\u0000' x 253 . 'a"}', 'null')
. $case->('{"login":"a' . '\u0000' x 255 . 'a"}', 'login: long')
. $case->('{"login":"' . '\u0000' x 256 . '"}', 'required')
. $case->('{"login":"' . ' ' x 300 . 'x' x 255 . '\u2003' x 300 . '"}', '5')
. $case->('{"login":"' . ' ' x 300 . '"}', 'required')
. $case->('{"cameras_uuid":["' . $eye x 255 . '"]}', '4')
. $case->('{"cameras_uuid":["' . $eye x 256 . '"]}', 'cameras_uuid.0: long')
. $case->('{"cameras_uuid":["3","' . 'y' x 256 . '","' . 'y' x 255 . '","'
          . 'z' x 1000 . '"]}',
          'cameras_uuid.1: long, cameras_uuid.3: long')
. $case->('{"cameras_ids":["' . '0' x 5000 . '3"]}', 'cameras_ids.0: integer')



=== TEST 11: an array may have 30 members
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $list = sub { join ',', @_ };
$case->('{"cameras_ids":[' . $list->(3 .. 5, 100 .. 126) . ']}', '3 4 5')
. $case->('{"cameras_ids":[' . $list->(3 .. 33) . ']}', 'cameras_ids: many')
. $case->('{"cameras_ids":[' . $list->((3) x 30) . ']}', '3')
. $case->('{"cameras_ids":[' . $list->((3) x 31) . ']}', 'cameras_ids: many')
. $case->('{"cameras_ids":[' . $list->(1 .. 20_000) . ']}', 'cameras_ids: many')
. $case->('{"cameras_uuid":[' . $list->(map { "\"$_\"" } 3 .. 32) . ']}', '3 4')
. $case->('{"cameras_uuid":[' . $list->(map { "\"$_\"" } 3 .. 33) . ']}',
          'cameras_uuid: many')
. $case->('{"cameras_ids":[' . $list->(3 .. 33) . '],"cameras_uuid":['
          . $list->((3) x 31) . '],"login":"admin"}',
          'cameras_ids: many, cameras_uuid: many')



=== TEST 12: only the first 30 members of an array are judged
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $list = sub { join ',', @_ };
$case->('{"cameras_ids":["x",' . $list->(1 .. 28) . ',"y","z","z"]}',
        'cameras_ids: many, cameras_ids.0: integer, cameras_ids.29: integer')
. $case->('{"cameras_ids":[' . $list->(('"x"') x 31) . ']}',
          $list->('cameras_ids: many',
                  map { " cameras_ids.$_: integer" } 0 .. 29))
. $case->('{"cameras_ids":[' . $list->(1 .. 30) . ',"x"]}', 'cameras_ids: many')
. $case->('{"cameras_uuid":[' . $list->(('true') x 40) . '],"login":3}',
          $list->('cameras_uuid: many', ' login: string',
                  (map { " cameras_uuid.$_: string" } 0 .. 29)))



=== TEST 13: each of 30 wrong members has its error
--- cases eval
'{"cameras_ids":[' . join(',', ('null') x 30) . '],"cameras_uuid":['
. join(',', ('null') x 30) . '],"login":null} -> '
. join(', ', (map { "cameras_ids.$_: integer" } 0 .. 29),
             (map { "cameras_uuid.$_: string" } 0 .. 29))



=== TEST 14: errors come in the order of the rules: parameters, then members
--- cases
{"login":5,"cameras_uuid":[null],"cameras_ids":["x"]}   -> login: string, cameras_ids.0: integer, cameras_uuid.0: string
{"login":5,"cameras_uuid":3,"cameras_ids":3}            -> cameras_ids: array, cameras_uuid: array, login: string
{"cameras_uuid":[null],"cameras_ids":[3]}               -> cameras_uuid.0: string
{"cameras_uuid":3,"cameras_ids":["x"]}                  -> cameras_uuid: array, cameras_ids.0: integer
{"login":5,"cameras_ids":[3,"x"]}                       -> login: string, cameras_ids.1: integer
{"login":"admin","cameras_ids":["x",3,"y"]}             -> cameras_ids.0: integer, cameras_ids.2: integer
{"login":true,"cameras_ids":[]}                         -> login: string



=== TEST 15: a parameter that is sent but wrong counts as sent
--- cases
{"cameras_ids":"x"}                                     -> cameras_ids: array
{"cameras_uuid":[""]}                                   -> cameras_uuid.0: string
{"cameras_uuid":[" \u00a0"]}                            -> cameras_uuid.0: string
{"cameras_uuid":[null]}                                 -> cameras_uuid.0: string
{"login":0}                                             -> login: string
{"cameras_ids":false,"login":""}                        -> cameras_ids: array



=== TEST 16: billing_max_ids limits both arrays
--- route
billing_max_ids 2;
--- cases
{"cameras_ids":[3,4]}                                   -> 3 4
{"cameras_ids":[3,3,3]}                                 -> cameras_ids: many 2
{"cameras_ids":["x",3,"y"]}                             -> cameras_ids: many 2, cameras_ids.0: integer
{"cameras_uuid":["3","4"]}                              -> 3 4
{"cameras_uuid":["3","4","cam-5"]}                      -> cameras_uuid: many 2
?cameras_ids[]=3&cameras_ids[]=4&cameras_ids[]=5        -> cameras_ids: many 2



=== TEST 17: billing_max_ids may be 1, and 1000
--- config eval
<<"END"
location = $Billing::URI {
    billing_cameras_list;
    billing_max_ids 1;
}
location = /thousand {
    billing_cameras_list;
    billing_max_ids 1000;
}
END
--- run
my $ids = sub { '{"cameras_ids":[' . join(',', @_) . ']}' };

answers(ask($ids->(3)), '3', 'one');
answers(ask($ids->(3, 4)), 'cameras_ids: many 1', 'two');
answers(ask($ids->(1 .. 1000), uri => '/thousand'), '3 4 5 7 10 12', 'thousand');
answers(ask($ids->(1 .. 1001), uri => '/thousand'), 'cameras_ids: many 1000',
        'thousand and one');
answers(ask('{"cameras_uuid":[' . join(',', 1 .. 1000) . ']}',
            uri => '/thousand'), '3 4', 'thousand uuids');



=== TEST 18: cameras have to match all parameters that are sent
--- cases
{"cameras_ids":[3,5],"login":"admin"}                   -> 3
{"cameras_ids":[5],"login":"admin"}                     -> null
{"cameras_ids":[4,3],"login":"admin"}                   -> 3 4
{"cameras_ids":[3,4,5],"cameras_uuid":["4","cam-5"]}    -> 4 5
{"cameras_ids":[3],"cameras_uuid":["4"]}                -> null
{"cameras_uuid":["4","cam-5"],"login":"admin"}          -> 4
{"cameras_uuid":["cam-5"],"login":"admin"}              -> null
{"cameras_ids":[3,4,5],"cameras_uuid":["4","cam-5"],"login":"mixed"} -> 4 5
{"cameras_ids":[3,4,5],"cameras_uuid":["3","4","cam-5"],"login":"admin"} -> 3 4
{"cameras_ids":[3,4],"cameras_uuid":["4","cam-5"],"login":"admin"} -> 4
{"cameras_ids":[3],"cameras_uuid":["4"],"login":"admin"} -> null
{"cameras_ids":[3,4],"login":"nobody"}                  -> null
{"cameras_ids":[3,4],"cameras_uuid":["nobody"]}         -> null
{"cameras_ids":[6],"login":"mixed"}                     -> null
{"cameras_ids":[6,7],"login":"mixed"}                   -> 7
{"cameras_ids":[0,-1],"login":"admin"}                  -> null
{"cameras_ids":[9007199254740991],"login":"mixed"}      -> 9007199254740991
{"cameras_ids":[9223372036854775807],"login":"mixed"}   -> null
{"cameras_ids":[4,5,7,10,12],"cameras_uuid":["010","ext 12+&","3"],"login":"mixed"} -> 10 12



=== TEST 19: each camera is answered once, in ascending order
--- cases
{"cameras_ids":[3,3,3]}                                 -> 3
{"cameras_ids":[3,"3",3]}                               -> 3
{"cameras_ids":[12,3,10,5,4,10]}                        -> 3 4 5 10 12
{"cameras_ids":[9223372036854775807,9007199254740991,3]} -> 3 9007199254740991 9223372036854775807
{"cameras_uuid":["3","3",3]}                            -> 3
{"cameras_uuid":["alias-of-3","3","-1"]}                -> 3 7
{"cameras_uuid":["cam-5","4","3"]}                      -> 3 4 5
{"cameras_ids":[4,3,4],"cameras_uuid":["3","4","3"],"login":"admin"} -> 3 4



=== TEST 20: a JSON object counts as an array, whatever its keys
--- cases
{"cameras_ids":{"0":3,"2":4}}                           -> 3 4
{"cameras_ids":{"2":4,"0":3}}                           -> 3 4
{"cameras_ids":{"a":3,"":4}}                            -> 3 4
{"cameras_ids":{"login":3,"cameras_ids":4}}             -> 3 4
{"cameras_uuid":{"1":"3","5":"cam-5"}}                  -> 3 5
{"cameras_uuid":{"a":"3","b":4},"login":"admin"}        -> 3 4
{"cameras_ids":{"0":3,"2":4},"cameras_uuid":{"1":"4"}}  -> 4
{"cameras_ids":{"a":3,"a":4}}                           -> 4
{"cameras_ids":{"a":"x","b":3,"a":4}}                   -> 3 4



=== TEST 21: errors of an object's members have its keys, in its order
--- cases
{"cameras_ids":{"0":"x"}}                               -> cameras_ids.0: integer
{"cameras_ids":{"0":3,"2":"x"}}                         -> cameras_ids.2: integer
{"cameras_ids":{"k1":"x","0":"y","-7":"z"}}             -> cameras_ids.k1: integer, cameras_ids.0: integer, cameras_ids.-7: integer
{"cameras_ids":{"":"x"}}                                -> cameras_ids.: integer
{"cameras_ids":{"a":[3]}}                               -> cameras_ids.a: integer
{"cameras_ids":{"a":{"b":3},"c":4}}                     -> cameras_ids.a: integer
{"cameras_ids":{"a":3,"a":"x","b":4,"a":"y"}}           -> cameras_ids.a: integer
{"cameras_uuid":{"a":null,"b":""}}                      -> cameras_uuid.a: string, cameras_uuid.b: string
{"cameras_uuid":{"\u0438":1.5}}                         -> cameras_uuid.и: string
{"cameras_ids":{"\"":"x","\\":"y","\n":"z"}}            -> 422 "cameras_ids\.\\"":.*"cameras_ids\.\\\\":.*"cameras_ids\.\\n":



=== TEST 22: a dot or an asterisk in a key changes the name in the message
--- cases
{"cameras_ids":{"a.b":"x"}}                             -> 422 "cameras_ids\.a\.b":\["The cameras ids\.a\.b field must be an integer\."\]
{"cameras_uuid":{"a_b.c":null}}                         -> 422 "cameras_uuid\.a_b\.c":\["The cameras uuid\.a b\.c field must be a string\."\]
{"cameras_ids":{"Foo.BarBAZ":"x"}}                      -> 422 "The cameras ids\. foo\. bar b a z field must be
{"cameras_ids":{"a.b c\t d Ef":"x"}}                    -> 422 "The cameras ids\.a\.b c d ef field must be
{"cameras_ids":{"a*b":"x"}}                             -> 422 "The cameras ids\.a\*b field must be
{"cameras_ids":{"*":"x"}}                               -> 422 "The cameras_ids\.\* field must be
{"cameras_ids":{"A b":"x"}}                             -> 422 "The cameras_ids\.A b field must be
{"cameras_ids":{".":"x"}}                               -> cameras_ids..: integer
{"cameras_ids":{"1.5":"x"}}                             -> cameras_ids.1.5: integer
{"cameras_ids":{"a.b":3}}                               -> 3



=== TEST 23: the key of a member in a body may have 255 characters
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $eye = '\ud83c\udfa5';
$case->('{"cameras_ids":{"' . 'k' x 255 . '":3}}', '3')
. $case->('{"cameras_ids":{"' . 'k' x 255 . '":"x"}}',
          'cameras_ids.' . 'k' x 255 . ': integer')
. $case->('{"cameras_ids":{"' . $eye x 255 . '":3}}', '3')
. $case->('{"cameras_ids":{"' . $eye x 256 . '":3}}', 'cameras_ids: keys')
. $case->('{"cameras_ids":{"' . 'k' x 256 . '":"x","b":"y"}}',
          'cameras_ids: keys, cameras_ids.b: integer')
. $case->('{"cameras_ids":{"' . 'k' x 300_000 . '":"x","' . 'l' x 300_000 . '":3}}',
          'cameras_ids: keys')
. $case->('{"cameras_uuid":{"' . 'k.' x 200 . '":"3"},"login":7}',
          'cameras_uuid: keys, login: string')
. $case->('{"' . 'k' x 300_000 . '":"x","login":"admin"}', '3 4')
. $case->('{"login":"admin","x":{"' . 'k' x 300_000 . '":"x"}}', '3 4')



=== TEST 24: an object's members are counted once for each key
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $object = sub { '{"cameras_ids":{' . join(',', map { "\"$_\":3" } @_) . '}}' };
$case->($object->(1 .. 30), '3')
. $case->($object->(1 .. 31), 'cameras_ids: many')
. $case->($object->(1 .. 30, 1 .. 30), '3')
. $case->($object->(('a') x 5000), '3')
. $case->($object->(1 .. 50_000), 'cameras_ids: many')
. $case->('{"cameras_ids":{' . join(',', map { "\"k$_\":\"x\"" } 1 .. 31) . '}}',
          join(', ', 'cameras_ids: many', map { "cameras_ids.k$_: integer" } 1 .. 30))



=== TEST 25: a long string for an array has two messages, and the reverse
--- cases eval
my $case = sub { "$_[0] -> $_[1]\n" };
my $list = sub { '[' . join(',', (3) x $_[0]) . ']' };
$case->('{"cameras_ids":"' . 'x' x 30 . '"}', 'cameras_ids: array')
. $case->('{"cameras_ids":"' . 'x' x 31 . '"}', 'cameras_ids: array, cameras_ids: many')
. $case->('{"cameras_ids":' . '1' x 40 . '}', 'cameras_ids: array')
. $case->('{"login":' . $list->(255) . '}', 'login: string')
. $case->('{"login":' . $list->(256) . '}', 'login: string, login: long')
. $case->('{"login":' . '1' x 300 . '}', 'login: string')
. $case->('{"cameras_uuid":[' . $list->(255) . ',{}]}',
          'cameras_uuid.1: string, cameras_uuid.0: string')
. $case->('{"cameras_uuid":["3",' . $list->(256) . ']}',
          'cameras_uuid.1: string, cameras_uuid.1: long')



=== TEST 26: every character that Laravel trims, and those beside it, which it does not
--- cases eval
my @trimmed = (0, 0x9 .. 0xd, 0x20, 0x85, 0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x1160,
               0x1680, 0x17b4, 0x17b5, 0x180e, 0x2000 .. 0x200f, 0x2028, 0x2029,
               0x202f, 0x205f .. 0x2065, 0x206a .. 0x206f, 0x2800, 0x3000, 0x3164,
               0xfeff, 0xffa0, 0x1d159, 0x1d173 .. 0x1d17a, 0xe0020);
my %trimmed = map { $_ => 1 } @trimmed;
my %seen;
join '', map {
    my $char = chr;
    utf8::encode($char);
    my $text = join '', map { sprintf '\x%02x', ord } split //, $char;
    $text = sprintf '\u%04x', $_ if $_ < 0x20;
    "{\"login\":\"${text}admin$text\"} -> " . ($trimmed{$_} ? '3 4' : 'null') . "\n"
} grep { $_ != 0x22 && $_ != 0x5c && !$seen{$_}++ }
  map { ($_ ? $_ - 1 : (), $_, $_ + 1) } @trimmed
