# What all suites share. A suite begins with
#
#     use Test::Nginx::Socket 'no_plan';
#     use Billing 'params';
#     run_tests();
#
# and its blocks then have, beyond what Test::Nginx knows:
#
#   --- cases      Requests and what they answer, one a line:
#
#                      [?QUERY] [BODY] -> EXPECTED
#
#                  A body goes out as application/json; \xHH in it is a raw
#                  byte. EXPECTED is a list of camera ids, "null", "required"
#                  (the three errors of a request without a selector),
#                  "KEY: WORD, KEY: WORD" (the errors of a 422; the words are
#                  in Billing::Fixtures), "body" or "body REGEX" (the 422 for a
#                  body that cannot be used), or a status and a regex for the
#                  answer's text.
#   --- method     the method of the cases (GET)
#   --- headers    headers of the cases, instead of Content-Type and
#                  Authorization
#   --- redis      Commands for Redis, as for redis-cli, after the fixtures. A
#                  key begins with "billing:", which becomes the suite's prefix.
#   --- fake       Rules for a fake Redis (see Billing::FakeRedis), which takes
#                  the place of the real one; its port is in the configuration
#                  $TEST_NGINX_FAKE_PORT.
#   --- fake_log   regexes, one a line, that its log must match
#   --- no_fake_log    and must not match
#   --- fake2, --- fake3   further ones, with $TEST_NGINX_FAKE2_PORT, "fake2_log"
#                  and "no_fake2_log", and so on
#   --- server     Further arguments for a real Redis of the block's own, which
#                  has the fixtures (see Billing::Server); its port is in the
#                  configuration $TEST_NGINX_OWN_PORT.
#   --- route      further directives for the route's location
#   --- refuses    Directives that nginx -t has to refuse in the route's
#                  location, one mistake a line:
#
#                      DIRECTIVES -> REGEX
#
#                  for what it says; without a regex the message must have the
#                  directive's name and its value.
#   --- bare       no configuration but the block's own
#   --- master     runs with a master process and that many workers
#   --- also       headers that every case's answer must have besides
#   --- logged     regexes, one a line, that the error log must match
#   --- logged_times   lines of "N REGEX": so many lines of the log must match
#   --- errors_allowed     lets the log have an [error] that is not in "logged"
#   --- crit_allowed       and this a [crit]
#   --- not_in     The modes of run.sh that the block is left out of, one a line:
#
#                      MODE: REASON
#
#   --- run        Perl that runs once nginx is up: tests that need a connection
#                  of their own. The block's request follows.
#
# A block without any request asks the documentation's example, and so proves
# that the worker is alive and well after whatever was done to it. No block may
# leave an [alert], [crit] or [emerg] in the log, nor an [error] that it does
# not name.

package Billing;

use strict;
use warnings;

use Digest::SHA ();
use Test::More ();
use Test::Nginx::Socket ();
use Test::Nginx::Util ();
use Time::HiRes ();

use Billing::Client;
use Billing::FakeRedis;
use Billing::Fixtures;
use Billing::Nginx;
use Billing::Ports;
use Billing::Redis;
use Billing::Server;

our $URI = '/api/v1/billing/cameras/list';
our $EXAMPLE = '{"cameras_ids":[],"cameras_uuid":[],"login":"admin"}';

# how run.sh runs nginx

our $MODE = $ENV{TEST_NGINX_MODE} // '';

our ($Suite, $Prefix, $Token, $Fake, $Fake2, $Fake3, $Server);

# the sections with the rules of fake ones, and where these are kept

my %FAKES = (fake => \$Fake, fake2 => \$Fake2, fake3 => \$Fake3);

sub import {
    my ($class, $suite) = @_;

    $Suite = $suite;
    $Prefix = "t_$suite:";
    $Token = "token-of-$suite";

    $ENV{"TEST_NGINX_\U$_\E_PORT"} = 0 for keys %FAKES, 'own';

    start_redis();

    $SIG{PIPE} = 'IGNORE';

    # Test::Base evaluates sections in a package with a method of that name

    $SIG{__WARN__} = sub {
        warn @_ if $_[0] !~ /^Ambiguous call resolved as CORE::/;
    };

    Test::Nginx::Util::no_long_string();

    my $port = Billing::Ports::reserve();
    Test::Nginx::Util::server_port($port);
    Test::Nginx::Util::server_port_for_client($port);

    $Billing::Client::TIMEOUT *= $Billing::Nginx::SLOW;
    Test::Nginx::Util::timeout($Billing::Client::TIMEOUT)
        if Test::Nginx::Util::timeout() < $Billing::Client::TIMEOUT;

    Test::Nginx::Util::add_block_preprocessor(\&prepare);
    Test::Nginx::Util::add_test_cleanup_handler(\&finish);
}

sub sha256 {
    return Digest::SHA::sha256_hex($_[0]);
}

# Puts the suite's prefix and the token's key in a command's place.

sub expand {
    my @commands = @_;

    return map {
        my @words = @$_;
        $words[1] =~ s/\Abilling:/$Prefix/ if defined $words[1];
        \@words;
    } @commands;
}

sub fixtures {
    return expand(Billing::Fixtures::commands(),
                  [ 'SET', 'billing:token:' . sha256($Token), "client $Suite" ]);
}

# The Redis that all blocks of a suite use. Every suite has its own, so that
# suites, and parts of one suite, run side by side.

my $Redis;

sub start_redis {
    $Redis = Billing::Server->new;
    $Redis->start;

    $ENV{TEST_NGINX_REDIS_SOCKET} = $Redis->{socket};
    $ENV{TEST_NGINX_REDIS_PORT} = $Redis->{port};
}

sub redis {
    return Billing::Redis->new($Redis->{socket});
}

# SET billing:x "two words\x00" -> a list of words

sub parse_commands {
    my ($text) = @_;

    return map {
        my @words;
        while (/\G\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))/g) {
            my $word = $1 // $2;
            $word =~ s{\\(?:x([0-9a-f]{2})|(.))}
                      { defined $1 ? chr hex $1
                        : { n => "\n", r => "\r" }->{$2} // $2 }gexi;
            push @words, $word;
        }
        \@words;
    } grep { /\S/ && !/^\s*#/ } split /\n/, $text;
}

sub load {
    my ($text) = @_;

    redis()->pipeline(expand(parse_commands($text)));
}

# The request of one case, in Test::Nginx' form, with its headers.

sub request {
    my ($block, $query, $body) = @_;

    my $method = $block->method // 'GET';
    chomp $method;

    $body =~ s/\\x([0-9a-f]{2})/chr hex $1/gei;

    my $headers = $block->headers;

    if (!defined $headers) {
        $headers = "Authorization: Bearer $Token\n";
        $headers .= "Content-Type: application/json\n" if length $body;
    }

    $headers .= "\n" if $headers =~ /[^\n]\z/;
    $headers .= 'Content-Length: ' . length($body) . "\n" if length $body;

    return ("$method $URI$query\n$body", $headers);
}

my $STATUS_ANSWER = qr/\A(\d{3})(?: (.+))?\z/;

# What one case expects: the status, the body, whole or a regex, and headers.

sub expected {
    my ($text, $case) = @_;

    my @json = ("Content-Type: application/json", "Cache-Control: no-store",
                "!Transfer-Encoding");
    my ($status, $answer);

    if ($text eq 'null') {
        ($status, $answer) = (200, 'null');

    } elsif ($text eq 'required') {
        ($status, $answer) = (422, Billing::Fixtures::required());

    } elsif ($text =~ /\Abody(?: (.*))?\z/) {
        my $like = $1 // '[^"]+ at byte \d+[^"]*';
        return (422, qr/\A\{"message":"($like)","errors":\{"body":\["\1"\]\}\}\z/s,
                @json);

    } elsif ($text =~ /\A[0-9]{3} / || $text =~ /\A[45][0-9]{2}\z/) {
        $text =~ $STATUS_ANSWER;
        my $like = $2 // ($1 == 401 ? '\A\{"message":"Unauthenticated\."\}\z'
                                   : '\A\{"message":"[^"]+"\}\z');
        return ($1, qr/$like/s, @json);

    } elsif ($text =~ /\A\d+(?: \d+)*\z/) {
        my @ids = split / /, $text;
        exists $Billing::Fixtures::CAMERA{$_} or die "no camera $_: $case\n"
            for @ids;
        ($status, $answer) = (200, Billing::Fixtures::answer(@ids));

    } elsif ($text =~ /: /) {
        my @errors = map { [ /\A(.*): ([^:]+)\z/ ] } split /, /, $text;
        ($status, $answer) = (422, Billing::Fixtures::errors(@errors));

    } else {
        die "cannot parse the expectation: $case\n";
    }

    return ($status, $answer, @json, 'Content-Length: ' . length $answer);
}

sub prepare_cases {
    my ($block) = @_;

    my (@requests, @headers, @status, @bodies, @response_headers, @like);

    for my $case (split /\n/, $block->cases) {
        next if $case =~ /^\s*(?:#|$)/;

        $case =~ /\A\s*(.*?)\s*->\s*(.*?)\s*\z/
            or die "cannot parse the case: $case\n";
        my ($left, $right) = ($1, $2);
        my $query = $left =~ s/\A(\?\S*)\s*// ? $1 : '';

        my ($request, $headers) = request($block, $query, $left);
        my ($status, $answer, @expect) = expected($right, $case);

        push @requests, $request;
        push @headers, $headers;
        push @status, $status;
        push @bodies, $answer;
        push @response_headers, join "\n", @expect, $block->also // ();
        push @like, header_like($status);
    }

    $block->set_value(request => \@requests);
    $block->set_value(more_headers => \@headers);
    $block->set_value(error_code => \@status);
    $block->set_value(response_body => \@bodies);
    $block->set_value(response_headers => \@response_headers);
    $block->set_value(raw_response_headers_like => \@like);
}

# The header that must not be missing beside a status.

sub header_like {
    my ($status) = @_;

    return {
        401 => '\r\nWWW-Authenticate: Bearer\b',
        405 => '\r\nAllow: GET, HEAD(?:, POST)?\r\n',
        503 => '\r\nRetry-After: [1-9]\d*\r\n',
    }->{$status} // '\r\nContent-Length: \d+\r\n';
}

sub prepare_configuration {
    my ($block) = @_;

    my $http = $block->http_config // '';
    my $defaults = '';

    if ($http !~ /^\s*billing_redis\s/m) {
        $defaults .= defined $block->fake
            ? "    billing_redis redis://127.0.0.1:\$TEST_NGINX_FAKE_PORT;\n"
            : "    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET;\n";
    }

    $defaults .= Billing::Nginx::timeouts($http . ($block->route // '')
                                          . ($block->config // ''));
    $defaults .= "    billing_redis_prefix $Prefix;\n";
    $block->set_value(http_config => $defaults . $http);

    if (!defined $block->config) {
        my $route = $block->route // '';

        $block->set_value(config => <<"END");
        location = $URI {
            billing_cameras_list;
$route
        }
END
    }
}

# run.sh links to a long suite as SUITE-1of3.t, SUITE-2of3.t and so on: each
# runs every third block.

sub is_in_part {
    my ($block) = @_;

    my ($part, $parts) = $0 =~ /-(\d+)of(\d+)\.t\z/ or return 1;

    return $block->seq_num % $parts == $part - 1;
}

sub prepare {
    my ($block) = @_;

    if ($MODE && ($block->not_in // '') =~ /^$MODE: (.*\S)/m) {
        Test::More::diag($block->name . ": left out with --$MODE: $1");
        $block->set_value(SKIP => 1);
        return;
    }

    if (!is_in_part($block)) {
        $block->set_value(SKIP => 1);
        return;
    }

    # --master-- and back to the runner's choice for the next block

    our $MasterDefault //= $Test::Nginx::Util::MasterProcessEnabled;
    $Test::Nginx::Util::MasterProcessEnabled
        = defined $block->master ? 'on' : $MasterDefault;
    $Test::Nginx::Util::Workers = $block->master || 1;

    my $redis = redis();
    $redis->command('FLUSHALL');
    my @commands = (fixtures(), expand(parse_commands($block->redis // '')));

    for my $name (sort keys %FAKES) {
        next if !defined $block->$name;

        my $fake = Billing::FakeRedis->start($block->$name, @commands);
        ${ $FAKES{$name} } = $fake;
        $ENV{"TEST_NGINX_\U$name\E_PORT"} = $fake->{port};
    }

    if (defined $block->server) {
        $Server = Billing::Server->new(split ' ', $block->server);
        $Server->start;
        $Server->command(@$_) for @commands;
        $ENV{TEST_NGINX_OWN_PORT} = $Server->{port};
    }

    $redis->pipeline(@commands);

    prepare_configuration($block) if !defined $block->bare;

    if (defined $block->cases) {
        prepare_cases($block);

    } elsif (!defined $block->must_die && !defined $block->request
             && !defined $block->raw_request
             && !defined $block->pipelined_requests)
    {
        my ($request, $headers) = request($block, '', $EXAMPLE);
        $block->set_value(request => $request);
        $block->set_value(more_headers => $headers);
        $block->set_value(response_body => Billing::Fixtures::answer(3, 4));
    }

    if (defined $block->run) {
        $block->set_value(init => "package Billing; use Test::More;\n"
                                  . "our (\$Token, \$URI, \$EXAMPLE, \$Fake, \$Fake2,"
                                  . " \$Fake3, \$Server);\n"
                                  . $block->run);
    }

    if (defined $block->refuses) {
        $block->set_value(init => 'Billing::refuse($block)');
    }

    prepare_logs($block);
}

# nginx -t for each line of "refuses", beside the running nginx.

sub refuse {
    my ($block) = @_;

    my $root = $Test::Nginx::Util::ServRoot;

    for my $line (split /\n/, $block->refuses) {
        next if $line !~ /\S/;

        $line =~ /\A(.*?)\s*->\s*(.*)\z/ or die "cannot parse \"$line\"\n";
        my ($directives, $like) = ($1, $2);

        if (!length $like) {
            my ($name, $value) = $directives =~ /\A(\S+) (.*);\z/;
            $value =~ s/\A"(.*)"\z/$1/;
            $like = "(?=.*$name).*\Q$value\E";
        }

        my $redis = $directives =~ /\bbilling_redis\b/
                    ? '' : 'billing_redis unix:/none.sock;';
        my $modules = join ' ', map { "load_module $_;" }
                      split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

        open my $conf, '>', "$root/conf/refused.conf" or die "$!\n";
        print $conf <<"END";
$modules
pid $root/logs/refused.pid;
error_log stderr;
events { }
http {
    access_log off;
    server {
        listen unix:$root/logs/refused.sock;
        location = $URI {
            $redis
            billing_cameras_list;
            $directives
        }
    }
}
END
        close $conf;

        my $text = `$Test::Nginx::Util::NginxBinary -t -p $root/ -c $root/conf/refused.conf 2>&1`;
        my $status = $? >> 8;

        Test::More::is($status, 1, "$directives is refused");
        Test::More::like($text, qr/\[emerg\] .*$like/, "$directives: the message");
    }
}

sub prepare_logs {
    my ($block) = @_;

    if (defined $block->must_die) {
        $block->set_value(suppress_stderr => 1);
        return;
    }

    my @never = ('[alert]', '[crit]', '[emerg]');
    @never = grep { $_ ne '[crit]' } @never if defined $block->crit_allowed;
    my @unwanted = @never;
    push @unwanted, '[error]' if ($block->logged // '') !~ /\[error/
                                 && !defined $block->errors_allowed;

    my $more = $block->no_error_log;
    push @unwanted, ref $more eq 'ARRAY' ? @$more
                    : ref $more ? $more : split /\n/, $more // '';

    $block->set_value(no_error_log => \@unwanted);
    $block->set_value(no_shutdown_error_log => [ @never, 'open socket' ]);
}

# After a block's requests: what was logged, and what the fake Redis was told.

sub finish {
    my ($block) = @_;

    return if defined $block->SKIP;

    my $name = $block->name;

    is_reloaded($block) if $MODE eq 'reload';

    my $lines = error_log();

    for my $pattern (grep { /\S/ } split /\n/, $block->logged // '') {
        Test::More::like($lines, qr/$pattern/m, "$name - logged: $pattern");
    }

    for my $line (grep { /\S/ } split /\n/, $block->logged_times // '') {
        my ($times, $pattern) = split / /, $line, 2;
        my $found = () = $lines =~ /$pattern/mg;
        Test::More::is($found, $times, "$name - so often logged: $pattern");
    }

    for my $fake (sort keys %FAKES) {
        finish_fake($block, $name, $fake, ${ $FAKES{$fake} });
        undef ${ $FAKES{$fake} };
    }

    $Server->stop if $Server;
    undef $Server;
}

# From the first block to the last there is one master, but for those blocks that
# nginx does not start with.

sub is_reloaded {
    my ($block) = @_;

    our $Master;

    if (defined $block->must_die) {
        undef $Master;
        return;
    }

    my $name = $block->name;
    my $pid = Test::Nginx::Util::get_pid_from_pidfile($name);
    $Master //= $pid;

    Test::More::is($pid, $Master, "$name - nginx was reloaded, not started");
}

sub finish_fake {
    my ($block, $name, $section, $fake) = @_;

    return if !$fake;

    my $log = $fake->log_text;
    $fake->stop;

    my ($like, $unlike) = ("${section}_log", "no_${section}_log");

    for my $pattern (grep { /\S/ } split /\n/, $block->$like // '') {
        Test::More::like($log, qr/$pattern/m,
                         "$name - what $section was sent: $pattern");
    }

    for my $pattern (grep { /\S/ } split /\n/, $block->$unlike // '') {
        Test::More::unlike($log, qr/$pattern/m,
                           "$name - what $section was not sent: $pattern");
    }
}

sub error_log {
    open my $in, '<', $Test::Nginx::Util::ErrLogFile
        or die "cannot open the error log: $!\n";
    local $/;
    return scalar <$in>;
}

# For --- run: waits until something is so, at most for so many seconds.

sub wait_for {
    return Billing::Nginx::wait_until(@_);
}

# Asks every tenth of a second until something is so, at most for so many
# seconds: whether it came to be so, and how many answers were not as expected.

sub keep_asking {
    my ($seconds, $body, $expected, $so, %opt) = @_;

    my (undef, $answer) = expected($expected, 'keep_asking');
    my ($is, $failed, $asked) = (0, 0, 0);

    $is = wait_for($seconds, sub {
        my $res = ask($body, %opt);
        my $good = ref $answer ? $res->{body} =~ $answer
                               : $res->{body} eq $answer;

        if (!$good && $failed++ == 0) {
            Test::More::diag("answer $asked: $res->{status} $res->{body}");
        }

        $asked++;
        return $so->();
    });

    return ($is, $failed);
}

# For --- run: the text of a request, and a client that asks one.

sub text {
    my ($body, %opt) = @_;

    my $method = $opt{method} // 'GET';
    my $version = $opt{version} // '1.1';
    my $uri = $opt{uri} // $URI . ($opt{query} // '');
    my $token = exists $opt{token} ? $opt{token} : $Token;

    my $text = "$method $uri HTTP/$version\r\nHost: localhost\r\n";
    $text .= "Authorization: Bearer $token\r\n" if defined $token;
    $text .= join '', map { "$_\r\n" } @{ $opt{headers} // [] };

    if ($opt{chunks}) {
        $text .= "Content-Type: application/json\r\n"
                 . "Transfer-Encoding: chunked\r\n\r\n";
        $text .= sprintf "%x\r\n%s\r\n", length, $_ for @{ $opt{chunks} };
        return "${text}0\r\n\r\n";
    }

    if (defined $body) {
        $text .= "Content-Type: application/json\r\nContent-Length: "
                 . length($body) . "\r\n";
    }

    return "$text\r\n" . ($body // '');
}

sub client {
    return Billing::Client->new(@_);
}

sub ask {
    my ($body, %opt) = @_;

    my $client = client(port => $opt{port});
    $client->send(text($body, %opt));

    return $client->response(head => ($opt{method} // '') eq 'HEAD');
}

sub answers {
    my ($res, $expected, $name) = @_;

    my ($status, $answer) = expected($expected, $name);

    Test::More::ok($res->{complete}, "$name: the response is complete");
    Test::More::is($res->{status}, $status, "$name: status");
    Test::More::like($res->{headers}, qr/^Content-Type: application\/json\r$/m,
                     "$name: Content-Type");
    Test::More::like($res->{headers}, qr/^Cache-Control: no-store\r$/m,
                     "$name: Cache-Control");

    if (ref $answer) {
        Test::More::like($res->{body}, $answer, "$name: body");
    } else {
        Test::More::is($res->{body}, $answer, "$name: body");
    }
}

# A few requests after a disturbance may fail, but not all of them.

sub recovers {
    my ($body, $expected, $name) = @_;

    my $res;

    for (1 .. 10) {
        $res = ask($body);
        last if $res->{status} == 200;
        select undef, undef, undef, 0.2;
    }

    answers($res, $expected, $name);
}

# curl, for HTTP/2: (its exit status, what it wrote). Without a shell.

sub curl {
    my ($body, @args) = @_;

    require File::Temp;

    # curl has no patience with a server that does not listen yet

    my ($port) = $args[-1] =~ m{\Ahttp://[^/:]+:(\d+)};
    client(port => $port)->close;

    if (defined $body) {
        my $file = File::Temp->new(TEMPLATE => 'billing-body-XXXXXX', TMPDIR => 1);
        print $file $body;
        $file->flush;
        unshift @args, '--data-binary', '@' . $file->filename, '-X', 'GET',
                       '-H', 'Content-Type: application/json';
        return run_curl($file, @args);
    }

    return run_curl(undef, @args);
}

sub run_curl {
    my ($keep, @args) = @_;

    if (!grep { /^Authorization:/ } @args) {
        unshift @args, '-H', "Authorization: Bearer $Token";
    }

    my $pid = open my $out, '-|', 'curl', '-s', '-i', '--max-time', 30, @args;
    die "cannot run curl: $!\n" if !$pid;

    local $/;
    my $text = <$out> // '';
    $text =~ s/\r//g;

    close $out;
    return ($? >> 8, $text);
}

1;
