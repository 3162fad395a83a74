# The loader for PostgreSQL; its options are the container's arguments:
#
#     docker build -t nginx-billing-loader -f conf/docker/loader.Dockerfile .
#     docker run -e PGHOST=postgres -e PGUSER=billing-loader -e PGDATABASE=app \
#         nginx-billing-loader -h redis

FROM debian:trixie-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends mawk postgresql-client redis-tools \
    && rm -rf /var/lib/apt/lists/*

COPY conf/loader /usr/local/lib/billing-loader

# nobody, by number

USER 65534:65534

ENTRYPOINT ["sh", "/usr/local/lib/billing-loader/sync.sh"]
