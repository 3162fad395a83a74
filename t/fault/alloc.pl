# Each single allocation of a request fails once. The request then gets an error
# or is broken off, the worker survives, and the next request is answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use Test::Nginx::Socket 'no_plan';
use Billing 'alloc';
use Billing::Cluster;
use Billing::DNS;
use Billing::Sentinel;

my $file = $ENV{BILLING_FAULT} // die "run it as: sh t/run.sh --fault\n";
my $server = Billing::Server->new;

$server->start;
$server->command(@$_) for Billing::fixtures(),
    [ 'SET', "${Billing::Prefix}camera:20", 'no hash' ],
    [ 'ZADD', "${Billing::Prefix}login:held", map { ($_, $_) } 3, 4, 5, 20 ];

my $cluster = Billing::Cluster->new(masters => 2, replicas => 0);

$cluster->start;
$cluster->load(Billing::fixtures());

my $sentinels = Billing::Sentinel->set('mymaster', replicas => 0, sentinels => 1);

$sentinels->{servers}[0]->command(@$_) for Billing::fixtures();

# the master's host is a name

my $named = Billing::Sentinel->set('named', replicas => 0, sentinels => 1, host => 'localhost',
    sentinel => [ 'sentinel resolve-hostnames yes', 'sentinel announce-hostnames yes' ]);
my $dns = Billing::DNS->start;

$named->{servers}[0]->command(@$_) for Billing::fixtures();
$dns->answers("localhost 600 127.0.0.1\n");

END {
    local $?;
    $_->stop for grep { $_ } $cluster, $sentinels, $named;
}

my $seed = ($cluster->nodes)[0]{port};
my ($sentinel) = $sentinels->ports;

my ($of_named) = $named->ports;

$ENV{LD_PRELOAD} = $ENV{BILLING_FAULT_LIB};

my $nginx = Billing::Nginx->start(<<"END");
    billing_redis redis://default:any\@127.0.0.1:$server->{port}/0;
    billing_redis_prefix $Billing::Prefix;
    billing_batch 2;
    billing_status_clients 2;
    billing_cache off;
    server {
        listen 127.0.0.1:%PORT%;
        location = $Billing::URI {
            billing_cameras_list;
        }
        location = /file {
            billing_cameras_list;
            client_body_in_file_only clean;
        }
        location = /status {
            billing_status;
        }
        location = /kept {
            billing_cameras_list;
            billing_redis redis://127.0.0.1:$server->{port};
            billing_cache 1m;
            billing_cache_lag 1h;
        }
        location = /probed {
            billing_cameras_list;
            billing_redis redis://default:any\@127.0.0.1:$server->{port};
            billing_cache 1m;
            billing_cache_lag 1ms;
        }
        location = /cluster {
            billing_cameras_list;
            billing_redis redis://127.0.0.1:$seed;
            billing_cache off;
        }
        location = /cluster_kept {
            billing_cameras_list;
            billing_redis redis://127.0.0.1:$seed;
            billing_cache 1m;
            billing_cache_lag 100ms;
        }
        location = /sentinel {
            billing_cameras_list;
            billing_redis redis-sentinel://127.0.0.1:$sentinel/?master=mymaster;
            billing_cache off;
        }
        location = /named {
            billing_cameras_list;
            resolver 127.0.0.1:$dns->{port};
            billing_redis redis-sentinel://127.0.0.1:$of_named/?master=named;
            billing_cache off;
        }
        location = /variables {
            billing_cameras_list;
            add_header X-Of "\$billing_client \$billing_redis_server";
            add_header X-Numbers "\$billing_cameras \$billing_redis_time";
        }
    }
END

delete $ENV{LD_PRELOAD};

my ($worker) = $nginx->workers;

# The comment in alloc.c describes the file.

sub arm {
    my ($n) = @_;

    open my $out, '+<', $file or die "$file: $!\n";
    syswrite $out, pack 'q3 a1024', $n, 0, 0, '';
}

sub armed {
    open my $in, '<', $file or die "$file: $!\n";
    sysread $in, my $bytes, 1048;

    return (unpack 'q3 Z1024', $bytes)[1 .. 3];
}

sub disarm {
    my @seen = armed();

    open my $out, '+<', $file or die "$file: $!\n";
    syswrite $out, pack 'q', 0;

    return @seen;
}

sub ask {
    my %opt = @_;

    my $client = $opt{client} // Billing::client(port => $nginx->{port});
    $client->send(Billing::text($opt{body}, %opt));
    return $client->response;
}

# A kept connection whose previous request had a valid token. With "kept" the
# token is still valid, with "revoked" it is not.

sub kept {
    my %opt = @_;

    my $token = $opt{token} // $Billing::Token;
    my @key = "${Billing::Prefix}token:" . Billing::sha256($token);
    my $client = Billing::client(port => $nginx->{port});

    $server->command('SET', @key, 'client') if $opt{revoked};
    ask(client => $client, token => $token, body => '{"cameras_ids":[3]}');
    $server->command('DEL', @key) if $opt{revoked};

    return (client => $client);
}

# A kind of request, with its answer when nothing fails, and another answer that
# is also accepted.

sub sweep {
    my ($kind, $status, $answer, %opt) = @_;

    my ($n, $failed, $spared, $unlike, $wrong, $over) = (0, 0, 0, 0, 0, 0);

    my $good = sub {
        my ($res) = @_;
        return $res->{status} == $status && $res->{complete}
               && (ref $answer ? $res->{body} =~ $answer : $res->{body} eq $answer);
    };

    ok($good->(ask(%opt)), "$kind: an answer while nothing fails");

    for ($n = 1; $n < 5000; $n++) {
        for my $of (@{ $opt{connect} // [] }) {
            $of->command('CLIENT', 'KILL', 'TYPE', $_, 'SKIPME', 'yes') for qw(normal pubsub);
        }

        my @client = $opt{kept} || $opt{revoked} ? kept(%opt) : ();
        arm($n);
        my $res = ask(%opt, @client);
        my ($count, $spare, $callers) = disarm();

        $spared += $spare;

        if (!$good->($res)) {
            $failed++;

            if ($res->{complete} && $res->{status} !~ /\A50[0234]\z/
                && !($opt{less} && $res->{body} =~ $opt{less}))
            {
                diag("$kind, allocation $n: $res->{status} $res->{body}");
                $wrong++;
            }
        }

        my $next = ask(%opt);

        if (!$good->($next)) {
            diag("$kind, after allocation $n: $next->{status} $next->{body}");
            $unlike++;
        }

        my ($now) = $nginx->workers;

        if (($now // 0) != $worker) {
            fail("$kind: the worker outlives allocation $n");
            diag("called by$callers");
            $worker = $now;
        }

        # a probe may add to the allocations of one request and not of another

        $over = $count < $n ? $over + 1 : 0;
        last if $over == 3;
    }

    $n -= $over - 1;

    cmp_ok($n, '<', 4990, "$kind: all of " . ($n - 1) . ' allocations');
    cmp_ok($failed, '>', 0, "$kind: $failed of them fail the request");
    is($wrong, 0, "$kind: with an error or the end of the connection");
    is($unlike, 0, "$kind: the next request is answered");
    diag("$kind: " . ($n - 1) . " allocations, $failed requests failed"
         . ($spared ? ", $spared allocations spared" : ''));
}

my $long = 'x' x 300;

my @kinds = (
    ids => [ 200, Billing::Fixtures::answer(3, 4, 5),
             body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    uuids => [ 200, Billing::Fixtures::answer(3, 5),
               body => '{"cameras_uuid":["3","cam-5","a","b","c","d"],"login":"' . "\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd" . '"}' ],
    login => [ 200, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'),
               body => '{"login":"mixed"}' ],
    'ids, kept' => [ 200, Billing::Fixtures::answer(3, 4, 5), kept => 1,
                     body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    'login, kept' => [ 200, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'),
                       kept => 1, body => '{"login":"mixed"}' ],
    'required, kept' => [ 422, Billing::Fixtures::required(), kept => 1, body => '{}' ],
    revoked => [ 401, '{"message":"Unauthenticated."}', revoked => 1, token => 'old',
                 body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    nobody => [ 200, 'null', body => '{"login":"nobody"}' ],
    'no token' => [ 401, '{"message":"Unauthenticated."}', token => undef ],
    'bad token' => [ 401, '{"message":"Unauthenticated."}', token => 'bad' ],
    errors => [ 422, Billing::Fixtures::errors([ 'cameras_ids', 'many' ], [ 'login', 'long' ],
                                               map { [ "cameras_uuid.$_", 'string' ] } 0 .. 4),
                body => '{"cameras_ids":[' . join(',', (3) x 31)
                        . '],"cameras_uuid":[null,null,null,null,null],"login":"' . "$long\"}" ],
    objects => [ 200, Billing::Fixtures::answer(3),
                 body => '{"cameras_ids":{"a":3,"b":4,"c":91,"d":"92","e":" 93"},'
                         . '"cameras_uuid":{"7":"\u0033"}}' ],
    'errors of objects' => [ 422, Billing::Fixtures::errors([ 'cameras_ids.a.B', 'integer' ],
                                                            [ 'cameras_uuid.', 'string' ]),
                             body => '{"cameras_ids":{"a.B":"x"},"cameras_uuid":{"":true}}' ],
    'errors of a query' => [ 422, Billing::Fixtures::errors([ 'cameras_ids.0', 'integer' ],
                                                            [ 'cameras_ids.k', 'integer' ]),
                             query => '?cameras_ids[]=x&cameras_ids[k][]=3' ],
    required => [ 422, Billing::Fixtures::required(), body => '{}' ],
    'no JSON' => [ 422, ask(body => '{"login":')->{body}, body => '{"login":' ],
    'another method' => [ 405, ask(method => 'PUT')->{body}, method => 'PUT' ],
    'wrong data' => [ 502, '{"message":"The camera cache gave no valid answer."}',
                      body => '{"cameras_ids":[20]}' ],
    'wrong data in the second batch' => [ 502, '{"message":"The camera cache gave no valid answer."}',
                                          body => '{"login":"held"}' ],
    query => [ 200, Billing::Fixtures::answer(3, 4),
               query => '?cameras_ids[]=3&cameras_ids%5B%5D=4&login=admin' ],
    file => [ 200, Billing::Fixtures::answer(3, 4), uri => '/file',
              body => '{"login":"admin","x":"' . 'y' x 40000 . '"}' ],
    status => [ 200, qr/\A\#\ HELP .*^nginx_billing_synced_age_seconds\{[^}]*\}\ \d+\n
                        .*^nginx_billing_client_requests_total\{client="other"\}\ \d+\n\z/msx,
                uri => '/status', less => qr/^nginx_billing_redis_up\{[^}]*\} 0$/m ],
    'status, JSON' => [ 200, qr/\A\{"version":.*"synced_age":\d+\}.*"other":\d+\}\}\z/s,
                        uri => '/status?format=json', less => qr/"up":false/ ],
    'status, HTML' => [ 200, qr/\A<!doctype html>.*<\/script>\n\z/s,
                        uri => '/status?format=html' ],
    'status, another method' => [ 405, qr/405/, uri => '/status', method => 'POST' ],
    variables => [ 200, Billing::Fixtures::answer(3), uri => '/variables',
                   body => '{"cameras_ids":[3]}' ],
    connect => [ 200, Billing::Fixtures::answer(3, 4), connect => [ $server ],
                 body => '{"cameras_ids":[3,4]}' ],
    'cache: ids' => [ 200, Billing::Fixtures::answer(3, 4), uri => '/kept',
                      body => '{"cameras_ids":[3,4]}' ],
    'cache: some ids' => [ 200, Billing::Fixtures::answer(3, 4, 5), uri => '/kept',
                           body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    'cache: uuids' => [ 200, Billing::Fixtures::answer(3, 5), uri => '/kept',
                        body => '{"cameras_uuid":["3","cam-5","a"]}' ],
    'cache: login' => [ 200, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'),
                        uri => '/kept', body => '{"login":"mixed"}' ],
    'cache: nobody' => [ 200, 'null', uri => '/kept', body => '{"login":"nobody"}' ],
    'cache: bad token' => [ 401, '{"message":"Unauthenticated."}', token => 'bad', uri => '/kept' ],
    'cache: connect' => [ 200, Billing::Fixtures::answer(3, 4), connect => [ $server ], uri => '/kept',
                          body => '{"cameras_ids":[3,4]}' ],
    'probes: ids' => [ 200, Billing::Fixtures::answer(3, 4, 5), uri => '/probed',
                       body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    'cluster: ids' => [ 200, Billing::Fixtures::answer(3, 4, 5), uri => '/cluster',
                        body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    'cluster: login' => [ 200, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'),
                          uri => '/cluster', body => '{"login":"mixed"}' ],
    'cluster: connect' => [ 200, Billing::Fixtures::answer(3, 4), uri => '/cluster',
                            connect => [ $cluster->nodes ], body => '{"cameras_ids":[3,4]}' ],
    'cluster, kept: ids' => [ 200, Billing::Fixtures::answer(3, 4, 5), uri => '/cluster_kept',
                              body => '{"cameras_ids":[3,4,5,91,92,93]}' ],
    'cluster, kept: connect' => [ 200, Billing::Fixtures::answer(3, 4), uri => '/cluster_kept',
                                  connect => [ $cluster->nodes ], body => '{"cameras_ids":[3,4]}' ],
    'sentinel: ids' => [ 200, Billing::Fixtures::answer(3, 4), uri => '/sentinel',
                         body => '{"cameras_ids":[3,4]}' ],
    'sentinel: connect' => [ 200, Billing::Fixtures::answer(3, 4), uri => '/sentinel',
                             connect => [ $sentinels->{servers}[0], $sentinels->{sentinels}[0] ],
                             body => '{"cameras_ids":[3,4]}' ],
    'probes: login' => [ 200, Billing::Fixtures::answer(4, 5, 7, 10, 12, '9007199254740991'),
                         uri => '/probed', body => '{"login":"mixed"}' ],
);

while (my ($kind, $case) = splice @kinds, 0, 2) {
    sweep($kind, @$case);
}

# What a worker's first request to its servers does only once: whichever
# allocation fails, later requests are answered.

sub first {
    my ($kind, $answer, %opt) = @_;

    my ($n, $over, $stuck) = (0, 0, 0);

    for ($n = 1; $n < 5000 && $over < 3; $n++) {
        my @old = $nginx->workers;
        $nginx->signal('HUP');
        $nginx->replaced(10, @old) or die "$kind: no new worker\n";

        arm($n);
        ask(%opt);
        my ($count, undef, $callers) = armed();

        if (!Billing::Nginx::wait_until(5, sub { ask(%opt)->{body} eq $answer })) {
            diag("$kind, for ever after allocation $n, called by$callers");
            $stuck++;
        }

        disarm();
        $over = $count < $n ? $over + 1 : 0;
    }

    cmp_ok($n, '<', 4990, "$kind: all of " . ($n - 4) . ' allocations');
    is($stuck, 0, "$kind: later requests are answered");
}

first('sentinel of a new worker', Billing::Fixtures::answer(3, 4), uri => '/named',
      body => '{"cameras_ids":[3,4]}');

my @bad = grep { /\[alert\]/ } split /\n/, $nginx->log_text;
is(join("\n", @bad), '', 'no alert in the log');

$nginx->signal('QUIT');
is($nginx->ended(5), 'status 0', 'nginx ends');
