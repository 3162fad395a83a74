# nginx with the billing module:
#
#     docker build -t nginx-billing .
#     docker run --network billing -e BILLING_REDIS=redis://redis:6379 \
#         -p 127.0.0.1:8080:8080 nginx-billing
#
# It runs as www-data, and writes to /tmp only:
#
#     docker run --read-only --tmpfs /tmp --cap-drop ALL ...

FROM debian:trixie-slim AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential debhelper libhiredis-dev libssl-dev libyajl-dev \
        nginx-dev

COPY . /src

RUN sh /src/conf/deb.sh


FROM debian:trixie-slim

# the package brings nginx and the libraries

COPY --from=build /src/build/deb/libnginx-mod-http-billing_*.deb /tmp/

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        /tmp/libnginx-mod-http-billing_*.deb \
    && rm -rf /tmp/* /var/lib/apt/lists/*

COPY conf/docker/nginx.conf /etc/nginx/nginx.conf
COPY conf/docker/entrypoint.sh conf/docker/health.sh /usr/local/bin/

# www-data, by number: Kubernetes takes no name for a proof that it is not root

USER 33:33

EXPOSE 8080

HEALTHCHECK --interval=30s --timeout=5s --start-period=5s \
    CMD ["bash", "/usr/local/bin/health.sh"]

# workers finish the requests they have

STOPSIGNAL SIGQUIT

ENTRYPOINT ["sh", "/usr/local/bin/entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]
