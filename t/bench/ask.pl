#!/usr/bin/perl

# Sends the same request again and again over one connection, each when the
# answer before it is there, and fails on another status than the one expected:
#
#     perl ask.pl socket token body status number

use strict;
use warnings;

use IO::Socket::UNIX;

my ($path, $token, $body, $status, $n) = @ARGV;

my $socket = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";

my $request = join "\r\n",
    'GET /api/v1/billing/cameras/list HTTP/1.1', 'Host: localhost',
    "Authorization: Bearer $token", 'Content-Type: application/json',
    'Content-Length: ' . length $body, '', $body;

for (1 .. $n) {
    print $socket $request;
    $socket->flush;

    my $answer = '';

    until (whole($answer)) {
        sysread $socket, $answer, 1048576, length $answer
            or die "the answer breaks off after \"$answer\"\n";
    }

    $answer =~ m{\AHTTP/1\.1 $status } or die "unexpected answer: $answer\n";
}

sub whole {
    my ($answer) = @_;
    my $head = index $answer, "\r\n\r\n";

    return 0 if $head < 0;

    return length $answer >= $head + 4 + $1
        if substr($answer, 0, $head) =~ /^Content-Length: (\d+)/mi;

    return substr($answer, -7) eq "\r\n0\r\n\r\n";
}
