# Every script prints its opening comment with --help, and does nothing else.

use strict;
use warnings;

use FindBin;
use File::Find ();
use Test::More;

my $ROOT = "$FindBin::RealBin/..";

# those that are only sourced, and those that only a container runs

my $OTHERS = qr{^(?:t/lib/|t/bench/lib\.sh$|conf/docker/)};

my @scripts;

File::Find::find({ no_chdir => 1, wanted => sub {
    $File::Find::prune = 1 if m{^\Q$ROOT\E/(?:build|debian|\.git)$};
    push @scripts, substr $_, 1 + length $ROOT if /\.sh\z/;
} }, $ROOT);

@scripts = sort '.ci/run', grep { !/$OTHERS/ } @scripts;

cmp_ok(scalar @scripts, '>', 15, 'scripts are found');

for my $script (@scripts) {
    my $text = do {
        open my $in, '<', "$ROOT/$script" or die "$script: $!\n";
        local $/;
        <$in>;
    };

    # a script that does not know --help would begin its work

    if ($text !~ /^    \*' --help '\*\) sed .*; exit ;;$/m) {
        fail("$script knows --help: copy the lines from conf/build.sh");
        next;
    }

    my ($comment) = $text =~ /\A#!.*\n\n((?:#.*\n)+)\n/;
    $comment =~ s/^# ?//mg;

    my ($shell) = $text =~ m{\A#!/(?:usr/bin/env )?(\S+)};
    $shell = 'sh' if $shell eq 'bin/sh';

    is(qx($shell $ROOT/$script --help 2>&1 </dev/null), $comment,
       "$script --help: prints the opening comment");
    is($?, 0, "$script --help: status");
}

done_testing();
