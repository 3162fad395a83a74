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
    module => 'the module, cache off',
    cache  => 'the module, worker\'s cache',
    old    => 'the module, older build',
    fast   => 'nginx + Lua, written for speed',
    usual  => 'nginx + Lua, the usual way',
    kept   => 'nginx + Lua for speed, answers kept for 5 s',
    go     => 'Go, one connection to Redis',
);

my (@servers, @scenarios, %runs);

while (<>) {
    my ($scenario, $server, $n, $cpu, $redis, $p50, $p99) = split;

    push @scenarios, $scenario if !grep { $_ eq $scenario } @scenarios;
    push @servers, $server if !grep { $_ eq $server } @servers;
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

my %short = (
    limit => 'limit',
    old   => 'older build',
    fast  => 'Lua for speed',
    usual => 'Lua as usual',
    kept  => 'Lua, answers kept',
    go    => 'Go',
);

sub ratios {
    my ($of, $name, @peers) = @_;

    for my $peer (grep { my $p = $_; grep { $_ eq $p } @servers } @peers) {
        row("$name : $short{$peer}",
            map { sprintf '%.2f', median($_, $of, 0) / median($_, $peer, 0) }
            @scenarios);
    }
}

ratios('module', 'cache off', qw(limit fast usual go old));
ratios('cache', 'cache', qw(limit kept go old));

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
