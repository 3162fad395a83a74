#!/usr/bin/perl

# Prints the tables of run.sh from its results, a line for each measurement:
# scenario, server, requests, nanoseconds of CPU, Redis' own, p50, p99.

use strict;
use warnings;

my %scenario = (
    1    => '1 camera',
    30   => '30 cameras',
    list => 'login with 1,000',
    bad  => 'bad token',
    422  => '422',
);

my %server = (
    limit  => 'limit: `return` of the same bytes (a file for 1,000)',
    module => 'the module',
    fast   => 'nginx + Lua, written for speed',
    usual  => 'nginx + Lua, the usual way',
    go     => 'Go, one connection to Redis',
);

my @servers = qw(limit module fast usual go);
my (@scenarios, %runs);

while (<>) {
    my ($scenario, $server, $n, $cpu, $redis, $p50, $p99) = split;

    push @scenarios, $scenario if !grep { $_ eq $scenario } @scenarios;
    push @{$runs{$scenario}{$server}},
        [$cpu / $n / 1000, $redis / $n / 1000, $p50, $p99];
}

sub median {
    my ($scenario, $server, $column) = @_;
    my @values = sort { $a <=> $b }
                 map { $_->[$column] } @{$runs{$scenario}{$server}};

    return ($values[$#values / 2] + $values[@values / 2]) / 2;
}

sub number {
    my $text = sprintf $_[0] < 10 ? '%.1f' : '%.0f', $_[0];

    1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;

    return $text;
}

sub row {
    print '| ', join(' | ', @_), " |\n";
}

row('server CPU per request, us', map { $scenario{$_} } @scenarios);
print '|---', '|---:' x @scenarios, "|\n";

for my $server (@servers) {
    row($server{$server}, map { number(median($_, $server, 0)) } @scenarios);
}

for my $peer (qw(limit fast usual go)) {
    my $name = { limit => 'the limit', fast => 'Lua for speed',
                 usual => 'Lua as usual', go => 'Go' }->{$peer};

    row("module : $name",
        map { sprintf '%.2f', median($_, 'module', 0) / median($_, $peer, 0) }
        @scenarios);
}

print "\n";
row('', '', 'requests per CPU second', 'p50, ms', 'p99, ms',
    'Redis CPU per request, us');
print "|---|---|---:|---:|---:|---:|\n";

for my $scenario (@scenarios) {
    for my $server (@servers) {
        row($server eq $servers[0] ? $scenario{$scenario} : '',
            $server eq 'limit' ? 'limit' : $server{$server},
            number(1e6 / median($scenario, $server, 0)),
            (map { sprintf '%.1f', median($scenario, $server, $_) } 2, 3),
            $server eq 'limit' ? '-' : number(median($scenario, $server, 1)));
    }
}
