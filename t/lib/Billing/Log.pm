# The error log of a block: what it must have, and what it must not have.

package Billing::Log;

use strict;
use warnings;

use Exporter 'import';
use Test::More ();
use Test::Nginx::Util ();

our @EXPORT = qw(prepare_logs check_log error_log);

my $RELOAD = ($ENV{TEST_NGINX_MODE} // '') eq 'reload';

# Lists what Test::Nginx must not find in the log. With --reload, check_log() looks
# for errors and for the block's own texts instead, as workers of the blocks before may
# log some.

sub prepare_logs {
    my ($block) = @_;

    if (defined $block->must_die) {
        $block->set_value(suppress_stderr => 1);
        return;
    }

    my $never = join '|', 'alert', 'emerg', defined $block->crit_allowed ? () : 'crit';
    my $levels = $never;
    $levels .= '|error' if errors_are_faults($block) && !$RELOAD;

    my $more = $block->no_error_log;
    my @more = ref $more eq 'ARRAY' ? @$more : ref $more ? $more : split /\n/, $more // '';

    $block->set_value(own_unwanted => $RELOAD ? [ grep { length } @more ] : []);
    $block->set_value(no_error_log => [ qr/\[(?:$levels)\]/, $RELOAD ? () : @more ]);
    $block->set_value(no_shutdown_error_log => [ qr/\[(?:$never)\]|open socket/ ]);
}

sub errors_are_faults {
    my ($block) = @_;

    return ($block->logged // '') !~ /\[error/ && !defined $block->errors_allowed;
}

# Tests the log against the block's "logged" and "logged_times", and adds the log to
# that of the run.

sub check_log {
    my ($block) = @_;

    my $name = $block->name;
    my $lines = error_log();

    keep("=== $0 $name\n$lines\n");

    for my $pattern (grep { /\S/ } split /\n/, $block->logged // '') {
        Test::More::like($lines, qr/$pattern/m, "$name - logged: $pattern");
    }

    for my $line (grep { /\S/ } split /\n/, $block->logged_times // '') {
        my ($times, $pattern) = split / /, $line, 2;
        my $found = () = $lines =~ /$pattern/mg;
        Test::More::is($found, $times, "$name - logged $times times: $pattern");
    }

    for my $text (@{ $block->own_unwanted // [] }) {
        my $pattern = ref $text ? $text : qr/\Q$text\E/;
        Test::More::unlike($lines, $pattern, "$name - not logged: $text");
    }

    if ($RELOAD && !defined $block->must_die && errors_are_faults($block)) {
        my ($error) = $lines =~ /^(.*\[error\].*)$/m;
        Test::More::is($error, undef, "$name - no errors");
    }
}

sub keep {
    my ($text) = @_;

    open my $out, '>>', $ENV{BILLING_ERROR_LOG}
        or die "cannot open $ENV{BILLING_ERROR_LOG}: $!\n";
    print $out $text;
    close $out or die "cannot write $ENV{BILLING_ERROR_LOG}: $!\n";
}

# With --reload, workers of the blocks before log until they exit. Their lines are
# left out.

my %shutting_down;

sub error_log {
    open my $in, '<', $Test::Nginx::Util::ErrLogFile
        or die "cannot open the error log: $!\n";
    local $/;
    my $lines = <$in>;

    if ($RELOAD) {
        $shutting_down{$_} = 1 for $lines =~ / (\d+)#\d+: gracefully shutting down$/mg;
        $lines =~ s/^\S+ \S+ \[\w+\] (\d+)#.*\n/$shutting_down{$1} ? '' : $&/gem;
    }

    return $lines;
}

1;
