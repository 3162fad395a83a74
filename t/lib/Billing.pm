# The parts that all suites share. A suite begins with
#
#     use Billing 'params';
#     use Test::Nginx::Socket 'no_plan';
#     run_tests();
#
# and its blocks then have, beyond what Test::Nginx knows:
#
#   --- cases      Requests and what they answer, one a line:
#
#                      [?QUERY] [BODY] -> EXPECTED
#
#                  A body goes out as application/json; \xHH in it is a raw
#                  byte. EXPECTED is a list of camera ids, "null", "required"
#                  (the three errors of a request without a selector),
#                  "KEY: WORD, KEY: WORD" (the errors of a 422; the words are
#                  in Billing::Fixtures), "body" or "body REGEX" (the 422 for a
#                  body that cannot be used), or a status and a regex for the
#                  answer's text.
#   --- method     the method of the cases (GET)
#   --- headers    headers of the cases, instead of Content-Type and
#                  Authorization
#   --- redis      Commands for Redis, as for redis-cli, after the fixtures. A
#                  key begins with "billing:", which becomes the suite's prefix.
#   --- fake       Rules for a fake Redis (see Billing::FakeRedis), which takes
#                  the place of the real one; its port is in the configuration
#                  $TEST_NGINX_FAKE_PORT.
#   --- fake_log   regexes, one a line, that the log of the fake must match
#   --- no_fake_log    regexes that the log of the fake must not match
#   --- fake2, --- fake3   further fakes, with $TEST_NGINX_FAKE2_PORT,
#                  "fake2_log", "no_fake2_log" and so on
#   --- server     Further arguments for a real Redis of the block's own, which
#                  has the fixtures (see Billing::Server); its port is in the
#                  configuration $TEST_NGINX_OWN_PORT.
#   --- route      further directives for the route's location
#   --- refuses    Directives that nginx -t has to refuse in the route's
#                  location, one mistake a line:
#
#                      DIRECTIVES -> REGEX
#
#                  REGEX has to match the message. Without REGEX, the message
#                  must have the directive's name and its value.
#   --- bare       the block's configuration alone, without the usual parts
#   --- master     runs with a master process and that many workers
#   --- also       further headers that every case's answer must have
#   --- logged     regexes, one a line, that the error log must match
#   --- logged_times   lines of "N REGEX": so many lines of the log must match
#   --- errors_allowed     lets the log have an [error] that is not in "logged"
#   --- crit_allowed       lets the log have a [crit]
#   --- not_in     The modes of run.sh that the block is left out of, one a line:
#
#                      MODE: REASON
#
#   --- needs_command   A command, as "cluster|slots": the block is left out, which
#                  the run says, where the server does not know the command.
#   --- run        Perl that runs once nginx is up: tests that need a connection
#                  of their own. The block's request follows.
#
# A block without any request sends the documentation's example at its end, to
# prove that the worker still answers after the block's tests. No block may
# leave an [alert], [crit] or [emerg] in the log, nor an [error] that the block
# does not name.
#
# A "run" section is Perl in this package. It can use all functions here and in
# Billing::Ask, Billing::Expect and Billing::Log, and the variables below.

package Billing;

use strict;
use warnings;

use Billing::TestNginx;

use Digest::SHA ();
use Test::More ();
use Test::Nginx::Socket ();
use Test::Nginx::Util ();

use Billing::Ask;
use Billing::Blocks;
use Billing::Client;
use Billing::Expect;
use Billing::Fixtures;
use Billing::Log;
use Billing::Nginx;
use Billing::Ports;
use Billing::Redis;
use Billing::Server;

our $URI = '/api/v1/billing/cameras/list';
our $EXAMPLE = '{"cameras_ids":[],"cameras_uuid":[],"login":"admin"}';

# how run.sh runs nginx

our $MODE = $ENV{TEST_NGINX_MODE} // '';

# the suite's name, prefix and token, and the Redis of a block's own

our ($Suite, $Prefix, $Token, $Server);

# the Redis that all blocks of the suite use

my $Redis;

sub import {
    my ($class, $suite) = @_;

    $Suite = $suite;
    $Prefix = "t_$suite:";
    $Token = "token-of-$suite";

    $ENV{"TEST_NGINX_\U$_\E_PORT"} = 0 for @Billing::Blocks::FAKES, 'own';

    start_redis();

    $SIG{PIPE} = 'IGNORE';

    # Test::Base evaluates sections in a package with a method of that name

    $SIG{__WARN__} = sub {
        warn @_ if $_[0] !~ /^Ambiguous call resolved as CORE::/;
    };

    Billing::TestNginx::install();
    Test::Nginx::Util::no_long_string();

    my $port = Billing::Ports::reserve();
    Test::Nginx::Util::server_port($port);
    Test::Nginx::Util::server_port_for_client($port);

    $Billing::Client::TIMEOUT *= $Billing::Nginx::SLOW;
    Test::Nginx::Util::timeout($Billing::Client::TIMEOUT)
        if Test::Nginx::Util::timeout() < $Billing::Client::TIMEOUT;

    # A block that cannot be prepared would end the suite as if it had passed

    Test::Nginx::Util::add_block_preprocessor(sub {
        eval { Billing::Blocks::prepare(@_); 1 }
            or Test::More::BAIL_OUT($_[0]->name . ": $@");
    });
    Test::Nginx::Util::add_test_cleanup_handler(\&Billing::Blocks::finish);
}

# Every suite has a Redis of its own, so that suites, and parts of one suite, run
# side by side.

sub start_redis {
    $Redis = Billing::Server->new;
    $Redis->start;

    $ENV{TEST_NGINX_REDIS_SOCKET} = $Redis->{socket};
    $ENV{TEST_NGINX_REDIS_PORT} = $Redis->{port};
}

sub redis {
    return Billing::Redis->new($Redis->{socket});
}

# SHA-256 in hexadecimal, as in a token's key.

sub sha256 {
    return Digest::SHA::sha256_hex($_[0]);
}

# Commands with the suite's prefix in the place of "billing:".

sub expand {
    my @commands = @_;

    return map {
        my @words = @$_;
        $words[1] =~ s/\Abilling:/$Prefix/ if defined $words[1];
        \@words;
    } @commands;
}

# The commands that load what all suites know, and the suite's token.

sub fixtures {
    return expand(Billing::Fixtures::commands(),
                  [ 'SET', 'billing:token:' . sha256($Token), "client $Suite" ]);
}

# Commands as text, one a line, with words in quotes: SET billing:x "two\x00words".
# Returns a list of words for each.

sub parse_commands {
    my ($text) = @_;

    return map {
        my @words;
        while (/\G\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))/g) {
            my $word = $1 // $2;
            $word =~ s{\\(?:x([0-9a-f]{2})|(.))}
                      { defined $1 ? chr hex $1
                        : { n => "\n", r => "\r" }->{$2} // $2 }gexi;
            push @words, $word;
        }
        \@words;
    } grep { /\S/ && !/^\s*#/ } split /\n/, $text;
}

sub load {
    my ($text) = @_;

    redis()->pipeline(expand(parse_commands($text)));
}

# Waits until a condition holds, at most for so many seconds. Returns the last
# result of the condition.

sub wait_for {
    return Billing::Nginx::wait_until(@_);
}

1;
