# What the route has to answer: its rules a second time, in the plainest Perl,
# from README.md and from how PHP and Laravel work, and not from the module's
# source. The fuzzer t/fuzz/http.pl compares the two.
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

use Billing::Fixtures;

my $BLANK = qr/\A[ \t\n\r\x0b\x0c]*\z/;
my $INTEGER = qr/\A-?(?:0|[1-9][0-9]*)\z/;

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

my @NAMES = qw(cameras_ids cameras_uuid login);

sub answer {
    my ($world, $request) = @_;

    my $method = $request->{method};

    if ($method !~ /\A(?:GET|HEAD)\z/ && !($method eq 'POST' && $world->{post})) {
        return { status => 405, like => qr/\A\{"message":"[^"]+"\}\z/,
                 headers => [ 'Allow: ' ] };
    }

    if ($world->{tokens} && !$world->{tokens}{ $request->{token} // '' }) {
        return {
            status => 401, body => '{"message":"Unauthenticated."}',
            headers => [ 'WWW-Authenticate: Bearer'
                         . (length $request->{token} // ''
                            ? ' error="invalid_token"' : "\r\n") ],
        };
    }

    my ($sent, $fault) = body($request);

    return $fault if $fault;

    my $query = query($request->{query} // '');

    # what the body does not send is taken from the query string

    my %sent = map { $_ => present($sent->{$_}) // present($query->{$_}) } @NAMES;

    if (!grep { defined } values %sent) {

        if ($request->{ignored}) {
            return { status => 422, like => $BODY };
        }

        return { status => 422, body => Billing::Fixtures::required() };
    }

    my @errors = (ids($world, $sent{cameras_ids}), uuids($world, $sent{cameras_uuid}),
                  login($sent{login}));

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

sub present {
    my ($value) = @_;

    return undef if !defined $value || $value->[0] eq 'null';
    return undef if $value->[0] eq 'string' && $value->[1] =~ $BLANK;
    return undef if $value->[0] eq 'array' && !@{ $value->[1] };

    return $value;
}

sub members {
    my ($world, $name, $value, $check) = @_;

    return () if !$value;
    return [ $name, 'array' ] if $value->[0] ne 'array';

    my @members = @{ $value->[1] };
    my $max = $world->{max} // 30;
    my @errors;

    if (@members > $max) {
        push @errors, [ $name, $max == 30 ? 'many' : "many $max" ];
        splice @members, $max;
    }

    for my $member (@members) {
        my $word = $check->($member->[1]);
        push @errors, [ "$name.$member->[0]", $word ] if $word;
    }

    return @errors;
}

sub ids {
    my ($world, $value) = @_;

    return members($world, 'cameras_ids', $value, sub {
        my ($type, $text) = @{ $_[0] };

        return $type =~ /\A(?:string|integer)\z/ && int64($text) ? '' : 'integer';
    });
}

sub uuids {
    my ($world, $value) = @_;

    return members($world, 'cameras_uuid', $value, sub {
        my ($type, $text) = @{ $_[0] };

        return '' if $type eq 'integer';
        return $type eq 'string' ? text($text) : 'string';
    });
}

sub login {
    my ($value) = @_;

    return () if !$value;

    my $word = $value->[0] eq 'string' ? text($value->[1]) : 'string';

    return $word ? [ 'login', $word ] : ();
}

# What is wrong with a text, if anything is.

sub text {
    my ($text) = @_;

    my $length = characters($text);

    return !defined $length ? 'string' : $length > 255 ? 'long' : '';
}

sub characters {
    my ($text) = @_;

    return $text =~ /\A$UTF8*+\z/ ? ($text =~ tr/\x80-\xbf//c) : undef;
}

sub int64 {
    my ($text) = @_;

    return 0 if $text !~ $INTEGER;

    my $max = $text =~ s/\A-// ? '9223372036854775808' : '9223372036854775807';

    return length $text < length $max
           || (length $text == length $max && $text le $max);
}

# The cameras that all of the selectors lead to, in the order of their ids.

sub cameras {
    my ($world, $sent) = @_;

    my @sets;

    if (my $ids = $sent->{cameras_ids}) {
        push @sets, { map { $_->[1][1] => 1 } @{ $ids->[1] } };
    }

    if (my $uuids = $sent->{cameras_uuid}) {
        push @sets, { map { $_ => 1 } grep { defined }
                      map { $world->{external}{ $_->[1][1] } } @{ $uuids->[1] } };
    }

    if (my $login = $sent->{login}) {
        push @sets, { map { $_ => 1 } @{ $world->{login}{ $login->[1] } // [] } };
    }

    my %count;
    $count{$_}++ for map { keys %$_ } @sets;

    my @ids = sort { length $a <=> length $b || $a cmp $b }
              grep { $count{$_} == @sets && $world->{camera}{$_} } keys %count;

    if (!@ids && !$world->{synced}) {
        return { status => 503, like => qr/\A\{"message":"[^"]+"\}\z/,
                 headers => [ 'Retry-After: ' ] };
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

        my ($var, $rest) = $name =~ /\A([^\[]*)(.*)\z/s;

        # a bracket that is not closed is part of another name

        next if $rest =~ /\A\[[^\]]*\z/;

        my ($key, $inner) = $rest =~ /\A\[([^\]]*)\](\[?)/;

        next if defined $key && !defined characters($key);

        put(\%vars, $var, $key, [ $inner ? 'array' : 'string', $value // '' ]);
    }

    return \%vars;
}

# PHP renames what no client sends ("cameras.ids"), and takes numbers of more
# than nine digits for numbers in a key, too: these are left out.

sub put {
    my ($vars, $name, $key, $value) = @_;

    if (!defined $key) {
        $vars->{$name} = $value;
        return;
    }

    my $array = $vars->{$name};

    if (!$array || $array->[0] ne 'array') {
        $array = $vars->{$name} = [ 'array', [] ];
    }

    my $list = $array->[1];

    if (!length $key) {
        $key = 0;

        for (map { $_->[0] } @$list) {
            $key = $_ + 1 if /\A(?:0|[1-9][0-9]{0,8})\z/ && $_ >= $key;
        }
    }

    for my $member (@$list) {
        if ($member->[0] eq $key) {
            $member->[1] = $value;
            return;
        }
    }

    push @$list, [ $key, $value ];
}

sub unescape {
    my ($text) = @_;

    $text =~ tr/+/ /;
    $text =~ s/%([0-9a-f]{2})/chr hex $1/gei;

    return $text;
}

# JSON of RFC 8259, in UTF-8, nested 512 levels deep. What is wrong is thrown
# with the offset of the byte that it is seen at.

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
        return [ defined $2 || defined $3 ? 'float' : 'integer', $1 ];
    }

    my $array = /\G\[/gc ? 1 : /\G\{/gc ? 0 : fault(pos() // 0, 'value');
    my @members;
    my %at;

    fault(pos, 'depth') if $depth == 512;

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

    fault($start, 'utf8') if !defined characters($out);

    return $out;
}

1;
