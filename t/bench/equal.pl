#!/usr/bin/perl

# Compares two answers as "curl -i" shows them: prints "bytes" if their bodies
# are the same, "JSON" if they are but for JSON's freedoms, and fails if they
# are not, or have another status or other fields of the header.

use strict;
use warnings;

use JSON::PP;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my @answers;

for my $file (@ARGV) {
    open my $fh, '<:raw', $file or die "$file: $!\n";
    my ($head, $body) = split /\r\n\r\n/, do { local $/; <$fh> }, 2;
    my ($status) = $head =~ m{\AHTTP/1\.1 (\d+)} or die "$file: no status\n";
    my @fields = map { lc } $head
        =~ /^((?:Content-Type|Cache-Control|WWW-Authenticate):[^\r]*)/gmi;

    push @answers, { head => join("\n", $status, sort @fields),
                     body => $body };
}

die "$answers[0]{head}\n\n$answers[1]{head}\n"
    if $answers[0]{head} ne $answers[1]{head};

if ($answers[0]{body} eq $answers[1]{body}) {
    print "bytes\n";
    exit;
}

my @parsed = map { $json->encode($json->decode($_->{body})) } @answers;

die "$parsed[0]\n\n$parsed[1]\n" if $parsed[0] ne $parsed[1];

print "JSON\n";
