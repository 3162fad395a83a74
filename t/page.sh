#!/bin/sh

# Looks at the status page for people in a real Chromium: starts nginx and two
# Redis servers with requests, and takes pictures of the page into build/, wide
# and as on a phone, light and dark, while Redis is up, stopped and back, and
# after nginx has ended. Fails when the page shows something wrong or does not
# fit, or when the browser has an error to report.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/conf/install.sh" chromium fonts-dejavu-core

exec sh "$root/t/run.sh" t/page.pl
