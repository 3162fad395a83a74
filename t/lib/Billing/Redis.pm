# A small RESP client, enough to load fixtures, over the Unix socket of the
# private Redis that t/run.sh starts.

package Billing::Redis;

use strict;
use warnings;

use IO::Socket::UNIX ();
use Socket qw(SOCK_STREAM);

sub new {
    my ($class, $path) = @_;

    my $sock = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path)
        or die "cannot connect to the test Redis at \"$path\": $!\n";

    return bless { sock => $sock, in => '' }, $class;
}

# A command as it goes over the wire: every argument is a bulk string.

sub encode {
    my @args = @_;

    return join '', '*' . @args . "\r\n",
                    map { '$' . length($_) . "\r\n$_\r\n" } @args;
}

# Sends many commands at once and returns their replies; an error reply dies.

sub pipeline {
    my ($self, @commands) = @_;

    return () if !@commands;

    my $out = join '', map { encode(@$_) } @commands;

    while (length $out) {
        my $n = syswrite $self->{sock}, $out;
        die "test Redis: write failed: $!\n" if !defined $n;
        substr($out, 0, $n) = '';
    }

    return map { scalar $self->reply } @commands;
}

sub command {
    my ($self, @args) = @_;

    return ($self->pipeline([@args]))[0];
}

sub line {
    my ($self) = @_;

    while ($self->{in} !~ /\r\n/) {
        $self->fill;
    }

    $self->{in} =~ s/\A(.*?)\r\n//s;
    return $1;
}

sub fill {
    my ($self) = @_;

    my $n = sysread $self->{sock}, $self->{in}, 65536, length $self->{in};
    die "test Redis: connection closed\n" if !$n;
}

sub reply {
    my ($self) = @_;

    my $line = $self->line;
    my $type = substr $line, 0, 1, '';

    die "test Redis: $line\n" if $type eq '-';
    return $line if $type eq '+' || $type eq ':';

    if ($type eq '$') {
        return undef if $line < 0;
        $self->fill while length $self->{in} < $line + 2;
        my $bulk = substr $self->{in}, 0, $line, '';
        substr($self->{in}, 0, 2) = '';
        return $bulk;
    }

    if ($type eq '*') {
        return undef if $line < 0;
        return [ map { $self->reply } 1 .. $line ];
    }

    die "test Redis: unexpected reply \"$type$line\"\n";
}

1;
