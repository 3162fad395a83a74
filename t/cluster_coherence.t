# The worker's cache under each fault of t/coherence.pl --cluster, for a short time
# each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::Check;

my $seconds = $ENV{BILLING_CHECK_SECONDS} // 1;
my $seed = $ENV{BILLING_CHECK_SEED} // time;

Billing::Check::run_cluster(sub {
    my ($name, $result) = @_;

    ok($result->{ok}, "$name: $result->{done}; $result->{summary}")
        or diag(join "\n", "seed $seed", @{ $result->{wrong} });
}, [ Billing::Check::names('cluster') ], $seconds, seed => $seed);

done_testing();
