# For t/loader.sh, what needs a connection to Redis:
#
#     dump SOCKET PREFIX   the whole cache, one line for each part of a key
#     cluster        starts a Redis Cluster, prints the ports of its nodes, the masters
#                    first, and at each line "move" moves the slot of "{billing}:" to
#                    the next master, at "half" every second key; ends with its input
#     order SOCKET   reads what MONITOR shows until the key "end" is set, and fails
#                    where an index entry has no hash at any moment
#     read SOCKET    reads as nginx does until the key "end" is set, and fails where
#                    the list of the login "stable" is ever absent or half there
#     lag SOCKET     reads what MONITOR shows until the key "end" is set, of cameras
#                    whose names are times, and prints how old these times were
#     answers SOCKET     asks nginx for the cameras of the login "watched" until a
#                    camera is named "end", and prints how old new names were

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin";

use Billing::Cluster;
use Billing::Redis;
use IO::Socket::UNIX ();
use Time::HiRes ();

my ($what, $socket, $prefix) = @ARGV;

# the test kills Redis while "read" runs

$SIG{PIPE} = 'IGNORE';

my $redis = $what =~ /\A(?:read|answers|cluster)\z/ ? undef : Billing::Redis->new($socket);

sub keys_of {
    my ($pattern) = @_;

    my ($cursor, %keys) = (0);

    do {
        ($cursor, my $page) = @{ $redis->command('SCAN', $cursor, 'MATCH', $pattern) };
        $keys{$_} = 1 for @$page;
    } while ($cursor);

    return sort keys %keys;
}

sub pairs {
    my ($array) = @_;

    my @pairs;
    push @pairs, [ splice @$array, 0, 2 ] while @$array;
    return @pairs;
}

sub dump_cache {
    my @lines;

    for my $key (keys_of('*')) {
        my ($kind, $name)
            = $key =~ /\A\Q$prefix\E(camera|external|login|token):(.*)\z/s;

        if (!$kind) {
            push @lines, "other $key"
                if $key !~ /\A(?:\Q$prefix\E(?:synced_at|epoch)|loader:\Q$prefix\E)\z/;

        } elsif ($kind eq 'camera') {
            push @lines, map { "camera:$name $_->[0]=" . unpack 'H*', $_->[1] }
                pairs($redis->command('HGETALL', $key));

        } elsif ($kind eq 'external') {
            push @lines, "external:" . unpack('H*', $name) . ' '
                         . $redis->command('GET', $key);

        } elsif ($kind eq 'login') {
            push @lines, map { 'login:' . unpack('H*', $name) . " @$_" }
                pairs($redis->command('ZRANGE', $key, 0, -1, 'WITHSCORES'));

        } else {
            push @lines, "token:$name " . unpack('H*', $redis->command('GET', $key))
                         . ' ' . $redis->command('PEXPIRETIME', $key);
        }
    }

    print map { "$_\n" } sort @lines;
}

# MONITOR writes strings as redis-cli does. What a script calls has lines of its own.

my %escape = (n => "\n", r => "\r", t => "\t", a => "\a", b => "\b");

sub words {
    my ($line) = @_;

    my ($time, $words) = $line =~ /\A\+([0-9.]+) \[\d+ [^]]*\] (.*)\z/ or return;
    my @words;

    return if $words =~ /\A"EVAL"/;

    while ($words =~ /"([^"\\]*+(?:\\.[^"\\]*+)*+)"/g) {
        my $word = $1;
        $word =~ s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr hex $1 : $escape{$2} \/\/ $2/ge;
        push @words, $word;
    }

    return ($time, @words);
}

sub order {
    my (%is_camera, %external, %login, $synced);
    my ($hashes, $entries) = (0, 0);

    $redis->command('MONITOR');
    print STDERR "ready\n";

    my $wrong = sub {
        my ($id) = @_;
        return !$is_camera{$id};
    };

    while (1) {
        my (undef, $name, @args) = words($redis->line);
        $name = uc($name // '');
        my $key = $args[0] // '';

        last if $name eq 'SET' && $key eq 'end';

        if ($name eq 'HSET' && $key =~ /\Abilling:camera:(\d+)\z/) {
            $is_camera{$1} = 1;
            $hashes++;

        } elsif ($name eq 'SET' && $key =~ /\Abilling:external:/) {
            die "$key is written before camera $args[1]\n" if $wrong->($args[1]);
            $external{$key} = $args[1];
            $entries++;

        } elsif ($name eq 'ZADD') {
            for (pairs([ @args[ 1 .. $#args ] ])) {
                die "$key is written before camera $_->[1]\n" if $wrong->($_->[1]);
                $login{$key}{ $_->[1] } = 1;
                $entries++;
            }

        } elsif ($name eq 'ZREM') {
            delete $login{$key}{$_} for @args[ 1 .. $#args ];

        } elsif ($name eq 'RENAME') {
            $login{ $args[1] } = delete $login{$key};

        } elsif ($name eq 'DEL' || $name eq 'UNLINK') {
            for my $key (@args) {
                delete $external{$key};
                delete $login{$key};

                next if $key !~ /\Abilling:camera:(\d+)\z/;

                my $id = $1;
                delete $is_camera{$id};

                my @left = ((grep { $external{$_} eq $id } keys %external),
                            (grep { $login{$_}{$id} } keys %login));
                die "camera $id is removed before @left\n" if @left;
            }
        }
    }

    die "only $hashes hashes and $entries entries were written\n"
        if $hashes < 50 || $entries < 50;
}

# Camera 100 to 109 belong to "stable" all the time. They are updated, but neither
# they nor the list are ever removed. Where synced_at is missing, nginx says 503.

sub read_lists {
    my ($answers, $unloaded, $end) = (0, 0, 0);

    until ($end) {
        eval {
            $redis //= Billing::Redis->new($socket);

            # nginx, too, looks once more before it says that nothing is there

            my ($found, $synced_at) = read_list();
            ($found) = read_list() if $found < 10 && defined $synced_at;

            if ($found == 10) {
                $answers++;
            } elsif (!defined $synced_at) {
                $unloaded++;
            } else {
                $end = "the list of \"stable\" has $found cameras\n";
            }

            $end ||= $redis->command('EXISTS', 'end');
            1;
        } or undef $redis;

        Time::HiRes::sleep(0.002);
    }

    die $end if $end ne 1;
    die "only $answers answers\n" if $answers < 100;
    print STDERR "a reader: $answers answers, $unloaded times 503\n";
}

sub read_list {
    my $ids = $redis->command('ZRANGEBYSCORE', 'billing:login:stable', '-inf', '+inf');
    my @found = grep { defined $_->[0] }
        $redis->pipeline(map { [ 'HMGET', "billing:camera:$_", 'streams' ] }
                         grep { $_ >= 100 && $_ <= 109 } @$ids);

    return (scalar @found, $redis->command('GET', 'billing:synced_at'));
}

sub lag {
    my @lags;

    $redis->command('MONITOR');
    print STDERR "ready\n";

    while (1) {
        my ($time, $name, $key, @args) = words($redis->line);

        last if ($key // '') eq 'end';
        next if ($name // '') ne 'HSET' || @args % 2;

        my %field = @args;
        push @lags, $time - $field{name} if ($field{name} // '') =~ /\A\d+\.\d+\z/;
    }

    report('Redis', @lags);
}

# A change counts from before its UPDATE until the whole answer is there that is the
# first one to have it.

sub answers {
    my (@lags, %name_of, $end);
    my ($answers, $hits) = (0, 0);

    until ($end) {
        my $answer = ask();
        my $now = Time::HiRes::time();

        die "this is no answer: $answer\n"
            if $answer !~ m{\AHTTP/1\.1 200 } || $answer !~ /\}\]\}?\s*\z/;

        print STDERR "ready\n" if !$answers++;
        $hits++ if $answer =~ /^Cache: HIT\r$/m;

        while ($answer =~ /"id":(\d+),[^{}]*?"name":"([^"]*)"/g) {
            my ($id, $name) = ($1, $2);

            $end = 1 if $name eq 'end';
            next if $name eq ($name_of{$id} // '');
            $name_of{$id} = $name;
            push @lags, $now - $name if $name =~ /\A\d+\.\d+\z/;
        }

        Time::HiRes::sleep(0.01);
    }

    print "$answers answers, $hits of them from the worker's cache alone\n";
    die "the worker's cache is not in use\n" if $hits < $answers / 10;
    report('an answer of nginx', @lags);
}

sub ask {
    my $nginx = IO::Socket::UNIX->new(Peer => $socket) or die "no nginx: $!\n";

    print $nginx "GET /?login=watched HTTP/1.0\r\nAuthorization: Bearer t\r\n\r\n";
    $nginx->flush;

    local $/;
    return scalar <$nginx>;
}

sub report {
    my ($where, @lags) = @_;

    die "nothing was written\n" if !@lags;

    @lags = sort { $a <=> $b } @lags;

    my @ms = map { int 1000 * $lags[ $_ * $#lags ] } 0.5, 0.9, 0.99, 1;

    printf "lag of %d changes, up to %s: median %d ms, p90 %d ms, p99 %d ms, "
           . "longest %d ms\n", scalar @lags, $where, @ms;
    die "p99 is 250 ms or more\n" if $ms[2] >= 250;
}

sub cluster {
    my $cluster = Billing::Cluster->new(timeout => 1000);
    my $slot = Billing::Cluster::slot('{billing}:');
    my @masters = $cluster->masters;

    $| = 1;
    $cluster->start;
    print join(' ', map { $_->{port} } $cluster->nodes), "\n";

    while (<STDIN>) {
        my $owner = $cluster->owner($slot);
        my ($n) = grep { $masters[$_] == $owner } 0 .. $#masters;
        my $next = $masters[ ($n + 1) % @masters ];

        if (/half/) {
            my @keys = sort @{ $owner->command('CLUSTER', 'GETKEYSINSLOT', $slot, 10_000) };
            $cluster->migrate($slot, $owner, $next);
            $owner->command('MIGRATE', '127.0.0.1', $next->{port}, '', 0, 5000, 'KEYS',
                            @keys[ grep { $_ % 2 } 0 .. $#keys ]);
        } else {
            $cluster->move($slot, $next);
        }

        print "moved\n";
    }

    $cluster->stop;
}

my %run = (dump => \&dump_cache, cluster => \&cluster, order => \&order, read => \&read_lists, lag => \&lag,
           answers => \&answers);

$run{$what}->();
