# conf/check-cache.sh: that it names every fault of a cache, takes a clean one
# for clean, and never asks Redis for much at once.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::Fixtures;
use Billing::Redis;
use Billing::Server;

# t/ is a directory of links

my $CONF = -e "$FindBin::RealBin/../conf" ? "$FindBin::RealBin/../conf"
                                          : die "no conf/ beside t/\n";

my $server = Billing::Server->new;
$server->start;

my $redis = Billing::Redis->new($server->{socket});

sub check {
    my @args = @_ ? @_ : ('-s', $server->{socket});

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec 'sh', "$CONF/check-cache.sh", @args;
    }

    my $text = do { local $/; <$out> } // '';
    close $out;

    return ($? >> 8, $text);
}

sub clean {
    $redis->command('FLUSHALL');
    $redis->pipeline(
        [ 'SET', 'billing:synced_at', time ],
        [ 'SET', 'billing:token:' . sha256_hex('x'), "\xc3\xa9" ],
        [ 'HSET', 'billing:camera:3', 'external_id', 'e-3',
          'streams', 'high=active,low=', 'name', "\xf0\x9f\x8e\xa5" x 20_000 ],
        [ 'HSET', 'billing:camera:4', 'name', '","' . "\\" x 7 . "\n,\"" ],
        [ 'SET', 'billing:external:e-3', 3 ],
        [ 'ZADD', "billing:login:a\r\n\"b\"\\ \xd0\xb6", 3, 3, 4, 4 ],
        [ 'SET', 'elsewhere:login:x', 'not ours' ],
    );
}

# a clean cache

clean();

my ($status, $text) = check();
is($status, 0, 'a clean cache: status');
is($text =~ s/, synced -?\d+ s ago//r,
   "2 cameras, 1 external ids, 1 logins, 1 tokens: 0 errors, 0 warnings, 0 notes\n",
   'a clean cache: output');

# one fault at a time: [ commands, the line ]. All that is found has to be this.

my $hex = sha256_hex('y');

my @FAULTS = (
    [ [ [ 'SET', 'billing:camera:5', 'x' ] ],
      'error: "billing:camera:5" is of the type string, not hash' ],
    [ [ [ 'HSET', 'billing:external:x', 'a', 'b' ] ],
      'error: "billing:external:x" is of the type hash, not string' ],
    [ [ [ 'SADD', 'billing:login:x', 3 ] ],
      'error: "billing:login:x" is of the type set, not zset' ],
    [ [ [ 'RPUSH', "billing:token:$hex", 3 ] ],
      "error: \"billing:token:$hex\" is of the type list, not string" ],
    [ [ [ 'DEL', 'billing:synced_at' ], [ 'LPUSH', 'billing:synced_at', 3 ] ],
      'error: "billing:synced_at" is of the type list, not string' ],
    [ [ [ 'DEL', 'billing:synced_at' ] ],
      'error: "billing:synced_at" does not exist: where nothing is found, the answer is 503' ],
    [ [ [ 'SET', 'billing:synced_at', 'now' ] ],
      'error: "billing:synced_at" holds no Unix time in seconds: "now"' ],
    [ [ [ 'SET', 'billing:synced_at', '' ] ],
      'error: "billing:synced_at" holds no Unix time in seconds: ""' ],
    [ [ [ 'SET', 'billing:synced_at', '1795413600000' ] ],
      'warning: "billing:synced_at" is in the future: 1795413600000; it has to be in seconds' ],

    (map { [ [ [ 'HSET', "billing:camera:$_", 'name', 'x' ] ],
             "error: \"billing:camera:$_\" the id is no integer from 1" ] }
        '0', '03', '-1', 'x', '', '1.0', '9223372036854775808'),
    (map { [ [ [ 'SET', 'billing:external:x', $_ ] ],
             "error: \"billing:external:x\" holds no integer from 1: \"$_\"" ] }
        '0', '03', '-3', 'x', '', '3 ', '9223372036854775808'),
    (map { [ [ [ 'ZADD', 'billing:login:x', 3, $_ ] ],
             'error: "billing:login:x" has a member that is no integer from 1'
             . " to 2^53 - 1: \"$_\"" ] }
        '0', '03', '-3', 'x', '9007199254740992'),
    (map { [ [ [ 'ZADD', 'billing:login:x', $_, 3 ] ],
             "error: \"billing:login:x\" has a score that is not its member: $_ of 3" ] }
        '4', '3.5', '-3', 'inf'),

    [ [ [ 'SET', 'billing:external:x', 77 ] ],
      'warning: "billing:external:x" leads to camera 77, which does not exist' ],
    [ [ [ 'ZADD', 'billing:login:x', 77, 77 ] ],
      'warning: "billing:login:x" leads to camera 77, which does not exist' ],
    [ [ [ 'HSET', 'billing:camera:88', 'name', 'x' ] ],
      'note: "billing:camera:88" no index leads to it' ],
    [ [ [ 'SET', 'billing:external:x', 3 ] ],
      'warning: "billing:external:x" leads to camera 3, whose external_id is "e-3"' ],
    [ [ [ 'SET', 'billing:external:x', 4 ] ],
      'warning: "billing:external:x" leads to camera 4, whose external_id is not set' ],
    [ [ [ 'DEL', 'billing:external:e-3' ] ],
      'warning: "billing:camera:3" is not found by its external_id, "e-3"' ],
    [ [ [ 'HSET', 'billing:camera:4', 'external_id', 'e-3' ] ],
      'warning: "billing:camera:4" is not found by its external_id, "e-3", which leads to camera 3' ],
    [ [ [ 'SET', 'billing:external:e-3', '03' ] ],
      'error: "billing:external:e-3" holds no integer from 1: "03"' ],
    [ [ [ 'HSET', 'billing:camera:4', 'external_id', '' ] ], undef ],

    (map { [ [ [ 'HSET', 'billing:camera:3', 'streams', $_ ] ],
             'error: "billing:camera:3" streams are not "type=status,...": "' . "$_\"" ] }
        'high', '=active', 'high=active,', ',high=active', 'high=a,,low=b', ','),
    [ [ [ 'HSET', 'billing:camera:3', 'streams', 'high=active, low=' ] ],
      'note: "billing:camera:3" streams have white space: "high=active, low="' ],
    [ [ [ 'HSET', 'billing:camera:3', 'start_at', 'NULL' ] ],
      'note: "billing:camera:3" start_at is a text and not null: "NULL"' ],
    [ [ [ 'HSET', 'billing:camera:3', 'name', "caf\xe9" ] ],
      'error: "billing:camera:3" name is not UTF-8' ],
    [ [ [ 'HSET', 'billing:camera:3', 'name', "\xed\xa0\x80" ] ],
      'error: "billing:camera:3" name is not UTF-8' ],
    [ [ [ 'HSET', 'billing:camera:3', 'colour', 'red' ] ],
      'note: "billing:camera:3" has a field that is not read: "colour"' ],
    [ [ [ 'HSET', 'billing:camera:3', 'preview', 'x' x 1048576 ] ],
      'error: "billing:camera:3" has more than 1048576 bytes' ],
    [ [ [ 'HSET', 'billing:camera:3', 'colour', 'x' x 1048576 ] ],
      'note: "billing:camera:3" has a field that is not read: "colour"' ],
    [ [ [ 'HDEL', 'billing:camera:4', 'name' ],
        [ 'HSET', 'billing:camera:4', 'colour', 'x' x 1048576 ] ],
      'error: "billing:camera:4" has more than 1048576 bytes',
      qr/^note: "billing:camera:4" has a field that is not read: "colour"\n/m ],
    [ [ [ 'HDEL', 'billing:camera:4', 'name' ],
        [ 'HSET', 'billing:camera:4', map { ("f$_", 1) } 1 .. 2050 ] ],
      'error: "billing:camera:4" has more than 2048 fields',
      qr/^note: "billing:camera:4" has a field that is not read: "f\d+"\n/m ],

    [ [ [ 'ZADD', "billing:login:\xff", 3, 3 ] ],
      'error: "billing:login:\xff" is not UTF-8' ],
    [ [ [ 'ZADD', 'billing:login: ', 3, 3 ] ],
      'warning: "billing:login: " the login is blank, which counts as not sent' ],
    [ [ [ 'ZADD', 'billing:login:' . 'x' x 256, 3, 3 ] ],
      'error: "billing:login:' . 'x' x 256
      . '" has more than 255 characters: no request can ask for it' ],
    [ [ [ 'ZADD', 'billing:login:' . "\xd0\xb6" x 255, 3, 3 ] ], undef ],
    [ [ [ 'SET', "billing:token:$hex", "caf\xe9" ] ],
      "error: \"billing:token:$hex\" the client is not UTF-8" ],
    [ [ [ 'SET', "billing:token:$hex", 'x' x 1048577 ] ],
      "error: \"billing:token:$hex\" has more than 1048576 bytes" ],
    [ [ [ 'SET', "billing:token:\U$hex", 'x' ] ],
      "error: \"billing:token:\U$hex\E\" is no SHA-256 in lower-case hexadecimal" ],
    [ [ [ 'SET', 'billing:token:secret-word', 'x' ] ],
      'error: "billing:token:secr... of 11 bytes" is no SHA-256 in lower-case hexadecimal' ],
    [ [ [ 'SET', 'billing:token:' . sha256_hex(''), 'x' ] ],
      'error: "billing:token:' . sha256_hex('')
      . '" is the SHA-256 of nothing: no request can send an empty token' ],
    [ [ [ 'SET', "billing:token:$hex", 'x', 'EX', 1000 ] ], undef ],
    (map { [ [ [ 'SET', "billing:token:$hex", 'x', 'EX', 1000 ],
               [ 'EXPIRE', "billing:$_", 1000 ] ],
             "warning: \"billing:$_\" expires: only tokens may" ] }
        'camera:3', 'external:e-3', 'synced_at'),
    [ [ [ 'SET', 'billing:cameras:3', 'x' ] ],
      'warning: "billing:cameras:3" is not of the contract' ],
    [ [ [ 'SET', "billing:line\nbreak", 'x' ] ],
      'warning: "billing:line\x0abreak" is not of the contract' ],
);

for my $fault (@FAULTS) {
    my ($commands, $line, $besides) = @$fault;

    clean();
    $redis->pipeline(@$commands);

    ($status, $text) = check();
    $text =~ s/$besides// if $besides;

    my ($found) = $text =~ /\A((?:error|warning|note): .*\n)*/ ? $& : '';
    my $name = substr $line // 'nothing', 0, 90;

    is($found, defined $line ? "$line\n" : '', "named: $name");
    is($status, ($line // 'note') =~ /\Anote/ ? 0 : 1, "status: $name");
}

# many faults at once, in a cache larger than a batch

clean();
$redis->pipeline(map { ([ 'HSET', "billing:camera:$_", 'name', "x\n$_" ],
                        [ 'ZADD', 'billing:login:many', $_, $_ ]) } 5 .. 6000);
$redis->pipeline(map { [ 'SET', "billing:external:gone-$_", 10_000 + $_ ] } 1 .. 500);
$redis->command('HSET', 'billing:camera:7', map { ("f$_", 1) } 1 .. 2000);
$redis->command('HSET', 'billing:camera:5000', 'streams', 'x');

$redis->command('CONFIG', 'SET', 'slowlog-log-slower-than', 0);
$redis->command('CONFIG', 'SET', 'slowlog-max-len', 1_000_000);
$redis->command('SLOWLOG', 'RESET');

($status, $text) = check();

my @log = @{ $redis->command('SLOWLOG', 'GET', -1) };
my %asked;
$asked{ uc $_->[3][0] }++ for @log;
delete @asked{qw(SLOWLOG COMMAND)};

is(() = $text =~ /^warning: "billing:external:gone-\d+" leads to/mg, 500,
   'each of 500 that dangle');
like($text, qr/^error: "billing:camera:5000" streams/m, 'one of 6000');
like($text, qr/^5998 cameras, 501 external ids, 2 logins, 1 tokens/m, 'all are counted');
is(join(' ', sort keys %asked), 'ECHO EXISTS GETRANGE HSCAN INFO PING SCAN TTL ZSCAN',
   'what Redis was asked');
cmp_ok((grep { $_->[3][0] eq 'HSCAN' && $_->[3][1] eq 'billing:camera:7' } @log),
       '>', 5, 'a large hash is read in pieces');
cmp_ok((grep { $_->[3][0] eq 'ZSCAN' && $_->[3][1] eq 'billing:login:many' } @log),
       '>', 3, 'and a large list');

# the prefix, of which nothing is a pattern

clean();
$redis->pipeline([ 'SET', 'x[a]*:synced_at', time ], [ 'SET', 'xa:nothing', 1 ],
                 [ 'SET', 'x[a]b:nothing', 1 ]);
($status, $text) = check('--prefix', 'x[a]*:', '-s', $server->{socket});
is($status, 0, 'a prefix: status');
like($text, qr/\A0 cameras, [^\n]*\n\z/, 'a prefix: output');

# what is no cache

my @args;

is((check('-s', '/nonexistent.sock'))[0], 2, 'no Redis');
is((check('--prefix'))[0], 2, 'no value');
is((check('-s', $server->{socket}, '--json'))[0], 2, 'another format');
is((check('-s', $server->{socket}, '-n', 99))[0], 2, 'no such database');
$redis->command('CONFIG', 'SET', 'requirepass', 'x');
is((check('-s', $server->{socket}))[0], 2, 'no password');
is((check('-s', $server->{socket}, '-a', 'x'))[0], 0, 'a password');

# what the user of an ACL needs

my ($commands) = do { local $/; open my $in, '<', "$CONF/check-cache.sh" or die; <$in> }
    =~ /ACL needs (.*) for it\./s;
$commands =~ s/[\s#]+/ /g;
$redis->command('ACL', 'SETUSER', 'checker', 'on', '>y', '~billing:*', split ' ', $commands);
$redis->command('SET', 'billing:camera:5', 'x');
$redis->command('SET', 'billing:external:y', 3, 'EX', 100);
$redis->command('SET', 'billing:external:z', 77);
@args = ('-s', $server->{socket}, '--user', 'checker', '--pass', 'y');
is((check(@args))[0], 1, 'a user');
$redis->command('ACL', 'SETUSER', 'checker', '-zscan');
is((check(@args))[0], 2, 'a user who may not');

# a redis-cli that loses its connection says so, and goes on

my $dir = File::Temp->newdir('billing-check-XXXXXX', TMPDIR => 1);
my ($cli) = grep { -x } map { "$_/redis-cli" } split /:/, $ENV{PATH};
open my $lost, '>', "$dir/redis-cli" or die "$dir/redis-cli: $!\n";
print $lost <<"END";
#!/bin/sh
case "\$*" in *PING) exec $cli "\$@" ;; esac
echo "Error: Server closed the connection" >&2
cat >/dev/null
END
close $lost;
chmod 0755, "$dir/redis-cli";

{
    local $ENV{PATH} = "$dir:$ENV{PATH}";
    ($status, $text) = check('-s', $server->{socket}, '-a', 'x');
    is($status, 2, 'a connection that is lost: status');
    is($text, "check-cache: redis-cli says: Error: Server closed the connection\n",
       'a connection that is lost: output');
}

is(system("sh $CONF/check-cache.sh 2>/dev/null") >> 8, 2, 'no arguments');

done_testing();
