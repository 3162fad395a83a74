# The worker's cache under each fault of t/coherence.pl, for a short time each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::Check;

my $seconds = $ENV{BILLING_CHECK_SECONDS} // 1.2;
my $seed = $ENV{BILLING_CHECK_SEED} // time;

# run.sh may split the suite: each part has some of the faults

my ($part, $parts) = $0 =~ /-(\d+)of(\d+)\.t\z/ ? ($1, $2) : (1, 1);
my @names = Billing::Check::names();

for my $i (0 .. $#names) {
    next if $i % $parts != $part - 1;

    my $result = Billing::Check::run($names[$i], $seconds, seed => $seed);

    ok($result->{ok}, "$names[$i]: $result->{done}; $result->{summary}")
        or diag(join "\n", "seed $seed", @{ $result->{wrong} });
}

done_testing();
