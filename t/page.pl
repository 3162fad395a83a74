# For page.sh: the status page in a real Chromium, while Redis is stopped and
# started, and after nginx has ended.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Digest::SHA qw(sha256_hex);
use POSIX ();
use Time::HiRes qw(sleep);

use Billing::Chromium;
use Billing::Client;
use Billing::Fixtures;
use Billing::Nginx;
use Billing::Server;

my $BUILD = "$FindBin::RealBin/../build";
my $URI = '/api/v1/billing/cameras/list';

# A prefix may hold markup, and letters of any script.

my $ODD = 'ціни <b>&amp;</b>:';

sub load {
    my ($redis, $prefix, $age) = @_;

    for my $command (Billing::Fixtures::commands(),
                     [ 'SET', 'billing:synced_at', time - $age ],
                     [ 'SET', 'billing:token:' . sha256_hex('good'), 'client' ])
    {
        my @words = @$command;
        $words[1] =~ s/\Abilling:/$prefix/ if defined $words[1];
        $redis->command(@words);
    }
}

my @redis = map { Billing::Server->new } 1 .. 2;
$_->start for @redis;
load($redis[0], 'billing:', 40);
load($redis[1], $ODD, 4000);

my $nginx = Billing::Nginx->start(<<"CONF", workers => 2, level => 'info');
    billing_cache 32m;
    billing_redis_timeout 300ms;
    server {
        listen 127.0.0.1:%PORT%;
        location = $URI {
            billing_cameras_list;
            billing_redis redis://127.0.0.1:$redis[0]{port};
        }
        location = /second {
            billing_cameras_list;
            billing_redis unix:$redis[1]{socket} redis://127.0.0.1:1;
            billing_redis_prefix "$ODD";
        }
        location = /status {
            billing_status;
        }
    }
CONF

# requests of all kinds, from a process of their own

my $requests = fork // die "fork: $!\n";

if ($requests == 0) {
    $SIG{TERM} = sub { POSIX::_exit(0) };

    for (my $n = 0; ; $n++) {
        my $uri = $n % 50 == 48 ? "$URI?cameras_ids[]=x"
                  : $n % 5 == 4 ? '/second?login=admin' : "$URI?login=admin";
        my $token = $n % 20 == 18 ? 'bad' : 'good';

        eval {
            my $client = Billing::Client->new(port => $nginx->{port});
            $client->send("GET $uri HTTP/1.0\r\nHost: localhost\r\n"
                          . "Authorization: Bearer $token\r\n\r\n");
            $client->slurp;
            $client->close;
        };
        sleep 0.02;
    }
}

my $chromium = Billing::Chromium->start;

END {
    local $?;
    my $pid = $requests;

    if ($pid) {
        kill 'TERM', $pid;
        waitpid $pid, 0;
    }
}

sub shows {
    my ($expression, $name) = @_;

    my $is = Billing::Nginx::wait_until(30, sub { $chromium->value($expression) });
    ok($is, $name) or diag($chromium->value('document.body.innerText'));
}

sub live {
    my ($regex) = @_;

    return "/$regex/.test(document.getElementById('live').textContent)";
}

# Whether a row of the table, its cells joined by "|", matches.

sub has {
    my ($id, $regex) = @_;

    return "[...document.getElementById('$id').rows].some(row => /$regex/.test("
           . "[...row.cells].map(cell => cell.textContent).join('|')))";
}

sub pictures {
    my ($name) = @_;

    for ([ 'wide', 1280, 800, 'light' ], [ 'phone', 375, 700, 'light' ],
         [ 'wide-dark', 1280, 800, 'dark' ], [ 'phone-dark', 375, 700, 'dark' ])
    {
        my ($kind, $width, $height, $scheme) = @$_;
        $chromium->window($width, $height, $scheme);
        is($chromium->value('document.documentElement.scrollWidth'), $width,
           "$name: $kind fits");
        $chromium->picture("$BUILD/status-$name-$kind.png");
    }
}

sub quiet {
    my ($name, $allowed) = @_;

    is(join("\n", grep { !$allowed || !/$allowed/ } $chromium->reports), '',
       "$name: the browser has nothing to report");
}

$chromium->open("http://127.0.0.1:$nginx->{port}/status?format=html");

shows(live('^live$'), 'the page is live');
sleep 12;
shows(has('requests', '^2xx\|\|[1-9][\d.]*\|[1-9]'), 'requests');
shows(has('requests', '^4xx\|\|[1-9][\d.]*\|[1-9]'), 'requests refused');
shows(has('times', '^requests, p99\|\|\d+ m?s$'), 'times');
shows(has('caches', '^billing:.*\|up\|\d+ s ago$'), 'a cache');
shows(has('caches', '^ціни <b>&amp;<\/b>:.*\|up\|66 min ago \(stale\)$'), 'a stale cache');
shows(has('caches', 'r\.sock \(in use\)127\.0\.0\.1:1 \(not in use\)'), 'its servers');
shows(has('records', '^hit ratio\|\d'), 'the hit ratio');
is($chromium->value('document.querySelectorAll("main b").length'), 0, 'a prefix is no markup');
pictures('up');
quiet('Redis is up');

# the policy is in force: the browser refuses another script, and says so

is($chromium->value(<<'JS'), 0, 'another script does not run');
    (() => {
        const script = document.createElement('script');
        script.textContent = 'window.other = 1';
        document.body.append(script);
        return window.other || 0;
    })()
JS
like(join("\n", $chromium->reports), qr/Content Security Policy/, 'the browser reports it');

# Redis is stopped, and is back

$redis[0]->stop;
shows(has('caches', '\|no answer\|not known$'), 'Redis is down');
shows(has('caches', '\|up\|'), 'the other one is up');
shows(has('faults', '^Redis: connections failed\|! '), 'a fault');
shows(live('^live$'), 'the page is live');
sleep 6;
pictures('down');
quiet('Redis is down');

$redis[0]->start;
shows(has('caches', '\|up\|never'), 'a cache that is empty');
load($redis[0], 'billing:', 0);
shows(has('caches', '\|up\|\d s ago$'), 'a cache that is loaded');

# a reload keeps the values

$nginx->signal('HUP');
sleep 3;
shows(live('^live$'), 'the page is live after a reload');
quiet('Redis is back');

# nginx ends

$nginx->stop;
shows(live('^not live: '), 'the page is not live');
shows("/^values are \\d+ s old\$/.test(document.getElementById('age').textContent)",
      'its values are old');
pictures('gone');
quiet('nginx has ended', '^network: .*ERR_');

done_testing();
