# Parameters in the query string, written as PHP writes them.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'params_query';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: each parameter alone, in a query string
--- cases
?cameras_ids[]=3                                -> 3
?cameras_ids[]=4&cameras_ids[]=3                -> 3 4
?cameras_ids[0]=3                               -> 3
?cameras_ids[0]=3&cameras_ids[1]=4              -> 3 4
?cameras_ids[7]=3&cameras_ids[2]=4              -> 3 4
?cameras_ids[a]=3&cameras_ids[b]=4              -> 3 4
?cameras_uuid[]=cam-5                           -> 5
?cameras_uuid[]=3&cameras_uuid[1]=cam-5         -> 3 5
?login=admin                                    -> 3 4
?login=mixed                                    -> 4 5 7 10 12 9007199254740991



=== TEST 2: names and values may be percent-encoded
--- cases
?cameras_ids%5B%5D=3                            -> 3
?cameras_ids%5b%5d=3&cameras_ids%5b%5d=4        -> 3 4
?cameras_ids%5B0%5D=%33                         -> 3
?cameras_ids[%30]=3&cameras_ids[0]=4            -> 4
?%6Cogin=admin                                  -> 3 4
?login=%61%64min                                -> 3 4
?login=%D0%B8%d0%b2%d0%B0%d0%bd                 -> 3 5
?login=%f0%9f%91%a4                             -> 7
?cameras_uuid[]=%F0%9F%8E%A5-7                  -> 7
?login=nul%00byte                               -> 4
?login=line%0d%0Abreak                          -> 5
?cameras_uuid[]=a%0D%0Ab                        -> 10
?login=%zz                                      -> 12
?login=%25zz                                    -> 12



=== TEST 3: a plus is a space, unless it is percent-encoded
--- cases
?login=a+b                                      -> 5
?login=a%20b                                    -> 5
?login=a%2Bb                                    -> 7
?login=+admin                                   -> 3 4
?cameras_uuid[]=ext+12%2b%26                    -> 12



=== TEST 4: empty and blank values in a query string count as not sent
--- cases
                                                -> required
?                                               -> required
?&&                                             -> required
?login=                                         -> required
?login                                          -> required
?login=+                                        -> required
?login=%20%09%0d%0a                             -> required
?cameras_ids=                                   -> required
?cameras_ids                                    -> required
?cameras_ids=+                                  -> required
?cameras_uuid=                                  -> required
?login=&cameras_ids=&cameras_uuid=              -> required
?login=%C2%A0                                   -> required
?login=%00                                      -> required
?login=%E2%80%8B%0b%0c%E3%80%80                 -> required



=== TEST 5: unknown parameters of a query string are ignored
--- cases
?cameras_ids[=3&cameras_uuid[0=3                -> required
?page=2&login=admin&x[]=1&x[a][b]=2             -> 3 4
?Login=admin                                    -> required
?logi=admin                                     -> required
?xlogin=admin                                   -> required
?loginx=admin                                   -> required
?camera_ids[]=3                                 -> required
?cameras_id[]=3                                 -> required
?cameras_idss[]=3                               -> required
?=admin                                         -> required
?[]=3                                           -> required
?=&&=x&login=admin&                             -> 3 4
?login=admin;cameras_ids[]=3                    -> null



=== TEST 6: a query string with an array for a string, and the reverse
--- cases
?cameras_ids=3                                  -> cameras_ids: array
?cameras_uuid=3                                 -> cameras_uuid: array
?login[]=admin                                  -> login: string
?login[a]=admin                                 -> login: string
?login[]=                                       -> login: string
?login[]=&cameras_ids[]=3                       -> login: string
?cameras_ids=3&cameras_uuid=3&login[]=x         -> cameras_ids: array, cameras_uuid: array, login: string



=== TEST 7: members of arrays in a query string
--- cases
?cameras_ids[]=                                 -> cameras_ids.0: integer
?cameras_ids[]                                  -> cameras_ids.0: integer
?cameras_ids[]=x                                -> cameras_ids.0: integer
?cameras_ids[]=3&cameras_ids[]=x                -> cameras_ids.1: integer
?cameras_ids[7]=x                               -> cameras_ids.7: integer
?cameras_ids[7]=x&cameras_ids[]=y               -> cameras_ids.7: integer, cameras_ids.8: integer
?cameras_ids[a]=x&cameras_ids[]=y               -> cameras_ids.a: integer, cameras_ids.0: integer
?cameras_ids[b]=x&cameras_ids[a]=y              -> cameras_ids.b: integer, cameras_ids.a: integer
?cameras_ids[01]=x                              -> cameras_ids.01: integer
?cameras_ids[]=+3                               -> 3
?cameras_ids[]=%2B3                             -> 3
?cameras_ids[]=-0                               -> null
?cameras_ids[]=%2B%2B3                          -> cameras_ids.0: integer
?cameras_ids[]=03                               -> cameras_ids.0: integer
?cameras_ids[]=3.0                              -> cameras_ids.0: integer
?cameras_ids[]=1e2                              -> cameras_ids.0: integer
?cameras_ids[]=0x3                              -> cameras_ids.0: integer
?cameras_ids[]=3%00                             -> 3
?cameras_ids[]=9223372036854775808              -> cameras_ids.0: integer
?cameras_ids[]=9223372036854775807              -> 9223372036854775807
?cameras_ids[]=-1&cameras_ids[]=0               -> null
?cameras_ids[]=-9223372036854775808             -> null
?cameras_ids[]=-9223372036854775809             -> cameras_ids.0: integer
?cameras_uuid[]=                                -> cameras_uuid.0: string
?cameras_uuid[]                                 -> cameras_uuid.0: string
?cameras_uuid[]=+                               -> cameras_uuid.0: string
?cameras_uuid[]=+4%09                           -> 4
?cameras_uuid[]=4                               -> 4



=== TEST 8: an array in an array is a wrong member
--- cases
?cameras_ids[0][1]=3                            -> cameras_ids.0: integer
?cameras_ids[][]=3                              -> cameras_ids.0: integer
?cameras_ids[]=3&cameras_ids[][]=4              -> cameras_ids.1: integer
?cameras_ids[0][]=3&cameras_ids[0][]=4          -> cameras_ids.0: integer
?cameras_uuid[a][b]=3                           -> cameras_uuid.a: string
?login[a][b]=admin                              -> login: string



=== TEST 9: the last one counts of a name or key that is given twice
--- cases
?login=mixed&login=admin                        -> 3 4
?login=admin&login=                             -> required
?login[]=x&login=admin                          -> 3 4
?login=admin&login[]=x                          -> login: string
?cameras_ids=3&cameras_ids[]=4                  -> 4
?cameras_ids[]=4&cameras_ids=3                  -> cameras_ids: array
?cameras_ids[]=4&cameras_ids=                   -> required
?cameras_ids[0]=x&cameras_ids[0]=4              -> 4
?cameras_ids[0]=4&cameras_ids[0]=x              -> cameras_ids.0: integer
?cameras_ids[]=3&cameras_ids[0]=4               -> 4
?cameras_ids[a]=3&cameras_ids[b]=4&cameras_ids[a]=5  -> 4 5
?cameras_ids[5]=3&cameras_ids[]=4&cameras_ids[6]=5   -> 3 5
?cameras_ids[0][x]=3&cameras_ids[0]=4           -> 4



=== TEST 10: text of a query string that is not UTF-8 is looked for as it is
--- redis
SET billing:external:\xe4\xff 10
ZADD billing:login:caf\xe9 5 5
--- cases
?login=%ff                                      -> null
?login=caf%E9                                   -> 5
?login=+%0acaf%E9%00                            -> 5
?login=%C2%A0caf%E9                             -> null
?login=%0ccaf%E9                                -> null
?login=%C0%AF                                   -> null
?login=%ED%A0%80                                -> null
?login=%F4%90%80%80                             -> null
?login=%E2%82                                   -> null
?cameras_uuid[]=%ff                             -> null
?cameras_uuid[]=3&cameras_uuid[x]=%e4%ff        -> 3 10
?cameras_ids[]=%ff                              -> cameras_ids.0: integer
?x=%ff&%fe=1&login=admin                        -> 3 4



=== TEST 11: an error names keys that JSON has to escape
--- cases
?cameras_ids["]=x                               -> cameras_ids.": integer
?cameras_ids[\]=x                               -> cameras_ids.\: integer
?cameras_ids[%D0%B8]=x                          -> cameras_ids.и: integer
?cameras_ids["]=3                               -> 3



=== TEST 12: an error names a key that is not UTF-8 with question marks
--- cases
?cameras_ids[%ff]=3                             -> 3
?cameras_ids[%ff]=3&cameras_ids[%fe]=4          -> 3 4
?cameras_ids[%ff]=3&cameras_ids[%ff]=4          -> 4
?cameras_ids[%ff]=x                             -> cameras_ids.?: integer
?cameras_ids[a%e2%82]=x&cameras_ids[]=3         -> cameras_ids.a??: integer
?cameras_ids[%ff]=x&cameras_ids[%fe]=y          -> cameras_ids.?: integer
?cameras_ids[%ff]=x&cameras_ids[a]=y&cameras_ids[?]=z -> cameras_ids.?: integer, cameras_ids.a: integer
?cameras_ids[?]=x&cameras_ids[a]=y&cameras_ids[%ff]=z -> cameras_ids.?: integer, cameras_ids.a: integer



=== TEST 13: lengths in a query string are counted in characters
--- cases eval
'?login=' . 'x' x 255 . " -> 5\n"
. '?login=' . 'x' x 256 . " -> login: long\n"
. '?login=' . '%F0%9F%91%A4' x 255 . " -> 4\n"
. '?login=' . '%F0%9F%91%A4' x 256 . " -> login: long\n"
. '?cameras_uuid[]=' . '%F0%9F%8E%A5' x 255 . " -> 4\n"
. '?cameras_uuid[]=3&cameras_uuid[]=' . 'y' x 256 . " -> cameras_uuid.1: long\n"
. '?login=' . '+' x 300 . " -> required\n"



=== TEST 14: an array in a query string may have 30 members
--- cases eval
my $ids = sub { join '&', map { "cameras_ids[]=$_" } @_ };
my $uuids = sub { join '&', map { "cameras_uuid[]=$_" } @_ };
'?' . $ids->((3) x 30) . " -> 3\n"
. '?' . $ids->((3) x 31) . " -> cameras_ids: many\n"
. '?' . $ids->(3 .. 33) . " -> cameras_ids: many\n"
. '?' . $uuids->((3) x 30) . " -> 3\n"
. '?' . $uuids->((3) x 31) . " -> cameras_uuid: many\n"
. '?' . $ids->('x', (3) x 30) . " -> cameras_ids: many, cameras_ids.0: integer\n"
. '?' . join('&', map { "cameras_ids[a]=$_" } 1 .. 40, 3) . " -> 3\n"



=== TEST 15: the query string of a POST is read
--- method: POST
--- route
billing_allow_post on;
--- cases
?login=admin                                    -> 3 4
?login=mixed {"cameras_ids":[5]}                -> 5



=== TEST 16: query strings as browsers and PHP's http_build_query() write them
--- cases
?cameras_ids%5B0%5D=3&cameras_ids%5B1%5D=4      -> 3 4
?cameras_ids%5B0%5D=3&login=admin&_=1699999999  -> 3
?cameras_uuid%5B0%5D=ext+12%2B%26               -> 12



=== TEST 17: a percent sign that escapes nothing is taken as it is
--- redis
ZADD billing:login:abc% 4 4
ZADD billing:login:%abc% 5 5
ZADD billing:login:a%4 7 7
SET billing:external:ext% 10
--- cases
?login=abc%                                     -> 4
?login=abc%25                                   -> 4
?login=%abc%                                    -> null
?login=%25abc%                                  -> 5
?login=a%4                                      -> 7
?cameras_uuid[]=ext%                            -> 10
?login=abc%&cameras_ids[]=4                     -> 4
?login=abc%00                                   -> null



=== TEST 18: names that PHP changes: dots, spaces, open brackets, NUL
--- cases
?cameras.ids[]=3                                -> 3
?cameras+ids[]=3                                -> 3
?cameras%20ids[]=3                              -> 3
?cameras[ids=3                                  -> cameras_ids: array
?++login=admin                                  -> 3 4
?%20cameras_ids[]=3                             -> 3
?login%00x=admin                                -> 3 4
?login%00[]=admin                               -> 3 4
?%00login=admin                                 -> required
?login+=admin                                   -> required
?login.=admin                                   -> required
?%09login=admin                                 -> required
?login[=admin                                   -> required
?cameras_ids[%00]=3                             -> required
?cameras_ids[a%00]=3                            -> required



=== TEST 19: PHP ignores what follows the brackets of a key
--- cases
?cameras_ids[0]x=3                              -> 3
?cameras_ids[0]x[1]=3                           -> 3
?cameras_ids[0][=3                              -> 3
?cameras_ids[0][x=3                             -> 3
?cameras_ids[0][x][=3                           -> cameras_ids.0: integer
?cameras_ids[0]]=3                              -> 3
?cameras_ids[[0]=x                              -> cameras_ids.[0: integer



=== TEST 20: the key of "[]" is the one after the greatest integer
--- cases
?cameras_ids[+]=x&cameras_ids[%09]=y            -> cameras_ids.0: integer, cameras_ids.1: integer
?cameras_ids[+a]=x&cameras_ids[]=y              -> cameras_ids. a: integer, cameras_ids.0: integer
?cameras_ids[-5]=x&cameras_ids[]=y              -> cameras_ids.-5: integer, cameras_ids.-4: integer
?cameras_ids[-5]=x&cameras_ids[3]=x&cameras_ids[-1]=x&cameras_ids[]=x -> cameras_ids.-5: integer, cameras_ids.3: integer, cameras_ids.-1: integer, cameras_ids.4: integer
?cameras_ids[-0]=x&cameras_ids[]=y              -> cameras_ids.-0: integer, cameras_ids.0: integer
?cameras_ids[07]=x&cameras_ids[]=y              -> cameras_ids.07: integer, cameras_ids.0: integer
?cameras_ids[%2B7]=x&cameras_ids[]=y            -> cameras_ids.+7: integer, cameras_ids.0: integer
?cameras_ids[123456789012]=x&cameras_ids[]=y    -> cameras_ids.123456789012: integer, cameras_ids.123456789013: integer
?cameras_ids[9223372036854775806]=x&cameras_ids[]=y&cameras_ids[]=z -> cameras_ids.9223372036854775806: integer, cameras_ids.9223372036854775807: integer
?cameras_ids[9223372036854775807]=3&cameras_ids[]=x -> 3
?cameras_ids[-9223372036854775808]=x&cameras_ids[]=y -> cameras_ids.-9223372036854775808: integer, cameras_ids.-9223372036854775807: integer
?cameras_ids[9223372036854775808]=x&cameras_ids[]=y -> cameras_ids.9223372036854775808: integer, cameras_ids.0: integer
?cameras_ids[5]=x&cameras_ids=3&cameras_ids[]=y -> cameras_ids.0: integer



=== TEST 21: the key of a member in a query string may have 255 characters
--- cases eval
my $ids = sub { '?' . join('&', map { "cameras_ids[$_->[0]]=$_->[1]" } @_) };
my $eye = '%F0%9F%8E%A5';
$ids->([ 'k' x 255, 3 ]) . " -> 3\n"
. $ids->([ 'k' x 255, 'x' ]) . ' -> cameras_ids.' . 'k' x 255 . ": integer\n"
. $ids->([ 'k' x 256, 3 ]) . " -> cameras_ids: keys\n"
. $ids->([ 'k' x 256, 'x' ], [ 'b', 'y' ], [ 'l' x 5000, 4 ])
    . " -> cameras_ids: keys, cameras_ids.b: integer\n"
. $ids->([ $eye x 255, 3 ]) . " -> 3\n"
. $ids->([ $eye x 256, 3 ]) . " -> cameras_ids: keys\n"
. $ids->((map { [ $_, 3 ] } 1 .. 30), [ 'k' x 256, 3 ]) . " -> cameras_ids: many\n"
. '?login[' . 'k' x 300 . "]=x -> login: string\n"



=== TEST 22: a member is wrong however deep it is nested in a query string
--- cases eval
'?cameras_ids[0]' . '[a]' x 70 . "=3 -> cameras_ids.0: integer\n"
. '?cameras_ids' . '[a]' x 2000 . "=3 -> cameras_ids.a: integer\n"



=== TEST 23: a query string with a long string for an array has two messages, and the reverse
--- cases eval
'?cameras_ids=' . 'x' x 30 . " -> cameras_ids: array\n"
. '?cameras_ids=' . join(',', 1 .. 14) . " -> cameras_ids: array, cameras_ids: many\n"
. '?cameras_ids=' . '%F0%9F%8E%A5' x 30 . " -> cameras_ids: array\n"
. '?cameras_ids=' . 'x' x 5000 . " -> cameras_ids: array, cameras_ids: many\n"
. '?' . join('&', ('login[]=x') x 255) . " -> login: string\n"
. '?' . join('&', ('login[]=x') x 256) . " -> login: string, login: long\n"
. '?' . join('&', ('cameras_uuid[0][]=x') x 255) . " -> cameras_uuid.0: string\n"
. '?' . join('&', ('cameras_uuid[0][]=x') x 256) . " -> cameras_uuid.0: string, cameras_uuid.0: long\n"
