#!/usr/bin/perl

# Proves the worker's cache against real servers: writers change the data without
# end, readers ask several workers, and each value of each answer has to be one
# that was true not longer before the request than is allowed.
#
#     perl t/coherence.pl [--cluster] [--seconds N] [--seed N] [--fault NAME]... [--long]
#
# Each fault takes its share of the seconds (60 for all of them). --cluster runs the
# faults of a Redis Cluster. --long uses larger transactions. --list names the
# faults. The module has to be built, and TEST_NGINX_LOAD_MODULES may name another one.

use strict;
use warnings;

use FindBin;
use Getopt::Long;

use lib "$FindBin::RealBin/lib", glob "$FindBin::RealBin/../build/test-nginx/usr/share/perl5";

BEGIN {
    $ENV{TEST_NGINX_BINARY} //= (grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}),
                                 '/usr/sbin')[0];
    $ENV{TEST_NGINX_LOAD_MODULES}
        //= "$FindBin::RealBin/../build/ngx_http_billing_module.so";
}

use Billing::Check;

my %opt = (seconds => 60, seed => time, fault => []);

GetOptions(\%opt, 'seconds=f', 'seed=i', 'fault=s@', 'long', 'list', 'cluster')
    or die "usage: $0 [--cluster] [--seconds N] [--seed N] [--fault NAME]... [--long] "
           . "[--list]\n";

my @names = @{ $opt{fault} } ? @{ $opt{fault} } : Billing::Check::names($opt{cluster});

if ($opt{list}) {
    print "$_\n" for @names;
    exit;
}

$| = 1;
print "seed $opt{seed}\n";

my $failed = 0;

my $done = sub {
    my ($name, $result) = @_;

    printf "%-9s %s: %s; %s\n", $name, $result->{ok} ? 'ok' : 'WRONG', $result->{done},
           $result->{summary};
    print "    $_\n" for @{ $result->{wrong} };

    $failed = 1 if !$result->{ok};
};

my $seconds = $opt{seconds} / @names;

if (delete $opt{cluster}) {
    Billing::Check::run_cluster($done, \@names, $seconds, %opt);

} else {
    $done->($_, Billing::Check::run($_, $seconds, %opt)) for @names;
}

exit $failed;
