# Prints the counts of t/run.sh --coverage: the lines of src/ that were not run,
# and the share of lines and branches that were, by file and in all. Fails below
# 95 % of the lines.

use strict;
use warnings;

use FindBin;
use JSON::PP ();

use constant LEAST => 95;

my $src = "$FindBin::RealBin/../src";
my $objects = "$FindBin::RealBin/../build/coverage/addon";

# A line of a header counts where any file has run it.

my (%lines, %branches);

for my $counts (glob "'$objects'/*/*.gcda") {
    my $text = qx(gcov --json-format --stdout -b '$counts');

    for my $file (@{ JSON::PP::decode_json($text)->{files} }) {
        my ($name) = $file->{file} =~ m{/src/((?:\w+/)?ngx_http_billing_\w+\.[ch])\z} or next;

        for my $line (@{ $file->{lines} }) {
            my $n = $line->{line_number};
            $lines{$name}{$n} += $line->{count};

            my @branches = @{ $line->{branches} };
            $branches{$name}{"$n $_"} += $branches[$_]{count} for 0 .. $#branches;
        }
    }
}

die "nothing was counted\n" if !%lines;

for my $name (sort keys %lines) {
    open my $in, '<', "$src/$name" or die "$src/$name: $!\n";

    while (my $code = <$in>) {
        my $count = $lines{$name}{$.};
        print "src/$name:$.: $code" if defined $count && $count == 0;
    }
}

sub portion {
    my ($counts) = @_;

    my $all = keys %$counts;
    my $run = grep { $_ > 0 } values %$counts;
    my $percent = $all ? 100 * $run / $all : 100;

    return ($percent, sprintf('%6.1f %% of %4d', $percent, $all));
}

sub all {
    my ($of) = @_;

    return { map { my $name = $_;
                   map { ("$name $_" => $of->{$name}{$_}) } keys %{ $of->{$name} };
             } keys %$of };
}

printf "\n%-36s %16s   %16s\n", '', 'lines', 'branches';

for my $name (sort keys %lines) {
    printf "%-36s %s   %s\n", $name, (portion($lines{$name}))[1],
           (portion($branches{$name} // {}))[1];
}

# that for TLS, where hiredis has none

for my $name (map { substr $_, length "$src/" } glob "'$src'/*.c '$src'/*/*.c") {
    print "$name: no code of it was built\n" if !$lines{$name};
}

my ($percent, $text) = portion(all(\%lines));
printf "%-36s %s   %s\n", 'in all', $text, (portion(all(\%branches)))[1];

die sprintf "less than %d %% of the lines were run\n", LEAST if $percent < LEAST;
