# The cameras that all suites know, the commands that load them, and the JSON
# that the route has to answer for them. The JSON is put together here from
# the API's documentation, in plain Perl, and shares nothing with the module.

package Billing::Fixtures;

use strict;
use warnings;

our @FIELDS = qw(external_id start_at status name group_type streams preview);

our $PREVIEW_3 = 'https://server1.domain.video:8443/live/'
    . 'a2aefb0f-d3f7-4fb7-9828-218badead1f4/preview.mp4?token='
    . 'xUXC_FOaJBQkSaxyZMBG77zC9pgULKSjA-EShnSzQbM-h7ePl8h76Dd20CYwTVihT2QzHZSX'
    . '9d1DCPs8ttooqfzdgJb1RltcR1l3DgCmfFz68UUX_xEkGKNWbt5UPakGQXr5h1yMP7WE-CZ8'
    . 'CGqU6g~~';

our $PREVIEW_4 = 'https://domain.com:8443/live/'
    . '67aa0ee2-1f32-4e8e-b383-ca02c87e8390/preview.mp4?token=sometoken';

# 3 and 4 are the cameras of the API's documentation.

our %CAMERA = (
    3 => { external_id => '3', status => 'active', name => 'Camera 1',
           group_type => 'public', streams => 'high=active,low=active',
           preview => $PREVIEW_3 },
    4 => { external_id => '4', status => 'active', name => 'Camera 2',
           group_type => 'private', streams => 'high=active,low=active',
           preview => $PREVIEW_4 },
    5 => { external_id => 'cam-5', start_at => '2023-01-24T10:36:08.000000Z',
           status => 'partial', name => "\xd0\x94\xd0\xb2\xd0\xbe\xd1\x80 5",
           group_type => 'public', streams => 'low=inactive,high=active,mid=',
           preview => 'https://domain.com/5' },
    7 => { external_id => "\xf0\x9f\x8e\xa5-7",
           name => "\xf0\x9f\x8e\xa5 \"seven\"", streams => '' },
    10 => { external_id => '010', status => 'blocked', name => 'Ten' },
    12 => { external_id => 'ext 12+&', status => 'empty', name => 'Twelve' },
    '9007199254740991' => { external_id => 'max-exact', name => 'Exact' },
    '9223372036854775807' => { external_id => 'max-int64', name => 'Last' },
);

# A login's cameras. 6 is in an index, but its camera is gone.

our %LOGIN = (
    'admin'            => [ 3, 4 ],
    'mixed'            => [ 4, 5, 6, 7, 10, 12, '9007199254740991' ],
    'gone'             => [ 6 ],
    'a b'              => [ 5 ],
    'a+b'              => [ 7 ],
    ' admin'           => [ 10 ],
    '%zz'              => [ 12 ],
    '0'                => [ 5 ],
    '42'               => [ 4 ],
    "nul\0byte"        => [ 4 ],
    "line\r\nbreak"    => [ 5 ],
    "\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd"  => [ 3, 5 ],
    "\xf0\x9f\x91\xa4" => [ 7 ],
    "\xc2\xa0"         => [ 12 ],
    "\xf0\x9f\x91\xa4" x 255 => [ 4 ],
    'x' x 255          => [ 5 ],
);

our %EXTERNAL = (
    (map { $CAMERA{$_}{external_id} => $_ } keys %CAMERA),
    'gone-6'              => 6,
    'alias-of-3'          => 3,
    ''                    => 12,
    '-1'                  => 7,
    "nul\0byte"           => 5,
    "a\r\nb"              => 10,
    "\xf0\x9f\x8e\xa5" x 255 => 4,
);

# Commands, with the contract's own prefix: the loader puts the suite's there.

sub commands {
    my @commands = ([ 'SET', 'billing:synced_at', '1700000000' ]);

    for my $id (sort keys %CAMERA) {
        push @commands, [ 'HSET', "billing:camera:$id", %{ $CAMERA{$id} } ];
    }

    for my $external (sort keys %EXTERNAL) {
        push @commands,
            [ 'SET', "billing:external:$external", $EXTERNAL{$external} ];
    }

    for my $login (sort keys %LOGIN) {
        push @commands, [ 'ZADD', "billing:login:$login",
                          map { ($_, $_) } @{ $LOGIN{$login} } ];
    }

    return @commands;
}

sub string {
    my ($text) = @_;

    return 'null' if !defined $text;

    my %short = ("\b" => 'b', "\f" => 'f', "\n" => 'n', "\r" => 'r',
                 "\t" => 't', '"' => '"', '\\' => '\\');

    $text =~ s/(["\\\x00-\x1f])/
               exists $short{$1} ? "\\$short{$1}" : sprintf '\u%04X', ord $1/gex;

    return "\"$text\"";
}

# One camera as the route answers it, from its id and the hash's fields.

sub camera {
    my ($id, $camera) = @_;

    my @streams;

    for my $stream (split /,/, $camera->{streams} // '') {
        my ($type, $status) = $stream =~ /\A([^=]*)=(.*)\z/s;
        push @streams, '{"type":' . string($type) . ',"status":'
                       . string(length $status ? $status : undef)
                       . ",\"camera_id\":$id}";
    }

    my %member = map { $_ => string($camera->{$_}) } @FIELDS;
    $member{streams} = '[' . join(',', @streams) . ']';

    return "{\"id\":$id," . join(',', map { "\"$_\":$member{$_}" } @FIELDS)
           . '}';
}

# The whole answer for ids in the order given; "null" without ids.

sub answer {
    my @ids = @_;

    return 'null' if !@ids;
    return '[' . join(',', map { camera($_, $CAMERA{$_}) } @ids) . ']';
}

my %WORDS = (
    array   => 'must be an array.',
    integer => 'must be an integer.',
    string  => 'must be a string.',
    many    => 'must not have more than 30 items.',
    long    => 'must not be greater than 255 characters.',
    keys    => 'must not have keys of more than 255 characters.',
);

# The name of a key in a message. Laravel does not recognize a member whose key has a
# dot or an asterisk, and writes the member's name as that of a property.

sub name {
    my ($key) = @_;

    my ($param, $member) = split /\./, $key, 2;

    return $param =~ tr/_/ /r if !defined $member;
    return $key if $member eq '*' || $member !~ /[.*]/;

    utf8::decode($key);
    $key =~ s/(?<=[ \t\r\n\f\x0b])([a-z])/\u$1/g;
    $key =~ s/\s+//g;
    $key =~ s/(.)(?=[A-Z])/$1_/g;
    $key = lc($key) =~ tr/_/ /r;
    utf8::encode($key);

    return $key;
}

# The 422 for a list of [key, word]; "many 2" stands for another limit. Words
# of one key follow each other.

sub errors {
    my (@keys, %messages, $message);

    for my $error (@_) {
        my ($key, $word) = @$error;
        my $text;

        if ($word =~ /\Amany (\d+)\z/) {
            $text = "must not have more than $1 items.";

        } elsif ($word eq 'required') {
            my @others = grep { $_ ne $key } qw(cameras_ids cameras_uuid login);
            tr/_/ / for @others;
            $text = 'is required when none of ' . join(' / ', @others)
                    . ' are present.';

        } else {
            $text = $WORDS{$word} // die "no such error: \"$word\"\n";
        }

        push @keys, $key if !$messages{$key};
        push @{ $messages{$key} }, 'The ' . name($key) . " field $text";
        $message //= $messages{$key}[0];
    }

    my $more = $#_;

    if ($more) {
        $message .= " (and $more more error" . ($more > 1 ? 's' : '') . ')';
    }

    return '{"message":' . string($message) . ',"errors":{'
           . join(',', map {
               string($_) . ':[' . join(',', map { string($_) } @{ $messages{$_} }) . ']'
           } @keys) . '}}';
}

sub required {
    return errors(map { [ $_, 'required' ] } qw(cameras_ids cameras_uuid login));
}

1;
