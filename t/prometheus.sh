#!/bin/sh

# Checks conf/prometheus.yml, conf/billing-rules.yml and conf/grafana.json: by
# promtool, and with a Prometheus that reads the status page of a running
# nginx, while Redis is stopped and started.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/conf/install.sh" prometheus

promtool check config "$root/conf/prometheus.yml"
promtool check rules "$root/conf/billing-rules.yml"
promtool test rules "$root/t/billing-rules.yml"

exec sh "$root/t/run.sh" t/prometheus.pl
