# A block from its sections to its tests: Test::Nginx calls prepare() before the
# block's requests, and finish() after them.

package Billing::Blocks;

use strict;
use warnings;

use Test::More ();
use Test::Nginx::Util ();

use Billing::Config;
use Billing::Expect;
use Billing::FakeRedis;
use Billing::Fixtures;
use Billing::Log;
use Billing::Server;
use Billing::TestNginx;

# The sections with the rules of a fake Redis. A "run" section has the fake of
# "fake" as $Fake, and so on.

our @FAKES = qw(fake fake2 fake3);

sub fake {
    my ($section) = @_;

    no strict 'refs';
    return \${"Billing::\u$section"};
}

sub prepare {
    my ($block) = @_;

    if (is_left_out($block)) {
        $block->set_value(SKIP => 1);
        return;
    }

    prepare_master($block);
    prepare_servers($block);
    prepare_configuration($block) if !defined $block->bare;

    if (defined $block->cases) {
        prepare_cases($block);

    } elsif (!defined $block->must_die && !defined $block->request
             && !defined $block->raw_request
             && !defined $block->pipelined_requests)
    {
        my ($request, $headers) = request($block, '', $Billing::EXAMPLE);
        $block->set_value(request => $request);
        $block->set_value(more_headers => $headers);
        $block->set_value(response_body => Billing::Fixtures::answer(3, 4));
    }

    if (defined $block->run) {
        $block->set_value(init => "package Billing; use Test::More;\n"
                                  . "our (\$Token, \$Prefix, \$URI, \$EXAMPLE, \$Server, "
                                  . join(', ', map { "\$\u$_" } @FAKES) . ");\n"
                                  . $block->run);
    }

    if (defined $block->refuses) {
        $block->set_value(init => 'Billing::Config::refuse($block)');
    }

    prepare_logs($block);
}

# A block may not fit the mode of run.sh, or the server. And run.sh links to a long
# suite as SUITE-1of3.t, SUITE-2of3.t and so on: each runs every third block.

sub is_left_out {
    my ($block) = @_;

    my $mode = $Billing::MODE;

    if ($mode && ($block->not_in // '') =~ /^$mode: (.*\S)/m) {
        Test::More::diag($block->name . ": left out with --$mode: $1");
        return 1;
    }

    if (defined $block->needs_command && !has_command($block->needs_command)) {
        Test::More::diag($block->name . ": left out: the server does not know \""
                         . uc($block->needs_command =~ tr/|/ /r) . '"');
        return 1;
    }

    my ($part, $parts) = $0 =~ /-(\d+)of(\d+)\.t\z/ or return 0;

    return $block->seq_num % $parts != $part - 1;
}

sub has_command {
    my ($name) = @_;

    return defined Billing::redis()->command('COMMAND', 'INFO', $name)->[0];
}

# Runs a master process if the block, or run.sh, asks for one.

sub prepare_master {
    my ($block) = @_;

    our $Default //= $Test::Nginx::Util::MasterProcessEnabled;

    $Test::Nginx::Util::MasterProcessEnabled
        = defined $block->master ? 'on' : $Default;
    $Test::Nginx::Util::Workers = $block->master || 1;
}

# Starts the servers of the block, and loads the fixtures and the block's own
# commands into all of them.

sub prepare_servers {
    my ($block) = @_;

    my @commands = (Billing::fixtures(),
                    Billing::expand(Billing::parse_commands($block->redis // '')));

    my $redis = Billing::redis();
    $redis->command('FLUSHALL');
    $redis->pipeline(@commands);

    for my $section (grep { defined $block->$_ } @FAKES) {
        my $fake = Billing::FakeRedis->start($block->$section, @commands);

        ${ fake($section) } = $fake;
        $ENV{"TEST_NGINX_\U$section\E_PORT"} = $fake->{port};
    }

    if (defined $block->server) {
        my $server = Billing::Server->new(split ' ', $block->server);

        $server->start;
        $server->command(@$_) for @commands;
        $Billing::Server = $server;
        $ENV{TEST_NGINX_OWN_PORT} = $server->{port};
    }
}

sub finish {
    my ($block) = @_;

    return if defined $block->SKIP;

    check_reload($block) if $Billing::MODE eq 'reload';
    check_log($block);

    for my $section (grep { defined $block->$_ } @FAKES) {
        check_fake($block, $section, ${ fake($section) });
        undef ${ fake($section) };
    }

    $Billing::Server->stop if $Billing::Server;
    undef $Billing::Server;
}

# With --reload, one master runs from the first block to the last, except that
# a block whose configuration is refused ends it.

sub check_reload {
    my ($block) = @_;

    our $Master;

    if (defined $block->must_die) {
        undef $Master;
        return;
    }

    my $name = $block->name;
    my $pid = Test::Nginx::Util::get_pid_from_pidfile($name);
    $Master //= $pid;

    Test::More::is($pid, $Master, "$name - nginx was reloaded, not started");

    Billing::TestNginx::remember_workers($pid);
}

# Stops a fake Redis, and tests its log against the block's sections.

sub check_fake {
    my ($block, $section, $fake) = @_;

    my $name = $block->name;
    my $log = $fake->log_text;
    $fake->stop;

    my ($like, $unlike) = ("${section}_log", "no_${section}_log");

    for my $pattern (grep { /\S/ } split /\n/, $block->$like // '') {
        Test::More::like($log, qr/$pattern/m,
                         "$name - the log of $section matches: $pattern");
    }

    for my $pattern (grep { /\S/ } split /\n/, $block->$unlike // '') {
        Test::More::unlike($log, qr/$pattern/m,
                           "$name - the log of $section does not match: $pattern");
    }
}

1;
