# The configuration that a block runs with, and those that nginx must refuse.

package Billing::Config;

use strict;
use warnings;

use Exporter 'import';
use Test::More ();
use Test::Nginx::Util ();

use Billing::Nginx;

our @EXPORT = qw(prepare_configuration refuse);

# Adds what the block leaves out: a Redis, the suite's prefix, the route.

sub prepare_configuration {
    my ($block) = @_;

    if (!defined $block->config) {
        my $route = $block->route // '';

        $block->set_value(config => <<"END");
        location = $Billing::URI {
            billing_cameras_list;
$route
        }
END
    }

    my $http = $block->http_config // '';
    my $defaults = '';

    if ($http !~ /^\s*billing_redis\s/m) {
        $defaults .= defined $block->fake
            ? "    billing_redis redis://127.0.0.1:\$TEST_NGINX_FAKE_PORT;\n"
            : "    billing_redis unix:\$TEST_NGINX_REDIS_SOCKET;\n";
    }

    $defaults .= Billing::Nginx::defaults($http . $block->config);
    $defaults .= "    billing_redis_prefix $Billing::Prefix;\n";
    $block->set_value(http_config => $defaults . $http);
}

# Runs nginx -t for each line of "refuses", beside the running nginx.

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
        location = $Billing::URI {
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

1;
