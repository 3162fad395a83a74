# Checks real answers of every status against conf/openapi.yaml.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use JSON::PP ();

use Billing::Client;
use Billing::FakeRedis;
use Billing::Fixtures;
use Billing::Nginx;
use Billing::Server;

my $ROOT = "$FindBin::RealBin/..";
my $URI = '/api/v1/billing/cameras/list';

# the schema of OpenAPI, from a package that Debian 12 does not have

my $SCHEMA = "$ROOT/build/openapi/usr/lib/python3/dist-packages"
             . '/openapi_spec_validator/resources/schemas/v3.1/schema.json';

if (!-e $SCHEMA) {
    system('sh', "$ROOT/t/get-package.sh", qw(python3-openapi-spec-validator
                                              openapi forky sid));
    die "no schema of OpenAPI\n" if !-e $SCHEMA;
}

my @commands = (Billing::Fixtures::commands(),
                [ 'SET', 'billing:token:' . sha256_hex('good'), 'client' ],
                [ 'SET', 'billing:camera:99', 'no hash' ]);

my $redis = Billing::Server->new;
$redis->start;
$redis->command(@$_) for @commands;

my $fake = Billing::FakeRedis->start("HMGET => drop\n", @commands);

# what a client over its limit is told is in the example of a deployment

my $conf = do {
    open my $in, '<', "$ROOT/conf/billing.conf" or die "billing.conf: $!\n";
    local $/;
    <$in>;
};
my ($too_many) = $conf =~ /(location \@billing_too_many \{.*?\n    \})/s
    or die "no \@billing_too_many in billing.conf\n";

my $nginx = Billing::Nginx->start(<<"END");
    billing_redis unix:$redis->{socket};
    limit_req_zone \$uri zone=limit:64k rate=1r/m;
    client_max_body_size 1k;
    server {
        listen 127.0.0.1:%PORT%;
        location = $URI {
            billing_cameras_list;
        }
        location = /post {
            billing_cameras_list;
            billing_allow_post on;
        }
        location = /empty {
            billing_cameras_list;
            billing_redis_prefix empty:;
            billing_token off;
        }
        location = /down {
            billing_cameras_list;
            billing_redis unix:/nonexistent.sock;
        }
        location = /limited {
            billing_cameras_list;
            limit_req zone=limit;
            limit_req_status 429;
            error_page 429 = \@billing_too_many;
        }
        $too_many
        location = /slow {
            billing_cameras_list;
            billing_redis redis://127.0.0.1:$fake->{port};
            billing_redis_timeout 2s;
        }
    }
END

my @answers;

sub ask {
    my ($status, $name, $uri, %opt) = @_;

    my $method = $opt{method} // 'GET';
    my $token = exists $opt{token} ? $opt{token} : 'good';
    my $text = "$method $uri HTTP/1.1\r\nHost: localhost\r\n";

    $text .= "Authorization: Bearer $token\r\n" if defined $token;

    if (defined $opt{body}) {
        my $type = $opt{type} // 'application/json';
        $text .= "Content-Type: $type\r\nContent-Length: " . length($opt{body})
                 . "\r\n";
    }

    my $client = Billing::Client->new(port => $nginx->{port});
    $client->send("$text\r\n" . ($opt{body} // ''));
    my $res = $client->response(head => $method eq 'HEAD');
    $client->close;

    is($res->{status}, $status, "$name: status");

    my %headers = map { lc($_->[0]) => $_->[1] }
                  map { [ split /:\s*/, $_, 2 ] }
                  grep { /:/ } split /\r\n/, $res->{headers};

    my %sent = defined $opt{body} && !$opt{type} && $opt{body} =~ /\A\{.*\}\z/s
               ? (request => $opt{body}) : ();

    push @answers, { name => $name, method => $method, status => 0 + $res->{status},
                     headers => \%headers, body => $res->{body}, %sent };
}

ask(200, 'cameras', "$URI?login=admin");
ask(200, 'all kinds of cameras', "$URI?login=mixed");
ask(200, 'a body', $URI, body => '{"cameras_ids":["3",4],"login":"admin"}');
ask(200, 'an array with a gap', $URI, body => '{"cameras_ids":{"0":3,"2":"4"}}');
ask(200, 'objects', $URI, body => '{"cameras_ids":{},"cameras_uuid":{"a":"3","b":4}}');
ask(200, 'integers', $URI, body => '{"cameras_ids":[3.0,1e1,"+3"," 4\n","-0"]}');
ask(200, 'null', "$URI?login=nobody");
ask(200, 'HEAD', "$URI?login=admin", method => 'HEAD');
ask(200, 'POST', '/post', method => 'POST', body => '{"cameras_uuid":[3]}');
ask(401, 'no token', "$URI?login=admin", token => undef);
ask(401, 'a bad token', "$URI?login=admin", token => 'bad');
ask(405, 'another method', "$URI?login=admin", method => 'DELETE');
ask(405, 'another method than POST', '/post?login=admin', method => 'PUT');
ask(413, 'a large body', $URI, body => 'x' x 2000);
ask(422, 'no parameter', $URI);
ask(422, 'no array', $URI, body => '{"cameras_ids":3,"cameras_uuid":"x"}');
ask(422, 'wrong members', $URI, body => '{"cameras_ids":["x"],"cameras_uuid":[null]}');
ask(422, 'too many', "$URI?" . join('&', ('cameras_ids[]=3') x 31));
ask(422, 'no string', $URI, body => '{"login":5}');
ask(422, 'too long', "$URI?login=" . 'x' x 256);
ask(422, 'keys of the query', "$URI?cameras_ids[a]=x");
ask(422, 'an empty key', "$URI", body => '{"cameras_ids":{"":"x"}}');
ask(422, 'a key with dots', "$URI", body => '{"cameras_uuid":{"a.b\n":1.5}}');
ask(422, 'a long key', "$URI", body => '{"cameras_ids":{"' . 'k' x 256 . '":3}}');
ask(422, 'two messages', $URI, body => '{"cameras_ids":"' . 'x' x 31 . '"}');
ask(422, 'too many in an object', $URI,
    body => '{"cameras_ids":{' . join(',', map { "\"$_\":$_" } 1 .. 31) . '}}');
ask(422, 'a fraction', $URI, body => '{"cameras_ids":[3.5]}');
ask(422, 'a zero in front', $URI, body => '{"cameras_ids":["03"]}');
ask(422, 'a blank identifier', $URI, body => '{"cameras_uuid":[" "]}');
ask(422, 'no JSON', $URI, body => '{"login":');
ask(422, 'no JSON by its type', $URI, body => '{"login":"admin"}', type => 'text/plain');
ask(200, 'below the limit', '/limited?login=admin');
ask(429, 'over the limit', '/limited?login=admin');
ask(502, 'wrong data', "$URI?cameras_ids[]=99");
ask(503, 'never loaded', '/empty?login=admin');
ask(503, 'no Redis', '/down?login=admin');
ask(504, 'a slow Redis', '/slow?cameras_ids[]=3');

# Each change here breaks an answer, and has to be found.

my %BROKEN = (
    'a member more'      => sub { $_[0]{body} =~ s/"name"/"colour":"red","name"/ },
    'a member less'      => sub { $_[0]{body} =~ s/"group_type":[^,]*,// },
    'a stream less'      => sub { $_[0]{body} =~ s/"type":"high",// },
    'a number as string' => sub { $_[0]{body} =~ s/"id":3/"id":"3"/ },
    'an empty array'     => sub { $_[0]{body} = '[]' },
    'a header less'      => sub { delete $_[0]{headers}{'cache-control'} },
    'another status'     => sub { $_[0]{status} = 418 },
    'another type'       => sub { $_[0]{headers}{'content-type'} = 'text/html' },
    'a wrong request'    => sub { $_[0]{request} = '{"login":5}' },
);

for my $name (sort keys %BROKEN) {
    my %answer = (%{ $answers[0] }, name => "broken: $name",
                  headers => { %{ $answers[0]{headers} } });
    $BROKEN{$name}->(\%answer);
    push @answers, \%answer;
}

my $file = File::Temp->new(TEMPLATE => 'billing-answers-XXXXXX', TMPDIR => 1);
print $file JSON::PP->new->ascii->encode([ map {
    my %answer = %$_;
    utf8::decode($answer{body});
    \%answer;
} @answers ]);
$file->flush;

# the system's Python: only that one has the packages

my @lines = split /\n/, qx(/usr/bin/python3 $FindBin::RealBin/lib/openapi.py \\
                           $ROOT/conf/openapi.yaml $SCHEMA <$file);

is(scalar @lines, 1 + @answers, 'there is a verdict for each');

for my $line (@lines) {
    like($line, $line =~ /broken:/ ? qr/\Anot ok / : qr/\Aok /, $line);
}

my %seen = map { $_->{status} => 1 } @answers;
is(join(' ', sort keys %seen), '200 401 405 413 418 422 429 502 503 504', 'all statuses');

$nginx->stop;
$fake->stop;

done_testing();
