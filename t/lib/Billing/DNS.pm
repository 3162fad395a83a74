# A name server on a UDP port of 127.0.0.1, in a process of its own, whose answers
# a test changes while it runs:
#
#     my $dns = Billing::DNS->start;
#     $dns->answers(<<'END');
#     redis.test  1  127.0.0.1 ::1
#     other.test  SERVFAIL
#     END
#
# A line is a name, its TTL in seconds and its addresses; or a name and NXDOMAIN,
# SERVFAIL, REFUSED, or SILENT: no answer. Other names do not exist.

package Billing::DNS;

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use Socket qw(AF_INET6 inet_aton inet_pton);

my %CODE = (SERVFAIL => 2, NXDOMAIN => 3, REFUSED => 5);

sub start {
    my ($class) = @_;

    my $dir = File::Temp->newdir('billing-dns-XXXXXX', TMPDIR => 1);
    my $sock = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp')
        or die "cannot open a UDP socket: $!\n";

    my $self = bless { dir => $dir, port => $sock->sockport, owner => $$ }, $class;
    $self->answers('');

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        eval { $self->serve($sock) };
        warn $@ if $@;
        POSIX::_exit(1);
    }

    $self->{pid} = $pid;

    return $self;
}

# Replaces all answers.

sub answers {
    my ($self, $text) = @_;

    my $file = "$self->{dir}/answers";

    open my $out, '>', "$file.new" or die "$file.new: $!\n";
    print $out $text;
    close $out or die "$file.new: $!\n";

    rename "$file.new", $file or die "$file: $!\n";
}

# How often the address (A) of a name was asked for.

sub asked {
    my ($self, $name) = @_;

    open my $in, '<', "$self->{dir}/log" or return 0;
    return scalar grep { $_ eq "$name A\n" } <$in>;
}

sub asked_all {
    my ($self) = @_;

    open my $in, '<', "$self->{dir}/log" or return 0;
    return scalar(() = <$in>);
}

sub serve {
    my ($self, $sock) = @_;

    open my $log, '>>', "$self->{dir}/log" or die "log: $!\n";
    $log->autoflush(1);

    while (defined(my $peer = $sock->recv(my $query, 512))) {
        my $answer = $self->answer($query, $log);
        $sock->send($answer, 0, $peer) if defined $answer;
    }
}

sub answer {
    my ($self, $query, $log) = @_;

    my ($id, undef, $n) = unpack 'n3', $query;
    return if length $query < 17 || $n != 1;

    my ($pos, @labels) = (12);

    while (my $len = ord substr $query, $pos++, 1) {
        push @labels, substr $query, $pos, $len;
        $pos += $len;
    }

    my $name = lc join '.', @labels;
    my $type = unpack 'n', substr $query, $pos, 2;
    my $question = substr $query, 12, $pos + 4 - 12;

    print $log "$name ", { 1 => 'A', 28 => 'AAAA' }->{$type} // $type, "\n";

    my ($ttl, @addrs) = $self->find($name);
    return if $ttl eq 'SILENT';
    return pack('n6', $id, 0x8180 | $CODE{$ttl}, 1, 0, 0, 0) . $question if $CODE{$ttl};

    my @data = map { $type == 1 ? inet_aton($_) : inet_pton(AF_INET6, $_) }
               grep { $type == (/:/ ? 28 : 1) } @addrs;

    return pack('n6', $id, 0x8180, 1, scalar @data, 0, 0) . $question
           . join '', map { pack 'nnnNn/a', 0xc00c, $type, 1, $ttl, $_ } @data;
}

sub find {
    my ($self, $name) = @_;

    open my $in, '<', "$self->{dir}/answers" or die "answers: $!\n";

    while (<$in>) {
        my ($known, @words) = split;
        return @words if defined $known && $known eq $name;
    }

    return 'NXDOMAIN';
}

sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$ || !$self->{pid};

    local ($?, $!);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
