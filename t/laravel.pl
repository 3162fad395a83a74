# Run by laravel.sh, which says what this is for.

use strict;
use warnings;

use Digest::SHA ();
use File::Temp ();
use IO::Socket::INET ();
use IPC::Open2 qw(open2);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX ();
use Time::HiRes qw(sleep);

use Billing::Client;
use Billing::Fixtures;
use Billing::Oracle;
use Billing::Server;
use Grammar;

my ($module, $requests, $seed, @laravel) = @ARGV;

my $URI = '/api/v1/billing/cameras/list';
my $TOKEN = 'token-of-laravel';
my $MAX_FAULTS = 10;

my %WORLD = (camera => \%Billing::Fixtures::CAMERA, synced => 1,
             external => \%Billing::Fixtures::EXTERNAL,
             login => \%Billing::Fixtures::LOGIN);

my $server = Billing::Server->new;
my $dir = File::Temp->newdir('billing-laravel-XXXXXX', TMPDIR => 1);
my $port = Billing::Server::free_port();
my $json = JSON::PP->new->utf8;
my ($nginx, $laravel, $from, $to);

sub start_nginx {
    my $user = $> == 0 ? 'user root root;' : '';

    open my $conf, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $conf <<"END";
load_module $module;
daemon off;
$user
pid $dir/nginx.pid;
error_log $dir/error.log error;
events { }
http {
    access_log off;
    client_body_temp_path $dir/body;
    large_client_header_buffers 8 64k;
    keepalive_requests 1000000;
    billing_redis unix:$server->{socket};
    billing_redis_timeout 20s;
    server {
        listen 127.0.0.1:$port;
        location = $URI { billing_cameras_list; }
    }
}
END
    close $conf;

    $nginx = fork // die "fork: $!\n";

    if ($nginx == 0) {
        exec 'nginx', '-p', "$dir/", '-e', 'error.log', '-c', "$dir/nginx.conf"
            or POSIX::_exit(1);
    }
}

# A request for both sides: from the fuzzer's grammar, with only its parameters.

sub request {
    my $request = Grammar::request(token => $TOKEN);

    delete $request->{query} if !length($request->{query} // '');
    delete $request->{body} if !length($request->{body} // '');

    return $request;
}

sub ask {
    my ($request) = @_;

    my $target = $URI . (defined $request->{query} ? "?$request->{query}" : '');
    my $body = $request->{body} // '';

    my $client = Billing::Client->new(port => $port);
    $client->send("GET $target HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $TOKEN\r\n"
                  . "Content-Type: application/json\r\nContent-Length: " . length($body)
                  . "\r\nConnection: close\r\n\r\n$body");
    return $client->response;
}

# Laravel's verdict in the form of the module's answer, or why there is none.

sub expected {
    my ($request) = @_;

    print $to $json->encode({ map { $_ => defined $request->{$_}
                                          ? encode_base64($request->{$_}, '') : undef }
                              qw(query body) }), "\n";

    my $verdict = $json->decode(<$from> // die "Laravel has ended\n");

    return (undef, $verdict->{none}) if $verdict->{none};

    if ($verdict->{message}) {
        my $string = sub {
            my $text = decode_base64($_[0]);
            return Billing::Fixtures::string($text);
        };

        return '422 {"message":' . $string->($verdict->{message}) . ',"errors":{'
               . join(',', map {
                     my ($key, @messages) = @$_;
                     $string->($key) . ':[' . join(',', map { $string->($_) } @messages) . ']'
                 } @{ $verdict->{errors} }) . '}}';
    }

    my %sent = map {
        my $texts = $verdict->{$_};
        $_ => [ 'array', [ map { [ 0, [ 'string', decode_base64($_) ] ] } @{ $texts // [] } ] ]
    } qw(cameras_ids cameras_uuid);

    $sent{login} = defined $verdict->{login}
                   ? [ 'string', decode_base64($verdict->{login}) ] : [ 'null' ];

    my $answer = Billing::Oracle::cameras(\%WORLD, \%sent);
    return "$answer->{status} $answer->{body}";
}

sub printable {
    my ($text) = @_;

    $text =~ s/([\\\x00-\x1f\x7f-\xff])/sprintf '\\x%02x', ord $1/ge;
    return length $text > 3000 ? substr($text, 0, 3000) . '...' : $text;
}

$| = 1;

END {
    local $?;
    kill 'TERM', grep { $_ } $nginx, $laravel;
    waitpid $_, 0 for grep { $_ } $nginx, $laravel;
}

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';

$server->start;
Billing::Redis->new($server->{socket})->pipeline(
    Billing::Fixtures::commands(),
    [ 'SET', 'billing:token:' . Digest::SHA::sha256_hex($TOKEN), 'client' ]);

start_nginx();
$laravel = open2($from, $to, @laravel);

print "seed $seed\n";

my (%count, %otherwise);
my $faults = 0;

for (my $n = 0; $n < $requests && $faults < $MAX_FAULTS; $seed++) {
    srand $seed;
    my $request = request();

    # decided otherwise: the module names what it cannot parse

    my $body = $request->{body} // '';

    if ($body =~ /[^ \t\n\r\x0b\x0c]/ && !eval { Billing::Oracle::parse($body) }) {
        die $@ if ref $@ ne 'Billing::Oracle::Fault';
        $otherwise{'JSON that does not parse'}++;
        next;
    }

    my ($want, $why) = expected($request);

    if (!$want) {
        $otherwise{$why}++;
        next;
    }

    my $response = ask($request);
    my $got = "$response->{status} $response->{body}";

    $n++;
    $count{ substr $want, 0, 3 }++;
    $count{ $body eq '' ? 'query' : defined $request->{query} ? 'both' : 'body' }++;

    next if $got eq $want;

    $faults++;
    print "\nSEED $seed\n",
          "query:   ", printable($request->{query} // ''), "\n",
          "body:    ", printable($body), "\n",
          "Laravel: ", printable($want), "\n",
          "module:  ", printable($got), "\n";
}

print join(', ', map { "$_: $count{$_}" } sort keys %count), "\n";
print "not compared: ", join(', ', map { "$otherwise{$_} ($_)" } sort keys %otherwise), "\n";
print $faults ? "FAILED\n" : "all alike\n";

exit($faults ? 1 : 0);
