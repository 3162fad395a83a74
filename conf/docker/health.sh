#!/bin/bash

# Healthy is an nginx that answers the route: without a token that is 401, and
# Redis is not asked. While Redis is down the container is healthy, as starting
# it again would not help.

exec 3<>/dev/tcp/127.0.0.1/8080 || exit 1

printf 'GET %s HTTP/1.0\r\nUser-Agent: health\r\n\r\n' \
    /api/v1/billing/cameras/list >&3

read -r -t 4 _ status _ <&3

[ "$status" = 401 ]
