# Requests that the "run" section of a block sends by itself.

package Billing::Ask;

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use Test::More ();

use Billing::Client;
use Billing::Expect;
use Billing::Nginx;

our @EXPORT = qw(text client ask keep_asking recovers curl);

# The text of a request with this body and these options.

sub text {
    my ($body, %opt) = @_;

    my $method = $opt{method} // 'GET';
    my $version = $opt{version} // '1.1';
    my $uri = $opt{uri} // $Billing::URI . ($opt{query} // '');
    my $token = exists $opt{token} ? $opt{token} : $Billing::Token;

    my $text = "$method $uri HTTP/$version\r\nHost: localhost\r\n";
    $text .= "Authorization: Bearer $token\r\n" if defined $token;
    $text .= join '', map { "$_\r\n" } @{ $opt{headers} // [] };

    if ($opt{chunks}) {
        $text .= "Content-Type: application/json\r\n"
                 . "Transfer-Encoding: chunked\r\n\r\n";
        $text .= sprintf "%x\r\n%s\r\n", length, $_ for @{ $opt{chunks} };
        return "${text}0\r\n\r\n";
    }

    if (defined $body) {
        $text .= "Content-Type: application/json\r\nContent-Length: "
                 . length($body) . "\r\n";
    }

    return "$text\r\n" . ($body // '');
}

sub client {
    return Billing::Client->new(@_);
}

sub ask {
    my ($body, %opt) = @_;

    my $client = client(port => $opt{port});
    $client->send(text($body, %opt));

    return $client->response(head => ($opt{method} // '') eq 'HEAD');
}

# Asks again and again until a condition holds, at most for so many seconds.
# Returns whether it holds, and how many answers were not the expected one.

sub keep_asking {
    my ($seconds, $body, $expected, $holds, %opt) = @_;

    my (undef, $answer) = expected($expected, 'keep_asking');
    my ($failed, $asked) = (0, 0);

    my $is = Billing::Nginx::wait_until($seconds, sub {
        my $res = ask($body, %opt);
        my $good = ref $answer ? $res->{body} =~ $answer
                               : $res->{body} eq $answer;

        if (!$good && $failed++ == 0) {
            Test::More::diag("answer $asked: $res->{status} $res->{body}");
        }

        $asked++;
        return $holds->();
    });

    return ($is, $failed);
}

# A few requests after a disturbance may fail, but not all of them.

sub recovers {
    my ($body, $expected, $name) = @_;

    my ($res, $left) = (undef, 10);

    Billing::Nginx::wait_until(10, sub {
        $res = ask($body);
        return $res->{status} == 200 || --$left == 0;
    });

    answers($res, $expected, $name);
}

# Runs curl, for HTTP/2. Returns its exit status and its output.

sub curl {
    my ($body, @args) = @_;

    # nginx may not listen yet, and curl does not try again

    my ($port) = $args[-1] =~ m{\Ahttp://[^/:]+:(\d+)};
    client(port => $port)->close;

    if (defined $body) {
        my $file = File::Temp->new(TEMPLATE => 'billing-body-XXXXXX', TMPDIR => 1);
        print $file $body;
        $file->flush;
        unshift @args, '--data-binary', '@' . $file->filename, '-X', 'GET',
                       '-H', 'Content-Type: application/json';
        return run_curl($file, @args);
    }

    return run_curl(undef, @args);
}

sub run_curl {
    my ($keep, @args) = @_;

    if (!grep { /^Authorization:/ } @args) {
        unshift @args, '-H', "Authorization: Bearer $Billing::Token";
    }

    my $pid = open my $out, '-|', 'curl', '-s', '-i', '--max-time', 30, @args;
    die "cannot run curl: $!\n" if !$pid;

    local $/;
    my $text = <$out> // '';
    $text =~ s/\r//g;

    close $out;
    return ($? >> 8, $text);
}

1;
