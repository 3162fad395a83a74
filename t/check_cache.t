# conf/check-cache names every fault of a cache, finds no fault in a clean one,
# and never asks Redis for much at once.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use POSIX ();
use Time::HiRes qw(sleep);
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::FakeRedis;
use Billing::Redis;
use Billing::Server;

my $PROGRAM = "$FindBin::RealBin/../conf/check-cache";

my $server = Billing::Server->new;
$server->start;

my $redis = Billing::Redis->new($server->{socket});

sub check {
    my @args = @_ ? @_ : ('-s', $server->{socket});

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec $PROGRAM, @args or POSIX::_exit(99);
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

# one fault at a time: [ commands, line ]; the line has to be the only one

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
      'error: "billing:synced_at" does not exist: the module takes this Redis for one that has not been loaded (503)' ],
    [ [ [ 'SET', 'billing:synced_at', 'now' ] ],
      'error: "billing:synced_at" holds no Unix time in seconds: "now"' ],
    [ [ [ 'SET', 'billing:synced_at', '' ] ],
      'error: "billing:synced_at" holds no Unix time in seconds: ""' ],
    [ [ [ 'SET', 'billing:synced_at', '1795413600000' ] ],
      'warning: "billing:synced_at" is in the future: 1795413600000; the unit is seconds' ],

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
    (map { [ [ [ 'HSET', 'billing:camera:4', $_, '' ] ],
             "note: \"billing:camera:4\" $_ is empty and not null" ] }
        qw(external_id start_at status name group_type preview)),
    [ [ [ 'HSET', 'billing:camera:4', 'streams', '' ] ], undef ],

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
    [ [ [ 'SET', "billing:token:$hex", 'x' x 256 ] ],
      "warning: \"billing:token:$hex\" the client has 256 bytes, of which the log has 255" ],
    [ [ [ 'SET', "billing:token:$hex", 'x' x 255 ] ], undef ],
    [ [ [ 'SET', "billing:token:$hex", '' ] ], undef ],
    [ [ [ 'SET', 'billing:epoch', 1 ] ], undef ],
    [ [ [ 'SET', "billing:token:\U$hex", 'x' ] ],
      "error: \"billing:token:\U$hex\E\" is no SHA-256 in lower-case hexadecimal" ],
    [ [ [ 'SET', 'billing:token:secret-word', 'x' ] ],
      'error: "billing:token:secr... of 11 bytes" is no SHA-256 in lower-case hexadecimal' ],
    [ [ [ 'SET', 'billing:token:' . sha256_hex(''), 'x' ] ],
      'error: "billing:token:' . sha256_hex('')
      . '" is the SHA-256 of nothing: no request can send an empty token' ],
    [ [ [ 'SET', 'billing:token:' . sha256_hex('demo-token'), 'x' ] ],
      'warning: "billing:token:' . sha256_hex('demo-token') . '" is that of "demo-token",'
      . ' which everybody knows: load-sample.sh --remove takes it away' ],
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

# many faults at once, in a cache larger than a page of SCAN

clean();
$redis->pipeline(map { ([ 'HSET', "billing:camera:$_", 'name', "x\n$_" ],
                        [ 'ZADD', 'billing:login:many', $_, $_ ]) } 5 .. 6000);
$redis->pipeline(map { [ 'SET', "billing:external:gone-$_", 10_000 + $_ ] } 1 .. 500);
$redis->command('HDEL', 'billing:camera:7', 'name');
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
   'each of 500 entries without a camera is named');
like($text, qr/^error: "billing:camera:5000" streams/m, 'one bad camera among 6000 is named');
like($text, qr/^5998 cameras, 501 external ids, 2 logins, 1 tokens/m, 'all keys are counted');
is(join(' ', sort keys %asked), 'EXISTS GETRANGE HLEN HMGET HSCAN INFO PING SCAN TTL ZSCAN',
   'the commands that Redis was sent');
cmp_ok((grep { $_->[3][0] eq 'HSCAN' && $_->[3][1] eq 'billing:camera:7' } @log),
       '>', 5, 'a large hash is read in pieces');
cmp_ok((grep { $_->[3][0] eq 'ZSCAN' && $_->[3][1] eq 'billing:login:many' } @log),
       '>', 3, 'a long list is read in pieces');

# the sample, and its removal, which leaves alone what is another's by now

sub sample {
    my @args = @_;

    my $out = qx(sh $FindBin::RealBin/../conf/load-sample.sh @args -s $server->{socket} 2>&1);
    is($?, 0, "load-sample.sh @args: status") or diag $out;
    return $out;
}

my $token = 'billing:token:' . sha256_hex('demo-token');

$redis->command('FLUSHALL');
$redis->command('SET', 'elsewhere', 'x');
like(sample(), qr/"demo-token", which expires in 86400 s/, 'the sample: it names its token');
cmp_ok($redis->command('TTL', $token), '>', 86000, 'the sample: its token expires');
is((check())[1] =~ s/, synced.*//sr, "warning: \"$token\" is that of \"demo-token\", which"
   . " everybody knows: load-sample.sh --remove takes it away\n308 cameras, 308 external"
   . ' ids, 4 logins, 1 tokens', 'the sample: nothing else is wrong with it');
sample('--remove');
is(join(' ', @{ $redis->command('KEYS', '*') }), 'elsewhere', '--remove: nothing is left');

like(sample('--ttl', 0), qr/"demo-token", which never expires/, '--ttl 0: the output');
is($redis->command('TTL', $token), -1, '--ttl 0: the token does not expire');
$redis->pipeline([ 'HSET', 'billing:camera:10', 'name', 'ours' ],
                 [ 'HSET', 'billing:camera:11', 'ours', 'x' ],
                 [ 'SET', 'billing:external:yard-2', 77 ],
                 [ 'ZADD', 'billing:login:city', 77, 77 ]);
sample('--remove');
is(join(' ', sort @{ $redis->command('KEYS', 'billing:*') }),
   'billing:camera:10 billing:camera:11 billing:external:yard-2 billing:login:city'
   . ' billing:synced_at', '--remove: what is another\'s stays');

# the prefix is not a pattern, even with special characters

clean();
$redis->pipeline([ 'SET', 'x[a]*:synced_at', time ], [ 'SET', 'xa:nothing', 1 ],
                 [ 'SET', 'x[a]b:nothing', 1 ]);
($status, $text) = check('--prefix', 'x[a]*:', '-s', $server->{socket});
is($status, 0, 'a prefix: status');
like($text, qr/\A0 cameras, [^\n]*\n\z/, 'a prefix: output');

# caches that cannot be read

my @args;

is((check('-s', '/nonexistent.sock'))[0], 2, 'no Redis');
is((check('--prefix'))[0], 2, 'an option without its value');
is((check('-s', $server->{socket}, '--json'))[0], 2, 'an unknown option');
is((check('-u', 'http://127.0.0.1/'))[0], 2, 'a URL of another kind');
is((check('-s', $server->{socket}, '-n', 99))[0], 2, 'no such database');
$redis->command('CONFIG', 'SET', 'requirepass', 'x');
is((check('-s', $server->{socket}))[0], 2, 'a password that is missing');
is((check('-s', $server->{socket}, '-a', 'x'))[0], 0, 'the right password');
is((check('-u', "redis://:x\@127.0.0.1:$server->{port}/0"))[0], 0, 'the right password, in a URL');
{
    local $ENV{REDISCLI_AUTH} = 'x';
    is((check('-p', $server->{port}))[0], 0, 'the right password, in the environment');
}

# the rights that the program asks for suffice

my ($commands) = do { local $/; open my $in, '<', $PROGRAM or die; <$in> }
    =~ /ACL needs (.*) for it\./s;
$commands =~ s/[\s#]+/ /g;
$redis->command('ACL', 'SETUSER', 'checker', 'on', '>y', '~billing:*', split ' ', $commands);
$redis->command('SET', 'billing:camera:5', 'x');
$redis->command('SET', 'billing:external:y', 3, 'EX', 100);
$redis->command('SET', 'billing:external:z', 77);
@args = ('-s', $server->{socket}, '--user', 'checker', '--pass', 'y');
is((check(@args))[0], 1, 'a user with the rights named');
$redis->command('ACL', 'SETUSER', 'checker', '-zscan');
is((check(@args))[0], 2, 'a user without one of them');

# a connection that breaks

my $INFO = 'INFO => raw $0\r\n\r\n';
my $fake = Billing::FakeRedis->start("$INFO\nSCAN => close\n");
($status, $text) = check('-p', $fake->{port});
is($status, 2, 'a connection that is lost: status');
is($text, "check-cache: the connection to 127.0.0.1:$fake->{port} is lost\n",
   'a connection that is lost: output');

$fake->change("$INFO\nSCAN => drop\n");
($status, $text) = check('-p', $fake->{port}, '-t', 1);
is($status, 2, 'a server that does not answer: status');
is($text, "check-cache: 127.0.0.1:$fake->{port} does not answer within 1 s\n",
   'a server that does not answer: output');
is((check('-p', $fake->{port}, '-t', 'x'))[0], 2, '-t without a number');

# a token that is there when it is read, and has expired when Redis counts the keys
# that expire

sub bulk {
    return '$' . length($_[0]) . "\\r\\n$_[0]\\r\\n";
}

$fake->change('INFO => raw ' . bulk('db0:keys=2,expires=1') . "\n"
              . 'SCAN => raw *2\\r\\n' . bulk(0) . '*2\\r\\n' . bulk('billing:camera:3')
              . bulk("billing:token:$hex") . "\n"
              . 'HMGET => raw *7\\r\\n' . '$-1\\r\\n' x 6 . bulk('') . "\n"
              . "HLEN => raw :1\\r\\n\nGETRANGE => raw " . bulk('1') . "\n"
              . "once TTL => raw :5\\r\\n\nonce TTL => raw :-2\\r\\n\n"
              . "TTL => raw :1000\\r\\n\nEXISTS => raw :1\\r\\n\n");
($status, $text) = check('-p', $fake->{port});
like($text, qr/^warning: "billing:camera:3" expires: only tokens may$/m,
     'a camera expires, and a token has expired meanwhile') or diag $text;

# A program that is stopped while it waits, and continued

sub state_of {
    my ($pid) = @_;

    open my $in, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!\n";
    return <$in> =~ /\) (\S)/ ? $1 : '';
}

sub wait_for {
    my ($code) = @_;

    my $end = time + 20;
    until ($code->()) {
        die "not in time\n" if time > $end;
        sleep 0.01;
    }
}

my $scans = $fake->count('SCAN');
$fake->change("$INFO\nSCAN => pause 1\n");

my $pid = open my $out, '-|';
die "fork: $!\n" if !defined $pid;

if ($pid == 0) {
    open STDERR, '>&', \*STDOUT;
    exec $PROGRAM, '-p', $fake->{port} or POSIX::_exit(99);
}

wait_for(sub { $fake->count('SCAN') > $scans && state_of($pid) eq 'S' });
kill 'STOP', $pid;
wait_for(sub { state_of($pid) eq 'T' });
kill 'CONT', $pid;
$text = do { local $/; <$out> };
close $out;
like($text, qr/\Acheck-cache: 127\.0\.0\.1:$fake->{port} says: ERR unknown command/,
     'a program that is stopped and continued waits for the reply');

# help

($status, $text) = check('--help');
is($status, 0, '--help: status');
like($text, qr/\AChecks what a loader has written/, '--help: output');

is(system("$PROGRAM >/dev/null 2>&1") >> 8, 2, 'no arguments');

done_testing();
