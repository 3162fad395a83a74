#!/bin/sh

# Checks what a loader has written to a Redis against the contract of the
# cache (README.md, "The cache"), and names every key that breaks it. The
# arguments are redis-cli's, and the prefix where it is another one:
#
#     sh conf/check-cache.sh -s /path/to/redis.sock
#     sh conf/check-cache.sh --prefix test: -h 127.0.0.1 -p 6380 -n 3
#
# It only reads, by SCAN and in small pieces, so that a Redis in use has no
# long command to do. The user of an ACL needs +scan +type +exists +ttl +hscan
# +zscan +zscore +getrange +info +ping +echo for it.
#
#     error     the module answers 502 or 503, or never finds the key
#     warning   a loader halfway through its work leaves this, and a loader
#               that has finished should not
#     note      allowed, and still worth a look
#
# The exit status is 0 if there is nothing but notes, 1 if there is, and 2 if
# the cache could not be read.

set -eu

if [ $# -eq 0 ] || [ "$1" = --help ]; then
    echo "usage: sh $0 [--prefix PREFIX] -s /path/to/redis.sock" \
        "(or other redis-cli options)" >&2
    exit 2
fi

exec perl - "$@" <<'END'

use strict;
use warnings;

use IO::Select ();
use IPC::Open2 ();

# what the module takes from a reply, and what a request can ask for

my $MAX_REPLY = 1048576;
my $MAX_FIELDS = 2048;
my $MAX_CHARS = 255;
my $MAX_SCORE = '9007199254740991';
my $MAX_ID = '9223372036854775807';

my %FIELD = map { $_ => 1 } qw(external_id start_at status name group_type
                               streams preview);

my $EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb924'
                   . '27ae41e4649b934ca495991b7852b855';

my %SHORT = (n => "\n", r => "\r", t => "\t", a => "\a", b => "\b");

# redis-cli waits for each reply: several of them hide the network's delay

my @cli = ('redis-cli', '--csv', '--no-auth-warning');
my $CLIENTS = 6;
my $BATCH = 3000;

my $prefix = 'billing:';
my @args = @ARGV;

for my $i (reverse 0 .. $#args) {
    if ($args[$i] =~ /\A--prefix(?:=(.*))?\z/s) {
        my $value = splice @args, $i, 1;
        $prefix = $1 // splice(@args, $i, 1) // fail("--prefix needs a value");
    }
}

my (@clients, $errors, @queue, %found, %count);

# of each camera: its external_id, whether an index leads to it, and whether
# that of its external_id does

my (%camera, %led, %own);

my $synced_at;

$SIG{PIPE} = 'IGNORE';

check();


sub check {
    ping();

    start();

    # the cameras come first, to know which entries of the indexes dangle

    scan('camera:', sub { camera($_[0]) });
    scan('', sub { index_key($_[0]) });

    for my $id (sort { length $a <=> length $b || $a cmp $b } keys %camera) {
        unled($id) if !$led{$id};
        unowned($id) if !$own{$id} && length($camera{$id} // '');
    }

    synced_at();
    run();
    expiry();

    printf "%d cameras, %d external ids, %d logins, %d tokens%s: "
           . "%d errors, %d warnings, %d notes\n",
           scalar keys %camera,
           map({ $count{$_} // 0 } qw(external login token)),
           defined $synced_at ? ", synced ${\(time - $synced_at)} s ago" : '',
           map { $count{$_} // 0 } qw(error warning note);

    exit(($count{error} || $count{warning}) ? 1 : 0);
}


# redis-cli says on the standard error that there is no such database, and goes
# on with another one.

sub ping {
    my $pong = command('PING');
    fail($pong) if $? || $pong ne "\"PONG\"\n";
}


# A command by itself: all that redis-cli says.

sub command {
    my @words = @_;

    my $pid = open my $out, '-|';
    fail("fork: $!") if !defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec @cli, @args, @words or print "cannot run redis-cli: $!\n";
        exit 1;
    }

    my $text = join '', <$out>;
    close $out;

    return $text;
}


# All keys that begin with this, some of them perhaps twice.

sub scan {
    my ($kind, $handler) = @_;

    (my $pattern = "$prefix$kind") =~ s/([\\*?\[\]^-])/\\$1/g;
    my $cursor = '0';
    my $next;

    $next = sub {
        ($cursor, my @keys) = @_;
        fail("redis-cli gives no CSV: $cursor") if $cursor !~ /\A[0-9]+\z/;
        $handler->(substr $_, length $prefix) for @keys;
    };

    do {
        ask($next, 'SCAN', $cursor, 'MATCH', "$pattern*", 'COUNT', 1000);
        run();
    } while ($cursor ne '0');
}


sub camera {
    my ($key) = @_;

    my $id = substr $key, length 'camera:';

    if (!is_id($id, $MAX_ID)) {
        finding('error', $key, 'the id is no integer from 1');
        return;
    }

    hash($key, '0', { id => $id, size => 0, fields => 0, other => 0 });
}


# A hash in pieces. One of less than a hundred fields is a single one.

sub hash {
    my ($key, $cursor, $hash) = @_;

    ask(typed($key, 'hash', sub {
        my ($next, %piece) = @_;

        for my $name (keys %piece) {
            $hash->{fields}++;

            if (!$FIELD{$name}) {
                $hash->{other} += length($name) + length $piece{$name};
                once('note', $hash, $key, 'has a field that is not read',
                     quote($name));
                next;
            }

            $hash->{size} += length $piece{$name};
            $hash->{read}{$name} = $piece{$name};
        }

        return hash($key, $next, $hash) if $next ne '0';
        hash_end($key, $hash) if $hash->{fields};

    }), 'HSCAN', $prefix . $key, $cursor, 'COUNT', 100);
}


sub hash_end {
    my ($key, $hash) = @_;

    my $read = $hash->{read} // {};

    $camera{ $hash->{id} } = $read->{external_id};

    # a hash that has no field to be read is asked for as a whole

    if (!%$read) {
        $hash->{size} = $hash->{other};

        finding('error', $key, "has more than $MAX_FIELDS fields")
            if $hash->{fields} > $MAX_FIELDS;
    }

    finding('error', $key, "has more than $MAX_REPLY bytes")
        if $hash->{size} > $MAX_REPLY;

    if (!is_utf8(join ',', values %$read)) {
        for my $name (grep { !is_utf8($read->{$_}) } sort keys %$read) {
            finding('error', $key, "$name is not UTF-8");
        }
    }

    for my $name (sort keys %$read) {
        finding('note', $key, "$name is a text and not null: "
                              . quote($read->{$name}))
            if $read->{$name} =~ /\A(?:null|none|nil)\z/i;
    }

    my $streams = $read->{streams} // '';

    if ($streams =~ /(?:\A|,)(?:=|[^=,]*(?:,|\z))/ && $streams ne '') {
        finding('error', $key, 'streams are not "type=status,...": '
                               . quote($streams));

    } elsif ($streams =~ /\s/) {
        finding('note', $key, 'streams have white space: ' . quote($streams));
    }
}


sub index_key {
    my ($key) = @_;

    return if $key =~ /\Acamera:/ || $key eq 'synced_at';

    return external($key) if $key =~ s/\A(?=external:)//;
    return login($key, '0', {}) if $key =~ /\Alogin:/;
    return token($key) if $key =~ /\Atoken:/;

    finding('warning', $key, 'is not of the contract');
}


sub external {
    my ($key) = @_;

    my $name = substr $key, length 'external:';
    askable($key, $name);

    string($key, 32, sub {
        my ($id) = @_;

        $count{external}++;

        if (!is_id($id, $MAX_ID)) {
            finding('error', $key, 'holds no integer from 1: ' . quote($id));
            return;
        }

        if (!exists $camera{$id}) {
            dangling($key, $id, 'GETRANGE', $prefix . $key, 0, 32);
            return;
        }

        $led{$id} = 1;

        if (defined $camera{$id} && $camera{$id} eq $name) {
            $own{$id} = 1;
            return;
        }

        finding('warning', $key, "leads to camera $id, whose external_id is "
                                 . (defined $camera{$id} ? quote($camera{$id})
                                                         : 'not set'));
    });
}


sub login {
    my ($key, $cursor, $seen) = @_;

    if ($cursor eq '0') {
        askable($key, substr($key, length 'login:'));
        finding('warning', $key, 'the login is blank, which counts as not sent')
            if $key =~ /\Alogin:[ \t\n\x0b\f\r]*\z/;
    }

    ask(typed($key, 'zset', sub {
        my ($next, @members) = @_;

        $count{login}++ if @members && $cursor eq '0';

        while (my ($id, $score) = splice @members, 0, 2) {

            if (!is_id($id, $MAX_SCORE)) {
                once('error', $seen, $key, 'has a member that is no integer '
                                           . 'from 1 to 2^53 - 1', quote($id));

            } elsif ($score != $id) {
                once('error', $seen, $key, 'has a score that is not its member',
                     "$score of $id");

            } elsif (exists $camera{$id}) {
                $led{$id} = 1;

            } else {
                dangling($key, $id, 'ZSCORE', $prefix . $key, $id);
            }
        }

        login($key, $next, $seen) if $next ne '0';

    }), 'ZSCAN', $prefix . $key, $cursor, 'COUNT', 1000);
}


# A key may have the same fault many times: the first will do.

sub once {
    my ($level, $seen, $key, $text, $example) = @_;

    finding($level, $key, "$text: $example") if !$seen->{$text}++;
}


# The entry may have gone since it was read, or its camera come.

sub dangling {
    my ($key, $id, @entry) = @_;

    ask(sub {
        return if $_[0];

        ask(sub {
            finding('warning', $key,
                    "leads to camera $id, which does not exist")
                if length $_[0];
        }, @entry);
    }, 'EXISTS', "${prefix}camera:$id");
}


sub unled {
    my ($id) = @_;

    ask(sub { finding('note', "camera:$id", 'no index leads to it') if $_[0] },
        'EXISTS', "${prefix}camera:$id");
}


# The key may have come since; what is wrong with its value is known by now.

sub unowned {
    my ($id) = @_;

    my $name = $camera{$id};

    ask(sub {
        my ($other) = @_;

        return if !defined $other || $other eq $id;
        return if $other ne '' && !is_id($other, $MAX_ID);

        finding('warning', "camera:$id",
                'is not found by its external_id, ' . quote($name)
                . ($other eq '' ? '' : ", which leads to camera $other"));
    }, 'GETRANGE', "${prefix}external:$name", 0, 32);
}


# Only tokens may expire. Redis knows how many keys do: where these are the
# tokens, no other has to be asked for.

sub expiry {
    my $info = command('INFO', 'keyspace');
    fail($info) if $? || $info !~ /\A# Keyspace/;

    my $expires = 0;
    $expires += $1 while $info =~ /expires=(\d+)/g;

    return if $expires <= ($count{expiring} // 0);

    scan('', sub {
        my ($key) = @_;

        return if $key =~ /\Atoken:/;

        ask(sub {
            finding('warning', $key, 'expires: only tokens may') if $_[0] >= 0;
        }, 'TTL', $prefix . $key);
    });
}


# What a request cannot hold cannot be asked for.

sub askable {
    my ($key, $name) = @_;

    if (!is_utf8($name)) {
        finding('error', $key, 'is not UTF-8');
        return;
    }

    return if length $name <= $MAX_CHARS;

    my $chars = () = $name =~ /[^\x80-\xbf]/g;

    finding('error', $key, "has more than $MAX_CHARS characters: no request "
                           . 'can ask for it')
        if $chars > $MAX_CHARS;
}


sub token {
    my ($key) = @_;

    $count{token}++;

    finding('error', $key, 'is no SHA-256 in lower-case hexadecimal')
        if $key !~ /\Atoken:[0-9a-f]{64}\z/;

    finding('error', $key, 'is the SHA-256 of nothing: no request can send '
                           . 'an empty token')
        if $key eq "token:$EMPTY_SHA256";

    ask(sub { $count{expiring}++ if $_[0] >= 0 }, 'TTL', $prefix . $key);

    string($key, $MAX_REPLY, sub {
        my ($client) = @_;

        finding('error', $key, 'the client is not UTF-8') if !is_utf8($client);
        finding('error', $key, "has more than $MAX_REPLY bytes")
            if length $client > $MAX_REPLY;
    });
}


sub synced_at {
    my $key = 'synced_at';

    string($key, 32, sub {
        my ($value) = @_;

        if ($value !~ /\A[0-9]{1,18}\z/) {
            finding('error', $key, 'holds no Unix time in seconds: '
                                   . quote($value));
            return;
        }

        if ($value > time + 60) {
            finding('warning', $key, "is in the future: $value; it has to be "
                                     . 'in seconds');
            return;
        }

        $synced_at = $value;
    }, sub {
        finding('error', $key, 'does not exist: where nothing is found, the '
                               . 'answer is 503');
    });
}


# Up to so many bytes of a string, and one more.

sub string {
    my ($key, $max, $handler, $gone) = @_;

    ask(typed($key, 'string', sub {
        my ($value) = @_;

        return $handler->($value) if length $value;

        ask(sub {
            return $handler->('') if $_[0];
            $gone->() if $gone;
        }, 'EXISTS', $prefix . $key);

    }), 'GETRANGE', $prefix . $key, 0, $max);
}


# Wraps a handler to report a key of another type.

sub typed {
    my ($key, $type, $handler) = @_;

    return sub {
        return $handler->(@_) if defined $_[0];

        ask(sub {
            finding('error', $key, "is of the type $_[0], not $type")
                if $_[0] ne 'none';
        }, 'TYPE', $prefix . $key);
    };
}


sub is_id {
    my ($id, $max) = @_;

    return $id =~ /\A[1-9][0-9]*\z/
           && (length $id < length $max
               || length $id == length $max && $id le $max);
}


sub is_utf8 {
    my ($text) = @_;

    return 1 if $text !~ /[^\x00-\x7f]/;

    1 while $text =~ /\G(?:[\x00-\x7f]
                      | [\xc2-\xdf][\x80-\xbf]
                      | \xe0[\xa0-\xbf][\x80-\xbf]
                      | \xed[\x80-\x9f][\x80-\xbf]
                      | [\xe1-\xec\xee\xef][\x80-\xbf]{2}
                      | \xf0[\x90-\xbf][\x80-\xbf]{2}
                      | [\xf1-\xf3][\x80-\xbf]{3}
                      | \xf4[\x80-\x8f][\x80-\xbf]{2}){1,1000}/gcx;

    return (pos $text // 0) == length $text;
}


# A line of what is wrong, once: SCAN may return a key twice.

sub finding {
    my ($level, $key, $text) = @_;

    # what stands for a hash may be the token itself

    if ($key =~ /\Atoken:(?![0-9A-Fa-f]{64}\z)/) {
        my $name = substr $key, length 'token:';
        $key = 'token:' . substr($name, 0, 4) . '... of ' . length($name)
               . ' bytes';
    }

    my $line = "$level: " . quote($prefix . $key) . " $text\n";

    return if $found{$line}++;

    $count{$level}++;
    print $line;
}


# As redis-cli writes a string, and reads it; UTF-8 stays as it is.

sub quote {
    my ($text) = @_;

    my $others = is_utf8($text) ? qr/[\x00-\x1f\x7f]/ : qr/[^\x20-\x7e]/;

    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/($others)/sprintf '\x%02x', ord $1/ge;
    $text = substr($text, 0, 300) . '...' if length $text > 300;

    return "\"$text\"";
}


sub fail {
    my ($text) = @_;

    chomp $text;
    print STDERR "check-cache: $text\n";
    exit 2;
}


# Puts a command in the queue. The handler is called with the words of its
# reply, without any if the key is of another type.

sub ask {
    my ($handler, @words) = @_;

    push @queue, [ $handler, join(' ', map { word($_) } @words) . "\n" ];
}


sub word {
    my ($word) = @_;

    $word =~ s/([^A-Za-z0-9:_.-])/sprintf '\x%02x', ord $1/ge;

    return "\"$word\"";
}


sub run {
    while (@queue) {
        my @batch = splice @queue, 0, $BATCH;
        my @replies = exchange(map { $_->[1] } @batch);

        $_->[0]->(@{ shift @replies }) for @batch;
    }
}


# Sends commands, a part of them by each client. Were a reply missing, those
# after it would be taken for another key's: a last command tells.

sub exchange {
    my @commands = @_;

    my $end = 'end-of-' . ++$count{exchange};
    my $part = int(@commands / @clients) + 1;
    my $readers = IO::Select->new($errors);
    my $writers = IO::Select->new;
    my @asked;

    for my $client (@clients) {
        my @part = splice @commands, 0, $part or last;

        @$client{qw(in n)} = ('', scalar @part);
        $client->{out} = join '', @part, "ECHO $end\n";
        $readers->add($client->{from});
        $writers->add($client->{to});
        push @asked, $client;
    }

    my %client = map { ($_->{from} => $_, $_->{to} => $_) } @asked;

    while ($readers->count > 1) {
        my ($from, $to) = IO::Select::select($readers, $writers, undef, 60)
            or fail('redis-cli gives no answer');

        for my $client (map { $client{$_} } @$to) {
            my $n = syswrite $client->{to}, $client->{out}, 32768;
            fail('redis-cli has ended') if !defined $n;
            substr($client->{out}, 0, $n) = '';
            $writers->remove($client->{to}) if $client->{out} eq '';
        }

        if (grep { $_ == $errors } @$from) {
            sysread $errors, my $text, 65536;
            fail('redis-cli says: ' . $text =~ s/\n.*//sr);
        }

        for my $client (map { $client{$_} } @$from) {
            sysread $client->{from}, $client->{in}, 65536, length $client->{in}
                or fail('redis-cli has ended');
            $readers->remove($client->{from})
                if substr($client->{in}, -length($end) - 3) eq "\"$end\"\n";
        }
    }

    return map { replies($_) } @asked;
}


sub replies {
    my ($client) = @_;

    my @lines = split /\n/, $client->{in}, -1;
    splice @lines, -2;

    fail('redis-cli lost the connection') if @lines != $client->{n};

    return map { reply($_) } @lines;
}


# A line of CSV. Quotes in a string are escaped, so that those on either side
# of a comma are not of it.

sub reply {
    my ($line) = @_;

    if ($line =~ s/\AERROR,//) {
        return [] if $line =~ /\A"WRONGTYPE /;
        fail("Redis says: $line");
    }

    return [ $line eq 'NULL' ? '' : $line ] if $line !~ /\A"/;

    $line =~ s/,\z//;

    $line = substr $line, 1, -1;

    return [ '' ] if $line eq '';
    return [ split /","/, $line, -1 ] if index($line, '\\') < 0;
    return [ map { unescape($_) } split /","/, $line, -1 ];
}


sub unescape {
    my ($text) = @_;

    $text =~ s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr hex $1
                                        : $SHORT{$2} \/\/ $2/ge;

    return $text;
}


# What one of them says on the standard error ends it all: redis-cli goes on
# with the next command when the connection is lost.

sub start {
    pipe $errors, my $to or fail("pipe: $!");
    open my $saved, '>&', \*STDERR or fail("dup: $!");

    open STDERR, '>&', $to or fail("dup: $!");
    @clients = map { client() } 1 .. $CLIENTS;
    open STDERR, '>&', $saved or fail("dup: $!");
}


# A redis-cli that reads commands, and writes a line for the reply to each.

sub client {
    my ($from, $to);

    eval { IPC::Open2::open2($from, $to, @cli, @args) }
        or fail("cannot run redis-cli: $@");

    return { from => $from, to => $to };
}

END
