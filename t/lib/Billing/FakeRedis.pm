# A Redis that misbehaves on request. The fake knows the fixtures and the few
# commands that the module sends, and answers as a Redis does, unless a rule
# says otherwise. Rules are lines of
#
#     [conn N] [once|N times] COMMAND [KEY] => ACTION [ARGUMENT]
#
# COMMAND may be "any", or "accept" for a connection that has just been made;
# KEY is a glob. Actions:
#
#     error TEXT    answers -TEXT
#     raw TEXT      answers the text (\r \n \xHH \\ are understood, and
#                   \{TEXT*N} is the text N times)
#     extra TEXT    answers as usual, and sends the text behind the answer
#     before TEXT   sends the text, and then answers as usual
#     later TEXT    answers as usual, and sends the text 0.2 s later
#     fence N       answers an ECHO with its number changed by N
#     drop          never answers this command
#     close         closes the connection
#     rst           closes the connection with a RST
#     partial N     sends the first N bytes of the answer, then closes
#     cut TEXT      sends the text, then closes
#     tear N        sends the first N bytes of the answer, then a RST
#     hangup S      answers as usual, and closes S seconds later
#     silent        never answers anything on this connection again
#     pause S       answers S seconds later; later answers wait for this one
#     hold          answers at a "release" of change(); later answers wait as well
#     delay S       delays this answer, and each later one, by S seconds
#     bytes         sends this answer, and each later one, byte by byte
#
# The fake knows no HELLO. With a line "resp3 ROLE" it is a server with that role
# ("master" or "replica"), answers HELLO 3, and speaks RESP3 after HELLO. With
# "resp3 ROLE cluster" it says that it is a node of a cluster.
#
# With a line "listen S" the fake refuses connections for the first S seconds,
# with "listen never" always. With "listen full" it neither refuses nor accepts
# connections.
#
# A test can have the rules replaced while it runs, see change().

package Billing::FakeRedis;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use File::Temp ();
use IO::Select ();
use POSIX ();
use Socket qw(AF_UNIX PF_INET PF_UNSPEC SOCK_STREAM INADDR_LOOPBACK IPPROTO_TCP
              SOCK_NONBLOCK TCP_NODELAY SOL_SOCKET SO_LINGER SO_REUSEADDR
              pack_sockaddr_in);
use Time::HiRes qw(sleep time);

use Billing::Ports;

sub start {
    my ($class, $script, @commands) = @_;

    my $self = bless {
        port => Billing::Ports::reserve(), conns => {}, accepted => 0,
        late => 0, rules => [], role => '',
        store => {}, fillers => [],
        log => File::Temp->new(TEMPLATE => 'billing-fake-XXXXXX', TMPDIR => 1),
    }, $class;

    $self->parse($script);
    $self->store(@commands);
    $self->bind;
    $self->listen if $self->{late} eq '0';

    socketpair my $control, my $orders, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

    my $parent = $$;
    my $pid = fork;
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        $SIG{PIPE} = 'IGNORE';
        close $control;
        $self->{orders} = $orders;
        eval { $self->serve($parent) };
        print STDERR "# fake redis: $@" if $@;
        POSIX::_exit(0);
    }

    $self->{pid} = $pid;
    $self->{control} = $control;
    close $orders;
    close delete $self->{listener};

    return $self;
}

# Replaces the rules; the new ones hold when this returns. A line "hangup"
# closes all connections, a line "push TEXT" sends the text on all of them, and a
# line "release" sends what is held back before this returns.

sub change {
    my ($self, $script) = @_;

    syswrite $self->{control}, pack 'N/a*', $script;
    sysread $self->{control}, my $done, 1 or die "fake redis is gone\n";
}

# down() acts as a server that is stopped, up() as one that is started again.

sub down { $_[0]->change("listen never\nhangup\n") }
sub up   { $_[0]->change("listen 0\n" . ($_[1] // '')) }

# Counts the lines of the fake's log that match.

sub count {
    my ($self, $pattern) = @_;

    return scalar grep { /$pattern/ } split /\n/, $self->log_text;
}

sub bind {
    my ($self) = @_;

    close delete $self->{listener} if $self->{listener};
    close $_ for splice @{ $self->{fillers} };

    socket my $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
    CORE::bind $listener, pack_sockaddr_in($self->{port}, INADDR_LOOPBACK)
        or die "bind: $!\n";

    $self->{listener} = $listener;
    $self->{listening} = 0;
}

sub listen {
    my ($self) = @_;

    CORE::listen $self->{listener}, 64 or die "listen: $!\n";
    $self->{listening} = 1;
}

# The queue of connections to accept has room for one.

sub fill {
    my ($self) = @_;

    CORE::listen $self->{listener}, 0 or die "listen: $!\n";

    for (1 .. 4) {
        socket my $sock, PF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0
            or die "socket: $!\n";
        connect $sock, pack_sockaddr_in($self->{port}, INADDR_LOOPBACK);
        push @{ $self->{fillers} }, $sock;
    }
}

sub orders {
    my ($self) = @_;

    my ($text, $len) = ('', 4);

    while (length $text < $len) {
        sysread $self->{orders}, $text, $len - length $text, length $text
            or POSIX::_exit(0);
        $len = 4 + unpack 'N', $text if length $text == 4;
    }

    my $script = substr $text, 4;

    $self->{rules} = [];
    delete $self->{late};
    $self->parse($script);

    while ($script =~ /^\s*push (.*?)\s*$/mg) {
        my $text = unescape($1);
        $self->queue($_, $text) for values %{ $self->{conns} };
    }

    if ($script =~ /^\s*release\s*$/m) {
        for my $c (values %{ $self->{conns} }) {
            $_->[0] = 0 for @{ $c->{out} };
            $self->flush($c);
        }
    }

    if ($script =~ /^\s*hangup\s*$/m) {
        $self->drop($_) for values %{ $self->{conns} };
    }

    if (defined $self->{late}) {
        $self->bind;
        $self->listen if $self->{late} eq '0';
        $self->open_late;
    }

    syswrite $self->{orders}, '.';
}

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->stop;
}

# The commands received, one a line: the connection's number, the words.

sub log_text {
    my ($self) = @_;

    open my $in, '<', $self->{log}->filename or die "fake redis log: $!\n";
    local $/;
    return scalar <$in>;
}

sub parse {
    my ($self, $script) = @_;

    for my $line (split /\n/, $script) {
        next if $line =~ /^\s*(?:#|hangup\s*$|release\s*$|push |$)/;

        if ($line =~ /^\s*listen (never|full|[\d.]+)\s*$/) {
            $self->{late} = $1;
            next;
        }

        if ($line =~ /^\s*resp3 (master|replica)(?: (cluster))?\s*$/) {
            @$self{qw(role mode)} = ($1, $2 // 'standalone');
            next;
        }

        $line =~ /^\s* (?:conn\ (\d+)\ +)? (?:(once|\d+\ times)\ +)?
                  (\w+) (?:\ +(\S+))? \ +=>\ + (\w+) (?:\ +(.*?))? \s*$/x
            or die "fake redis: cannot parse \"$line\"\n";

        my ($conn, $times, $command, $key, $action, $arg)
            = ($1, $2, $3, $4, $5, $6);

        $times =~ s/once/1/, $times =~ s/\D+// if defined $times;

        if (defined $key) {
            $key = quotemeta $key;
            $key =~ s/\\\*/.*/g;
            $key = qr/\A$key\z/s;
        }

        $arg = unescape($arg) if defined $arg;

        push @{ $self->{rules} },
             { conn => $conn, times => $times, command => lc $command,
               key => $key, action => $action, arg => $arg };
    }
}

sub unescape {
    my ($text) = @_;

    $text =~ s{\\(?:x([0-9a-f]{2})|([rn\\]))}
              { defined $1 ? chr hex $1
                : { r => "\r", n => "\n", '\\' => '\\' }->{$2} }gexi;
    $text =~ s{\\\{(.*?)\*(\d+)\}}{ $1 x $2 }ges;

    return $text;
}

sub rule {
    my ($self, $c, $command, $key) = @_;

    for my $rule (@{ $self->{rules} }) {
        next if defined $rule->{conn} && $rule->{conn} != $c->{number};
        next if $rule->{command} ne lc $command
                && !($rule->{command} eq 'any' && $command ne 'accept');
        next if $rule->{key} && ($key // '') !~ $rule->{key};

        if (defined $rule->{times}) {
            next if $rule->{times} == 0;
            $rule->{times}--;
        }

        return $rule;
    }

    return undef;
}

sub store {
    my ($self, @commands) = @_;

    my $store = $self->{store};

    for (@commands) {
        my ($command, $key, @args) = @$_;

        if ($command eq 'SET') {
            $store->{$key} = $args[0];
        } elsif ($command eq 'HSET') {
            $store->{$key} = { %{ $store->{$key} // {} }, @args };
        } elsif ($command eq 'ZADD') {
            my %score = reverse @args;
            push @{ $store->{$key} }, %score;
        } elsif ($command eq 'DEL') {
            delete $store->{$key};
        } else {
            die "fake redis: no such command: $command\n";
        }
    }
}

# The types of RESP2 and RESP3.

sub bulk {
    my ($text, $resp3) = @_;

    return '$' . length($text) . "\r\n$text\r\n" if defined $text;
    return $resp3 ? "_\r\n" : "\$-1\r\n";
}

sub array {
    my ($resp3, @elements) = @_;

    return '*' . @elements . "\r\n" . join '', map { bulk($_, $resp3) } @elements;
}

sub map_of {
    my ($resp3, @elements) = @_;

    return array($resp3, @elements) if !$resp3;
    return '%' . @elements / 2 . "\r\n" . join '', map { bulk($_, 1) } @elements;
}

sub double {
    my ($number, $resp3) = @_;

    return defined $number && $resp3 ? ",$number\r\n" : bulk($number, $resp3);
}

sub hello {
    my ($self, $c) = @_;

    $c->{resp3} = 1;

    return "%7\r\n" . bulk('server') . bulk('redis') . bulk('version') . bulk('7.0.15')
           . bulk('proto') . ":3\r\n" . bulk('id') . ":$c->{number}\r\n"
           . bulk('mode') . bulk($self->{mode}) . bulk('role') . bulk($self->{role})
           . bulk('modules') . "*0\r\n";
}

sub answer {
    my ($self, $c, $command, $key, @args) = @_;

    $command = uc $command;

    return $self->hello($c) if $command eq 'HELLO' && $self->{role};

    my $resp3 = $c->{resp3};

    return "+PONG\r\n" if $command eq 'PING';
    return "+OK\r\n" if $command =~ /\A(?:AUTH|SELECT|CLIENT|READONLY)\z/;
    return bulk($key) if $command eq 'ECHO';
    return bulk($args[-1]) if $command eq 'EVAL';

    my $value = $self->{store}{$key // ''};

    return bulk($value, $resp3) if $command eq 'GET';
    return defined $value ? ":-1\r\n" : ":-2\r\n" if $command eq 'PTTL';
    return defined $value ? ":1\r\n" : ":0\r\n" if $command eq 'EXISTS';
    return array($resp3, map { $value->{$_} } @args) if $command eq 'HMGET';
    return map_of($resp3, map { ($_, $value->{$_}) } sort keys %{ $value // {} })
        if $command eq 'HGETALL';

    my %score = @{ $value // [] };

    return double($score{$args[0]}, $resp3) if $command eq 'ZSCORE';

    if ($command eq 'ZRANGEBYSCORE') {
        my ($min, $max) = splice @args, 0, 2;
        my ($open, $from) = $min =~ /\A(\()?(.*)\z/;
        my ($limit) = "@args" =~ /LIMIT 0 (\d+)/i;

        my @members = sort { $score{$a} <=> $score{$b} } keys %score;
        @members = grep { $from =~ /inf/
                          || ($open ? $score{$_} > $from : $score{$_} >= $from)
                        } @members;
        splice @members, $limit if defined $limit && @members > $limit;

        return array($resp3, @members);
    }

    return "-ERR unknown command '$command'\r\n";
}

sub serve {
    my ($self, $parent) = @_;

    $self->open_late;

    for ( ;; ) {
        exit_if_orphan($parent);

        if ($self->{open_at} && time >= $self->{open_at}) {
            delete $self->{open_at};
            $self->listen;
        }

        my $select = IO::Select->new($self->{orders}, map { $_->{sock} }
                                                      values %{ $self->{conns} });
        $select->add($self->{listener}) if $self->{listening};

        for my $sock ($select->can_read(0.02)) {
            if ($sock == $self->{orders}) {
                $self->orders;
                last;
            }

            if ($sock == $self->{listener}) {
                $self->accept;
            } else {
                $self->read($self->{conns}{ fileno $sock });
            }
        }

        for my $c (values %{ $self->{conns} }) {
            $self->flush($c);
            $self->drop($c) if $c->{hangup} && $c->{hangup} <= time;
        }
    }
}

sub open_late {
    my ($self) = @_;

    delete $self->{open_at};

    if ($self->{late} eq 'full') {
        $self->fill;

    } elsif ($self->{late} ne 'never' && $self->{late} > 0) {
        $self->{open_at} = time + $self->{late};
    }
}

sub exit_if_orphan {
    my ($parent) = @_;

    POSIX::_exit(0) if getppid != $parent;
}

sub accept {
    my ($self) = @_;

    CORE::accept(my $sock, $self->{listener}) or return;
    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;

    my $c = { sock => $sock, number => ++$self->{accepted}, in => '',
              out => [], silent => 0, delay => 0, bytes => 0, resp3 => 0 };
    $self->{conns}{ fileno $sock } = $c;

    $self->note($c, 'accept');

    my $rule = $self->rule($c, 'accept');
    $self->act($c, $rule, '') if $rule;
}

sub note {
    my ($self, $c, @words) = @_;

    my $line = "$c->{number} " . join ' ', @words;
    $line =~ s/([^\x20-\x7e])/sprintf '\x%02x', ord $1/ge;
    syswrite $self->{log}, "$line\n";
}

sub read {
    my ($self, $c) = @_;

    return if !$c || !$c->{sock};

    my $n = sysread $c->{sock}, $c->{in}, 65536, length $c->{in};

    if (!$n) {
        return if !defined $n && ($! == EAGAIN || $! == EINTR);
        $self->note($c, 'closed');
        $self->drop($c);
        return;
    }

    while ($c->{sock} && (my @words = parse_command(\$c->{in}))) {
        $self->note($c, @words);
        next if $c->{silent};

        my $rule = $self->rule($c, @words[0, 1]);

        if ($rule) {
            $self->act($c, $rule, $self->answer($c, @words));
        } else {
            $self->queue($c, $self->answer($c, @words));
        }
    }
}

sub parse_command {
    my ($in) = @_;

    return if $$in !~ /\A\*(\d+)\r\n/;

    my ($count, $pos, @words) = ($1, $+[0]);

    for (1 .. $count) {
        pos($$in) = $pos;
        return if $$in !~ /\G\$(\d+)\r\n/g;
        $pos = pos($$in);
        return if length $$in < $pos + $1 + 2;
        push @words, substr $$in, $pos, $1;
        $pos += $1 + 2;
    }

    substr($$in, 0, $pos) = '';
    return @words;
}

sub act {
    my ($self, $c, $rule, $answer) = @_;

    my ($action, $arg) = @$rule{qw(action arg)};

    if ($action eq 'error') {
        $self->queue($c, "-$arg\r\n");
    } elsif ($action eq 'raw') {
        $self->queue($c, $arg);
    } elsif ($action eq 'extra') {
        $self->queue($c, $answer . $arg);
    } elsif ($action eq 'before') {
        $self->queue($c, $arg . $answer);
    } elsif ($action eq 'later') {
        $self->queue($c, $answer);
        push @{ $c->{out} }, [ time + 0.2, $arg ];
    } elsif ($action eq 'fence') {
        my ($fence) = $answer =~ /\r\n(.*)\r\n\z/s;
        $fence =~ s/(\d+)\z/$1 + $arg/e;
        $self->queue($c, bulk($fence));
    } elsif ($action eq 'drop') {
        return;
    } elsif ($action eq 'close') {
        $self->queue($c, undef);
    } elsif ($action eq 'partial') {
        $self->queue($c, substr $answer, 0, $arg);
        $self->queue($c, undef);
    } elsif ($action eq 'cut') {
        $self->queue($c, $arg);
        $self->queue($c, undef);
    } elsif ($action eq 'tear') {
        $self->queue($c, substr $answer, 0, $arg);
        push @{ $c->{out} }, [ time + 0.2, undef, 1 ];
    } elsif ($action eq 'hangup') {
        $self->queue($c, $answer);
        $c->{hangup} = time + $arg;
    } elsif ($action eq 'rst') {
        $self->reset($c);
    } elsif ($action eq 'silent') {
        $c->{silent} = 1;
    } elsif ($action eq 'pause') {
        push @{ $c->{out} }, [ time + $arg, $answer ];
    } elsif ($action eq 'hold') {
        push @{ $c->{out} }, [ 'inf', $answer ];
    } elsif ($action eq 'delay') {
        $c->{delay} = $arg;
        $self->queue($c, $answer);
    } elsif ($action eq 'bytes') {
        $c->{bytes} = 1;
        $self->queue($c, $answer);
    } else {
        die "fake redis: no such action: $action\n";
    }
}

# Answers leave in order; an undefined one closes the connection.

sub queue {
    my ($self, $c, $answer) = @_;

    push @{ $c->{out} }, [ time + $c->{delay}, $answer ];
}

sub flush {
    my ($self, $c) = @_;

    while ($c->{sock} && @{ $c->{out} } && $c->{out}[0][0] <= time) {
        my (undef, $answer, $reset) = @{ shift @{ $c->{out} } };

        if (!defined $answer) {
            $reset ? $self->reset($c) : $self->drop($c);
            return;
        }

        my $step = $c->{bytes} ? 1 : 65536;

        while (length $answer) {
            my $n = syswrite $c->{sock}, $answer, $step;

            if (!defined $n) {
                next if $! == EINTR;
                $self->drop($c);
                return;
            }

            substr($answer, 0, $n) = '';
            sleep 0.0002 if $c->{bytes};
        }
    }
}

sub reset {
    my ($self, $c) = @_;

    setsockopt $c->{sock}, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
    $self->drop($c);
}

sub drop {
    my ($self, $c) = @_;

    my $sock = delete $c->{sock} or return;
    delete $self->{conns}{ fileno $sock };
    close $sock;
}

1;
