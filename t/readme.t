# README.md and the pages in doc/ against the module: each directive, variable,
# metric and log line is in both, and the examples work. CONTRIBUTING.md's map of
# rules against the sources.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use File::Find ();
use File::Temp ();

use Billing::Nginx;
use Billing::Server;

my $ROOT = "$FindBin::RealBin/..";

# Texts of the troubleshooting tables that Redis, nginx, OpenSSL or the kernel
# writes.

my $FOREIGN = qr/^(?:
    No\ such\ file\ or\ directory | Permission\ denied | Connection\ refused
    | Connection\ reset\ by\ peer | Server\ closed\ the\ connection
    | certificate | hostname\ mismatch | IP\ address\ mismatch
    | NOAUTH | DENIED | WRONGPASS | ERR | LOADING | MASTERDOWN | NOPERM | WRONGTYPE | MOVED
    | limiting\ requests | by\ zone | billing_token | unknown\ directive
    | module | is\ not\ binary | is\ already\ loaded | version | instead\ of
    | host\ not\ found | synced_at )/x;

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

my %page = map { $_ => slurp("$ROOT/$_") }
           'README.md', map { s{^\Q$ROOT\E/}{}r } glob "$ROOT/doc/*.md";
my $source = '';

File::Find::find(sub { $source .= slurp($_) if /\.[ch]\z/ }, "$ROOT/src");

# The text under a heading, up to the next heading of its level or above.

sub section {
    my ($title, $file) = @_;

    $file //= 'README.md';
    my ($marks) = $page{$file} =~ /^(#+) \Q$title\E$/m or die "no \"$title\" in $file\n";
    my ($text) = $page{$file} =~ /^$marks \Q$title\E\n(.*?)(?=^#{1,${\ length $marks}} |\z)/ms;

    return $text;
}

# Directives: name => contexts

my %CONTEXT = (MAIN => 'http', SRV => 'server', LOC => 'location');
my %directive;

while ($source =~ /\{ ngx_string\("(billing_\w+)"\),\s+((?:NGX_\w+\s*\|?\s*)+),/g) {
    my ($name, $flags) = ($1, $2);
    $directive{$name} = join ', ',
        map { $flags =~ /NGX_HTTP_${_}_CONF/ ? $CONTEXT{$_} : () } qw(MAIN SRV LOC);
}

my @described = section('Directives') =~ /^## (.*)$/mg;

is_deeply([ sort @described ], [ sort keys %directive ], 'the directives are those of the module');
is_deeply(\@described, [ sort @described ], 'they are in alphabetical order');

my ($contents) = section('Contents');
my %defaults;

for my $name (sort keys %directive) {
    my $text = eval { section($name) } // '';

    like($text, qr/^\*\*Syntax:\*\* `$name[ ;]/m, "$name: its syntax");
    like($text, qr/^\*\*Context:\*\* \Q$directive{$name}\E$/m, "$name: its context");
    like($contents, qr/\[$name\]\(#$name\)/, "$name: the table of contents leads to it");

    push @{ $defaults{$directive{$name} eq 'http' ? 'http' : 'location'} }, $1
        if $text =~ /^\*\*Default:\*\* `(.*)`\\$/m;
}

# Variables

my %variable = map { $_ => 1 } $source =~ /\{ ngx_string\("(billing_\w+)"\), NULL,/g;

is_deeply([ section('Variables') =~ /^\| `\$(billing_\w+)`/mg ], [ sort keys %variable ],
          'the variables are those of the module');

# Links: to headings, and to files

my %anchor;

for my $file (sort keys %page) {
    my $text = $page{$file} =~ s/^```.*?^```$//msgr;

    for my $title ($text =~ /^#+ (.*)$/mg) {
        (my $anchor = lc $title) =~ s/[^\w -]//g;
        $anchor =~ tr/ /-/;
        $anchor{$file}{$anchor}++;
    }

    is_deeply([ grep { $anchor{$file}{$_} > 1 } sort keys %{ $anchor{$file} } ], [],
              "$file: no two headings are alike");
}

for my $from (sort keys %page) {
    my $folder = $from =~ m{^(.*/)} ? $1 : '';

    for my $link (sort { $a cmp $b } $page{$from} =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ /^https:/;

        my ($file, $anchor) = split /#/, $link, 2;
        my $to = length $file ? "$folder$file" : $from;
        $to =~ s{[^/]+/\.\./}{};

        my $leads = -e "$ROOT/$to";
        $leads &&= $anchor{$to}{$anchor} if defined $anchor && $page{$to};

        ok($leads, "$from: the link to $link leads somewhere");
    }
}

# Each page of doc/ is found from README.md

like($page{'README.md'}, qr/\(\Q$_\E\)/, "README.md leads to $_")
    for grep { m{/} } sort keys %page;

# Log lines: each literal part of one is in a string of the source

my $strings = $source;
$strings =~ s/\\"/\0/g;
$strings =~ s/"\s*(?:ngx_\w+_n\s*)?"//g;
$strings =~ s/\0/"/g;

for my $row (section('Troubleshooting', 'doc/troubleshooting.md') =~ /^\| (`[^|]*) \|/mg) {
    for my $line ($row =~ /`(.*?)`/g) {
        my @parts = grep { /\w/ && !/$FOREIGN/ } map { s/^[\s",:]+|[\s",:]+$//gr }
                    split /\.\.\.|\bN\b|: /, $line;

        is_deeply([ grep { index($strings, $_) < 0 } @parts ], [], "the module logs $line")
            if @parts;
    }
}

# CONTRIBUTING.md says where a rule is: the functions and tables are in those files.

$page{'CONTRIBUTING.md'} = slurp("$ROOT/CONTRIBUTING.md");

my @rules = section('Where a rule is', 'CONTRIBUTING.md') =~ /^\| (.*) \|$/mg;

for my $rule (@rules[2 .. $#rules]) {
    my ($title, $files, $names) = split / \| /, $rule;
    my ($folder) = $files =~ m{`(\w+)/};

    my $code = join '', map { slurp("$ROOT/src/$folder/ngx_http_billing_$_") }
                        $files =~ m{`(?:\w+/)?(\w+\.c)`}g;

    for my $name ($names =~ /`(\w+(?:\(\))?)`/g) {
        my $text = $name =~ s/\(\)/(/r;
        like($code, qr/^ngx_http_billing_\Q$text\E/m, "$name is in $files: $title");
    }
}

delete $page{'CONTRIBUTING.md'};

# Configurations

my $dir = File::Temp->newdir('billing-readme-XXXXXX', TMPDIR => 1);
my $load = join ' ', map { "load_module $_;" } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

sub nginx_takes {
    my ($text, $name) = @_;

    $text =~ s/^load_module .*$/$load/m or $text = "$load\n$text";
    $text =~ s{/var/log/nginx}{$dir}g;

    open my $out, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $out "pid $dir/nginx.pid;\n$text";
    close $out;

    my $res = qx($Test::Nginx::Util::NginxBinary -t -p $dir -e $dir/error.log -c $dir/nginx.conf 2>&1);
    is($?, 0, $name) or diag($text, $res);
}

my $LIST = "billing_redis redis://127.0.0.1:6379;\n";
my $n = 0;

for my $text (join('', @page{sort keys %page}) =~ /^ *```nginx\n(.*?)^ *```$/msg) {
    $n++;
    $text = "server {\n$text}" if $text !~ /^server /m && $text !~ /^http /m;
    $text = "events {}\nhttp {\n$LIST$text}" if $text !~ /^http /m;
    nginx_takes($text, "nginx takes example $n");
}

ok($n, 'there are examples of configurations');

nginx_takes("events {} http { $LIST" . join("\n", @{ $defaults{http} })
            . "\nserver { location / { billing_cameras_list;\n"
            . join("\n", @{ $defaults{location} }) . "\n} } }\n", 'nginx takes all defaults');

# Requests, and the status page

my $redis = Billing::Server->new;
$redis->start;
system('sh', "$ROOT/conf/load-sample.sh", '-s', $redis->{socket}) == 0
    or die "load-sample.sh failed\n";

my $nginx = Billing::Nginx->start(<<"END");
    billing_redis unix:$redis->{socket};
    billing_status_clients 10;
    server {
        listen 127.0.0.1:%PORT%;
        location = /api/v1/billing/cameras/list { billing_cameras_list; }
        location = /billing_status { billing_status; }
    }
END

my @requests = section('API') =~ /^```sh\n(curl .*?)^```$/msg;
my ($camera) = section('API') =~ /^```json\n(.*?)^```$/ms;

ok(@requests, 'there are examples of requests');

$camera =~ s/\n *//g;
$camera = quotemeta $camera;
$camera =~ s/\\<\w+\\>/[^"]+/g;

for my $request (@requests) {
    $request =~ s/127\.0\.0\.1:8080/127.0.0.1:$nginx->{port}/g;
    $request =~ s/^curl/curl -sS --max-time 30/;
    like(scalar qx($request), qr/\A\[$camera,\{"id":4,.*\}\]\z/, "the answer to $request");
}

# The page has some metrics only if there is a cluster

my %metric = map { $_ => 1 } $source =~ /# TYPE (nginx_billing_\w+) /g,
    qx(curl -sS --max-time 30 http://127.0.0.1:$nginx->{port}/billing_status) =~ /^# TYPE (\S+)/mg;

is_deeply([ sort { $a cmp $b } section('Metrics', 'doc/status.md') =~ /^\| `(nginx_billing_\w+)/mg ],
          [ sort keys %metric ], 'the metrics are those of the status page');

done_testing();
