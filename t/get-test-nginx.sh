#!/bin/sh

# Puts Test::Nginx into build/test-nginx, for Debian releases that do not have
# its package yet; that from CPAN will do as well.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/t/get-package.sh" libtest-nginx-perl test-nginx.new forky sid

# the directive "http2" is older there than it is in nginx

sed -i '/use_http2(\$block)/,/http2 on/s/"1\.019009"/"1.025001"/' \
    "$root/build/test-nginx.new/usr/share/perl5/Test/Nginx/Util.pm"

mv "$root/build/test-nginx.new" "$root/build/test-nginx"
