# An oracle for the answers of the route: the rules a second time, in plain
# Perl. They are from README.md and from PHP and Laravel, not from the module's
# source. The fuzzer t/fuzz/http.pl compares the oracle with the module, and
# t/laravel.pl compares the module with Laravel.
#
#     my $answer = Billing::Oracle::answer(\%world, \%request);
#
# A world is { camera => {}, external => {}, login => {} }, as in
# Billing::Fixtures, with further settings of a location: { max, post, token }.
# A request is { method, query, type, body, token }, all of them bytes, and
# undef what is not sent. An answer is { status, body, like, headers }.

package Billing::Oracle;

use strict;
use warnings;
no warnings 'recursion';

use Math::BigInt ();

use Billing::Fixtures;

my $BLANK = qr/\A[ \t\n\r\x0b\x0c]*\z/;

# Str::trim() of Laravel 13: Perl has the white space, but for U+180E

my $TRIMMED = qr/[\s\0\x{ad}\x{34f}\x{61c}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180e}
                  \x{200b}-\x{200f}\x{2060}-\x{2065}\x{206a}-\x{206f}\x{2800}\x{3164}
                  \x{feff}\x{ffa0}\x{1d159}\x{1d173}-\x{1d17a}\x{e0020}]/xx;

my $CHARS = 255;

my $BODY = qr/\A\{"message":"([^"]+)","errors":\{"body":\["\1"\]\}\}\z/;
my $BODY_AT = qr/\A\{"message":"([^"]+ at byte (\d+)[^"]*)","errors":\{"body":\["\1"\]\}\}\z/;

# RFC 3629

my $UTF8 = qr/(?:[\x00-\x7f] | [\xc2-\xdf] [\x80-\xbf]
               | \xe0 [\xa0-\xbf] [\x80-\xbf]
               | [\xe1-\xec\xee\xef] [\x80-\xbf]{2}
               | \xed [\x80-\x9f] [\x80-\xbf]
               | \xf0 [\x90-\xbf] [\x80-\xbf]{2}
               | [\xf1-\xf3] [\x80-\xbf]{3}
               | \xf4 [\x80-\x8f] [\x80-\xbf]{2})/x;

# the beginning of a character, for which the rest is missing

my $PART = qr/(?:\xe0 [\xa0-\xbf] | [\xe1-\xec\xee\xef] [\x80-\xbf] | \xed [\x80-\x9f]
               | \xf0 [\x90-\xbf] [\x80-\xbf]? | [\xf1-\xf3] [\x80-\xbf]{1,2}
               | \xf4 [\x80-\x8f] [\x80-\xbf]?)/x;

my $NEVER_LOADED = { status => 503, like => qr/\A\{"message":"[^"]+"\}\z/,
                     headers => [ 'Retry-After: ' ] };

my @NAMES = qw(cameras_ids cameras_uuid login);

sub answer {
    my ($world, $request) = @_;

    my $method = $request->{method};

    if ($method !~ /\A(?:GET|HEAD)\z/ && !($method eq 'POST' && $world->{post})) {
        return { status => 405, like => qr/\A\{"message":"[^"]+"\}\z/,
                 headers => [ 'Allow: ' ] };
    }

    # a cache that was never loaded makes no token invalid

    if ($world->{tokens} && !$world->{synced} && length($request->{token} // '')
        && !$world->{tokens}{ $request->{token} })
    {
        return $NEVER_LOADED;
    }

    if ($world->{tokens} && !$world->{tokens}{ $request->{token} // '' }) {
        return {
            status => 401, body => '{"message":"Unauthenticated."}',
            headers => [ 'WWW-Authenticate: Bearer'
                         . (length($request->{token} // '')
                            ? ' error="invalid_token"' : "\r\n") ],
        };
    }

    my ($body, $fault) = body($request);

    return $fault if $fault;

    my $query = query($request->{query} // '');
    my %sent;

    # a parameter that the body does not send is taken from the query string

    for my $name (@NAMES) {
        my ($first, $second) = map { clean($_->{$name}) } $body, $query;
        $sent{$name} = !is_sent($first) && is_sent($second) ? $second : $first;
    }

    if (!grep { is_sent($_) } values %sent) {

        if ($request->{ignored}) {
            return { status => 422, like => $BODY };
        }

        return { status => 422, body => Billing::Fixtures::required() };
    }

    my @errors = (array($world, 'cameras_ids', $sent{cameras_ids}),
                  array($world, 'cameras_uuid', $sent{cameras_uuid}),
                  login($sent{login}),
                  members($world, 'cameras_ids', $sent{cameras_ids}),
                  members($world, 'cameras_uuid', $sent{cameras_uuid}));

    if (@errors) {
        return { status => 422, body => Billing::Fixtures::errors(@errors) };
    }

    return cameras($world, \%sent);
}

# The parameters in the body, or the answer where it cannot be read. A value is
# [ type, value ]; an array's is a list of [ key, value ].

sub body {
    my ($request) = @_;

    my $body = $request->{body} // '';

    return {} if $body =~ $BLANK;

    if (($request->{type} // '') !~ m{[/+]json}i) {
        $request->{ignored} = 1;
        return {};
    }

    my $value = eval { parse($body) };

    if (!$value) {
        die $@ if ref $@ ne 'Billing::Oracle::Fault';

        return undef, { status => 422, at => $@->[0], why => $@->[1],
                        like => $BODY_AT };
    }

    return {} if $value->[0] ne 'object';

    return { map { @$_ } @{ $value->[1] } };
}

# TrimStrings and ConvertEmptyStringsToNull, for a value and its members. From
# here on, an object is an array, and a parameter that was not sent is null.

sub clean {
    my ($value) = @_;

    return [ 'null' ] if !defined $value;

    my ($type, $content) = @$value;

    if ($type eq 'string') {
        my $text = trim($content);
        return length $text ? [ 'string', $text ] : [ 'null' ];
    }

    if ($type eq 'array' || $type eq 'object') {
        return [ 'array', [ map { [ $_->[0], clean($_->[1]) ] } @$content ] ];
    }

    return $value;
}

sub trim {
    my ($text) = @_;

    if (utf8::decode(my $chars = $text)) {
        if ($text =~ /\A$UTF8*+\z/) {
            $chars =~ s/\A$TRIMMED+//;
            $chars =~ s/$TRIMMED+\z//;
            utf8::encode($chars);
            return $chars;
        }
    }

    # trim() of PHP

    $text =~ s/\A[ \n\r\t\x0b\0]+//;
    $text =~ s/[ \n\r\t\x0b\0]+\z//;
    return $text;
}

sub is_sent {
    my ($value) = @_;

    return !($value->[0] eq 'null' || ($value->[0] eq 'array' && !@{ $value->[1] }));
}

# Laravel's size of a value: "max" compares it whatever the type is.

sub size {
    my ($value) = @_;

    my ($type, $content) = @$value;

    return scalar @$content if $type eq 'array';
    return characters($content) if $type eq 'string';
    return 0;
}

# As mb_strlen() counts them.

sub characters {
    my ($text) = @_;

    my $n = 0;
    $n++ while $text =~ /$UTF8|$PART|./gs;
    return $n;
}

sub limit {
    my ($world) = @_;

    return $world->{max} // 30;
}

# The errors of cameras_ids or cameras_uuid itself.

sub array {
    my ($world, $name, $value) = @_;

    my $max = limit($world);
    my @words;

    return () if $value->[0] eq 'null';

    push @words, 'array' if $value->[0] ne 'array';
    push @words, $max == 30 ? 'many' : "many $max" if size($value) > $max;
    push @words, 'keys' if grep { characters($_->[0]) > $CHARS } first($world, $value);

    return map { [ $name, $_ ] } @words;
}

# The members of an array that are looked at.

sub first {
    my ($world, $value) = @_;

    return () if $value->[0] ne 'array';

    my @members = @{ $value->[1] };
    my $max = limit($world);

    return @members > $max ? @members[ 0 .. $max - 1 ] : @members;
}

sub login {
    my ($value) = @_;

    my @words;

    return () if $value->[0] eq 'null';

    push @words, 'string' if $value->[0] ne 'string';
    push @words, 'long' if size($value) > $CHARS;

    return map { [ 'login', $_ ] } @words;
}

sub members {
    my ($world, $name, $value) = @_;

    my (@errors, %named);
    my @members = first($world, $value);

    # Laravel's Arr::dot() lists an array's members in the place of the array

    my $is_nested = sub { $_[0][1][0] eq 'array' && @{ $_[0][1][1] } };

    for my $member ((grep { !$is_nested->($_) } @members), grep { $is_nested->($_) } @members) {
        my ($key, $content) = @$member;

        next if characters($key) > $CHARS;

        # JSON can only have UTF-8

        $key =~ tr/\x80-\xff/?/ if $key !~ /\A$UTF8*+\z/;

        my @words = $name eq 'cameras_ids' ? id($content) : uuid($content);

        # two keys may have the same name after that

        next if !@words || $named{$key}++;

        push @errors, map { [ "$name.$key", $_ ] } @words;
    }

    return @errors;
}

sub id {
    my ($value) = @_;

    return defined integer($value) ? () : 'integer';
}

sub uuid {
    my ($value) = @_;

    my ($type, $content) = @$value;

    return characters($content) > $CHARS ? 'long' : () if $type eq 'integer';
    return (($type ne 'string' ? 'string' : ()), (size($value) > $CHARS ? 'long' : ()));
}

# The integer that a value stands for, in one spelling, or undef.

sub integer {
    my ($value) = @_;

    my ($type, $text) = @$value;

    if ($type eq 'float') {
        my ($sign, $whole, $part, $exponent)
            = $text =~ /\A(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?\z/;

        my $digits = $whole . ($part // '');
        return 0 if $digits =~ /\A0*\z/;

        $exponent = Math::BigInt->new($exponent // 0) - length($part // '');
        $digits =~ s/\A0+//;
        $exponent += length $1 if $digits =~ s/(0+)\z//;

        return undef if $exponent < 0 || $exponent > 20;

        my $n = Math::BigInt->new($digits . '0' x $exponent);
        return $n > Math::BigInt->new(2) ** 53 ? undef : $sign . $n;
    }

    return undef if $type ne 'string' && $type ne 'integer';
    return undef if $text !~ /\A[-+]?(?:0|[1-9][0-9]*)\z/ || length $text > 20;

    my $n = Math::BigInt->new($text);
    my $end = Math::BigInt->new(2) ** 63;

    return $n >= $end || $n < -$end ? undef : "$n";
}

# The cameras that all of the selectors lead to, in the order of their ids.

sub cameras {
    my ($world, $sent) = @_;

    my @sets;

    if (is_sent(my $ids = $sent->{cameras_ids})) {
        push @sets, { map { integer($_->[1]) => 1 } @{ $ids->[1] } };
    }

    if (is_sent(my $uuids = $sent->{cameras_uuid})) {
        push @sets, { map { $_ => 1 } grep { defined }
                      map { $world->{external}{ $_->[1][1] } } @{ $uuids->[1] } };
    }

    if (is_sent(my $login = $sent->{login})) {
        push @sets, { map { $_ => 1 } @{ $world->{login}{ $login->[1] } // [] } };
    }

    my %count;
    $count{$_}++ for map { keys %$_ } @sets;

    my @ids = sort { length $a <=> length $b || $a cmp $b }
              grep { $count{$_} == @sets && $world->{camera}{$_} } keys %count;

    if (!@ids && !$world->{synced}) {
        return $NEVER_LOADED;
    }

    return { status => 200, body => 'null' } if !@ids;

    return { status => 200, body => '[' . join(',', map {
        $world->{json}{$_} //= Billing::Fixtures::camera($_, $world->{camera}{$_})
    } @ids) . ']' };
}

# A query string as PHP reads it, into the values of a body.

sub query {
    my ($query) = @_;

    my %vars;

    for my $pair (split /&/, $query) {
        my ($name, $value) = map { unescape($_) } split /=/, $pair, 2;

        next if !defined $name;

        # in PHP a name ends at a NUL, and a bracket without its pair is a "_"

        $name =~ s/\0.*//s;
        $name =~ s/\A +//;

        my ($var, $rest) = $name =~ /\A([^\[]*)(.*)\z/s;

        $var =~ tr/ ./__/;

        if (length $rest && $rest !~ /\A\[[^\]]*\]/) {
            $rest =~ s/\A\[/_/;
            $var .= $rest;
            $rest = '';
        }

        my ($key, $inner) = $rest =~ /\A\[([^\]]*)\](\[[^\]]*\])?/;

        put(\%vars, $var, $key, $inner, [ 'string', $value // '' ]);
    }

    return \%vars;
}

sub put {
    my ($vars, $name, $key, $inner, $value) = @_;

    if (!defined $key) {
        $vars->{$name} = $value;
        return;
    }

    my $array = $vars->{$name};

    if (!$array || $array->[0] ne 'array') {
        $array = $vars->{$name} = [ 'array', [] ];
    }

    my $list = $array->[1];

    if ($key =~ /\A[ \t\n\r\f\x0b]?\z/) {
        $key = after(map { $_->[0] } @$list);
        return if !defined $key;
    }

    my ($member) = grep { $_->[0] eq $key } @$list;

    push @$list, $member = [ $key ] if !$member;

    if (!$inner) {
        $member->[1] = $value;

    } elsif (($member->[1][0] // '') eq 'array') {
        push @{ $member->[1][1] }, [ scalar @{ $member->[1][1] }, $value ];

    } else {
        $member->[1] = [ 'array', [ [ 0, $value ] ] ];
    }
}

# The key after the greatest integer of some keys.

sub after {
    my @keys = map { Math::BigInt->new($_) }
               grep { /\A(?:0|-?[1-9][0-9]{0,18})\z/ } @_;

    my $end = Math::BigInt->new(2) ** 63;
    @keys = sort { $a <=> $b } grep { $_ < $end && $_ >= -$end } @keys;

    return 0 if !@keys;
    return $keys[-1] + 1 == $end ? undef : ($keys[-1] + 1)->bstr;
}

sub unescape {
    my ($text) = @_;

    $text =~ tr/+/ /;
    $text =~ s/%([0-9a-f]{2})/chr hex $1/gei;

    return $text;
}

# JSON of RFC 8259, in UTF-8, nested 511 levels deep. A fault is thrown with the
# offset of the byte at which it is noticed.

sub fault {
    die bless [ @_ ], 'Billing::Oracle::Fault';
}

sub parse {
    my ($text) = @_;

    for ($text) {
        my $value = value(0);
        /\G[ \t\n\r]*/gc;
        fault(pos, 'end') if pos != length;
        return $value;
    }
}

sub value {
    my ($depth) = @_;

    /\G[ \t\n\r]*/gc;

    return [ 'string', string() ] if /\G"/gc;
    return [ 'null' ] if /\Gnull/gc;
    return [ 'bool' ] if /\G(?:true|false)/gc;

    if (/\G(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/gc) {
        return defined $2 || defined $3 ? [ 'float', $& ] : [ 'integer', $1 ];
    }

    my $array = /\G\[/gc ? 1 : /\G\{/gc ? 0 : fault(pos() // 0, 'value');
    my @members;
    my %at;

    fault(pos, 'depth') if $depth == 511;

    for ( ;; ) {
        /\G[ \t\n\r]*/gc;

        last if !@members && ($array ? /\G\]/gc : /\G\}/gc);

        my $key = @members;

        if (!$array) {
            /\G"/gc or fault(pos, 'key');
            $key = string();
            /\G[ \t\n\r]*:/gc or fault(pos, 'colon');
        }

        my $value = value($depth + 1);

        if (!$array && defined $at{$key}) {
            $members[ $at{$key} ][1] = $value;

        } else {
            $at{$key} = @members;
            push @members, [ $key, $value ];
        }

        next if /\G[ \t\n\r]*,/gc
                && (/\G[ \t\n\r]*(?![\]}])/gc || fault(pos, 'comma'));

        last if $array ? /\G[ \t\n\r]*\]/gc : /\G[ \t\n\r]*\}/gc;
        fault(pos, 'member');
    }

    return [ $array ? 'array' : 'object', \@members ];
}

my %ESCAPE = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t",
              '"' => '"', '\\' => '\\', '/' => '/');

sub string {
    my $out = '';
    my $start = pos;

    for ( ;; ) {
        if (/\G([^"\\\x00-\x1f]+)/gc) {
            $out .= $1;

        } elsif (/\G\\(["\\\/bfnrt])/gc) {
            $out .= $ESCAPE{$1};

        } elsif (/\G\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})/gc) {
            my $char = chr(0x10000 + ((hex($1) - 0xd800) << 10) + hex($2) - 0xdc00);
            utf8::encode($char);
            $out .= $char;

        } elsif (/\G\\u((?![dD][89a-fA-F])[0-9a-fA-F]{4})/gc) {
            my $char = chr hex $1;
            utf8::encode($char);
            $out .= $char;

        } elsif (/\G"/gc) {
            last;

        } else {
            fault(pos, 'string');
        }
    }

    fault($start, 'utf8') if $out !~ /\A$UTF8*+\z/;

    return $out;
}

1;
