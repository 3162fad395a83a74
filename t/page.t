# The status page for people: its header, its policy, and its freedom from Redis.

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_base64);
use JSON::PP ();
use Billing 'page';
use Test::Nginx::Socket 'no_plan';

our $PAGE = '/status?format=html';

sub route {
    return "location = $Billing::URI { billing_cameras_list; @_ }\n"
           . 'location = /status { billing_status; }';
}

sub page {
    my $res = Billing::ask(undef, uri => $PAGE, @_);
    Test::More::is($res->{status}, 200, 'the page is there');
    return $res;
}

# The policy as a hash of its directives.

sub policy {
    my ($res) = @_;

    my @policies = $res->{headers} =~ /^Content-Security-Policy: (.*?)\r$/mg;
    Test::More::is(scalar @policies, 1, 'one policy');
    return { map { split / /, $_, 2 } split /; /, $policies[0] };
}

# The source that allows the text between the tags of that name.

sub source {
    my ($text, $name) = @_;

    my @parts = $text =~ m{<$name>(.*?)</$name>}sg;
    Test::More::is(scalar @parts, 1, "one <$name>");
    return "'sha256-" . sha256_base64($parts[0]) . "='";
}

# The members of the servers of the first cache that are true, as the JSON has
# them.

sub states {
    my $data = JSON::PP::decode_json(Billing::ask(undef, uri => '/status?format=json')->{body});

    return join ' | ', map {
        my $server = $_;
        join ' ', grep { $server->{$_} } qw(used failing unloaded);
    } @{ $data->{caches}[0]{servers} };
}

run_tests();

__DATA__

=== TEST 1: the page is HTML that is not stored, and HEAD gets the same header
--- config eval: ::route()
--- run
my $res = ::page();
like($res->{headers}, qr{^Content-Type: text/html; charset=utf-8\r$}m, 'type');
like($res->{headers}, qr/^Cache-Control: no-store\r$/m, 'Cache-Control');
like($res->{headers}, qr/^Content-Length: ${\length $res->{body}}\r$/m, 'length');
like($res->{body}, qr{\A<!doctype html>\n.*</script>\n\z}s, 'a whole page');

my $head = ::page(method => 'HEAD');
is($head->{headers} =~ s/^Date: .*\n//mr, $res->{headers} =~ s/^Date: .*\n//mr, 'HEAD');
is($head->{body} // '', '', 'HEAD: no body');

is(ask('{}', uri => $::PAGE, method => 'POST')->{status}, 405, 'POST');



=== TEST 2: the policy allows the page's own script and style, by their hashes, and its own server
--- config eval: ::route()
--- run
my $res = ::page();
is_deeply(::policy($res), {
    'default-src' => "'none'",
    'script-src' => ::source($res->{body}, 'script'),
    'style-src' => ::source($res->{body}, 'style'),
    'connect-src' => "'self'",
    'base-uri' => "'none'",
    'form-action' => "'none'",
    'frame-ancestors' => "'none'",
}, 'policy');

unlike($res->{body}, qr/<[^>]*\s(?:on\w+|style|src|href)=/, 'nothing that it forbids');
unlike($res->{body}, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/, 'no text becomes markup');



=== TEST 3: the other formats have no policy, and an unknown one is text
--- config eval: ::route()
--- run
for ('', '?format=json', '?format=text', '?format=htm', '?format=html5', '?format=HTML', '?format=') {
    my $res = ask(undef, uri => "/status$_");
    unlike($res->{headers}, qr/Content-Security-Policy/, "$_: no policy");
    like($res->{headers}, /json/ ? qr{^Content-Type: application/json\r$}m
                                 : qr{^Content-Type: text/plain; }m, "$_: type");
}



=== TEST 4: the page shows each member of the JSON, and no others
--- config eval: ::route()
--- run
my $data = JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body});
my ($script) = ::page()->{body} =~ m{<script>(.*?)</script>}s;
my $cache = $data->{caches}[0];
my %known = (%$data, %$cache, %{ $cache->{servers}[0] });

my %used = map { $_ => 1 } $script =~ /'([a-z]+_[a-z_]+)'/g,
                           $script =~ /\b(?:now|then|last|data|cache|s)\.(?:data\.)?(\w+)/g;
delete @used{qw(buckets count data time)};

is(join(' ', grep { !exists $known{$_} } sort keys %used), '', 'no others');

# the time of the last sync is shown as its age, and each cache with its own servers

is(join(' ', grep { !$used{$_} } sort keys %known), 'redis_servers synced_at', 'each member');



=== TEST 5: the page sends no command to Redis
--- fake
--- config eval: ::route()
--- run
::page() for 1 .. 3;
--- no_fake_log
synced_at



=== TEST 6: the page is answered at once while Redis does not accept connections
--- fake
listen full
--- config eval: ::route('billing_redis_timeout 10s;')
--- run
my $start = Time::HiRes::time();
ok(!JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body})->{caches}[0]{up}, 'not up');
cmp_ok(Time::HiRes::time() - $start, '>', 0.4, 'the JSON waits');

$start = Time::HiRes::time();
::page() for 1 .. 10;
cmp_ok(Time::HiRes::time() - $start, '<', 4, 'the page does not');
--- request
GET /status?format=html
--- response_headers
Content-Type: text/html; charset=utf-8
--- response_body_like: Billing status
--- errors_allowed



=== TEST 7: the page is whole when nginx compresses it
--- config eval: ::route() . 'gzip on; gzip_min_length 1;'
--- run
my $plain = ::page()->{body};
require IO::Uncompress::Gunzip;
my $res = ::page(headers => [ 'Accept-Encoding: gzip' ]);
like($res->{headers}, qr/^Content-Encoding: gzip\r$/m, 'compressed');
IO::Uncompress::Gunzip::gunzip(\$res->{body}, \my $text);
is($text, $plain, 'the same page');



=== TEST 8: the JSON tells of each server whether it is used, fails, or lacks its data
--- http_config
billing_redis redis://127.0.0.1:$TEST_NGINX_OWN_PORT unix:$TEST_NGINX_REDIS_SOCKET;
billing_redis_timeout 5s;
--- server
--databases 2
--- config eval: ::route()
--- run
answers(ask($EXAMPLE), '3 4', 'before');
my $data = JSON::PP::decode_json(ask(undef, uri => '/status?format=json')->{body});
my ($first, $second) = map { $_->{server} } @{ $data->{caches}[0]{servers} };
is($first, $data->{caches}[0]{server}, 'the first server');
is($second, "unix:$ENV{TEST_NGINX_REDIS_SOCKET}", 'the second server');
is(::states(), 'used | ', 'the first is used');

my $become = sub {
    my ($states) = @_;

    my ($is) = keep_asking(8, $EXAMPLE, '3 4', sub { ::states() =~ /\A$states\z/ });
    ok($is, $states) or diag(::states());
};

$Server->stop;
$become->('failing \| used');
$Server->start;
$become->('(?:failing )?unloaded \| used');
$Server->command(@$_) for fixtures();
$become->('used \| ');
--- logged
is down
--- errors_allowed
