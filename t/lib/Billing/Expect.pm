# The cases of a block: their requests, and the answers that they expect.

package Billing::Expect;

use strict;
use warnings;

use Exporter 'import';
use Test::More ();

use Billing::Fixtures;

our @EXPORT = qw(request expected prepare_cases answers);

# The request of one case as Test::Nginx wants it, and its headers.

sub request {
    my ($block, $query, $body) = @_;

    my $method = $block->method // 'GET';
    chomp $method;

    $body =~ s/\\x([0-9a-f]{2})/chr hex $1/gei;

    my $headers = $block->headers;

    if (!defined $headers) {
        $headers = "Authorization: Bearer $Billing::Token\n";
        $headers .= "Content-Type: application/json\n" if length $body;
    }

    $headers .= "\n" if $headers =~ /[^\n]\z/;
    $headers .= 'Content-Length: ' . length($body) . "\n" if length $body;

    return ("$method $Billing::URI$query\n$body", $headers);
}

# The answer expected for one case: status, body (a text or a regex), headers.

sub expected {
    my ($text, $case) = @_;

    my @json = ("Content-Type: application/json", "Cache-Control: no-store",
                "!Transfer-Encoding");
    my ($status, $answer);

    if ($text eq 'null') {
        ($status, $answer) = (200, 'null');

    } elsif ($text eq 'required') {
        ($status, $answer) = (422, Billing::Fixtures::required());

    } elsif ($text =~ /\Abody(?: (.*))?\z/) {
        my $like = $1 // '[^"]+ at byte \d+[^"]*';
        return (422, qr/\A\{"message":"($like)","errors":\{"body":\["\1"\]\}\}\z/s,
                @json);

    } elsif ($text =~ /\A[0-9]{3} / || $text =~ /\A[45][0-9]{2}\z/) {
        $text =~ /\A(\d{3})(?: (.+))?\z/;
        my $like = $2 // ($1 == 401 ? '\A\{"message":"Unauthenticated\."\}\z'
                                   : '\A\{"message":"[^"]+"\}\z');
        return ($1, qr/$like/s, @json);

    } elsif ($text =~ /\A\d+(?: \d+)*\z/) {
        my @ids = split / /, $text;
        exists $Billing::Fixtures::CAMERA{$_} or die "no camera $_: $case\n"
            for @ids;
        ($status, $answer) = (200, Billing::Fixtures::answer(@ids));

    } elsif ($text =~ /: /) {
        my @errors = map { [ /\A(.*): ([^:]+)\z/ ] } split /, /, $text;
        ($status, $answer) = (422, Billing::Fixtures::errors(@errors));

    } else {
        die "cannot parse the expectation: $case\n";
    }

    return ($status, $answer, @json, 'Content-Length: ' . length $answer);
}

# Turns the cases of a block into the requests and expectations of Test::Nginx.

sub prepare_cases {
    my ($block) = @_;

    my (@requests, @headers, @status, @bodies, @response_headers, @like);

    for my $case (split /\n/, $block->cases) {
        next if $case =~ /^\s*(?:#|$)/;

        $case =~ /\A\s*(.*?)\s*->\s*(.*?)\s*\z/
            or die "cannot parse the case: $case\n";
        my ($left, $right) = ($1, $2);
        my $query = $left =~ s/\A(\?\S*)\s*// ? $1 : '';

        my ($request, $headers) = request($block, $query, $left);
        my ($status, $answer, @expect) = expected($right, $case);

        push @requests, $request;
        push @headers, $headers;
        push @status, $status;
        push @bodies, $answer;
        push @response_headers, join "\n", @expect, $block->also // ();
        push @like, header_like($status);
    }

    $block->set_value(request => \@requests);
    $block->set_value(more_headers => \@headers);
    $block->set_value(error_code => \@status);
    $block->set_value(response_body => \@bodies);
    $block->set_value(response_headers => \@response_headers);
    $block->set_value(raw_response_headers_like => \@like);
}

# A regex for the header that an answer with this status must have.

sub header_like {
    my ($status) = @_;

    return {
        401 => '\r\nWWW-Authenticate: Bearer\b',
        405 => '\r\nAllow: GET, HEAD(?:, POST)?\r\n',
        503 => '\r\nRetry-After: [1-9]\d*\r\n',
    }->{$status} // '\r\nContent-Length: \d+\r\n';
}

# Tests a response that a "run" section got against an expectation.

sub answers {
    my ($res, $expected, $name) = @_;

    my ($status, $answer) = expected($expected, $name);

    Test::More::ok($res->{complete}, "$name: the response is complete");
    Test::More::is($res->{status}, $status, "$name: status");
    Test::More::like($res->{headers}, qr/^Content-Type: application\/json\r$/m,
                     "$name: Content-Type");
    Test::More::like($res->{headers}, qr/^Cache-Control: no-store\r$/m,
                     "$name: Cache-Control");

    if (ref $answer) {
        Test::More::like($res->{body}, $answer, "$name: body");
    } else {
        Test::More::is($res->{body}, $answer, "$name: body");
    }
}

1;
