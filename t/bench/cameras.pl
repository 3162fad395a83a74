#!/usr/bin/perl

# Prints a cache of cameras as Redis' protocol, for redis-cli --pipe:
#
#     perl cameras.pl 100000 1:30 1:1000 | redis-cli -s redis.sock --pipe
#
# The first argument is the number of cameras, the others are logins by the
# number of cameras each of them has; "login-30" is the first above.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

my $first = $ENV{FIRST} || 1;
my ($cameras, @logins) = @ARGV;

die "usage: $0 cameras [login's cameras ...]\n"
    if !$cameras || grep { !/^[1-9][0-9]*$/ } @ARGV;

sub command {
    print '*' . @_ . "\r\n", map { '$' . length() . "\r\n$_\r\n" } @_;
}

# the first camera of the API's documentation, over and over, with a token
# of its own

for my $id ($first .. $first + $cameras - 1) {
    my $hash = sha256_hex($id);
    my $uuid = join '-', unpack 'A8 A4 A4 A4 A12', $hash;

    command(
        'HSET', "billing:camera:$id",
        external_id => $id,
        $id % 2 ? () : (start_at => '2023-01-24T10:36:08.000000Z'),
        status      => 'active',
        name        => "Camera $id",
        group_type  => $id % 2 ? 'public' : 'private',
        streams     => 'high=active,low=active',
        preview     => 'https://server' . $id % 10 . '.domain.video:8443/live/'
                       . "$uuid/preview.mp4?token=" . $hash . $hash . '~~',
    );
    command('SET', "billing:external:$id", $id);
}

for my $n (@logins) {
    for my $id ($first .. $first + $n - 1) {
        command('ZADD', "billing:login:list-$n", $id, $id);
    }
}

command('SET', 'billing:token:' . sha256_hex('bench-token'), 'Bench');
command('SET', 'billing:synced_at', time);
