# conf/billing.conf, unchanged except for ports and paths.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use JSON::PP ();

use Billing::Fixtures;
use Billing::Nginx;
use Billing::Server;

my $ROOT = "$FindBin::RealBin/..";
my $URI = '/api/v1/billing/cameras/list';

my $dir = File::Temp->newdir('billing-conf-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
       . " -nodes -days 2 -subj /CN=vsaas.example.com -keyout $dir/key"
       . " -out $dir/crt >$dir/openssl.log 2>&1") == 0 or die "openssl failed\n";

sub put {
    my ($file, $text) = @_;

    open my $out, '>', "$dir/$file" or die "$dir/$file: $!\n";
    print $out $text;
    close $out;
}

put('password', "s3cret\n");

# the second Redis wants a password, as in the configuration

my ($first, $second) = map { Billing::Server->new } 1, 2;

for my $redis ($first, $second) {
    $redis->start;
    $redis->command(@$_) for Billing::Fixtures::commands(),
        map { [ 'SET', 'billing:token:' . sha256_hex($_), "client $_" ] } 'one', 'two', 'three';
}

$first->command('EVAL', "for id = 10001, 12000 do"
                . " redis.call('HSET', 'billing:camera:' .. id, 'preview', string.rep('x', 20000))"
                . " redis.call('ZADD', 'billing:login:many', id, id) end", 0);

$_->command('ACL', 'SETUSER', $_ == $first ? 'default' : 'billing', 'on',
            '>s3cret', '~billing:*', split ' ', '+get +hmget +hgetall +zscore'
            . ' +zrangebyscore +ping +echo +select') for $second;
$_->command('CONFIG', 'SET', 'requirepass', 's3cret') for $first, $second;

my $status = Billing::Server::free_port();
my $streaming = Billing::Server::free_port();

my $text = do {
    open my $in, '<', "$ROOT/conf/billing.conf" or die "billing.conf: $!\n";
    local $/;
    <$in>;
};

# with HTTP/2, as the comment says

my ($minor) = qx($Test::Nginx::Util::NginxBinary -v 2>&1) =~ m{/1\.(\d+)\.};
my $LISTEN = $minor >= 26 ? 'listen 127.0.0.1:%PORT% ssl; http2 on;'
                          : 'listen 127.0.0.1:%PORT% ssl http2;';

my %PUT = (
    'listen 443 ssl;'                 => $LISTEN,
    '/etc/nginx/billing.crt'          => "$dir/crt",
    '/etc/nginx/billing.key'          => "$dir/key",
    '/etc/nginx/billing-redis.password' => "$dir/password",
    'redis://127.0.0.1:6379'          => "unix:$first->{socket}",
    '127.0.0.1:6380'                  => "127.0.0.1:$second->{port}",
    '127.0.0.1:8081'                  => "127.0.0.1:$streaming",
    '/var/log/nginx/billing.log'      => "$dir/access.log",
    '127.0.0.1:9145'                  => "127.0.0.1:$status",
);

for my $from (sort keys %PUT) {
    ok($text =~ s/\Q$from\E/$PUT{$from}/g, "billing.conf has $from");
}

my $nginx = Billing::Nginx->start($text . <<"END");
    server {
        listen 127.0.0.1:$streaming;
        location / {
            return 200 "\$uri \$http_x_forwarded_proto";
        }
    }
END

# Status, headers and body for each of some requests.

sub curl {
    my ($token, $uri, @args) = @_;

    my @token = defined $token ? ('-H', "Authorization: Bearer $token") : ();

    open my $out, '-|', 'curl', '-sSki', '--http2', '--max-time', 30, @token, @args,
        "https://127.0.0.1:$nginx->{port}$uri" or die "cannot run curl: $!\n";

    my $all = do { local $/; <$out> } // '';
    $all =~ s/\r//g;

    return map { m{\AHTTP/2 (\d+)} ? [ $1, $_ ] : () } split m{(?=HTTP/2 \d)}, $all;
}

sub answers {
    my ($res, $status, $body, $name) = @_;

    is($res->[0], $status, "$name: status");
    like($res->[1], qr/\n\n\Q$body\E\z/, "$name: body");
}

my $LIST = Billing::Fixtures::answer(3, 4);

answers(curl('one', "$URI?login=admin"), 200, $LIST, 'over HTTP/2');
answers(curl(undef, "$URI?login=admin"), 401, '{"message":"Unauthenticated."}', 'no token');
answers(curl('one', '/live/1/index.m3u8'), 200, '/live/1/index.m3u8 https', 'a stream');

# the largest body that makes sense

my $body = JSON::PP->new->ascii->encode({
    login => 'x' x 255, cameras_ids => [ map { 9007199254740000 + $_ } 1 .. 30 ],
    cameras_uuid => [ ("\x{1f3a5}" x 255) x 30 ] });
$body =~ s/\\ud83c\\udfa5/\xf0\x9f\x8e\xa5/g;
put('body', $body);

answers(curl('one', $URI, '-XGET', '-H', 'Content-Type: application/json',
             '--data-binary', "\@$dir/body"), 200, 'null', 'a large body');
put('body', ' ' x 70_000);
is((curl('one', $URI, '-XGET', '-H', 'Content-Type: application/json',
         '--data-binary', "\@$dir/body"))[0][0], 413, 'a larger one');

# a client at its limit, and the others

my (@res, @limited);

for (1 .. 20) {
    @res = curl('one', "$URI?login=admin&n=[1-150]");
    @limited = grep { $_->[0] == 429 } @res;
    last if @limited;
}

is(scalar @res, 150, 'a flood: all are answered');
ok(scalar @limited, 'a flood: some with 429');
is((grep { $_->[0] != 200 && $_->[0] != 429 } @res), 0, 'a flood: nothing else');
answers($limited[-1], 429, '{"message":"Too Many Attempts."}', 'a flood');
like($limited[-1][1], qr/^retry-after: 1$/m, 'a flood: Retry-After');
answers(curl('two', "$URI?login=admin"), 200, $LIST, 'another client');
is((grep { $_->[0] != 401 } curl(undef, "$URI?n=[1-100]")), 0, 'no token: always 401');

# Lists whose clients do not read them. A client that is refused, because many start
# at once, is replaced by another one.

my (@stalled, $ninth);

my $one_more = sub {
    my $pid = fork // die "fork: $!\n";
    exec 'curl', '-sk', '--http1.1', '--limit-rate', '1', '-o', '/dev/null', '-H',
        'Authorization: Bearer three', "https://127.0.0.1:$nginx->{port}$URI?login=many"
        if !$pid;
    push @stalled, $pid;
};

$one_more->() for 1 .. 10;

Billing::Nginx::wait_until(30, sub {
    ($ninth) = curl('three', "$URI?login=admin");
    return 1 if $ninth->[0] == 429
                && $nginx->log_text =~ /limiting connections by zone "billing_lists"/;
    $one_more->() if @stalled < 100;
    return 0;
});
answers($ninth, 429, '{"message":"Too Many Attempts."}', 'a client with eight lists that wait');
like($nginx->log_text, qr/limiting connections by zone "billing_lists"/,
     'a client with eight lists that wait: the log');
answers(curl('two', "$URI?login=admin"), 200, $LIST, 'another client meanwhile');

kill 'TERM', @stalled;
waitpid $_, 0 for @stalled;

# the second Redis

$first->stop;
my ($end, $res) = (time + 10);
do { ($res) = curl('two', "$URI?login=admin"); sleep 1 if $res->[0] != 200 }
    while ($res->[0] != 200 && time < $end);
answers($res, 200, $LIST, 'the second Redis');

my $log = do { open my $in, '<', "$dir/access.log" or die $!; local $/; <$in> };
like($log, qr/^127\.0\.0\.1 \[[^]]+\] "GET $URI" 200 \d+ [\d.]+ client="client one" cameras=2 redis=\d+\.\d{3} server=\S+$/m,
     'the log');
unlike($log, qr/login=|admin/, 'no logins in the log');

# the status page, which others do not get

sub status_from {
    my ($address) = @_;

    my $code = qx(curl -s --interface $address --max-time 30 -o $dir/status -w %{http_code} http://127.0.0.1:$status/metrics);
    return $code;
}

is(status_from('127.0.0.1'), 200, 'the status page');
like(do { open my $in, '<', "$dir/status" or die $!; local $/; <$in> },
     qr/^nginx_billing_requests_total\{status="200"\} [1-9]/m, 'the status page: body');
is(status_from('127.0.0.2'), 403, 'the status page for another');
unlike($nginx->log_text, qr/\[(?:alert|crit|emerg)\]/, 'no alert');

$nginx->stop;

done_testing();
