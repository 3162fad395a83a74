# nchan and the module in one nginx. nchan exports the names of a hiredis of its
# own, and nginx gives these to every module that is loaded after it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Digest::SHA qw(sha256_hex);

use Billing::Client;
use Billing::Fixtures;
use Billing::Nginx;
use Billing::Server;

my $URI = '/api/v1/billing/cameras/list';
my $NCHAN = '/usr/lib/nginx/modules/ngx_nchan_module.so';
my $MODULE = $ENV{TEST_NGINX_LOAD_MODULES} // '';
my $MODE = $ENV{TEST_NGINX_MODE} // '';

# nchan leaks a little when it ends, and is unloaded before its name is looked up

$ENV{BILLING_ASAN} = ':detect_leaks=0';

plan skip_all => "the nginx of --$MODE exports the names of hiredis"
    if $MODE =~ /\A(?:valgrind|fault|coverage)\z/;

my $redis = Billing::Server->new;

$redis->start;
$redis->command(@$_) for Billing::Fixtures::commands(),
    [ 'SET', 'billing:token:' . sha256_hex('token'), 'client' ];

# The http block with what each of the two modules needs: "ours", "nchan", and
# "redis" for an nchan that keeps its messages there.

sub http {
    my %with = map { $_ => 1 } @_;

    my ($upstream, $pass, $locations) = ('', '', '');

    if ($with{redis}) {
        $pass = 'nchan_redis_pass channels;';
        $upstream = "upstream channels { nchan_redis_server"
                    . " redis://127.0.0.1:$redis->{port}; }";
    }

    $locations .= <<"END" if $with{ours};
        location = $URI {
            billing_redis unix:$redis->{socket};
            billing_cameras_list;
        }
END

    $locations .= <<"END" if $with{nchan};
        location = /publish {
            nchan_publisher;
            nchan_channel_id \$arg_id;
            $pass
        }
        location = /subscribe {
            nchan_subscriber;
            nchan_channel_id \$arg_id;
            nchan_subscriber_first_message oldest;
            $pass
        }
END

    return <<"END";
    $upstream
    server {
        listen 127.0.0.1:%PORT%;
$locations
    }
END
}

sub request {
    my ($nginx, $text) = @_;

    my $client = Billing::Client->new(port => $nginx->{port});
    $client->send($text);

    return $client->response;
}

my $channel = 0;

sub ours_works {
    my ($nginx, $name) = @_;

    my $failed = 0;

    for (1 .. 5) {
        my $res = request($nginx, "GET $URI?login=admin HTTP/1.1\r\nHost: a\r\n"
                                  . "Authorization: Bearer token\r\n\r\n");
        $failed++ if $res->{body} ne Billing::Fixtures::answer(3, 4);
    }

    is($failed, 0, "$name: the module answers");
}

# nchan may still be connecting to Redis.

sub nchan_works {
    my ($nginx, $name) = @_;

    my ($id, $published) = ($$ . '.' . ++$channel);

    Billing::Nginx::wait_until(5, sub {
        $published = request($nginx, "POST /publish?id=$id HTTP/1.1\r\nHost: a\r\n"
                                     . "Content-Length: 5\r\n\r\nhello")->{status};
        return $published =~ /\A20[12]\z/;
    });

    like($published, qr/\A20[12]\z/, "$name: nchan takes a message");
    is(request($nginx, "GET /subscribe?id=$id HTTP/1.1\r\nHost: a\r\n\r\n")->{body}, 'hello',
       "$name: nchan passes it on");
}

sub both_work {
    my ($nginx, $name) = @_;

    my @workers = sort $nginx->workers;

    for (1 .. 2) {
        ours_works($nginx, $name);
        nchan_works($nginx, $name);
    }

    is(join(' ', sort $nginx->workers), "@workers", "$name: no worker was lost");
}

# Modules are named "ours" and "nchan", in the order in which they are loaded.

sub modules {
    return [ grep { length } map { $_ eq 'ours' ? $MODULE : $NCHAN } @_ ];
}

sub start {
    my ($modules, @with) = @_;

    return Billing::Nginx->start(http(@with), modules => modules(@$modules),
                                 level => 'info', workers => 2);
}

sub reload {
    my ($nginx, $name, $modules, @with) = @_;

    ok($nginx->reconfigure(http(@with), modules => modules(@$modules), level => 'info',
                           workers => 2),
       "$name: reload");
}

sub ends {
    my ($nginx, $name) = @_;

    $nginx->signal('QUIT');
    is($nginx->ended(10), 'status 0', "$name: nginx ends");
    unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]|open socket/, "$name: no alert");
}

# a module that is linked into nginx precedes all others

for my $order ([ 'ours', 'nchan' ], length $MODULE ? [ 'nchan', 'ours' ] : ()) {

    for my $nchan ([ 'nchan' ], [ 'nchan', 'redis' ]) {
        my $name = "@$order, nchan " . (@$nchan == 2 ? 'with' : 'without') . ' Redis';

        my $nginx = start($order, 'ours', @$nchan);
        both_work($nginx, $name);
        ends($nginx, $name);
    }

    # An nchan with Redis reads freed memory after a reload, and may crash,
    # whatever other modules are there: memcheck says so of nchan 1.3.6 alone.

    my $name = "@$order, ours is added by a reload";

    my $nginx = start([ 'nchan' ], 'nchan');
    nchan_works($nginx, "$name: nchan alone");
    reload($nginx, $name, $order, 'ours', 'nchan');
    both_work($nginx, $name);
    ends($nginx, $name);

    $name = "@$order, nchan is added by a reload";

    $nginx = start([ 'ours' ], 'ours');
    ours_works($nginx, "$name: ours alone");
    reload($nginx, $name, $order, 'ours', 'nchan');
    both_work($nginx, $name);
    ends($nginx, $name);
}

done_testing();
