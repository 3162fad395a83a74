# The readers: clients with connections that stay open, which judge each answer.

package Billing::Check::Readers;

use strict;
use warnings;

use IO::Socket::INET ();
use List::Util qw(max min);
use Socket qw(IPPROTO_TCP TCP_NODELAY);

# seconds after which there is no answer any more

use constant PATIENCE => 15;

sub start_readers {
    my ($self) = @_;

    $self->{readers} = [ map { {} } 1 .. $self->{clients} // 10 ];
    $self->{pause} //= 0.02;

    $self->ask($_) for @{ $self->{readers} };
}

sub stop_readers {
    my ($self) = @_;

    $self->{ended} = 1;
    $self->wait(PATIENCE, sub { !grep { $_->{question} } @{ $self->{readers} } });

    for my $reader (@{ $self->{readers} }) {
        $self->wrong("no answer to $reader->{question}{text}") if $reader->{question};
        $reader->{stream}->close if $reader->{stream};
    }
}

# --- questions

# The first elements are taken most often, so that many are in a cache.

sub some {
    my ($n, @from) = @_;

    my %some = map { $from[@from * rand() ** 2] => 1 } 1 .. $n;
    return sort keys %some;
}

sub question {
    my ($self) = @_;

    my %question = (token => $Billing::Check::Writers::TOKEN);
    my @ids = @{ $self->{ids} };
    my $what = rand;

    if ($self->{simple}) {
        $question{ids} = [ 1 + int rand 6 ];

    } elsif ($self->{wide} && $what < 0.6) {
        $question{login} = 'wide';

    } elsif (rand() < ($self->{tokens} // 0.25)) {
        $question{token} = (some(1, @Billing::Check::Writers::TOKENS))[0];
        $question{ids} = [ some(1, @ids) ];

    } elsif ($what < 0.33) {
        $question{ids} = [ some(1 + int rand 4, @ids) ];

    } elsif ($what < 0.53) {
        $question{uuids} = [ some(1 + int rand 3, @Billing::Check::Writers::EXTERNALS) ];

    } elsif ($what < 0.63) {
        $question{login} = 'moves';

    } elsif ($what < 0.83) {
        $question{login} = (some(1, @Billing::Check::Writers::LOGINS))[0];

    } else {
        $question{login} = (some(1, @Billing::Check::Writers::LOGINS))[0];
        $question{ids} = [ some(3, @ids) ] if $what < 0.92;
        $question{uuids} = [ some(3, @Billing::Check::Writers::EXTERNALS) ] if $what >= 0.92;
    }

    $question{text} = join '&',
        (map { "cameras_ids[]=$_" } @{ $question{ids} // [] }),
        (map { "cameras_uuid[]=$_" } @{ $question{uuids} // [] }),
        defined $question{login} ? "login=$question{login}" : ();

    return \%question;
}

sub ask {
    my ($self, $reader) = @_;

    return if $self->{ended} || $reader->{question};

    $reader->{question} = $self->question;
    $self->send_question($reader);
}

sub send_question {
    my ($self, $reader) = @_;

    my $stream = $reader->{stream} //= $self->connect_reader($reader);
    my $question = $reader->{question};

    if (!$stream) {
        delete $reader->{question};
        $self->{loop}->after(0.05, sub { $self->ask($reader) });
        return;
    }

    $question->{sent} = Billing::Check::Loop::now();

    $stream->write("GET $Billing::Check::Run::URI?$question->{text} HTTP/1.1\r\n"
                   . "Host: check\r\nAuthorization: Bearer $question->{token}\r\n\r\n");
}

sub connect_reader {
    my ($self, $reader) = @_;

    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', Proto => 'tcp',
                                     PeerPort => $self->{nginx}{port}) or return;

    $sock->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);

    return $self->{loop}->stream($sock,
        data => sub { $self->received($reader) },
        gone => sub {
            my ($stream) = @_;

            delete $reader->{stream};

            my $question = $reader->{question} or return;

            # an old worker may close a connection just when it is used, and it
            # breaks a list off when Redis fails

            if (length $stream->{in}) {
                $self->failed('broken off', $question);
                $self->next_question($reader);
                return;
            }

            $self->send_question($reader);
        });
}

# --- answers

sub received {
    my ($self, $reader) = @_;

    my $stream = $reader->{stream};
    my $end = index $stream->{in}, "\r\n\r\n";
    return if $end < 0;

    my $head = substr $stream->{in}, 0, $end + 2;
    my $body;

    if ($head =~ /^Content-Length: (\d+)\r$/mi) {
        return if length $stream->{in} < $end + 4 + $1;
        $body = substr $stream->{in}, $end + 4, $1;
        substr($stream->{in}, 0, $end + 4 + $1) = '';

    } else {
        my $pos = $end + 4;
        $body = '';

        for ( ;; ) {
            my $eol = index $stream->{in}, "\r\n", $pos;
            return if $eol < 0;
            my $size = hex substr $stream->{in}, $pos, $eol - $pos;
            return if length $stream->{in} < $eol + 4 + $size;
            $body .= substr $stream->{in}, $eol + 2, $size;
            $pos = $eol + 4 + $size;
            last if !$size;
        }

        substr($stream->{in}, 0, $pos) = '';
    }

    my $question = $reader->{question}
        or return $self->wrong('an answer to nothing');
    my ($status) = $head =~ m{\AHTTP/1\.1 (\d+)};
    my ($cache, $worker) = $head =~ /^X-Cache: (\S+) (\d+)\r$/m;

    if ($head =~ /^Connection: close\r$/mi) {
        $stream->close;
        delete $reader->{stream};
    }

    $question->{received} = Billing::Check::Loop::now();
    $question->{status} = $status;
    $question->{cache} = $cache;
    $question->{worker} = $worker;

    $self->{seen}{answers}++;
    $self->{seen}{slowest} = max($self->{seen}{slowest},
                                 $question->{received} - $question->{sent});

    $self->{last}{ $cache // '-' }++ if $self->{last};
    $self->{seen}{hits}++ if ($cache // '') eq 'HIT';
    $self->{seen}{stale}++ if ($cache // '') eq 'STALE';

    if    ($status == 200) { $self->judge($question, $body) }
    elsif ($status == 401) { $self->judge_401($question) }
    elsif ($status >= 500) { $self->failed($status, $question) }
    else                   { $self->wrong("status $status for $question->{text}: $body") }

    $self->next_question($reader);
}

sub next_question {
    my ($self, $reader) = @_;

    delete $reader->{question};
    $self->{loop}->after($self->{pause} * 2 * rand, sub { $self->ask($reader) });
}

sub failed {
    my ($self, $status, $question) = @_;

    $self->{seen}{failed}++;

    return if $self->{failures} && !$self->{settled};

    $self->wrong(sprintf '%s for %s, sent at %.3f', $status, $question->{text},
                 $question->{sent} - $self->{started});
}

# --- judgement

# How long a value of an answer had not been true. A "fresh" value may not come from a
# cache: it has to have been true after the request was sent.

sub age {
    my ($self, $question, $name, $value, $fresh) = @_;

    my $age = $self->{history}->age($name, $value, @$question{qw(sent received)});

    return $fresh && $age ? undef : $age;
}

# The lesser of two ages, each of which may be missing.

sub least {
    my @ages = grep { defined } @_;

    return @ages ? min(@ages) : undef;
}

sub expect {
    my ($self, $question, $age, $what, @names) = @_;

    if (defined $age && $age <= $self->{allowed}) {
        $self->{seen}{oldest} = max($self->{seen}{oldest}, $age);
        return;
    }

    # A master of a cluster that goes on after a halt answers clients from before,
    # with or without the worker's cache, until the other nodes have told it.

    if ($self->{is_resuming}) {
        $self->{seen}{excused}++;
        return;
    }

    my $history = join '; ', map {
        "$_: " . $self->{history}->text($_, $self->{started})
    } @names;

    my $text = sprintf '%s %s: %s was %s (sent %.3f, received %.3f, %s, worker %s, '
                       . 'token %s) %s',
                       $question->{status}, $question->{text}, $what,
                       defined $age ? sprintf('true %d ms before', 1000 * $age)
                                    : 'not true',
                       $question->{sent} - $self->{started},
                       $question->{received} - $self->{started},
                       $question->{cache} // '-', $question->{worker} // '-',
                       $question->{token}, $history;

    # a long time is not a matter of a busy machine

    if (!defined $age || $self->{allowed} > 0.3) {
        $self->wrong($text);
        return;
    }

    # whether the machine was busy is known a little later

    $self->{undecided}++;

    $self->{loop}->after(0.3, sub {
        $self->{undecided}--;

        my $stall = $self->{stall}->between($question->{sent} - $age - 0.05,
                                            $question->{received} + 0.05,
                                            $question->{worker});

        return $self->wrong($text) if $age > $self->{allowed} + $stall;
        $self->{seen}{excused}++;
    });
}

sub judge_401 {
    my ($self, $question) = @_;

    $self->{seen}{401}++;

    my $name = "token $question->{token}";

    $self->expect($question, $self->age($question, $name, '', 1), 'no token', $name);
    $self->expect($question, $self->age($question, 'synced', 1, 1), 'synced_at', 'synced');
}

sub judge {
    my ($self, $question, $body) = @_;

    my $name = "token $question->{token}";

    $self->expect($question, $self->age($question, $name, 1), 'the token', $name);

    my $cameras = $body eq 'null' ? {} : cameras($body);

    if (!$cameras) {
        $self->wrong("an answer that no camera has: $question->{text}: $body");
        return;
    }

    $question->{null} = $body eq 'null';

    if ($question->{null}) {
        $self->{seen}{null}++;
        $self->expect($question, $self->age($question, 'synced', 1, 1), 'synced_at', 'synced');
        $self->judge_moves($question);
    }

    for my $id (keys %$cameras) {
        $self->expect($question, $self->age($question, "camera $id", $cameras->{$id}),
                      "$cameras->{$id} of camera $id", "camera $id");
    }

    if ($question->{uuids}) {
        $self->judge_uuids($question, $cameras);

    } elsif ($question->{ids}) {
        $self->judge_ids($question, $cameras);

    } else {
        $self->judge_login($question, $cameras);
    }
}

# All texts of a camera are of one version: they are written at once.

sub cameras {
    my ($body) = @_;

    my %cameras;
    my $last = 0;

    return if substr($body, 0, 1) ne '[';
    pos($body) = 1;

    while ($body =~ /\G\{"id":(\d+),"external_id":"x\1","start_at":null,"status":"active",
                     "name":"(v\d+)","group_type":null,"streams":\[\{"type":"high",
                     "status":"\2","camera_id":\1\}\],"preview":"\2\ x+"\}([],])/gcx)
    {
        return if $1 <= $last;
        $last = $1;
        $cameras{$1} = $2;
        return \%cameras if $3 eq ']' && pos($body) == length $body;
    }

    return;
}

# A login that always has a camera has none in no answer: the answer is read once
# more when none was found, and meanwhile the camera cannot have moved twice.

sub judge_moves {
    my ($self, $question) = @_;

    return if ($question->{login} // '') ne 'moves' || $question->{ids} || $question->{uuids};

    my $since = $question->{sent} - $self->{allowed};
    my @moves = grep { $_->[0] <= $question->{received}
                       && (!defined $_->[1] || $_->[1] >= $since) }
                @{ $self->{moves} };

    $self->wrong("null for a login that always has a camera, $question->{cache}")
        if @moves <= 1;
}

sub judge_ids {
    my ($self, $question, $cameras) = @_;

    my %asked = map { $_ => 1 } @{ $question->{ids} };
    my $login = $question->{login};

    for my $id (keys %$cameras) {
        $self->wrong("camera $id for $question->{text}") if !$asked{$id};
    }

    for my $id (keys %asked) {
        my $member = defined $login ? "member $login $id" : undef;

        if ($cameras->{$id}) {
            $self->expect($question, $self->age($question, $member, 1), $member, $member)
                if defined $member;
            next;
        }

        $self->expect($question,
            least($self->age($question, "camera $id", '', 1),
                  defined $member ? $self->age($question, $member, '', 1) : undef),
            "no camera $id", "camera $id", defined $member ? $member : ());
    }
}

sub judge_login {
    my ($self, $question, $cameras) = @_;

    my $login = $question->{login};
    my @ids = $login eq 'moves' ? @Billing::Check::Writers::MOVES
              : $login eq 'wide' ? (1001 .. 1000 + $self->{wide}) : @{ $self->{ids} };

    for my $id (@ids) {
        my $member = "member $login $id";

        if ($cameras->{$id}) {
            $self->expect($question, $self->age($question, $member, 1), $member, $member);
            next;
        }

        # a list that is kept may lack a new member, but null is not kept

        $self->expect($question,
            least($self->age($question, "camera $id", '', 1),
                  $self->age($question, $member, '', $question->{null})),
            "no camera $id of $login", "camera $id", $member);
    }
}

# Each camera has to be that of an external id, and each external id has to have
# its camera in the answer, or none.

sub judge_uuids {
    my ($self, $question, $cameras) = @_;

    my @uuids = @{ $question->{uuids} };
    my $login = $question->{login};

    for my $id (keys %$cameras) {
        $self->expect($question,
            least(map { $self->age($question, "external $_", $id) } @uuids),
            "camera $id of @uuids", map { "external $_" } @uuids);

        next if !defined $login;

        my $member = "member $login $id";
        $self->expect($question, $self->age($question, $member, 1), $member, $member);
    }

    for my $uuid (@uuids) {
        my @ages;

        for my $id ($self->{history}->values_since("external $uuid",
                        $question->{sent} - $self->{allowed} - 1))
        {
            my $age = $self->age($question, "external $uuid", $id, $id eq '' || $question->{null});
            next if !defined $age;

            if ($id ne '' && !$cameras->{$id}) {
                my $gone = least($self->age($question, "camera $id", '', 1),
                                 defined $login
                                 ? $self->age($question, "member $login $id", '', 1)
                                 : undef);
                next if !defined $gone;
                $age = max($age, $gone);
            }

            push @ages, $age;
        }

        $self->expect($question, least(@ages), "no camera of $uuid", "external $uuid");
    }
}

1;
