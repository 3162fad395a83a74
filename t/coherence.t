# The worker's cache under each fault of t/coherence.pl, for a short time each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::Check;

my $seconds = $ENV{BILLING_CHECK_SECONDS} // 1.2;
my $seed = $ENV{BILLING_CHECK_SEED} // time;

# run.sh may split the suite: each part has some of the faults, one after another

my ($part, $parts) = $0 =~ /-(\d+)of(\d+)\.t\z/ ? ($1, $2) : (1, 1);
my @names = Billing::Check::names();

@names = @names[ grep { $_ % $parts == $part - 1 } 0 .. $#names ];

Billing::Check::run_all($parts == 1 ? 2 : 1, sub {
    my ($name, $result) = @_;

    ok($result->{ok}, "$name: $result->{done}; $result->{summary}")
        or diag(join "\n", "seed $seed", @{ $result->{wrong} });
}, \@names, $seconds, seed => $seed);

done_testing();
