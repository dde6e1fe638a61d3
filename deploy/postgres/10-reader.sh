#!/bin/sh
# Runs once, when the database is created: the user that Grafana reads the archive with, and nothing else.
set -eu

psql --set=ON_ERROR_STOP=1 --set=password="$READER_PASSWORD" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE squall_reader LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO squall_reader;
-- Tables that the archive role makes later, as the user of this script.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO squall_reader;
-- A panel with a heavy query must not hold the archive up.
ALTER ROLE squall_reader SET statement_timeout = '30s';
ALTER ROLE squall_reader SET default_transaction_read_only = on;
SQL
