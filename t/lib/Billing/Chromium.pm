# A headless Chromium with one page, driven by its DevTools protocol over two
# pipes: JSON texts that end with a zero byte.
#
#     my $chromium = Billing::Chromium->start;
#     $chromium->open('http://127.0.0.1:8080/');
#     $chromium->value('document.title');

package Billing::Chromium;

use strict;
use warnings;

use File::Temp ();
use IO::Select ();
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(time);

# texts are bytes of UTF-8 on both sides

my $JSON = JSON::PP->new;

sub start {
    my ($class) = @_;

    my $dir = File::Temp->newdir('billing-chromium-XXXXXX', TMPDIR => 1);

    pipe my $orders, my $to or die "pipe: $!\n";
    pipe my $from, my $replies or die "pipe: $!\n";

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/log";
        open STDERR, '>&', \*STDOUT;

        # the browser reads from descriptor 3 and writes to 4; dup2 takes the
        # close-on-exec away

        my @pipes = map { POSIX::dup(fileno $_) } $orders, $replies;
        POSIX::dup2($pipes[$_], 10 + $_) for 0, 1;
        POSIX::dup2(10 + $_, 3 + $_) for 0, 1;

        $ENV{HOME} = "$dir";
        exec 'chromium', '--headless=new', '--remote-debugging-pipe',
             '--no-sandbox', '--disable-gpu', '--no-first-run',
             '--disable-background-networking', '--disable-component-update',
             '--hide-scrollbars', "--user-data-dir=$dir/profile", 'about:blank'
            or POSIX::_exit(1);
    }

    my $self = bless { dir => $dir, pid => $pid, to => $to, from => $from,
                       buffer => '', events => [], last => 0 }, $class;

    $to->autoflush(1);

    my $target = $self->call('Target.createTarget', url => 'about:blank');
    $self->{session} = $self->call('Target.attachToTarget',
                                   targetId => $target->{targetId},
                                   flatten => JSON::PP::true)->{sessionId};
    $self->call("$_.enable") for qw(Page Runtime Log Network);

    return $self;
}

# The next message within so many seconds.

sub message {
    my ($self, $seconds) = @_;

    my $end = time + $seconds;

    while (index($self->{buffer}, "\0") < 0) {
        my $left = $end - time;
        return if $left <= 0
            || !IO::Select->new($self->{from})->can_read($left);
        sysread $self->{from}, $self->{buffer}, 1 << 16, length $self->{buffer}
            or die "Chromium has ended\n";
    }

    $self->{buffer} =~ s/\A([^\0]*)\0//;
    return $JSON->decode($1);
}

sub call {
    my ($self, $method, %params) = @_;

    my $id = ++$self->{last};
    my %session = $self->{session} ? (sessionId => $self->{session}) : ();

    print { $self->{to} } $JSON->encode({
        id => $id, method => $method, params => \%params, %session }), "\0";

    while (my $message = $self->message(30)) {
        if (($message->{id} // 0) == $id) {
            die "$method: $message->{error}{message}\n" if $message->{error};
            return $message->{result};
        }

        push @{ $self->{events} }, $message if $message->{method};
    }

    die "$method: no answer\n";
}

sub open {
    my ($self, $url) = @_;

    my $result = $self->call('Page.navigate', url => $url);
    die "$url: $result->{errorText}\n" if $result->{errorText};

    while (!grep { $_->{method} eq 'Page.loadEventFired' } @{ $self->{events} }) {
        push @{ $self->{events} }, $self->message(30) // die "$url: not loaded\n";
    }
}

# Sets the window's width and height, and "light" or "dark".

sub window {
    my ($self, $width, $height, $scheme) = @_;

    $self->call('Emulation.setDeviceMetricsOverride',
                width => $width, height => $height, deviceScaleFactor => 1,
                mobile => $width < 500 ? JSON::PP::true : JSON::PP::false);
    $self->call('Emulation.setEmulatedMedia', features =>
                [ { name => 'prefers-color-scheme', value => $scheme } ]);
}

# The value of a JavaScript expression.

sub value {
    my ($self, $expression) = @_;

    my $result = $self->call('Runtime.evaluate', expression => $expression,
                             returnByValue => JSON::PP::true);
    die "$expression: $result->{exceptionDetails}{text}\n"
        if $result->{exceptionDetails};

    return $result->{result}{value};
}

# Takes a picture of the whole page.

sub picture {
    my ($self, $file) = @_;

    my $result = $self->call('Page.captureScreenshot',
                             captureBeyondViewport => JSON::PP::true);
    CORE::open my $out, '>:raw', $file or die "$file: $!\n";
    print $out decode_base64($result->{data});
    close $out;
}

# The reports of the browser since the last call: errors, warnings, and the lines
# that the page itself logs.

sub reports {
    my ($self) = @_;

    $self->value('1');

    my @texts = map {
        my ($method, $params) = @$_{qw(method params)};
        $method eq 'Runtime.exceptionThrown' ? $params->{exceptionDetails}{text}
        : $method eq 'Runtime.consoleAPICalled' ? "console.$params->{type}"
        : $method eq 'Log.entryAdded' ? "$params->{entry}{source}: $params->{entry}{text}"
        : ();
    } splice @{ $self->{events} };

    return @texts;
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!, $@);
    return if !$self->{pid};

    eval { $self->call('Browser.close') };
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
