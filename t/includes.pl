#!/usr/bin/perl

# Checks that the parts of src/ depend on each other in one direction only:
#
#     perl t/includes.pl [OBJECT ...]
#
# Reads the #include lines of src/, and the symbols of the object files named.
# No file may include itself by way of others, no folder may use one that is not
# listed for it below, and no object file may need itself by way of others.
# Prints every arrow that is wrong; the exit status is then 1. With --draw,
# prints all arrows among the files as a graph for dot(1) as well.

use strict;
use warnings;

use FindBin;

if (grep { $_ eq '--help' } @ARGV) {
    open my $self, '<', $0 or die "$0: $!\n";
    while (<$self>) {
        last if $. > 2 && !/^#/;
        print s/^# ?//r if $. > 2;
    }
    exit;
}

# The folders that a folder may use. "src" is the module with its directives.

my %USES = (
    src    => [ qw(http status cache redis) ],
    http   => [ qw(src params status cache json) ],
    params => [ qw(json) ],
    status => [ qw(cache redis json) ],
    cache  => [ qw(redis json) ],
    json   => [],
    redis  => [],
);

# A handler finds its configuration by this symbol, which the file with the
# directives defines; that file in turn needs the handlers.

my $MODULE = 'ngx_http_billing_module';

my $draw = grep { $_ eq '--draw' } @ARGV;
my @objects = grep { $_ ne '--draw' } @ARGV;
my $wrong = 0;

chdir "$FindBin::RealBin/.." or die "$!\n";

my %file = map { m{([^/]+)\z} => $_ } glob 'src/*.[ch] src/*/*.[ch]';
my %includes;

for my $name (sort keys %file) {
    open my $in, '<', $file{$name} or die "$file{$name}: $!\n";
    $includes{$name} = [ grep { $file{$_} } map { /^#include "(.*)"/ } <$in> ];
}

check_folders('includes', \%includes, \%file);
check_circles('includes', \%includes);

draw(\%includes) if $draw;

my (%needs, %object);
my $defined = symbols('--defined-only', @objects);
my $undefined = symbols('--undefined-only', @objects);
my %owner;

for my $object (keys %$defined) {
    $owner{$_} = $object for @{ $defined->{$object} };
}

for my $object (sort keys %$defined) {
    my %others = map { $_ => 1 } grep { defined && $_ ne $object }
                 map { $owner{$_} } grep { $_ ne $MODULE }
                 @{ $undefined->{$object} // [] };
    (my $source = $object) =~ s/o\z/c/;

    $object{$object} = $file{$source} // next;
    $needs{$object} = [ sort keys %others ];
}

check_folders('needs', \%needs, \%object);

check_circles('needs', \%needs);

exit($wrong ? 1 : 0);


sub folder {
    my ($path) = @_;

    return $path =~ m{\Asrc/([a-z]+)/} ? $1 : 'src';
}


sub complain {
    print "includes: @_\n";
    $wrong++;
}


sub check_folders {
    my ($verb, $edges, $path) = @_;

    for my $from (sort keys %$edges) {
        my $folder = folder($path->{$from});

        for my $to (@{ $edges->{$from} }) {
            my $other = folder($path->{$to} // next);

            complain("$path->{$from} $verb $path->{$to}")
                if $other ne $folder && !grep { $_ eq $other } @{ $USES{$folder} };
        }
    }
}


# Depth first; a file that is met again while its own are looked at is a circle.

sub check_circles {
    my ($verb, $edges) = @_;

    my (%done, @path, $visit);

    $visit = sub {
        my ($name) = @_;

        if (my ($first) = grep { $path[$_] eq $name } 0 .. $#path) {
            complain("a circle: " . join " $verb ", @path[$first .. $#path], $name);
            return;
        }

        return if $done{$name}++;

        push @path, $name;
        $visit->($_) for @{ $edges->{$name} // [] };
        pop @path;
    };

    $visit->($_) for sort keys %$edges;
}


# The module's symbols of object files, by the file's name.

sub symbols {
    my ($which, @files) = @_;

    my %names;

    for my $file (@files) {
        my ($name) = $file =~ m{([^/]+)\z};

        open my $nm, '-|', 'nm', '-g', $which, $file or die "nm: $!\n";
        $names{$name} = [ map { /\b(ngx_http_billing_\w+)$/ } <$nm> ];
        close $nm or die "nm fails for $file\n";
    }

    return \%names;
}


sub draw {
    my ($edges) = @_;

    print "digraph src {\n";

    for my $from (sort keys %$edges) {
        print map { "    \"$from\" -> \"$_\";\n" } @{ $edges->{$from} };
    }

    print "}\n";
}
