# The names that the module shares with other modules in one nginx: none but
# the three that nginx looks up in a dynamic module.

use strict;
use warnings;

use FindBin;
use Test::More;

my $ROOT = "$FindBin::RealBin/..";
my $MODULE = $ENV{TEST_NGINX_LOAD_MODULES} // '';
my $MODE = $ENV{TEST_NGINX_MODE} // '';

# One list of nm's: "U" is a name that another file has to define.

sub names {
    my ($type, @args) = @_;

    open my $nm, '-|', 'nm', '--format=posix', @args or die "cannot run nm: $!\n";
    my @names = map { /\A(\S+) ([A-Za-z])\b/ && ($2 eq 'U') == ($type eq 'undefined')
                      ? $1 =~ s/\@.*//r : () } <$nm>;
    close $nm or die "nm @args failed\n";

    return @names;
}

sub archive {
    my ($name) = @_;

    chomp(my $path = qx(gcc -print-file-name=$name));

    return $path =~ m{/} ? grep { !/\Amain\z/ } names('defined', '-g', $path) : ();
}

my @libraries = qw(libhiredis.a libhiredis_ssl.a libyajl_s.a);
my %theirs = map { $_ => 1 } map { archive($_) } @libraries;

cmp_ok(scalar keys %theirs, '>', 100, 'the static libraries define names');
ok($theirs{$_}, "$_ is one of them") for qw(redisAsyncFree sdsnewlen yajl_gen_alloc);

if (length $MODULE) {
    my @defined = sort { $a cmp $b } names('defined', '-D', '--defined-only', $MODULE);
    my @undefined = names('undefined', '-D', '--undefined-only', $MODULE);

    is("@defined", 'ngx_module_names ngx_module_order ngx_modules',
       'the module exports what nginx looks up');
    is(join(' ', grep { $theirs{$_} || /redis|yajl|\Asds/i } @undefined), '',
       'the module needs no name of hiredis or yajl');
    cmp_ok(scalar(grep { /\Angx_/ } @undefined), '>', 50, 'and it needs names of nginx');

} elsif ($MODE eq 'asan') {
    my @defined = names('defined', '-D', '--defined-only', "$ROOT/build/asan/nginx");

    is(join(' ', grep { $theirs{$_} } @defined), '',
       'nginx with the module in it exports no name of hiredis or yajl');
    cmp_ok(scalar(grep { /\Angx_/ } @defined), '>', 500, 'and it exports its own names');
}

done_testing();
