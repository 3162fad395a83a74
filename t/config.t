# The directives: what nginx -t accepts and refuses, contexts, inheritance.

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();

use Billing 'config';
use Test::Nginx::Socket 'no_plan';

# Configurations without the shared preamble: billing_redis, and the location.

our $REDIS = 'billing_redis unix:$TEST_NGINX_REDIS_SOCKET;';

# A file with a password.

our $PASSWORD = File::Temp->new;
print $PASSWORD "s3cret\n";
close $PASSWORD;

sub route { "location = /list {\n    billing_cameras_list;\n    @_\n}\n" }

run_tests();

__DATA__

=== TEST 1: all directives have defaults, but for billing_redis
--- bare
--- http_config eval: $::REDIS
--- config eval: ::route()
--- request
GET /list
--- error_code: 401



=== TEST 2: directives in http hold in a location
--- bare
--- http_config eval
<<'END'
billing_redis unix:$TEST_NGINX_REDIS_SOCKET?db=0 redis://127.0.0.1:$TEST_NGINX_REDIS_PORT;
billing_redis_timeout 2s;
billing_redis_connect_timeout 200ms;
billing_redis_prefix t_config:;
billing_token off;
billing_max_ids 1;
billing_allow_post on;
billing_batch 2;
END
--- config eval: ::route()
--- run
answers(ask('{"cameras_ids":[3,4]}', uri => '/list', method => 'POST'),
        'cameras_ids: many 1', 'in the location');
--- request
GET /list?login=admin
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 3: directives in server replace those of http
--- bare
--- http_config
billing_redis unix:/nonexistent.sock;
billing_redis_timeout 7s;
billing_redis_connect_timeout 7s;
billing_redis_prefix nothing:;
billing_token never;
billing_max_ids 7;
billing_allow_post on;
billing_batch 7;
--- config eval
<<'END' . ::route()
billing_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT/0;
billing_redis_timeout 1500;
billing_redis_connect_timeout 1m;
billing_redis_prefix t_config:;
billing_token off;
billing_max_ids 1000;
billing_allow_post off;
billing_batch 1000;
END
--- run
answers(ask('{"cameras_ids":[1,2,3,4,5,6,7,8]}', uri => '/list'), '3 4 5 7',
        'billing_max_ids');
answers(ask('{"login":"admin"}', uri => '/list', method => 'POST'), '405',
        'billing_allow_post');
--- request
GET /list?login=admin
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 4: directives in location replace those of server
--- bare
--- config eval
"billing_redis unix:/nonexistent.sock; billing_token never; billing_max_ids 7;\n"
. ::route(<<'END');
billing_redis unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 1s;
billing_redis_connect_timeout 1s;
billing_redis_prefix t_config:;
billing_token $arg_token;
billing_max_ids 1;
billing_allow_post on;
billing_batch 1;
END
--- run
answers(ask('{"cameras_ids":[3,4]}', uri => "/list?token=$Token", method => 'POST'),
        'cameras_ids: many 1', 'all of them');
--- request eval
"GET /list?login=admin&token=$Billing::Token"
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 5: nested locations inherit the directives, but not the route
--- bare
--- http_config eval: $::REDIS . 'billing_redis_prefix t_config:; billing_token off;'
--- config
location /outer/ {
    billing_cameras_list;
    billing_max_ids 1;

    location /outer/inner/ {
        billing_cameras_list;
    }
    location /outer/plain/ {
        return 200 "plain";
    }
}
--- run
answers(ask('{"cameras_ids":[3,4]}', uri => '/outer/inner/'), 'cameras_ids: many 1', 'inner');
answers(ask('{"cameras_ids":[3,4]}', uri => '/outer/x'), 'cameras_ids: many 1', 'outer');
answers(ask('{"cameras_ids":[3]}', uri => '/outer/inner/'), '3', 'inner, one');
--- request
GET /outer/plain/
--- response_body chop
plain



=== TEST 6: two servers may have two caches
--- bare
--- http_config eval
$::REDIS . <<'END';
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    billing_token off;
    billing_redis_prefix t_config:;
    location = /list {
        billing_cameras_list;
    }
}
END
--- config eval: 'billing_redis_prefix t_nothing:; billing_token off;' . ::route()
--- run
answers(ask(undef, uri => '/list?login=admin',
            port => $Test::Nginx::Util::RandPorts->{TEST_NGINX_RAND_PORT_1}),
        '3 4', 'the other server');
--- request
GET /list?login=admin
--- error_code: 503
--- errors_allowed



=== TEST 7: values at their limits are valid
--- bare
--- http_config eval: $::REDIS
--- config eval
::route('billing_max_ids 1; billing_batch 1; billing_redis_timeout 1ms;')
. 'location = /other { billing_cameras_list; billing_max_ids 1000; billing_batch 1000;'
. ' billing_redis_timeout 1h; billing_redis_connect_timeout 1ms; billing_redis_prefix x; }'
--- request
GET /list
--- error_code: 401



=== TEST 8: valid URLs are accepted
--- bare
--- config eval
join '', map { "location = /$_->[0] { billing_cameras_list; billing_token off;"
               . " billing_redis_prefix t_config:; billing_redis $_->[1]; }\n" }
    [ a => 'redis://127.0.0.1:$TEST_NGINX_REDIS_PORT' ],
    [ b => 'redis://127.0.0.1:$TEST_NGINX_REDIS_PORT/' ],
    [ c => 'redis://127.0.0.1:$TEST_NGINX_REDIS_PORT/0' ],
    [ d => 'unix:$TEST_NGINX_REDIS_SOCKET' ],
    [ e => 'unix:$TEST_NGINX_REDIS_SOCKET?db=0' ],
    [ f => 'redis://127.0.0.1' ],
    [ g => 'redis://[::1]:6379/3' ],
    [ h => 'redis://user:pa$$word@127.0.0.1:6379/15' ]
--- run
answers(ask(undef, uri => "/$_?cameras_ids[]=3"), '3', "URL $_") for 'a' .. 'e';
--- request
GET /a?cameras_ids[]=4
--- response_body eval: Billing::Fixtures::answer(4)



=== TEST 9: the route without billing_redis is an error
--- bare
--- config eval: ::route()
--- must_die
--- error_log eval
[ qr/\[emerg\].*billing_redis.*\/list|\[emerg\].*\/list.*billing_redis/ ]



=== TEST 10: billing_redis in another server is not inherited
--- bare
--- http_config eval
'server { listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1; ' . $::REDIS . ' }'
--- config eval: ::route()
--- must_die
--- error_log eval
[ qr/\[emerg\].*billing_redis.*\/list|\[emerg\].*\/list.*billing_redis/ ]



=== TEST 11: the route without billing_redis in a nested location is an error
--- bare
--- config
location /outer/ {
    location /outer/inner/ {
        billing_cameras_list;
    }
}
--- must_die
--- error_log eval
[ qr/\[emerg\].*billing_redis.*\/outer\/inner\/|\[emerg\].*\/outer\/inner\/.*billing_redis/ ]



=== TEST 12: billing_redis in the location suffices
--- bare
--- config eval: ::route($::REDIS)
--- request
GET /list
--- error_code: 401



=== TEST 13: directives without the route are valid
--- bare
--- http_config
billing_token off;
billing_max_ids 3;
--- config
location = /list {
    return 200 "plain";
}
--- request
GET /list
--- response_body chop
plain



=== TEST 14: billing_cameras_list is not allowed in http
--- http_config
billing_cameras_list;
--- must_die
--- error_log eval
[ qr/\[emerg\] .*"billing_cameras_list" directive is not allowed here/ ]



=== TEST 15: billing_cameras_list is not allowed in server
--- config
billing_cameras_list;
--- must_die
--- error_log eval
[ qr/\[emerg\] .*"billing_cameras_list" directive is not allowed here/ ]



=== TEST 16: billing_cameras_list is not allowed in if
--- config
location = /list {
    if ($arg_x) {
        billing_cameras_list;
    }
}
--- must_die
--- error_log eval
[ qr/\[emerg\] .*"billing_cameras_list" directive is not allowed here/ ]



=== TEST 17: billing_cameras_list refuses an argument
--- config
location = /list {
    billing_cameras_list on;
}
--- must_die
--- error_log eval
[ qr/\[emerg\] .*invalid number of arguments in "billing_cameras_list" directive/ ]



=== TEST 18: a directive that is given twice is an error
--- refuses
billing_cameras_list;                                           -> "billing_cameras_list" directive is duplicate
billing_redis unix:/a.sock; billing_redis unix:/a.sock;         -> "billing_redis" directive is duplicate
billing_redis_timeout 1s; billing_redis_timeout 1s;             -> "billing_redis_timeout" directive is duplicate
billing_redis_connect_timeout 1s; billing_redis_connect_timeout 1s; -> "billing_redis_connect_timeout" directive is duplicate
billing_redis_prefix x:; billing_redis_prefix x:;               -> "billing_redis_prefix" directive is duplicate
billing_redis_password_file /etc/os-release; billing_redis_password_file /etc/os-release; -> "billing_redis_password_file" directive is duplicate
billing_token off; billing_token off;                           -> "billing_token" directive is duplicate
billing_max_ids 3; billing_max_ids 3;                           -> "billing_max_ids" directive is duplicate
billing_allow_post on; billing_allow_post on;                   -> "billing_allow_post" directive is duplicate
billing_batch 3; billing_batch 3;                               -> "billing_batch" directive is duplicate



=== TEST 19: a directive without a value, or with one too many, is an error
--- refuses
billing_redis;                                                  -> invalid number of arguments in "billing_redis" directive
billing_redis_timeout;                                          -> invalid number of arguments in "billing_redis_timeout" directive
billing_redis_connect_timeout;                                  -> invalid number of arguments in "billing_redis_connect_timeout" directive
billing_redis_prefix;                                           -> invalid number of arguments in "billing_redis_prefix" directive
billing_token;                                                  -> invalid number of arguments in "billing_token" directive
billing_max_ids;                                                -> invalid number of arguments in "billing_max_ids" directive
billing_allow_post;                                             -> invalid number of arguments in "billing_allow_post" directive
billing_batch;                                                  -> invalid number of arguments in "billing_batch" directive
billing_redis_timeout 1s 1s;                                    -> invalid number of arguments in "billing_redis_timeout" directive
billing_redis_connect_timeout 1s 1s;                            -> invalid number of arguments in "billing_redis_connect_timeout" directive
billing_redis_prefix x: x:;                                     -> invalid number of arguments in "billing_redis_prefix" directive
billing_token off off;                                          -> invalid number of arguments in "billing_token" directive
billing_max_ids 3 3;                                            -> invalid number of arguments in "billing_max_ids" directive
billing_allow_post on on;                                       -> invalid number of arguments in "billing_allow_post" directive
billing_batch 3 3;                                              -> invalid number of arguments in "billing_batch" directive



=== TEST 20: billing_max_ids has to be a number from 1 to 1000
--- refuses
billing_max_ids 0;                                              ->
billing_max_ids 1001;                                           ->
billing_max_ids -1;                                             ->
billing_max_ids abc;                                            ->
billing_max_ids 3.5;                                            ->
billing_max_ids 1k;                                             ->
billing_max_ids 99999999999999999999;                           ->



=== TEST 21: billing_batch has to be a number from 1 to 1000
--- refuses
billing_batch 0;                                                ->
billing_batch 1001;                                             ->
billing_batch -1;                                               ->
billing_batch abc;                                              ->
billing_batch 3.5;                                              ->
billing_batch 1k;                                               ->
billing_batch 99999999999999999999;                             ->



=== TEST 22: timeouts have to be times greater than zero
--- refuses
billing_redis_timeout abc;                                      ->
billing_redis_timeout -1s;                                      ->
billing_redis_timeout 1x;                                       ->
billing_redis_timeout 1.5s;                                     ->
billing_redis_timeout 99999999999999999999s;                    ->
billing_redis_timeout 0;                                        ->
billing_redis_timeout 0s;                                       ->
billing_redis_connect_timeout abc;                              ->
billing_redis_connect_timeout -1s;                              ->
billing_redis_connect_timeout 1x;                               ->
billing_redis_connect_timeout 1.5s;                             ->
billing_redis_connect_timeout 99999999999999999999s;            ->
billing_redis_connect_timeout 0;                                ->
billing_redis_connect_timeout 0s;                               ->



=== TEST 23: flags have to be on or off, and billing_token a variable or off
--- refuses
billing_allow_post maybe;                                       ->
billing_allow_post 1;                                           ->
billing_token "";                                               -> invalid value "" in "billing_token" directive
billing_token on;                                               -> invalid value "on" in "billing_token" directive
billing_token $no_such_variable;                                -> unknown "no_such_variable" variable



=== TEST 24: invalid URLs of a host are errors that name the URL and the reason
--- refuses
billing_redis "";                                               -> invalid URL "" in "billing_redis" directive: it must begin with
billing_redis 127.0.0.1:6379;                                   -> invalid URL "127\.0\.0\.1:6379" in "billing_redis" directive: it must begin with
billing_redis http://127.0.0.1;                                 -> invalid URL "http://127\.0\.0\.1" in "billing_redis" directive: it must begin with
billing_redis REDIS://127.0.0.1;                                -> invalid URL "REDIS" in "billing_redis" directive: it must begin with
billing_redis redis:127.0.0.1;                                  -> invalid URL "redis" in "billing_redis" directive: it must begin with
billing_redis redis://;                                         -> invalid URL "redis://" in "billing_redis" directive: no host
billing_redis redis://:6379;                                    -> invalid URL "redis://" in "billing_redis" directive: no host
billing_redis redis://127.0.0.1:;                               -> invalid URL "redis://127\.0\.0\.1:" in "billing_redis" directive: invalid port
billing_redis redis://127.0.0.1:0;                              -> invalid URL "redis://127\.0\.0\.1:0" in "billing_redis" directive: invalid port
billing_redis redis://127.0.0.1:65536;                          -> invalid URL "redis://127\.0\.0\.1:65536" in "billing_redis" directive: invalid port
billing_redis redis://127.0.0.1:6379x;                          -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: invalid port
billing_redis redis://127.0.0.1:port;                           -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: invalid port
billing_redis redis://127.0.0.1/x;                              -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: the database must be a number
billing_redis redis://127.0.0.1/-1;                             -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: the database must be a number
billing_redis redis://127.0.0.1/1/2;                            -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: the database must be a number
billing_redis redis://127.0.0.1?db=1;                           -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: parameters are known in "unix:" URLs only
billing_redis redis://127.0.0.1/0?db=1;                         -> invalid URL "redis://127\.0\.0\.1" in "billing_redis" directive: parameters are known in "unix:" URLs only
billing_redis redis://[::1;                                     -> invalid URL "redis://\[::1" in "billing_redis" directive: invalid host
billing_redis redis://[::1]:x;                                  -> invalid URL "redis://\[::1\]" in "billing_redis" directive: invalid port
billing_redis redis://bob:s3cret;                               -> invalid URL "redis://bob" in "billing_redis" directive: invalid port
billing_redis redis://bob:x@127.0.0.1:70000;                    -> invalid URL "redis://\*\*\*@127\.0\.0\.1:70000" in "billing_redis" directive: invalid port
billing_redis redis://bob:@127.0.0.1;                           -> invalid URL "redis://\*\*\*@127\.0\.0\.1" in "billing_redis" directive: the password is empty
billing_redis redis://bob:50%@127.0.0.1;                        -> invalid URL "redis://\*\*\*@127\.0\.0\.1" in "billing_redis" directive: a "%" in the user or the password is to be "%25"
billing_redis redis://bob@127.0.0.1;                            -> no password for the user of redis server "127\.0\.0\.1:6379" in "billing_redis" directive



=== TEST 25: invalid URLs of a socket are errors that name the URL and the reason
--- refuses
billing_redis unix:;                                            -> invalid URL "unix:" in "billing_redis" directive: the path must begin with "/"
billing_redis unix:?db=1;                                       -> invalid URL "unix:" in "billing_redis" directive: the path must begin with "/"
billing_redis unix:run/redis.sock;                              -> invalid URL "unix:run/redis\.sock" in "billing_redis" directive: the path must begin with "/"
billing_redis unix:/a.sock:;                                    -> invalid URL "unix:/a\.sock:" in "billing_redis" directive: the path must not end with ":"
billing_redis unix:/a.sock:/0;                                  -> invalid URL "unix:/a\.sock:/0" in "billing_redis" directive: the path must not end with ":"
billing_redis unix://a.sock;                                    -> invalid URL "unix://a\.sock" in "billing_redis" directive: nothing may precede the path
billing_redis unix:/a.sock?db=;                                 -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the database must be a number
billing_redis unix:/a.sock?db=x;                                -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the database must be a number
billing_redis unix:/a.sock?db=-1;                               -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the database must be a number
billing_redis unix:/a.sock?db=1&db=2;                           -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the parameter "db" is duplicate
billing_redis unix:/a.sock?user=;                               -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the user is empty
billing_redis unix:/a.sock?user=a&user=b;                       -> invalid URL "unix:/a\.sock" in "billing_redis" directive: the parameter "user" is duplicate
billing_redis unix:/a.sock?user=50%;                            -> invalid URL "unix:/a\.sock" in "billing_redis" directive: a "%" in the user or the password is to be "%25"
billing_redis unix:/a.sock?user=bob;                            -> no password for the user of redis server "unix:/a\.sock" in "billing_redis" directive
billing_redis unix:/a.sock?;                                    -> invalid URL "unix:/a\.sock" in "billing_redis" directive: only the parameters "db" and "user" are known
billing_redis unix:/a.sock?x=1;                                 -> invalid URL "unix:/a\.sock" in "billing_redis" directive: only the parameters "db" and "user" are known
billing_redis unix:/a.sock?db=1&x;                              -> invalid URL "unix:/a\.sock" in "billing_redis" directive: only the parameters "db" and "user" are known



=== TEST 26: an invalid URL is logged without any part that may be a password
--- refuses eval
join '', map { "billing_redis $_; -> (?!.*(?:s3cret|t0p)).*invalid URL .* in \"billing_redis\" directive: \n" }
    'unix://bob:s3cret@/run/redis.sock', 'unix://:s3cret@/run/redis.sock',
    'unix://bob:s3cret', 'unix:bob:s3cret@/run/redis.sock',
    'unix:/bob:s3cret@/run/redis.sock', 'unix:/run/redis.sock?password=s3cret',
    'unix:/run/redis.sock?db=0&password=s3cret', 'unix:/run/redis.sock?s3cret',
    'unix:/run/redis.sock?auth=a@/s3cret', 'unix:/run/redis.sock:?password=s3cret',
    'bob:s3cret@127.0.0.1', 'bob:s3cret', 'http://bob:s3cret@127.0.0.1', 'http://bob:s3cret',
    'valkey://:s3cret@127.0.0.1:6379/0', 'redis:bob:s3cret@127.0.0.1',
    'redis:/bob:s3cret@127.0.0.1', 'redis//bob:s3cret@127.0.0.1', 'redis+tls://bob:s3cret',
    'redis://:s3cret', 'redis://bob:s3cret', 'redis://bob:s3cret/0', 'redis://bob:1s3cret',
    'redis://bob:t0p/s3cret@127.0.0.1', 'redis://bob:t0p@s3cret@127.0.0.1:0',
    'redis://bob:t0p?s3cret@127.0.0.1:0', 'redis://bob:s3cret@', 'redis://bob:s3cret@:6379',
    'redis://bob:s3cret@127.0.0.1/x', 'redis://bob:s3cret@127.0.0.1:x',
    'redis://127.0.0.1/0?password=s3cret', 'redis://127.0.0.1?password=t0p@s3cret',
    'redis://127.0.0.1:0?s3cret', 'redis://127.0.0.1:6379:s3cret', 'redis://127.0.0.1/s3cret',
    'redis://bob:%s3cret@127.0.0.1', 'redis://bob:s3cret@none.invalid',
    '"bob:s3cret@redis://127.0.0.1"'



=== TEST 27: one wrong URL among valid ones is an error, and so is too long a path of a socket
--- refuses eval
"billing_redis unix:/a.sock redis://127.0.0.1:99999; -> redis://127\\.0\\.0\\.1:99999.*billing_redis\n"
. 'billing_redis unix:/' . 'a' x 120 . '; -> invalid URL "unix:/a{120}" in "billing_redis" directive: too long path'



=== TEST 28: a socket's URL may have a user, whose password is in a file
--- bare
--- redis
ACL SETUSER t_config:user on >s3cret ~* +@all
--- config eval
::route("billing_redis unix:\$TEST_NGINX_REDIS_SOCKET?user=t_config%3Auser&db=0;"
        . " billing_redis_password_file $::PASSWORD;"
        . ' billing_redis_prefix t_config:; billing_token off;')
--- request
GET /list?login=admin
--- response_body eval: Billing::Fixtures::answer(3, 4)
--- no_error_log
s3cret



=== TEST 29: a socket's URL may have the database before the user
--- bare
--- redis
ACL SETUSER t_config:user on >s3cret ~* +@all
--- config eval
::route("billing_redis unix:\$TEST_NGINX_REDIS_SOCKET?db=0&user=t_config:user;"
        . " billing_redis_password_file $::PASSWORD;"
        . ' billing_redis_prefix t_config:; billing_token off;')
--- request
GET /list?login=admin
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 30: a socket's URL may have three slashes
--- bare
--- config eval
::route('billing_redis unix://$TEST_NGINX_REDIS_SOCKET;'
        . ' billing_redis_prefix t_config:; billing_token off;')
--- request
GET /list?login=admin
--- response_body eval: Billing::Fixtures::answer(3, 4)



=== TEST 31: rediss:// is an error without TLS in hiredis, or without certificates to trust
--- refuses
billing_redis rediss://127.0.0.1; -> (?:"rediss://127\.0\.0\.1" in "billing_redis" directive: TLS needs hiredis|no "billing_redis_ssl_trusted_certificate" for "billing_redis_ssl_verify")
