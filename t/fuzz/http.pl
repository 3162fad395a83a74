# Run by http.sh, which says what this is for.

use strict;
use warnings;

use Digest::SHA ();
use File::Temp ();
use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes qw(sleep time);

use Billing::Fixtures;
use Billing::Oracle;
use Billing::Server;
use Grammar;

my ($binary, $seconds, $seed) = @ARGV;

my $URI = '/api/v1/billing/cameras/list';
my $TOKEN = 'token-of-http';
my $LONG_TOKEN = 'eyJhbGciOi.' . 'Jx_~+/-' x 700 . '==';
my $MAX_BODY = 65536;
my $MAX_FAULTS = 10;

# errors of clients, and errors that the oracle expects

my $EXPECTED_LOG = 'client intended to send too large body|client sent invalid chunked body'
                   . '|"none:synced_at" does not exist: the cache has never been loaded'
                   . '|has no data loaded: a key that is required does not exist'
                   . '|"[^"]*/html/.*" (?:failed|is forbidden|is not found)';

my %CAMERA = (%Billing::Fixtures::CAMERA,
              map { $_ => { external_id => "city-$_", name => "Crossing $_",
                            streams => 'high=active' } } 1001 .. 1300);
my %LOGIN = (%Billing::Fixtures::LOGIN, city => [ 1001 .. 1300 ]);
my %CACHE = (camera => \%CAMERA, external => \%Billing::Fixtures::EXTERNAL,
             login => \%LOGIN, synced => 1);
my %TOKENS = map { $_ => 1 } $TOKEN, $LONG_TOKEN;

# The locations of nginx: their configuration, and the same settings for the oracle.

my @WORLDS = (
    { %CACHE, path => '/a', tokens => \%TOKENS, conf => '' },
    { %CACHE, path => '/small', tokens => \%TOKENS, post => 1, conf => '
        billing_allow_post on; client_body_buffer_size 1; client_body_in_single_buffer on;' },
    { %CACHE, path => '/few', max => 3, conf => '
        billing_token off; billing_max_ids 3; billing_batch 2; client_body_in_file_only clean;' },
    { %CACHE, path => '/api-key', tokens => \%TOKENS, key => 1, conf => '
        billing_token $http_x_api_key; client_body_buffer_size 64; postpone_output 1;' },
    { tokens => \%TOKENS, path => '/empty', conf => 'billing_redis_prefix none:;' },
);

my $server = Billing::Server->new;
my $dir = File::Temp->newdir('billing-fuzz-XXXXXX', TMPDIR => 1);
my $port = Billing::Server::free_port();
my $nginx;

my %count = (requests => 0, batches => 0, noise => 0);
my $faults = 0;

sub load {
    my @commands = (Billing::Fixtures::commands(),
        (map { [ 'HSET', "billing:camera:$_", %{ $CAMERA{$_} } ] } 1001 .. 1300),
        [ 'ZADD', 'billing:login:city', map { ($_, $_) } 1001 .. 1300 ]);

    for my $prefix ('billing:', 'none:') {
        push @commands, map {
            [ 'SET', "${prefix}token:" . Digest::SHA::sha256_hex($_), 'client' ]
        } keys %TOKENS;
    }

    Billing::Redis->new($server->{socket})->pipeline(@commands);
}

sub start_nginx {
    my $user = $> == 0 ? 'user root root;' : '';
    my $locations = join '', map { "location $_->{path} { billing_cameras_list; $_->{conf} }\n" }
                    @WORLDS;

    open my $conf, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $conf <<"END";
daemon off;
$user
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log error;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    large_client_header_buffers 8 64k;
    client_max_body_size $MAX_BODY;
    lingering_timeout 1s;
    keepalive_requests 10000;
    billing_redis unix:$server->{socket};
    billing_redis_timeout 20s;
    server {
        listen 127.0.0.1:$port;
        $locations
    }
}
END
    close $conf;

    $nginx = fork // die "fork: $!\n";

    if ($nginx == 0) {
        $ENV{ASAN_OPTIONS} = "detect_leaks=1:detect_odr_violation=0:log_path=$dir/sanitizer";
        $ENV{UBSAN_OPTIONS} = "print_stacktrace=1:log_path=$dir/sanitizer";
        exec $binary, '-p', "$dir/", '-e', 'error.log', '-c', "$dir/nginx.conf"
            or POSIX::_exit(1);
    }

    for (1 .. 200) {
        return if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
        sleep 0.05;
    }

    die "nginx did not start:\n", text_of("$dir/error.log");
}

sub text_of {
    my ($file) = @_;

    open my $in, '<', $file or return '';
    local $/;
    return scalar <$in> // '';
}

# A request as it goes over the wire.

sub wire {
    my ($world, $request, $last) = @_;

    my $target = $world->{path};
    $target .= "?$request->{query}" if defined $request->{query};

    # nginx takes an absolute URI, and normalizes a path

    my $kind = rand;
    $target = "http://x$target" if $kind < 0.02;
    $target = "/./x/..$target" if $kind > 0.98;

    my @headers = 'Host: x';

    if (defined $request->{token}) {
        my $name = $world->{key} ? 'X-Api-Key' : 'Authorization';
        my $scheme = $world->{key} ? '' : Grammar::one('Bearer ', 'Bearer ', 'bearer ', 'BEARER ');
        push @headers, "$name: $scheme$request->{token}";
    }

    push @headers, "Content-Type: $request->{type}" if defined $request->{type};
    push @headers, Grammar::one('Accept: */*', 'X: ' . 'y' x 3000, 'Range: bytes=0-1',
                                'Accept-Encoding: gzip', 'TE: trailers',
                                'If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT')
        if Grammar::chance(0.1);

    my $version = $last && Grammar::chance(0.2) ? '1.0' : '1.1';
    push @headers, 'Connection: close' if $last;

    my $body = $request->{body} // '';

    if ($version eq '1.1' && length $body && length $body <= $MAX_BODY && Grammar::chance(0.3)) {
        push @headers, 'Transfer-Encoding: ' . Grammar::one('chunked', 'Chunked');
        my $chunks = '';

        while (length $body) {
            my $chunk = substr $body, 0, 1 + rand Grammar::one(1, 10, length $body), '';
            $chunks .= sprintf("%x", length $chunk) . Grammar::one('', '', '', ';a=b', ' ')
                       . "\r\n$chunk\r\n";
        }

        $body = $chunks . Grammar::one('0', '0', '000', '0;x') . "\r\n"
                . Grammar::one('', '', '', "X: y\r\n") . "\r\n";

    } elsif (defined $request->{body} || Grammar::chance(0.05)) {
        push @headers, 'Content-Length: ' . length $body;
    }

    push @headers, 'Expect: 100-continue' if Grammar::chance(0.01);

    @headers = List::Util::shuffle(@headers);
    s/\A([^:]+)/Grammar::one(lc $1, uc $1)/e for grep { Grammar::chance(0.1) } @headers;

    return "$request->{method} $target HTTP/$version\r\n"
           . join('', map { "$_\r\n" } @headers) . "\r\n$body";
}

# Requests for one connection, all sent before the first answer is read.

sub batch {
    my @requests;
    my $n = 1 + int rand 30;

    for my $i (1 .. $n) {
        my $world = Grammar::one($WORLDS[0], $WORLDS[0], @WORLDS);
        my $request = Grammar::request(token => Grammar::one($TOKEN, $TOKEN, $TOKEN,
                                                             $LONG_TOKEN));

        if ($i == $n && Grammar::chance(0.01)) {
            $request->{body} = ' ' x ($MAX_BODY + Grammar::one(0, 1, 100000));
        }

        my $wire = wire($world, $request, $i == $n);
        my $answer = length($request->{body} // '') > $MAX_BODY
                     ? { status => 413, html => 1, like => qr/413 Request Entity Too Large/ }
                     : Billing::Oracle::answer($world, $request);

        push @requests, { wire => $wire, answer => $answer, method => $request->{method} };
    }

    return @requests;
}

# Sends and reads at once, in pieces, until nginx closes.

sub exchange {
    my ($out, $half_close) = @_;

    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
        or return (undef, "cannot connect: $!");

    my $select = IO::Select->new($sock);
    my $in = '';
    my $sent = 0;
    my $end = time + 20;
    my $piece = Grammar::chance(0.8) ? 1_000_000 : 1 + int rand 3000;

    $sock->blocking(0);
    $sock->shutdown(1) if $half_close && !length $out;

    while (time < $end) {
        my $todo = length($out) - $sent;

        if ($todo) {
            my $n = syswrite $sock, $out, $piece, $sent;
            $sent += $n if defined $n;
            $sent = length $out if !defined $n && !$!{EAGAIN};
            $sock->shutdown(1) if $sent == length $out && $half_close;
        }

        my $more = $sent < length $out;

        if ($more) {
            IO::Select->select($select, $select, undef, 1);
        } else {
            $select->can_read(1);
        }

        my $n = sysread $sock, $in, 1 << 18, length $in;

        return $in if defined $n ? $n == 0 : !$!{EAGAIN};
    }

    return (undef, 'no end within 20 seconds, after ' . length($in) . ' bytes');
}

# Takes the first answer from a text, or returns nothing if it is not complete.

sub take {
    my ($in, $head) = @_;

    $$in =~ s/\AHTTP\/1\.1 100 Continue\r\n\r\n//;
    $$in =~ s/\A(HTTP\/1\.1 (\d+) .*?\r\n)\r\n//s or return;

    my %got = (headers => $1, status => $2, body => '');

    return \%got if $head;

    if ($got{headers} =~ /^Content-Length: (\d+)\r$/mi) {
        return if length $$in < $1;
        $got{body} = substr $$in, 0, $1, '';

    } elsif ($got{headers} =~ /^Transfer-Encoding: chunked\r$/mi) {
        while ($$in =~ s/\A([0-9a-f]+)\r\n//) {
            my $size = hex $1;
            return if length $$in < $size + 2;
            $got{body} .= substr $$in, 0, $size, '';
            $$in =~ s/\A\r\n// or return;
            return \%got if !$size;
        }
        return;

    } else {
        $got{body} = $$in;
        $$in = '';
    }

    return \%got;
}

# The first difference between an answer and the expected one, or ''.

sub compare {
    my ($want, $got, $method) = @_;

    my $headers = $got->{headers};

    return "status $got->{status}" if $got->{status} != $want->{status};

    for my $header (@{ $want->{headers} // [] }, $want->{html} ? () :
                    ("Content-Type: application/json\r\n", "Cache-Control: no-store\r\n"))
    {
        return "no \"$header\"" if index("\r\n$headers", "\r\n$header") < 0;
    }

    if ($method eq 'HEAD') {
        return 'a body with HEAD' if length $got->{body};
        return 'another length' if defined $want->{body}
            && $headers =~ /^Content-Length: (\d+)/mi && $1 != length $want->{body};
        return '';
    }

    if (defined $want->{body}) {
        return $got->{body} eq $want->{body} ? '' : 'another body';
    }

    return 'another body' if $got->{body} !~ $want->{like};
    return '';
}

sub printable {
    my ($text) = @_;

    $text =~ s/([\\\x00-\x09\x0b-\x1f\x7f-\xff])/sprintf '\\x%02x', ord $1/ge;
    $text =~ s/\n(?!\z)/\\x0a\n/g;
    $text =~ s/((.{1,12}?)\2{15,})/"{$2 x " . length($1) \/ length($2) . '}'/ge;
    return length $text > 4000 ? substr($text, 0, 4000) . '...' : $text;
}

sub fault {
    my ($seed, $why, $request, $got) = @_;

    print "\nSEED $seed: $why\n";

    if ($request) {
        my $want = $request->{answer};
        print "request:  ", printable($request->{wire}), "\n",
              "expected: $want->{status} ", printable($want->{body} // "$want->{like}"),
              $want->{why} ? " ($want->{why} at $want->{at})" : '', "\n";
    }

    if ($got) {
        print "got:      $got->{status} ", printable($got->{body}), "\n";
    }

    $faults++;
}

sub run_batch {
    my ($seed) = @_;

    srand $seed;

    my @requests = batch();
    my $out = join '', map { $_->{wire} } @requests;

    $count{batches}++;

    # damaged requests: nginx only has to survive them

    if (Grammar::chance(0.05)) {
        $count{noise}++;
        $out = Grammar::mutate($out) for 1 .. 1 + rand 3;

        my ($in, $why) = exchange($out, 1);
        fault($seed, "noise: $why") if !defined $in;
        return;
    }

    my ($in, $why) = exchange($out);

    if (!defined $in) {
        return fault($seed, $why);
    }

    for my $request (@requests) {
        my $got = take(\$in, $request->{method} eq 'HEAD');

        $count{requests}++;

        if (!$got) {
            return fault($seed, 'no answer', $request, { status => 'rest', body => $in });
        }

        $count{ $got->{status} }++;
        my $error = compare($request->{answer}, $got, $request->{method});

        if ($error) {
            fault($seed, $error, $request, $got);
            return if $request->{method} eq 'HEAD';
        }
    }

    fault($seed, 'more than the answers', undef, { status => 'rest', body => $in })
        if length $in;
}

# The first line of the log, or the report of a sanitizer, that is not expected.

sub log_fault {
    my ($log) = text_of("$dir/error.log")
        =~ /^(.* \[(?:error|crit|alert|emerg)\] (?!.*(?:$EXPECTED_LOG)).*)$/m;

    for my $file (glob "$dir/sanitizer*") {
        $log = text_of($file);
    }

    return $log;
}

$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub stop_nginx {
    my ($signal) = @_;

    return if !$nginx;
    kill $signal, $nginx;
    waitpid $nginx, 0;
    undef $nginx;
}

END {
    local $?;
    stop_nginx('TERM');
}

$server->start;
load();
start_nginx();

print "seed $seed\n";

my $start = time;
my $look = $start;

while (time < $start + $seconds && $faults < $MAX_FAULTS) {
    run_batch($seed++);

    if (time > $look + 1) {
        $look = time;

        if (my $log = log_fault()) {
            fault($seed - 1, "about here nginx logged:\n$log");
            last;
        }
    }
}

my $took = time - $start;

stop_nginx('QUIT');

if (!$faults and my $log = log_fault()) {
    fault($seed - 1, "in the end nginx logged:\n$log");
}

printf "%d requests in %d batches, %d batches of noise, %d s, %d a minute\n",
       @count{qw(requests batches noise)}, $took, $count{requests} * 60 / $took;
print join(', ', map { "$_: $count{$_}" } grep { /\d/ } sort keys %count), "\n";
print "next seed $seed\n";

exit($faults ? 1 : 0);
