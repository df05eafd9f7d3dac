#!/bin/bash
# Starts PostgreSQL with the variables of the official image (https://hub.docker.com/_/postgres), so that one
# StatefulSet serves both images: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_INITDB_ARGS and PGDATA.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then # have the volume, and go on as the user that PostgreSQL insists on
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?a new database needs a password for its superuser}"
  # shellcheck disable=SC2086  # a list of words
  initdb --username="${POSTGRES_USER:-postgres}" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\n" >> "$PGDATA/postgresql.conf"
fi
exec "$@"
