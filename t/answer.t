# The answer: its bytes, its headers, and the fields of cameras.

use FindBin;
use lib "$FindBin::Bin/lib";

use Billing 'answer';
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: the documentation's example is answered byte by byte
--- request eval
"GET $Billing::URI\n" . '{"cameras_ids":[3,4],"cameras_uuid":[],"login":""}'
--- more_headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/json"
--- response_body eval
'[{"id":3,"external_id":"3","start_at":null,"status":"active","name":"Camera 1","group_type":"public",'
. '"streams":[{"type":"high","status":"active","camera_id":3},{"type":"low","status":"active","camera_id":3}],'
. '"preview":"https://server1.domain.video:8443/live/a2aefb0f-d3f7-4fb7-9828-218badead1f4/preview.mp4?token=xUXC_FOaJBQkSaxyZMBG77zC9pgULKSjA-EShnSzQbM-h7ePl8h76Dd20CYwTVihT2QzHZSX9d1DCPs8ttooqfzdgJb1RltcR1l3DgCmfFz68UUX_xEkGKNWbt5UPakGQXr5h1yMP7WE-CZ8CGqU6g~~"},'
. '{"id":4,"external_id":"4","start_at":null,"status":"active","name":"Camera 2","group_type":"private",'
. '"streams":[{"type":"high","status":"active","camera_id":4},{"type":"low","status":"active","camera_id":4}],'
. '"preview":"https://domain.com:8443/live/67aa0ee2-1f32-4e8e-b383-ca02c87e8390/preview.mp4?token=sometoken"}]'
--- response_headers
Content-Type: application/json
Cache-Control: no-store
Content-Length: 783
!Transfer-Encoding
!ETag
!Last-Modified
!Accept-Ranges



=== TEST 2: no camera found is null
--- request eval
"GET $Billing::URI?login=nobody"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body chop
null
--- response_headers
Content-Type: application/json
Cache-Control: no-store
Content-Length: 4



=== TEST 3: a camera of which only the hash exists is answered
--- redis
HSET billing:camera:20 unknown x
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body chop
[{"id":20,"external_id":null,"start_at":null,"status":null,"name":null,"group_type":null,"streams":[],"preview":null}]



=== TEST 4: values of fields are passed on, even empty and odd ones
--- redis
HSET billing:camera:20 external_id "" start_at "" status "on fire" name "" group_type "" streams "" preview ""
HSET billing:camera:21 external_id 021 start_at 2023-01-24T10:36:08.000000Z status initial name null group_type true streams "" preview 5
HSET billing:camera:22 id 99 camera_id 98 name Id streams x=y extra {"a":1}
--- request eval
"GET $Billing::URI?cameras_ids[]=20&cameras_ids[]=21&cameras_ids[]=22"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[{"id":20,"external_id":"","start_at":"","status":"on fire","name":"","group_type":"","streams":[],"preview":""},'
. '{"id":21,"external_id":"021","start_at":"2023-01-24T10:36:08.000000Z","status":"initial","name":"null","group_type":"true","streams":[],"preview":"5"},'
. '{"id":22,"external_id":null,"start_at":null,"status":null,"name":"Id","group_type":null,"streams":[{"type":"x","status":"y","camera_id":22}],"preview":null}]'



=== TEST 5: a camera may have each status that exists
--- redis
HSET billing:camera:20 status active
HSET billing:camera:21 status partial
HSET billing:camera:22 status inactive
HSET billing:camera:23 status empty
HSET billing:camera:24 status initial
HSET billing:camera:25 status blocked
--- request eval
"GET $Billing::URI?" . join '&', map { "cameras_ids[]=$_" } 20 .. 25
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
my @status = qw(active partial inactive empty initial blocked);
'[' . join(',', map { Billing::Fixtures::camera(20 + $_, { status => $status[$_] }) } 0 .. 5) . ']'



=== TEST 6: streams keep their order, with and without a status
--- redis
HSET billing:camera:20 streams high=active,low=inactive
HSET billing:camera:21 streams low=inactive,high=active
HSET billing:camera:22 streams high=
HSET billing:camera:23 streams high=,low=active,mid=
HSET billing:camera:24 streams high=active,high=inactive
--- request eval
"GET $Billing::URI?" . join '&', map { "cameras_ids[]=$_" } 20 .. 24
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body_filters eval
sub { join "\n", $_[0] =~ /"streams":(\[.*?\])/g }
--- response_body chop
[{"type":"high","status":"active","camera_id":20},{"type":"low","status":"inactive","camera_id":20}]
[{"type":"low","status":"inactive","camera_id":21},{"type":"high","status":"active","camera_id":21}]
[{"type":"high","status":null,"camera_id":22}]
[{"type":"high","status":null,"camera_id":23},{"type":"low","status":"active","camera_id":23},{"type":"mid","status":null,"camera_id":23}]
[{"type":"high","status":"active","camera_id":24},{"type":"high","status":"inactive","camera_id":24}]



=== TEST 7: a camera may have a hundred streams
--- redis eval
'HSET billing:camera:20 streams ' . join ',', map { "s$_=active" } 1 .. 100
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[' . Billing::Fixtures::camera(20, { streams => join ',', map { "s$_=active" } 1 .. 100 }) . ']'



=== TEST 8: characters that JSON requires to be escaped are escaped, and no others
--- redis
HSET billing:camera:20 name "\"\\/\x08\x0c\x0a\x0d\x09" preview "\x00\x01\x1f\x7f" group_type "</script>&'"
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[{"id":20,"external_id":null,"start_at":null,"status":null,"name":"\"\\\\/\b\f\n\r\t","group_type":"</script>&'
. "'" . '","streams":[],"preview":"\u0000\u0001\u001F' . "\x7f" . '"}]'



=== TEST 9: text beyond ASCII is sent as it is
--- redis
HSET billing:camera:20 name "\xd0\x9a\xd0\xb0\xd0\xbc\xd0\xb5\xd1\x80\xd0\xb0" preview "\xf0\x9f\x8e\xa5\xf4\x8f\xbf\xbf" group_type "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"
--- request eval
"GET $Billing::URI?cameras_ids[]=20"
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[{"id":20,"external_id":null,"start_at":null,"status":null,"name":"' . "\xd0\x9a\xd0\xb0\xd0\xbc\xd0\xb5\xd1\x80\xd0\xb0"
. '","group_type":"' . "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf" . '","streams":[],"preview":"'
. "\xf0\x9f\x8e\xa5\xf4\x8f\xbf\xbf" . '"}]'



=== TEST 10: a value larger than any buffer is answered, with small ones behind it
--- redis eval
'HSET billing:camera:20 name ' . 'n' x 300_000 . "\n"
. 'HSET billing:camera:21 name ' . '\x01' x 20_000 . "\n"
. join "\n", map { "HSET billing:camera:$_ name small" } 22 .. 24
--- request eval
"GET $Billing::URI?" . join '&', map { "cameras_ids[]=$_" } 20 .. 24
--- more_headers eval
"Authorization: Bearer $Billing::Token"
--- response_body eval
'[' . Billing::Fixtures::camera(20, { name => 'n' x 300_000 }) . ','
. join(',', Billing::Fixtures::camera(21, { name => "\x01" x 20_000 }),
       map { Billing::Fixtures::camera($_, { name => 'small' }) } 22 .. 24) . ']'
--- response_headers
Content-Type: application/json
!Transfer-Encoding



=== TEST 11: an answer may have thirty large cameras
--- redis eval
join "\n", map { "HSET billing:camera:$_ name " . chr(64 + $_ % 26 + 1) x 20_000 } 101 .. 130
--- request eval
"GET $Billing::URI\n" . '{"cameras_ids":[' . join(',', reverse 101 .. 130) . ']}'
--- more_headers eval
"Authorization: Bearer $Billing::Token\nContent-Type: application/json"
--- response_body eval
'[' . join(',', map { Billing::Fixtures::camera($_, { name => chr(64 + $_ % 26 + 1) x 20_000 }) } 101 .. 130) . ']'
--- response_headers
!Transfer-Encoding



=== TEST 12: conditional and range requests get the whole answer
--- config eval
<<"END"
location = $Billing::URI { billing_cameras_list; }
location = /streamed { billing_cameras_list; billing_batch 1; }
location = /status { billing_status; }
END
--- run
my %uris = ("$URI?cameras_ids[]=3" => Billing::Fixtures::answer(3),
            '/streamed?login=mixed' => Billing::Fixtures::answer(4, 5, 7, 10, 12, 9007199254740991),
            "$URI?login=nobody" => 'null', '/status' => undef);

for my $header ('If-None-Match: *', 'If-None-Match: "x"', 'If-Match: "x"', 'If-Match: *',
                'If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT',
                'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT',
                'If-Range: "x"', 'Range: bytes=0-3', 'Range: bytes=99999999-',
                "Range: bytes=0-3\r\nIf-Range: Thu, 01 Jan 1970 00:00:00 GMT")
{
    for my $uri (sort keys %uris) {
        my $res = ask(undef, uri => $uri, headers => [ $header, 'Accept: text/html' ]);

        is($res->{status}, 200, "$header: $uri: status");
        unlike($res->{headers}, qr/^(?:Content-Range|Accept-Ranges|ETag|Last-Modified)/mi,
               "$header: $uri: headers");
        is($res->{body}, $uris{$uri}, "$header: $uri: body") if defined $uris{$uri};
    }
}



=== TEST 18: an answer has one Cache-Control, whatever "expires" says
--- http_config
expires 1h;
--- config eval
my @values = (a => '1h', b => 'max', c => 'epoch', d => '@3h', e => '$arg_x', f => 'off');
my $config = <<"END";
location = $Billing::URI { billing_cameras_list; }
location = /status { billing_status; }
location = /streamed { billing_cameras_list; billing_batch 1; }
END

while (my ($name, $value) = splice @values, 0, 2) {
    $config .= "location = /$name { billing_cameras_list; expires $value; }\n"
               . "location = /status/$name { billing_status; expires $value; }\n";
}

$config;
--- run
for (map({ [ "/$_?login=admin&x=1h" ], [ "/status/$_?x=1h" ] } 'a' .. 'f'),
     [ "$URI?login=admin" ], [ '/status' ], [ '/status?format=json' ], [ '/streamed?login=mixed' ],
     [ "$URI?login[]=x" ], [ "$URI?login=admin", token => 'nobody' ],
     [ "$URI?login=admin", method => 'PUT' ])
{
    my ($uri, @more) = @$_;
    my $res = ask(undef, uri => $uri, @more);

    is(join(' | ', $res->{headers} =~ /^Cache-Control: (.*)\r$/mig), 'no-store',
       "@$_: Cache-Control");
    unlike($res->{headers}, qr/^Expires:/mi, "@$_: no Expires");
}



=== TEST 19: the debug log shows the way of a request
--- run
answers(ask('{"cameras_uuid":["3"],"login":"admin"}'), '3', 'uuids of a login');
answers(ask('{"login":"nobody"}'), 'null', 'nobody');
--- logged
\[debug\] .*billing phase: method
\[debug\] .*billing phase: token
\[debug\] .*billing ask: 1 lookups, \d+ ms left
\[debug\] .*billing answered: result 0, connection \d+
\[debug\] .*billing client: "client answer"
\[debug\] .*billing params: 0 ids, 1 uuids, login "admin"
\[debug\] .*billing phase: resolve
\[debug\] .*billing resolved: 1 of 1 uuids
\[debug\] .*billing batch: 1 cameras from 0 of 1
\[debug\] .*billing phase: batch answered
\[debug\] .*billing send: 200, \d+ bytes
\[debug\] .*billing done: 0, 1 cameras
\[debug\] .*billing phase: nothing answered



=== TEST 13: a character is escaped at any place of a long text
--- run
my $redis = redis();
my $id = 1000;

for my $char ('\\', '"', "\x01", "\x1f", "\n") {
    for my $at (0 .. 17) {
        my $name = 'x' x $at . $char . 'x' x (17 - $at);
        $id++;
        $redis->command('HSET', "${Billing::Prefix}camera:$id", 'name', $name);
        is(ask("{\"cameras_ids\":[$id]}")->{body},
           '[' . Billing::Fixtures::camera($id, { name => $name }) . ']',
           sprintf '\x%02x at %d', ord $char, $at);
    }
}



=== TEST 14: characters of one field are escaped, and other fields are unchanged
--- run
my $redis = redis();
my @fields = qw(external_id start_at status name group_type streams preview);

for my $i (0 .. $#fields) {
    for my $char ('\\', '"', "\xd0\x9a") {
        my %camera = map { $_ => $_ eq 'streams' ? 'high=active' : 'x' } @fields;
        $camera{$fields[$i]} .= $char;
        $redis->command('HSET', "${Billing::Prefix}camera:30", %camera);
        is(ask('{"cameras_ids":[30]}')->{body},
           '[' . Billing::Fixtures::camera(30, \%camera) . ']',
           "$fields[$i]: $char");
    }
}



=== TEST 15: cameras whose JSON just fits into a buffer, or just does not, are answered
--- run
my $redis = redis();
my $id = 10000;

for my $field (qw(name streams preview)) {
    my @wrong;

    for my $length (3300 .. 3400, 3920 .. 4020) {
        my %camera = ($field => $field eq 'streams' ? 'high=' . 'x' x $length : 'x' x $length);

        $id++;
        $redis->command('HSET', "${Billing::Prefix}camera:$id", %camera);

        my $camera = Billing::Fixtures::camera($id, \%camera);
        my $first = Billing::Fixtures::camera(3, $Billing::Fixtures::CAMERA{3});

        push @wrong, $length
            if ask("{\"cameras_ids\":[$id]}")->{body} ne "[$camera]"
               || ask("{\"cameras_ids\":[3,$id]}")->{body} ne "[$first,$camera]";
    }

    is("@wrong", '', "$field: right at all lengths");
}



=== TEST 16: a value that ends at the end of the received data is answered
--- run
my $redis = redis();
my @wrong;

for my $length (65440 .. 65520, 130990 .. 131050) {
    my %camera = (preview => 'x' x $length);

    $redis->command('HSET', "${Billing::Prefix}camera:$length", %camera);

    push @wrong, $length
        if ask("{\"cameras_ids\":[$length]}")->{body}
           ne '[' . Billing::Fixtures::camera($length, \%camera) . ']';
}

is("@wrong", '', 'right at all lengths');



=== TEST 20: short values that many cameras have, and others like them, are not mixed up
--- run
my $redis = redis();
my @values = ('active', 'evitca', 'acti"e', '\\', "\n" x 5, "\n" x 6, "\x01" x 5, '',
              map { ('x' x $_, 'x' x ($_ - 2) . 'yx', "\xd0\x96" x ($_ / 2)) } 28 .. 34);
my @expected;

for my $id (5001 .. 5300) {
    my %camera = map { $_ => $values[$id * 7 % ($_ eq 'status' ? 5 : @values)] }
                 qw(start_at status group_type);
    my ($type, $status) = @values[$id * 5 % 3, $id * 11 % @values];

    $camera{streams} = "$type=$status,$status" . 'x=';
    $redis->command('HSET', "${Billing::Prefix}camera:$id", %camera);
    push @expected, [ $id, Billing::Fixtures::camera($id, \%camera) ];
}

my @wrong;

while (my @batch = splice @expected, 0, 30) {
    my $ids = join ',', map { $_->[0] } @batch;

    push @wrong, $ids
        if ask("{\"cameras_ids\":[$ids]}")->{body}
           ne '[' . join(',', map { $_->[1] } @batch) . ']';
}

is("@wrong", '', 'right in all answers');
