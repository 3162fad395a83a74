# Random requests for the fuzzer and for laravel.pl. Most are valid, or wrong in
# one or two places: such requests get further into the module than noise does.

package Grammar;

use strict;
use warnings;

use List::Util qw(shuffle);

use Billing::Fixtures;

my @LOGINS = (sort(keys %Billing::Fixtures::LOGIN), 'city', 'nobody');
my @UUIDS = sort keys %Billing::Fixtures::EXTERNAL;
my @IDS = (sort(keys %Billing::Fixtures::CAMERA), 1 .. 12, 1001 .. 1005, 1300);

my @NUMBERS = qw(0 -0 -1 -3 00 03 -03 +3 3.0 3.5 3e0 1e1 1E+2 1e-1 1e999 0x3 3. .3 -
                 9007199254740992 9007199254740993
                 9223372036854775806 9223372036854775807 9223372036854775808
                 -9223372036854775807 -9223372036854775808 -9223372036854775809
                 18446744073709551615 18446744073709551616
                 10000000000000000000 99999999999999999999999999 3_0 3a);

my @NAMES = qw(cameras_ids cameras_uuid login);

# characters that Laravel trims, and neighbours of theirs that it does not

my @BLANKS = map { encode(chr) }
    0, 0x9 .. 0xd, 0x20, 0x85, 0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x1680, 0x17b4,
    0x17b5, 0x180e, 0x2000 .. 0x200f, 0x2028, 0x2029, 0x202f, 0x205f .. 0x2065,
    0x206a .. 0x206f, 0x2800, 0x3000, 0x3164, 0xfeff, 0xffa0, 0x1d159, 0x1d173 .. 0x1d17a,
    0xe0020;

my @NO_BLANKS = map { encode(chr) }
    1, 8, 0xe, 0x1f, 0x7f, 0x84, 0x86, 0xae, 0x115e, 0x180f, 0x2010, 0x202a, 0x2066,
    0x2069, 0x2801, 0x3001, 0xfffd, 0x1d172, 0xe0021;

sub one { return $_[ rand @_ ] }

sub chance { return rand() < $_[0] }

sub encode {
    my ($text) = @_;

    utf8::encode($text);
    return $text;
}

# How many members a list has: sometimes close to a limit.

sub count {
    return chance(0.9) ? int rand 5 : one(29, 30, 31, 32, 2, 3, 4, 62);
}

sub broken {
    my ($text) = @_;

    my $bytes = one("\xff", "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
                    "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80",
                    "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                    "\xd0", "\xe2\x82", "\xf0\x9f\x8e", "\xf8\x88\x80\x80\x80",
                    "\xc3\x28", "\xe2\x28\xa1");

    substr($text, rand 1 + length $text, 0) = $bytes;
    return $text;
}

# A string of n characters of one to four bytes each.

sub characters {
    my ($n) = @_;

    my $kind = one('a', "\x{439}", "\x{20ac}", "\x{1f3a5}", "\x{ffff}",
                   "\x{10ffff}", "\x{d7ff}", "\x{e000}", '');

    return encode(join '', map {
        length $kind ? $kind : one('a', "\0", '"', '\\', "\x{7ff}", "\x{800}", "\x{ffff}",
                           "\x{10000}", ' ', "\x7f")
    } 1 .. $n);
}

# A text with characters before and behind it that Laravel trims, or does not.

sub blanks { return join '', map { one(@BLANKS) } 1 .. one(1, 1, 2, 5) }

sub padded {
    my ($text) = @_;

    $text = blanks() . $text if chance(0.5);
    $text .= blanks() if chance(0.6);
    $text = one(one(@NO_BLANKS) . $text, $text . one(@NO_BLANKS), $text . blanks() . $text)
        if chance(0.15);

    return $text;
}

sub text {
    my $kind = rand;

    return padded(chance(0.2) ? '' : text()) if chance(0.12);

    return one(@LOGINS) if $kind < 0.4;
    return one(@UUIDS) if $kind < 0.7;
    return one('', ' ', "\t\r\n", "  \x0b\x0c", "\xc2\xa0", "\0", " \0", 'null', 'admin ',
               'Admin', '3', '-1', '0', '[]', '"', '\\', '/', '%', '%4', '%41', '+', '&',
               '=', '[', ']', '#', ';', "\x1f", "\x7f", 'a=b&c=d', "\xef\xbb\xbf",
               '$9', "\r\n*1\r\n") if $kind < 0.8;
    return characters(one(254, 255, 256, 257, 510)) if $kind < 0.87;
    return characters(int rand 12) if $kind < 0.95;
    return broken(text());
}

sub number {
    return spelled(one(@IDS)) if chance(0.2);
    return chance(0.75) ? one(@IDS) : chance(0.8) ? one(@NUMBERS)
           : join '', map { int rand 10 } 0 .. rand 24;
}

# A number in another spelling, which may be another number.

sub spelled {
    my ($number) = @_;

    my $kind = rand;

    return one('+', '-', '--', '+-', '0', '- ', '+0') . $number if $kind < 0.3;
    return padded($number) if $kind < 0.5;

    # not so long that a double rounds it

    $number = one(3, 4, 10, 120, 1001) if length $number > 10;

    return $number . one('.0', '.00', '.5', '.', '.0e0', '.50e1', '.e1', '.05e+2') if $kind < 0.75;
    return $number . one('e0', 'E0', 'e1', 'e+2', 'e-1', 'e3', 'E', 'e', 'e11', 'e99', 'e-0',
                         '000e-3', '0e-2');
}

# A key of an object's or array's member.

sub member_key {
    my $kind = rand;

    return int rand 5 if $kind < 0.5;
    return one(qw(k1 a b -1 -0 01 1.5 9223372036854775807 9223372036854775808 29 100), '', ' ',
               'cameras_ids', 'login', 'a.b', '.', '*', 'a*b', 'a.b c', 'Foo.Bar', 'A', 'a_b.c',
               "\xd0\xb8", "\0", '"', '\\', 'x y', "a.\xd0\xb8") if $kind < 0.95;
    return characters(one(254, 255, 256, 3)) if $kind < 0.98;
    return text();
}

# JSON ----------------------------------------------------------------------

sub space { return chance(0.93) ? '' : one(' ', "\n", "\t", "\r", "  \r\n ") }

sub json_string {
    my ($text) = @_;

    my $style = rand;
    my $out = '';

    # text that is not UTF-8 is written byte by byte

    my $decoded = utf8::decode($text);

    for my $char (split //, $text) {
        my $code = ord $char;
        my $raw = $decoded ? encode($char) : $char;

        if ($style > 0.8 && chance($style) && ($decoded || $code < 0x80)
            && $code < 0x110000)
        {
            my $x = chance(0.5) ? 'x' : 'X';
            $out .= $code < 0x10000 ? sprintf "\\u%04$x", $code
                    : sprintf "\\u%04$x\\u%04$x", 0xd800 + (($code - 0x10000) >> 10),
                                                  0xdc00 + (($code - 0x10000) & 0x3ff);

        } elsif ($char =~ /["\\]/ || ($char eq '/' && chance(0.5))) {
            $out .= "\\$char";

        } elsif ($code < 0x20) {
            my %short = (8 => 'b', 9 => 't', 10 => 'n', 12 => 'f', 13 => 'r');
            $out .= $short{$code} ? "\\$short{$code}" : sprintf '\u%04x', $code;

        } else {
            $out .= $raw;
        }
    }

    if (chance(0.01)) {
        substr($out, rand 1 + length $out, 0)
            = one('\ud800', '\udc00', '\ud83d\ud83d', '\udfff\ud800', '\ud83dx', '\ud83d\u0041',
                  '\uD83C\uDFA5', '\ud83d\n', '\u12', '\u12g4', '\x', '\'', '\0', "\n",
                  "\0", "\x1f", '\u0000', '"', '\\', '\ud83d\u', '\ud83d\udc', '\uDBFF\uDFFF');
    }

    return "\"$out\"";
}

sub nested {
    my ($depth) = @_;

    my $out = one('1', '[]', '{}', '"x"');

    for (1 .. $depth) {
        $out = chance(0.5) ? "[$out]" : "{\"a\":$out}";
    }

    return $out;
}

sub json_other {
    my $kind = rand;

    return one('null', 'true', 'false', '{}', '[]', '0', '""') if $kind < 0.7;
    return nested(int rand 6) if $kind < 0.93;
    return nested(one(509, 510, 511, 512, 513)) if $kind < 0.96;
    return number() if $kind < 0.98;
    return one('NaN', 'Infinity', 'nul', 'TRUE', "'x'", '', '/**/1', '# x', "\xef\xbb\xbf1");
}

sub json_member {
    my ($name) = @_;

    return json_other() if chance(0.06);

    if ($name eq 'cameras_ids') {
        return chance(0.7) ? number() : json_string(chance(0.9) ? number() : text());
    }

    return chance(0.2) ? number() : json_string(text());
}

sub json_list {
    my ($name) = @_;

    my @members = map { space() . json_member($name) . space() } 1 .. count();

    return json_object(@members) if chance(0.25);

    return '[' . (@members ? join(',', @members) : space()) . ']';
}

# An array with a gap, as PHP's json_encode() writes it, or any other object.

sub json_object {
    my @members = @_;

    my $place = chance(0.3) ? 1 : 0;
    my $random = chance(0.4);

    for (@members) {
        my $key = $random ? json_string(member_key()) : "\"$place\"";
        $place += one(1, 1, 1, 2, 5);
        $_ = space() . $key . space() . ":$_";
    }

    return '{' . (@members ? join(',', @members) : space()) . '}';
}

sub json_key {
    my ($name) = @_;

    return chance(0.95) ? "\"$name\"" : json_string($name);
}

sub json {
    my @members;

    return one('[]', '[1]', '5', '"x"', 'null', 'true', '{}', '[{"login":"admin"}]',
               '[[]]', ' [ ] ', '-', "\xef\xbb\xbf{}") if chance(0.03);

    for (1 .. (chance(0.6) ? 1 : rand 5)) {
        my $name = one(@NAMES);
        my $value;

        if (chance(0.06)) {
            $value = json_other();

        } elsif (chance(0.03)) {
            $value = json_member($name);

        } elsif (chance(0.02)) {
            $value = $name eq 'login' ? json_list($name) : json_string(text());

        } else {
            $value = $name eq 'login' ? json_string(text()) : json_list($name);
        }

        $name = one('x', 'Login', 'login ', 'cameras_id', 'cameras_ids[]', '', text())
            if chance(0.05);

        push @members, space() . json_key($name) . space() . ':' . space() . $value
                       . space();
    }

    my $json = space() . '{' . (@members ? join(',', @members) : space()) . '}' . space();

    return chance(0.08) ? mutate($json) : $json;
}

sub mutate {
    my ($text) = @_;

    for (0 .. rand 2) {
        my $at = int rand 1 + length $text;
        my $kind = rand;

        if ($kind < 0.3) {
            substr($text, $at, 1) = '' if $at < length $text;

        } elsif ($kind < 0.5) {
            substr($text, $at) = '';

        } elsif ($kind < 0.8) {
            substr($text, $at, 0) = one(',', ':', '[', ']', '{', '}', '"', '\\', ' ', "\0",
                                        "\n", '-', '0', 'e', '.', "\xff", chr rand 256);
        } else {
            substr($text, $at, 1) = chr rand 256;
        }
    }

    return $text;
}

# Query strings --------------------------------------------------------------

sub escape {
    my ($text) = @_;

    my $style = one(0, 0, 0.1, 1);

    $text =~ s{(.)}{
        my $char = $1;
        $char eq ' ' ? one('+', '%20')
        : $char =~ /[&=+#%\x00-\x20\x7f]/ || chance($style)
        ? sprintf(one('%%%02x', '%%%02X'), ord $char) : $char
    }gesx;

    $text =~ s/%/%25/ if chance(0.005);
    $text .= one('%', '%z', '%4', '%zz', '=', '==') if chance(0.01);

    return $text;
}

sub key {
    my $kind = rand;

    return '[]' if $kind < 0.6;
    return '[' . int(rand 4) . ']' if $kind < 0.8;
    return '[' . member_key() . ']' if $kind < 0.84;
    return '[' . one('a', '01', '-1', '-0', '0', '1', '29', '30', '1000', '', ' ', ' 0', '0 ',
                     'a b', 'a.b', '[', 'a[', '"', '\\', "\0", "\xff", '*', '.', "\x{e4}",
                     '9223372036854775806', '9223372036854775807', '9223372036854775808')
           . ']' if $kind < 0.93;
    return '' if $kind < 0.95;
    return one('[][]', '[0][a]', '[', ']', '[0', '[]x', '[0]x[1]', 'x[]', '[][', '[0]]');
}

sub query {
    my @pairs;

    for my $name (map { one(@NAMES) } 1 .. (chance(0.6) ? 1 : rand 4)) {

        if ($name eq 'login') {
            push @pairs, [ $name . (chance(0.03) ? key() : ''), text() ];
            next;
        }

        my $style = rand;

        for (my $i = 0, my $n = count(); $i < $n; $i++) {
            my $key = $style < 0.4 ? '[]' : $style < 0.6 ? "[$i]" : key();
            push @pairs, [ $name . $key, $name eq 'cameras_ids' && chance(0.97)
                                         ? number() : chance(0.1) ? number() : text() ];
        }
    }

    if (chance(0.05)) {
        push @pairs, [ one('x', '', ' ', '[]', '[', '.', "login\0", 'a[b]', 'cameras_ids.0'),
                       text() ];
    }

    if (chance(0.03) && @pairs) {
        my $pair = one(@pairs);
        $pair->[0] = one(" $pair->[0]", "$pair->[0]\0x", "\0$pair->[0]",
                         $pair->[0] =~ s/_/one(' ', '.', '[')/er, uc $pair->[0],
                         $pair->[0] =~ s/_/one(' ', '.', '[')/er,
                         "$pair->[0] ", "  $pair->[0]");
    }

    @pairs = shuffle(@pairs) if chance(0.02);

    my @texts = map {
        escape($_->[0]) . (length $_->[1] || chance(0.7) ? '=' . escape($_->[1]) : '')
    } @pairs;

    splice @texts, rand @texts, 0, one('', '=', '=x', '&', ';') if chance(0.03);

    return join '&', @texts;
}

# A whole request -------------------------------------------------------------

my @TYPES = ('application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON',
             'text/json', 'application/vnd.api+json', 'application/problem+JSON; x=y',
             'text/plain; a=/json', 'x/jsonp');
my @OTHER_TYPES = ('text/plain', 'application/x-www-form-urlencoded', 'json', '',
                   'application json', 'application/jso', 'multipart/form-data; boundary=x');

sub request {
    my %opt = @_;

    my %request = (method => 'GET', token => $opt{token});

    $request{method} = one('HEAD', 'HEAD', 'POST', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS')
        if chance(0.08);

    $request{token} = one(undef, '', 'bad', 'x' x 2000, "$opt{token}x", lc $opt{token},
                          substr($opt{token}, 1), "caf\xc3\xa9", '"', 'billing:')
        if chance(0.04);

    my $where = rand;

    $request{query} = query() if $where < 0.45 || chance(0.1);

    if ($where > 0.4) {
        $request{body} = json();
        $request{type} = chance(0.97) ? one(@TYPES) : one(@OTHER_TYPES, undef);

        $request{body} = one('', ' ', "\n\t\r\x0b\x0c ", text()) if chance(0.02);

        # some exceed nginx's buffer, and are read from a file

        if (chance(0.03)) {
            $request{body} .= ' ' x one(10, 1000, 8000, 16384, 20000);
        }
    }

    return \%request;
}

1;
