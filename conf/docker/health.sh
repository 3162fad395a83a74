#!/bin/bash

# Healthy is an nginx whose status page answers. It does so while Redis is
# down, too: starting the container again would not help then.

exec 3<>/dev/tcp/127.0.0.1/9145 || exit 1

printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3

read -r -t 4 _ status _ <&3

[ "$status" = 200 ]
