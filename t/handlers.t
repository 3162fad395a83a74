# A client that leaves while its request waits for Redis, and a request that
# nginx hands to a second handler: post_action, error_page, named locations,
# filters that end a request, subrequests.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'handlers';
use Test::Nginx::Socket 'no_plan';

# Sends a request, leaves when Redis has got its command, and waits until nginx
# has noticed. Redis answers later.

sub leave {
    my ($uri, $how, $command) = @_;

    my $asked = $Billing::Fake->count($command);
    my $left = gone();
    my $client = Billing::client();

    $client->send(Billing::text(undef, uri => $uri));
    Test::More::ok(Billing::wait_for(5, sub {
        $Billing::Fake->count($command) > $asked
    }), "$uri: Redis was asked");

    $client->$how;
    Test::More::ok(Billing::wait_for(5, sub { gone() > $left }),
                   "$uri: nginx notices that the client is gone ($how)");
}

sub gone {
    my $gone = () = Billing::error_log()
                    =~ /\[info\] .*client prematurely closed connection/g;
    return $gone;
}

# Pairs of a location of the route, and one of the status page, that have the
# directives.

sub both {
    return join '', map {
        my ($name, $directives) = @$_;
        "location = /list/$name { billing_cameras_list; $directives }\n"
        . "location = /status/$name { billing_status; $directives }\n"
    } @_;
}

sub many {
    return join "\n", map { ("HSET billing:camera:$_ name $_", "ZADD billing:login:many $_ $_") } 101 .. 160;
}

our $ROUTE = "location = $Billing::URI { billing_cameras_list; }\n";

run_tests();

__DATA__

=== TEST 1: post_action runs after a client has left
--- config eval
$::ROUTE . ::both([ 'list', 'post_action /second;' ],
                  [ 'self', 'post_action /list/self;' ],
                  [ 'other', 'post_action /status/other;' ],
                  [ 'chain', 'post_action /list/list;' ],
                  [ 'static', 'post_action /page.html;' ],
                  [ 'named', 'post_action @named;' ],
                  [ 'proxy', "post_action /proxy;" ],
                  [ 'return', 'post_action /return;' ])
. <<"END"
location = /second { internal; billing_cameras_list; }
location \@named { billing_cameras_list; }
location = /proxy { proxy_pass http://127.0.0.1:\$server_port$Billing::URI; }
location = /return { return 204; }
END
--- user_files
>>> page.html
a page
--- http_config
billing_redis_timeout 10s;
--- fake
GET * => pause 0.2
HMGET * => pause 0.2
--- run
for my $name (qw(list self other chain static named proxy return)) {
    for my $how (qw(close reset)) {
        ::leave("/list/$name?cameras_ids[]=3", $how, 'GET \S+:token:');
        ::leave("/status/$name", $how, 'GET \S+:synced_at');
    }
}

# the token has been answered: the camera is waited for

::leave("/list/$_?cameras_ids[]=3", 'close', 'HMGET') for qw(list self other);

$Fake->change('');
--- errors_allowed
--- timeout: 60



=== TEST 2: post_action runs after a list, whole or left in the middle
--- config eval
$::ROUTE . ::both([ 'list', 'post_action /second; billing_batch 5;' ],
                  [ 'static', 'post_action /page.html; billing_batch 5;' ])
. <<"END"
location = /second { internal; billing_cameras_list; billing_batch 7; }
END
--- user_files
>>> page.html
a page
--- http_config
billing_redis_timeout 10s;
--- redis eval: ::many()
--- fake
HMGET *:camera:131 => pause 0.3
--- run
for my $name (qw(list static)) {
    for my $how (qw(close reset)) {
        ::leave("/list/$name?login=many", $how, 'HMGET \S+:camera:131');
    }

    my $res = ask(undef, uri => "/list/$name?login=many");
    ok($res->{complete}, "$name: a whole list");
    is($res->{status}, 200, "$name: status");
}
--- timeout: 60



=== TEST 3: error_page leads to a second handler that waits for Redis, and to a third one
--- config eval
"recursive_error_pages on;\n" . $::ROUTE . <<"END"
location = /a { billing_cameras_list; error_page 401 422 = /b; error_page 502 = \@c; }
location = /b { billing_cameras_list; billing_token off; set \$args cameras_ids[]=3; post_action /d; }
location \@c { billing_cameras_list; billing_redis_prefix none:; error_page 503 401 = /status; }
location = /d { internal; billing_cameras_list; }
location = /status { billing_status; post_action /d; }
location = /tried { try_files /none.html \@named; }
location \@named { billing_cameras_list; post_action /d; }
END
--- fake
HMGET *:camera:3 => pause 0.2
HMGET *:camera:5 => error ERR no
--- http_config
billing_redis_timeout 10s;
--- run
answers(ask(undef, uri => '/a', token => 'bad'), '3', 'a second handler of the route');
like(ask(undef, uri => '/a?cameras_ids[]=5')->{body}, qr/^nginx_billing_/m, 'the status page as the third');
answers(ask(undef, uri => '/tried?cameras_ids[]=3'), '3', 'try_files');

::leave('/a?cameras_ids[]=x', $_, 'HMGET \S+:camera:3') for qw(close reset);
::leave('/tried?cameras_ids[]=3', $_, 'HMGET \S+:camera:3') for qw(close reset);
--- errors_allowed
--- timeout: 60



=== TEST 4: subrequests whose client leaves: SSI, auth_request, mirror, addition
--- config eval
$::ROUTE . <<"END"
location = /page.html { ssi on; post_action /d; }
location = /auth.html { auth_request /check; post_action /d; }
location = /mirrored { mirror /part?cameras_ids[]=3; billing_cameras_list; post_action /d; }
location = /part { billing_cameras_list; post_action /d; }
location = /check { internal; set \$args cameras_ids[]=3; billing_cameras_list; post_action /d; }
location = /d { internal; billing_cameras_list; }
END
--- user_files eval
">>> auth.html\na page\n>>> page.html\n<!--#include virtual=\"/part?cameras_ids[]=3\" --><!--#include virtual=\"/part?cameras_ids[]=4\" -->\n"
--- fake
HMGET *:camera:3 => pause 0.2
--- http_config
billing_redis_timeout 10s;
--- run
for my $how (qw(close reset)) {
    ::leave('/page.html', $how, 'HMGET \S+:camera:3');
    ::leave('/auth.html', $how, 'HMGET \S+:camera:3');
    ::leave('/mirrored?cameras_ids[]=3', $how, 'HMGET \S+:camera:3');
}

is(ask(undef, uri => '/page.html')->{body},
   Billing::Fixtures::answer(3) . Billing::Fixtures::answer(4) . "\n", 'a page');
--- errors_allowed
--- timeout: 60



=== TEST 5: a client that left before the handler starts is noticed, with and without a deferred accept
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
END
--- http_config eval
<<"END"
billing_redis_timeout 10s;
server {
    listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1 deferred;
    location = $Billing::URI { billing_cameras_list; }
    location = /status { billing_status; }
}
END
--- fake
GET *:token:* => pause 3
GET *:synced_at => pause 1
--- run
my $ports = $Test::Nginx::Util::RandPorts;

for my $port (undef, $ports->{TEST_NGINX_RAND_PORT_1}) {
    for my $how (qw(close reset)) {
        for my $uri ("$URI?login=admin", '/status') {
            my $name = ($port ? 'deferred' : 'plain') . ", $how, $uri";
            my $left = ::gone();
            my $client = client(port => $port);

            $client->send(text(undef, uri => $uri));
            $client->$how;

            ok(wait_for(2, sub { ::gone() > $left }), "$name: nginx has noticed");
        }
    }
}

$Fake->change('');
--- errors_allowed
--- timeout: 60
