# For prometheus.sh: the status page, the rules and the dashboard's queries in
# a real Prometheus, while Redis is stopped and started.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use JSON::PP ();
use POSIX ();

use Billing::Client;
use Billing::Fixtures;
use Billing::Nginx;
use Billing::Server;

my $ROOT = "$FindBin::RealBin/..";
my $URI = '/api/v1/billing/cameras/list';

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

sub put {
    my ($file, $text) = @_;

    open my $out, '>', $file or die "$file: $!\n";
    print $out $text;
    close $out;
}

# The text of an answer.

sub get {
    my ($port, $uri) = @_;

    my $client = Billing::Client->new(port => $port);
    $client->send("GET $uri HTTP/1.0\r\nHost: localhost\r\n"
                  . "Authorization: Bearer good\r\n\r\n");
    my $text = $client->slurp;
    $client->close;

    return $text =~ s/\A.*?\r\n\r\n//sr;
}

my $redis = Billing::Server->new;

sub start_redis {
    $redis->start;
    $redis->command(@$_) for Billing::Fixtures::commands(),
        [ 'SET', 'billing:synced_at', time ],
        [ 'SET', 'billing:token:' . sha256_hex('good'), 'client' ];
}

start_redis();

my $nginx = Billing::Nginx->start(<<"END");
    billing_redis unix:$redis->{socket};
    billing_cache 32m;
    billing_status_clients 10;
    server {
        listen 127.0.0.1:%PORT%;
        location = $URI {
            billing_cameras_list;
        }
        location = /metrics {
            billing_status;
        }
    }
END

put("$redis->{dir}/metrics", get($nginx->{port}, '/metrics'));
is(`promtool check metrics <$redis->{dir}/metrics 2>&1`, '', 'promtool check metrics');

# Prometheus, with the files of conf/: only the times are shorter. The page waits
# for a Redis that is down for billing_redis_timeout, and a scrape for no longer
# than its interval.

my $dir = File::Temp->newdir('billing-prometheus-XXXXXX', TMPDIR => 1);
my $port = Billing::Server::free_port();

my $config = slurp("$ROOT/conf/prometheus.yml");
ok($config =~ s/127\.0\.0\.1:9145/127.0.0.1:$nginx->{port}/, 'the target');
ok($config =~ s/scrape_interval: 15s/scrape_interval: 2s/, 'the interval');
put("$dir/prometheus.yml", "global:\n  evaluation_interval: 500ms\n$config");

my $rules = slurp("$ROOT/conf/billing-rules.yml");
$rules =~ s/for: \d+m/for: 1s/g;
put("$dir/billing-rules.yml", $rules);

my $pid = fork // die "fork: $!\n";

if ($pid == 0) {
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', "$dir/log";
    open STDERR, '>&', \*STDOUT;
    exec 'prometheus', "--config.file=$dir/prometheus.yml",
         "--storage.tsdb.path=$dir/data", "--web.listen-address=127.0.0.1:$port"
        or POSIX::_exit(1);
}

END {
    local $?;

    if ($pid) {
        kill 'TERM', $pid;
        waitpid $pid, 0;
    }
}

sub escape {
    my ($text) = @_;

    return $text =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ger;
}

# The result of a query, a list of values; an error is a failure.

sub query {
    my ($expr) = @_;

    my $answer = JSON::PP::decode_json(get($port, '/api/v1/query?query='
                                                  . escape($expr)));
    die "$expr: $answer->{error}\n" if $answer->{status} ne 'success';

    return map { $_->{value}[1] } @{ $answer->{data}{result} };
}

sub wait_for {
    my ($so, $name) = @_;

    my $is = Billing::Nginx::wait_until(30, sub {
        get($nginx->{port}, "$URI?login=admin");
        get($nginx->{port}, "$URI?login=mixed");
        return eval { $so->() };
    });

    ok($is, $name) or diag($@);
}

sub firing {
    my ($alert) = @_;

    return scalar query("ALERTS{alertname=\"$alert\",alertstate=\"firing\"}");
}

wait_for(sub { ((query('sum(rate(nginx_billing_requests_total{status="200"}[10s]))'))[0] // 0) > 1 },
         'Prometheus sees requests');

# the dashboard's queries, as Grafana sends them

my $dashboard = JSON::PP::decode_json(slurp("$ROOT/conf/grafana.json"));
my @queries = map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} };

sub fill {
    my ($expr) = @_;

    $expr =~ s/\$instance/.*/g;
    $expr =~ s/\$__rate_interval/10s/g;
    return $expr;
}

cmp_ok(scalar @queries, '>=', 20, 'the dashboard has queries');

# what is 0 / 0 is no value to show

for my $expr (@queries) {
    wait_for(sub { my @values = query(fill($expr)); @values && !grep { /NaN/ } @values },
             "a value: $expr");
}

# each metric of the page is in the dashboard or in a rule

my %known = map { $_ => 1 } "@queries $rules" =~ /\bnginx_billing_\w+/g;

for my $metric (get($nginx->{port}, '/metrics') =~ /^# TYPE (\S+)/mg) {
    ok((grep { /\A\Q$metric\E(?:_bucket|_sum|_count)?\z/ } keys %known),
       "$metric is used");
}

is(scalar query('ALERTS'), 0, 'no alert while all is well');

# Redis is stopped

$redis->stop;

wait_for(sub { ((query('nginx_billing_redis_up'))[0] // 1) == 0 }, 'nginx_billing_redis_up is 0');
wait_for(sub { firing('BillingRedisDown') && firing('BillingRedisServerDown')
               && firing('BillingFails') }, 'alerts fire');
wait_for(sub { ((query(fill('sum(rate(nginx_billing_redis_connect_failures_total[$__rate_interval]))')))[0] // 0) > 0 },
         'failures to connect');

for my $expr (@queries) {
    next if $expr =~ /synced/;
    wait_for(sub { scalar query(fill($expr)) }, "a value without Redis: $expr");
}

# and is back, empty at first

$redis->start;
$redis->command('SET', 'billing:token:' . sha256_hex('good'), 'client');

wait_for(sub { firing('BillingCacheNotLoaded') }, 'BillingCacheNotLoaded fires');

$redis->stop;
start_redis();

wait_for(sub { ((query('nginx_billing_redis_up'))[0] // 0) == 1 }, 'nginx_billing_redis_up is 1');
wait_for(sub { !firing('BillingRedisDown') && !firing('BillingCacheNotLoaded') },
         'the alerts end');

# a cache that was loaded long ago

$redis->command('SET', 'billing:synced_at', time - 3600);
wait_for(sub { firing('BillingCacheStale') }, 'BillingCacheStale fires');

# and nginx

$nginx->stop;
ok(Billing::Nginx::wait_until(20, sub { firing('BillingStatusDown') }),
   'BillingStatusDown fires');

done_testing();
