# conf/check-cache reads a Redis Cluster of real servers: each fault is found on
# whichever node its key is, and a cluster that changes meanwhile, or is not all
# there, is never taken for a good one.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp ();
use FindBin;
use POSIX ();
use Time::HiRes qw(sleep time);
use lib "$FindBin::Bin/lib";
use Test::More;

use Billing::Cluster;
use Billing::FakeRedis;
use Billing::Redis;

my $PROGRAM = "$FindBin::RealBin/../conf/check-cache";

my $cluster = Billing::Cluster->new(replicas => 0, args => [
    qw(--cluster-require-full-coverage no) ]);
$cluster->start;

my @masters = $cluster->masters;
my @seed = ('-p', $masters[0]{port});

sub start_check {
    my @args = @_;

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec $PROGRAM, @args or POSIX::_exit(99);
    }

    return ($pid, $out);
}

sub end_check {
    my ($out) = @_;

    my $text = do { local $/; <$out> } // '';
    close $out;

    return ($? >> 8, $text =~ s/, synced -?\d+ s ago//r);
}

sub check {
    return end_check((start_check(@_ ? @_ : @seed))[1]);
}

sub number_of {
    my ($key) = @_;

    my $node = $cluster->owner(Billing::Cluster::slot($key));
    return (grep { $masters[$_] == $node } 0 .. $#masters)[0];
}

# The first of these names whose key is on the n-th master.

sub name_on {
    my ($n, $prefix, @names) = @_;

    return (grep { number_of("$prefix$_") == $n % @masters } @names)[0];
}

# For each master: a camera, whose external id and login are on the two others.

my (@cameras, @externals, @logins);

for my $n (0 .. 2) {
    $cameras[$n] = name_on($n, 'billing:camera:', 1 .. 100);
    $externals[$n] = name_on($n + 1, 'billing:external:', map { "e-$_" } 1 .. 100);
    $logins[$n] = name_on($n + 2, 'billing:login:', map { "l-{$_}" } 1 .. 100);
}

sub clean {
    my ($prefix) = (@_, 'billing:');

    $_->command('FLUSHALL') for @masters;

    $cluster->load(map { [ $_->[0], $prefix . $_->[1], @$_[2 .. $#$_] ] }
        [ 'SET', 'synced_at', time =~ s/\..*//r ],
        [ 'SET', 'token:' . sha256_hex('x'), 'x', 'EX', 1000 ],
        map { ([ 'HSET', "camera:$cameras[$_]", 'external_id', $externals[$_],
                 'streams', 'high=active', 'name', 'x' ],
               [ 'SET', "external:$externals[$_]", $cameras[$_] ],
               [ 'ZADD', "login:$logins[$_]", $cameras[$_], $cameras[$_] ]) } 0 .. 2);
}

my $CLEAN = '3 cameras, 3 external ids, 3 logins, 1 tokens on 3 masters: '
            . "0 errors, 0 warnings, 0 notes\n";

my ($status, $text);

# a clean cache

clean();

for my $n (0 .. 2) {
    ($status, $text) = check('-p', $masters[$n]{port});
    is($status, 0, "a clean cluster, master $n is named: status");
    is($text, $CLEAN, "a clean cluster, master $n is named: output");
}

is((check('-s', $masters[1]{socket}))[1], $CLEAN, 'a clean cluster, a socket is named');

is(join(' ', map { $_->command('INFO', 'errorstats') =~ /MOVED/ ? 1 : 0 } @masters),
   '0 0 0', 'no command went to a node that does not have its key');

# faults: [ title, commands for the n-th master, lines for it ]

my $hex = sha256_hex('y');
my @tokens = map { name_on($_, 'billing:token:', map { "bad-$_" } 1 .. 100) } 0 .. 2;
my @strange = map { name_on($_, 'billing:', map { "strange-$_" } 1 .. 100) } 0 .. 2;
my @more = map { name_on($_, 'billing:camera:', 101 .. 200) } 0 .. 2;
my @links = map { name_on($_, 'billing:external:', map { "x{$_}" } 1 .. 100) } 0 .. 2;
my @lists = map { name_on($_, 'billing:login:', map { "x-$_" } 1 .. 100) } 0 .. 2;

my @FAULTS = (
    [ 'cameras of another type',
      sub { [ 'SET', "billing:camera:$more[$_]", 'x' ] },
      sub { "error: \"billing:camera:$more[$_]\" is of the type string, not hash" } ],
    [ 'streams that nobody can read',
      sub { [ 'HSET', "billing:camera:$cameras[$_]", 'streams', 'x' ] },
      sub { "error: \"billing:camera:$cameras[$_]\" streams are not "
            . '"type=status,...": "x"' } ],
    [ 'cameras that no index leads to',
      sub { [ 'HSET', "billing:camera:$more[$_]", 'name', 'x' ] },
      sub { "note: \"billing:camera:$more[$_]\" no index leads to it" } ],
    [ 'cameras that are not found by their external ids',
      sub { [ 'DEL', "billing:external:$externals[$_]" ] },
      sub { "warning: \"billing:camera:$cameras[$_]\" is not found by its "
            . "external_id, \"$externals[$_]\"" } ],
    [ 'external ids that lead to nothing',
      sub { [ 'SET', "billing:external:$links[$_]", $more[$_ - 1] ] },
      sub { "warning: \"billing:external:$links[$_]\" leads to camera $more[$_ - 1],"
            . ' which does not exist' } ],
    [ 'external ids that lead to cameras with another one',
      sub { [ 'SET', "billing:external:$links[$_]", $cameras[$_ - 1] ] },
      sub { "warning: \"billing:external:$links[$_]\" leads to camera $cameras[$_ - 1],"
            . " whose external_id is \"$externals[$_ - 1]\"" } ],
    [ 'external ids of another type',
      sub { [ 'SADD', "billing:external:$links[$_]", 'x' ] },
      sub { "error: \"billing:external:$links[$_]\" is of the type set, not string" } ],
    [ 'logins with a camera that does not exist',
      sub { [ 'ZADD', "billing:login:$lists[$_]", $more[$_ - 1], $more[$_ - 1] ] },
      sub { "warning: \"billing:login:$lists[$_]\" leads to camera $more[$_ - 1],"
            . ' which does not exist' } ],
    [ 'logins with a wrong score',
      sub { [ 'ZADD', "billing:login:$lists[$_]", 7, $cameras[$_ - 1] ] },
      sub { "error: \"billing:login:$lists[$_]\" has a score that is not its member: "
            . "7 of $cameras[$_ - 1]" } ],
    [ 'tokens that are no hash',
      sub { [ 'SET', "billing:token:$tokens[$_]", 'x' ] },
      sub { "error: \"billing:token:bad-... of " . length($tokens[$_])
            . ' bytes" is no SHA-256 in lower-case hexadecimal' } ],
    [ 'keys that are not of the contract',
      sub { [ 'SET', "billing:$strange[$_]", 'x' ] },
      sub { "warning: \"billing:$strange[$_]\" is not of the contract" } ],
    [ 'keys that expire',
      sub { [ 'EXPIRE', "billing:external:$externals[$_ - 1]", 1000 ] },
      sub { "warning: \"billing:external:$externals[$_ - 1]\" expires: only tokens may" } ],
);

for my $fault (@FAULTS) {
    my ($title, $command, $line) = @$fault;

    # one fault at a time, then one on each master

    for my $where ([ 0 ], [ 1 ], [ 2 ], [ 0 .. 2 ]) {
        clean();
        $cluster->load(map { $command->() } @$where);
        my %lines = map { $line->() => 1 } @$where;

        ($status, $text) = check();

        is(join("\n", sort grep { /\A(?:error|warning|note|check-cache): / } split /\n/, $text),
           join("\n", sort keys %lines), "$title, on @$where");
        is($status, (keys %lines)[0] =~ /\Anote/ ? 0 : 1, "$title, on @$where: status");
    }
}

clean();
$cluster->load([ 'DEL', 'billing:synced_at' ]);
($status, $text) = check();
like($text, qr/\Aerror: "billing:synced_at" does not exist: [^\n]*\n3 cameras[^\n]*\n\z/,
     'a cluster without synced_at');

# a prefix in braces puts all keys into one slot

clean('{billing}:');
is(join(' ', map { $_->command('DBSIZE') } @masters) =~ s/://gr,
   join(' ', map { $_ == number_of('{billing}:') ? 11 : 0 } 0 .. 2),
   'a prefix in braces: one node has all');
is((check('--prefix', '{billing}:', @seed))[1], $CLEAN, 'a prefix in braces: a clean cache');
$cluster->load([ 'SET', '{billing}:external:{x}', 999 ]);
is((check('--prefix={billing}:', @seed))[1],
   "warning: \"{billing}:external:{x}\" leads to camera 999, which does not exist\n"
   . $CLEAN =~ s/3 ext/4 ext/r =~ s/0 w/1 w/r, 'a prefix in braces: a fault');

# the sample, and its removal: synced_at stays where any node has another key

sub sample {
    my @args = @_;

    my $out = qx(sh $FindBin::RealBin/../conf/load-sample.sh @args 2>&1);
    return ($? >> 8, $out);
}

my @any = ('-c', '-h', '127.0.0.1', '-p', $masters[0]{port});

$_->command('FLUSHALL') for @masters;
($status, $text) = sample(@any);
is($status, 0, 'the sample: status') or diag $text;
is((check())[1] =~ s/.*--remove takes it away\n//r,
   "308 cameras, 308 external ids, 4 logins, 1 tokens on 3 masters: 0 errors, 1 warnings,"
   . " 0 notes\n", 'the sample: nothing else than its token is wrong with it');
($status, $text) = sample(@any, '--remove');
is($status, 0, 'the sample, --remove: status') or diag $text;
is(join(' ', map { $_->command('DBSIZE') } @masters) =~ s/://gr, '0 0 0',
   'the sample, --remove: nothing is left');

for my $n (0 .. 2) {
    $_->command('FLUSHALL') for @masters;
    $cluster->load([ 'SET', 'billing:synced_at', 1 ], [ 'SET', "billing:$strange[$n]", 1 ]);
    sample(@any, '--remove');
    is($masters[ number_of('billing:synced_at') ]->command('GET', 'billing:synced_at'), 1,
       "the sample, --remove: master $n has another's key");
}

# a user with the rights that --help names, and without some of them

my ($rights, $more_rights) = (check('--help'))[1]
    =~ /ACL\s+needs\s+(.*?)\s+for\s+it\.\s+A\s+Redis\s+Cluster\s+takes\s+(.*?)\s+as\s+well\./s;

clean();
$_->command('ACL', 'SETUSER', 'checker', 'on', '>y', '~billing:*',
            split ' ', "$rights $more_rights") for @masters;
my @user = (@seed, '--user', 'checker', '--pass', 'y');
is((check(@user))[1], $CLEAN, 'a user with the rights named');

for my $right (qw(cluster|slots cluster|nodes)) {
    $_->command('ACL', 'SETUSER', 'checker', "-$right") for @masters;
    ($status, $text) = check(@user);
    is($status, 2, "a user without +$right: status");
    like($text, qr/\Acheck-cache: \S+ says: NOPERM /, "a user without +$right: output");
    $_->command('ACL', 'SETUSER', 'checker', "+$right") for @masters;
}

$masters[1]->command('ACL', 'SETUSER', 'checker', 'off');
($status, $text) = check(@user);
is($status, 2, 'a user whom one node does not know: status');
like($text, qr/\Acheck-cache: 127\.0\.0\.1:$masters[1]{port} says: WRONGPASS /,
     'a user whom one node does not know: output');

# keys that were left on a node that does not have their slot

clean();
my $slot = Billing::Cluster::slot("billing:camera:$more[1]");
$masters[0]->command('CLUSTER', 'SETSLOT', $slot, 'IMPORTING',
                     $masters[1]->command('CLUSTER', 'MYID'));
Billing::Redis->new($masters[0]{socket})->pipeline(
    [ 'ASKING' ], [ 'SET', "billing:camera:$more[1]", 'x' ]);
$masters[0]->command('CLUSTER', 'SETSLOT', $slot, 'STABLE');
($status, $text) = check();
is($text, "note: \"billing:camera:$more[1]\" is left on 127.0.0.1:$masters[0]{port}, "
          . "which does not have its slot\n" . $CLEAN =~ s/0 notes/1 notes/r,
   'a key that is left on a node without its slot');

# A slot that moves from a master that was not read yet to the one that was read
# first. The program is stopped while it reads the second master.

sub calls {
    my ($server, $command) = @_;

    my ($n) = $server->command('INFO', 'commandstats') =~ /^cmdstat_$command:calls=(\d+)/m;
    return $n // 0;
}

# Starts the program, and stops it while it reads the second master. On a busy
# machine the program may have read the third one by then: it is started again.

sub stopped {
    for (1 .. 20) {
        $_->command('CONFIG', 'RESETSTAT') for @masters;

        my ($pid, $out) = start_check(@seed);
        my $end = time + 20;

        while (calls($masters[1], 'hmget') < 50) {
            die "the second master is not read\n" if time > $end;
            sleep 0.001;
        }

        kill 'STOP', $pid;
        return ($pid, $out) if calls($masters[2], 'scan') == 0;

        kill 'KILL', $pid;
        close $out;
    }

    die "the program is too fast to be stopped\n";
}

sub fill {
    clean();
    my @ids = grep { number_of("billing:camera:$_") == 1 } 10_000 .. 18_000;
    $cluster->load(map { ([ 'HSET', "billing:camera:$_", 'name', 'x' ],
                          [ 'ZADD', 'billing:login:many', $_, $_ ]) } @ids);
    return scalar @ids;
}

my $many = fill();
my $moved = Billing::Cluster::slot("billing:camera:$cameras[2]");
$cluster->load([ 'HSET', "billing:camera:$cameras[2]", 'streams', 'x' ]);

my ($pid, $out) = stopped();
$cluster->move($moved, $masters[0]);
kill 'CONT', $pid;
($status, $text) = end_check($out);
like($text, qr/^error: "billing:camera:$cameras[2]" streams are not/m,
     'a slot moves to a master that was read: its fault is found') or diag $text;
like($text, qr/^${\ ($many + 3) } cameras, 3 external ids, 4 logins, 1 tokens on 3 masters: 1 errors, 0 warnings, 0 notes$/m,
     'a slot moves to a master that was read: nothing else is found, and nothing twice');
is($status, 1, 'a slot moves to a master that was read: status');
$cluster->move($moved, $masters[2]);

# the slot moves forth and back, so that the map is the same at the end

($pid, $out) = stopped();
$cluster->move($moved, $masters[0]);
my $scans = calls($masters[2], 'scan');
kill 'CONT', $pid;
my $end = time + 20;
while (calls($masters[2], 'scan') == $scans) {
    die "the third master is not read\n" if time > $end;
    sleep 0.001;
}

kill 'STOP', $pid;
$cluster->move($moved, $masters[2]);
kill 'CONT', $pid;
($status, $text) = end_check($out);
like($text, qr/^error: "billing:camera:$cameras[2]" streams are not/m,
     'a slot moves forth and back: its fault is found') or diag $text;

# a slot that is on its way when the masters were read, and comes to rest

fill();
($pid, $out) = stopped();
$cluster->migrate($moved, $masters[2], $masters[0]);
kill 'CONT', $pid;
$end = time + 20;
until (calls($masters[2], 'cluster\|nodes') >= 2) {
    die "the third master is not asked where its slots are\n" if time > $end;
    sleep 0.01;
}

$cluster->migrate_keys($moved, $masters[2], $masters[0]);
$cluster->assign($moved, $masters[0]);
($status, $text) = end_check($out);
is($status, 0, 'a slot that is on its way for a moment is waited for') or diag $text;
$cluster->move($moved, $masters[2]);

# a slot that stays on its way

clean();
$cluster->migrate($moved, $masters[2], $masters[1]);
($status, $text) = check();
is($status, 2, 'a slot that stays on its way: status');
like($text, qr/\Acheck-cache: the cluster is not at rest: slot $moved is on its way from or to 127\.0\.0\.1:\d+\n\z/,
     'a slot that stays on its way: output');
$_->command('CLUSTER', 'SETSLOT', $moved, 'STABLE') for @masters;

# a node that hangs, one that is down, and slots that nobody has

kill 'STOP', $masters[1]{pid};
($status, $text) = check(@seed, '-t', 1);
kill 'CONT', $masters[1]{pid};
is($status, 2, 'a node that hangs: status');
is($text, "check-cache: 127.0.0.1:$masters[1]{port} does not answer within 1 s\n",
   'a node that hangs: output');
$cluster->wait_ok;
is((check())[1], $CLEAN, 'a node that was hanging');

$_->command('CLUSTER', 'DELSLOTS', 77, 78) for @masters;
($status, $text) = check();
is($status, 2, 'slots that no node has: status');
is($text, "check-cache: no node has slot 77 and 1 others, says 127.0.0.1:$masters[0]{port}\n",
   'slots that no node has: output');
$masters[0]->command('CLUSTER', 'ADDSLOTS', 77, 78);
$cluster->wait_for('all slots have a node', sub {
    $_[0]->command('CLUSTER', 'INFO') =~ /^cluster_slots_assigned:16384/m;
});

$masters[2]->stop;
($status, $text) = check();
is($status, 2, 'a node that is down: status');
is($text, "check-cache: cannot connect to 127.0.0.1:$masters[2]{port}: Connection refused\n",
   'a node that is down: output');
$cluster->stop;

# TLS. The certificate has a name that the cluster does not announce.

my $dir = File::Temp->newdir('billing-check-XXXXXX', TMPDIR => 1);
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
       . " -subj /CN=redis.test -addext subjectAltName=DNS:redis.test -days 2"
       . " -keyout $dir/key -out $dir/crt >$dir/log 2>&1") == 0
    or die "openssl failed:\n", qx(cat $dir/log);

my $safe = Billing::Cluster->new(masters => 2, replicas => 0, args => [
    '--tls-port', 'auto', qw(--tls-cluster yes --tls-replication yes --tls-auth-clients no),
    '--tls-cert-file', "$dir/crt", '--tls-key-file', "$dir/key",
    '--tls-ca-cert-file', "$dir/crt" ]);
$safe->start;

# over the socket, which has no TLS, newer servers announce no port

for ([ 'SET', 'billing:synced_at', 1 ],
     map { ([ 'HSET', "billing:camera:$_", 'external_id', "e-$_", 'name', 'x' ],
            [ 'SET', "billing:external:e-$_", $_ ]) } 1 .. 20)
{
    ($safe->masters)[Billing::Cluster::slot($_->[1]) < 8192 ? 0 : 1]->command(@$_);
}

$_->command('ACL', 'SETUSER', 'checker', 'on', '>y/@', '~billing:*',
            split ' ', "$rights $more_rights") for $safe->masters;

my $url = 'rediss://checker:y%2f%40@127.0.0.1:' . ($safe->masters)[1]{port};
my @tls = ('-u', $url, '--cacert', "$dir/crt");

is((check(@tls, '--sni', 'redis.test'))[1],
   "20 cameras, 20 external ids, 0 logins, 0 tokens on 2 masters: "
   . "0 errors, 0 warnings, 0 notes\n", 'TLS to all nodes');
($status, $text) = check(@tls);
is($status, 2, 'TLS, a certificate with another name: status');
like($text, qr/\Acheck-cache: no TLS with 127\.0\.0\.1:\d+: .*\n\z/,
     'TLS, a certificate with another name: output');
$safe->stop;

# Fakes. A node without an address has all slots, and one camera.

sub reply {
    my ($text) = @_;

    return '$' . length($text) . "\\r\\n$text\\r\\n";
}

sub rules {
    my ($port, $host) = @_;

    return 'INFO => raw ' . reply('cluster_enabled:1') . "\n"
           . "CLUSTER SLOTS => raw *1\\r\\n*3\\r\\n:0\\r\\n:16383\\r\\n*3\\r\\n$host"
           . ":$port\\r\\n" . reply('id') . "\n"
           . 'CLUSTER NODES => raw ' . reply('id :1@2 myself,master - 0 0 1 connected 0-16383')
           . "\n" . 'SCAN => raw *2\\r\\n' . reply(0) . '*1\\r\\n'
           . reply('billing:camera:5') . "\nGETRANGE => raw " . reply('1000000000')
           . "\nEXISTS => raw :0\\r\\n\nHLEN => raw :2\\r\\n\n";
}

my $HASH = '*7\\r\\n$-1\\r\\n$-1\\r\\n$-1\\r\\n' . reply('Yard')
           . '$-1\\r\\n$-1\\r\\n' . reply('x');

my $other = Billing::FakeRedis->start("ASKING => raw +OK\\r\\n\nHMGET => raw $HASH\n");
my $fake = Billing::FakeRedis->start('');

for (
    [ 'without an address', '$-1\\r\\n', "raw $HASH", 0 ],
    [ 'with an empty address', '$0\\r\\n\\r\\n', "raw $HASH", 0 ],
    [ 'with an unknown address', '$1\\r\\n?\\r\\n', "raw $HASH", 0 ],
    [ 'that says ASK', '$-1\\r\\n', "error ASK 1 127.0.0.1:$other->{port}", 1 ],
    [ 'that says ASK without a host', '$-1\\r\\n', "error ASK 1 :$other->{port}", 1 ],
    [ 'that says MOVED', '$-1\\r\\n', "error MOVED 1 127.0.0.1:$other->{port}", 1 ],
) {
    my ($title, $host, $hash, $asked) = @$_;

    my $before = $other->count('HMGET');
    my $asking = $other->count('ASKING');
    $fake->change(rules($fake->{port}, $host) . "HMGET => $hash\n");
    ($status, $text) = check('-p', $fake->{port});
    like($text, qr/^error: "billing:camera:5" streams are not "type=status,...": "x"$/m,
         "a node $title: its camera is read");
    like($text, qr/^1 cameras, .* on 1 masters/m, "a node $title: the end is reached");
    is($other->count('HMGET') - $before, $asked, "a node $title: whether another one is asked");
    is($other->count('ASKING') - $asking, $title =~ /ASK/ ? 1 : 0,
       "a node $title: whether ASKING is sent");
}

# a list that moves while it is read, to a node that has other cursors

sub page {
    my ($cursor, @members) = @_;

    return 'raw *2\\r\\n' . reply($cursor) . '*' . @members . '\\r\\n'
           . join('', map { reply($_) } @members) . "\n";
}

$other->change('once ZSCAN => ' . page(0) . 'ZSCAN => ' . page(0, 'x', 1));
$fake->change('SCAN => raw *2\\r\\n' . reply(0) . '*1\\r\\n' . reply('billing:login:x')
              . "\n2 times ZSCAN => " . page(7, 1, 1)
              . "ZSCAN => error MOVED 1 127.0.0.1:$other->{port}\n"
              . rules($fake->{port}, '$-1\\r\\n'));
($status, $text) = check('-p', $fake->{port});
like($text, qr/^error: "billing:login:x" has a member that is no integer from 1 to 2\^53 - 1: "x"$/m,
     'a list that moves while it is read: its fault is found');
is($other->count('ZSCAN'), 2, 'a list that moves while it is read: the end is reached');

# A hash without a field that is read moves in the same way. What was read of it
# before does not count twice.

for my $fields (2048, 2049) {
    $other->change('once HSCAN => ' . page(0)
                   . 'HSCAN => ' . page(0, map { ("f$_", 1) } 1 .. $fields)
                   . 'HMGET => raw *7\\r\\n' . '$-1\\r\\n' x 7 . "\n");
    $fake->change('once HSCAN => ' . page(7, map { ("f$_", 1) } 1 .. 100)
                  . "HSCAN => error MOVED 1 127.0.0.1:$other->{port}\n"
                  . 'HMGET => raw *7\\r\\n' . '$-1\\r\\n' x 7 . "\n"
                  . rules($fake->{port}, '$-1\\r\\n'));
    ($status, $text) = check('-p', $fake->{port});
    is(() = $text =~ /^error: "billing:camera:5" has more than 2048 fields$/mg,
       $fields > 2048 ? 1 : 0, "a hash of $fields fields moves while it is read");
}

$fake->change(rules($fake->{port}, '$-1\\r\\n')
              . "HMGET => error MOVED 1 127.0.0.1:$fake->{port}\n");
($status, $text) = check('-p', $fake->{port});
is($status, 2, 'redirects without an end: status');
is($text, "check-cache: 127.0.0.1:$fake->{port} says, after 20 redirects: "
          . "MOVED 1 127.0.0.1:$fake->{port}\n", 'redirects without an end: output');

$fake->change(rules($fake->{port}, '$-1\\r\\n') . "HMGET => error CLUSTERDOWN x\n");
is((check('-p', $fake->{port}))[1], "check-cache: 127.0.0.1:$fake->{port} says: CLUSTERDOWN x\n",
   'a cluster that is down');

done_testing();
