# Errors by which Redis refuses a connection: what is logged, and what callers
# are answered.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'errors';
use Test::Nginx::Socket 'no_plan';

our $URL = 'billing_redis redis://bob:s3cret@127.0.0.1:$TEST_NGINX_FAKE_PORT;'
           . ' billing_redis_timeout 1s;';

run_tests();

__DATA__

=== TEST 1: a Redis that has no place for one more client is a 503, and used when it has one
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT;
billing_redis_timeout 1s;
--- server
--databases 1
--- run
my $first = Billing::Redis->new($Server->{socket});
$first->command('CONFIG', 'SET', 'requirepass', 's3cret');
$first->command('CONFIG', 'SET', 'maxclients', 1);
answers(ask('{"cameras_ids":[3]}'), '503', 'while there is none');
$first->command('CONFIG', 'SET', 'maxclients', 100);
my ($is) = keep_asking(5, '{"cameras_ids":[3]}', '3', sub { 1 });
ok($is, 'answered');
--- logged
\[error\] .*is down: ERR max number of clients reached
--- no_error_log
s3cret



=== TEST 2: a cluster's server that has no place for one more client
--- http_config eval: $::URL
--- fake
AUTH => error ERR max number of clients + cluster connections reached
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: ERR max number of clients \+ cluster connections reached



=== TEST 3: a password for a Redis that has none
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_REDIS_PORT;
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: ERR AUTH <password> called without any password configured for the default user\. Are you sure your configuration is correct\?
--- no_error_log
s3cret



=== TEST 4: an unknown command, whose error quotes the password
--- http_config eval: $::URL
--- fake
AUTH => error ERR unknown command 'AUTH', with args beginning with: 'bob' 's3cret'
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: ERR(?:,|$)
--- no_error_log
s3cret



=== TEST 5: an error that quotes the password comes one command late
--- http_config eval
$::URL =~ s/_PORT;/_PORT\/0;/r
--- fake
SELECT => error ERR unknown command 'AUTH', with args beginning with: 'bob' 's3cret'
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: ERR(?:,|$)
--- no_error_log
s3cret



=== TEST 6: an error is logged whole if there is no password to hide
--- fake
PING => error ERR unknown command 'PING', with args beginning with: 'x'
--- http_config
billing_redis_timeout 1s;
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: ERR unknown command 'PING', with args beginning with: 'x'



=== TEST 7: a database that the server does not have
--- http_config
billing_redis redis://:s3cret@127.0.0.1:$TEST_NGINX_OWN_PORT/7;
billing_redis_timeout 1s;
--- server
--databases 2
--- run
$Server->command('CONFIG', 'SET', 'requirepass', 's3cret');
answers(ask('{"cameras_ids":[3]}'), '502', 'the answer');
--- request eval
"GET $Billing::URI"
--- error_code: 401
--- logged
\[error\] .*is down: ERR DB index is out of range
--- no_error_log
s3cret



=== TEST 8: a Redis in protected mode
--- http_config eval: $::URL
--- fake
AUTH => error DENIED Redis is running in protected mode because protected mode is enabled
--- cases
{"cameras_ids":[3]}                             -> 502
--- logged
\[error\] .*is down: DENIED Redis is running in protected mode because protected mode is enabled



=== TEST 9: a Redis that cannot save its data answers reads, and refuses PING
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT;
--- server
--stop-writes-on-bgsave-error yes
--- run
mkdir "$Server->{dir}/dump.rdb";
$Server->command('CONFIG', 'SET', 'save', '3600 1');
$Server->command('BGSAVE');
ok(wait_for(10, sub { !eval { $Server->command('PING') } }), 'PING is refused');
like($@, qr/MISCONF/, 'as it should be');
answers(ask('{"cameras_ids":[3]}'), '3', 'a read');
--- request eval
"GET $Billing::URI"
--- error_code: 401



=== TEST 10: a server that closes at the first command, as one with TLS does
--- http_config eval: $::URL
--- fake
any => close
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: server closed the connection, the port may be one with TLS$



=== TEST 11: a TLS alert instead of a reply
--- http_config eval: $::URL
--- fake
any => raw \x15\x03\x03\x00\x02\x02\x46
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: .*, the port may be one with TLS$



=== TEST 12: a server that closes after a reply is not taken for one with TLS
--- http_config eval
$::URL =~ s/_PORT;/_PORT\/0;/r
--- fake
SELECT => close
--- cases
{"cameras_ids":[3]}                             -> 503
--- logged
\[error\] .*is down: server closed the connection$



=== TEST 13: a server that never answers is not taken for one with TLS
--- http_config eval: $::URL
--- fake
any => silent
--- cases
{"cameras_ids":[3]}                             -> 504
--- logged
\[error\] .*is down: server does not answer$
