# TLS for the suites that need it. Which of their blocks run depends on the hiredis
# that the module was built with: those that have a section "without" are for one
# without TLS, all others for one with it.
#
#     use Billing::TLS;
#     my $tls = Billing::TLS->new(address => 'IP:127.0.0.1');
#     $tls->choose(do { local $/; <DATA> });
#
# The arguments are names of certificates and their alternative names, in OpenSSL's
# words. Each is signed by the authority "ca" and has the files NAME.crt and NAME.key
# in $tls->{dir}. No certificate is made where the module has no TLS.

package Billing::TLS;

use strict;
use warnings;

use File::Temp ();
use Test::Base ();
use Test::More ();
use Test::Nginx::Util ();

sub new {
    my ($class, %names) = @_;

    my $dir = File::Temp->newdir('billing-tls-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;

    my $self = bless { dir => $dir, names => \%names }, $class;

    $self->{there} = $self->is_there;
    $self->certificates if $self->{there};

    return $self;
}

# Does nginx -t complain about the certificates of a rediss:// URL, or about TLS?

sub is_there {
    my ($self) = @_;

    my $dir = $self->{dir};
    my $modules = join ' ', map { "load_module $_;" }
                  split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';

    open my $conf, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $conf <<"END";
$modules
pid $dir/nginx.pid;
error_log stderr;
events { }
http {
    server {
        listen unix:$dir/nginx.sock;
        location / {
            billing_cameras_list;
            billing_redis rediss://127.0.0.1;
        }
    }
}
END
    close $conf;

    my $text = `$Test::Nginx::Util::NginxBinary -t -p $dir/ -c $dir/nginx.conf 2>&1`;

    return 1 if $text =~ /\[emerg\] .*no "billing_redis_ssl_trusted_certificate"/;
    return 0 if $text =~ /\[emerg\] .*TLS needs/;
    die "nginx -t says neither that TLS is there nor that it is not: $text\n";
}

# Why the module has no TLS: a regex for the message of nginx -t.

sub reason {
    return qx(printf '#include <hiredis/hiredis.h>\nHIREDIS_MAJOR' | gcc -E -P - | tail -n 1) == 0
           ? 'TLS needs hiredis 1\.0 or later, and the module was built with an older one'
           : 'TLS needs the hiredis_ssl library, and the module was built without it';
}

# Gives Test::Nginx the blocks of the suite that the module can run, and prints their
# number.

sub choose {
    my ($self, $data) = @_;

    my @blocks = grep { /^=== / } split /^(?==== )/m, $data;
    my @chosen = grep { $self->{there} xor /^--- without$/m } @blocks;

    Test::More::diag('the module is built ' . ($self->{there} ? 'with' : 'without')
                     . ' TLS: ' . @chosen . ' of ' . @blocks . ' blocks are run');

    Test::Base::spec_string(join '', @chosen);
}

sub openssl {
    my ($self, @words) = @_;

    my $log = "$self->{dir}/openssl.log";

    system "openssl @words >>$log 2>&1";

    return 1 if $? == 0;

    open my $in, '<', $log;
    die "openssl @words failed:\n", <$in>;
}

# Makes NAME.crt and NAME.key, signed by an authority, or an authority itself.

sub certificate {
    my ($self, $name, $time, $ca) = @_;

    my $dir = $self->{dir};

    $self->openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes",
                   "-config $dir/openssl.conf -extensions $name -subj /CN=$name",
                   "$time -keyout $dir/$name.key -out $dir/$name.crt",
                   $ca ? "-CA $dir/$ca.crt -CAkey $dir/$ca.key" : '');
}

sub certificates {
    my ($self) = @_;

    my ($dir, %names) = ($self->{dir}, %{ $self->{names} });

    open my $conf, '>', "$dir/openssl.conf" or die "$dir/openssl.conf: $!\n";
    print $conf "[req]\ndistinguished_name = dn\n[dn]\n",
        (map { "[$_]\nbasicConstraints = critical, CA:TRUE\n"
               . "keyUsage = critical, keyCertSign\n" } qw(ca ca2)),
        (map { "[$_]\nsubjectAltName = $names{$_}\n" } keys %names),
        "[expired]\nsubjectAltName = IP:127.0.0.1\n",
        "[foreign]\nsubjectAltName = IP:127.0.0.1\n",
        "[client]\nextendedKeyUsage = clientAuth\n";
    close $conf;

    my $valid = '-days 2';

    $self->certificate($_, $valid) for qw(ca ca2);
    $self->certificate($_, $valid, 'ca') for keys %names, 'client';
    $self->certificate('foreign', $valid, 'ca2');

    # before OpenSSL 3.4, a certificate can only end at the time of its making

    eval { $self->certificate('expired', '-not_before 20200101000000Z'
                                         . ' -not_after 20200102000000Z', 'ca') }
        or $self->certificate('expired', '-days 0', 'ca');

    # Redis and the workers are not root

    chmod 0644, glob "$dir/*.key";
}

# Arguments of a Redis with this certificate. The last argument tells whether Redis
# asks clients for certificates.

sub server {
    my ($self, $name, $clients) = @_;

    my $dir = $self->{dir};

    return ('--tls-port', 'auto', '--tls-cert-file', "$dir/$name.crt",
            '--tls-key-file', "$dir/$name.key", '--tls-ca-cert-file', "$dir/ca.crt",
            '--tls-auth-clients', $clients // 'no');
}

1;
