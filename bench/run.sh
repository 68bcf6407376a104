#!/usr/bin/env bash
# Ours beside a yardstick, as ratios that come from one run on one machine: `./dev bench`. What is aimed at stands beside
# what was reached. The cluster is its own, on a unix socket, with fsync on; it is gone at the end, however that comes.
#
# BENCH_USERS (2000000) is the size of the large user table, BENCH_ROUNDS (5) the number of interleaved rounds; of the storm
# of sign-ins there are BENCH_STORM_ROUNDS (3) of BENCH_STORM_SECONDS (10), with the gates BENCH_STORM_LIMITS (0,1024: 0 is
# the default). BENCH_ONLY=measure, =storm, =mfa or =http leaves out the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${AUTH_PG_PREFIX:?is set by ./dev bench}"
BIN=$(echo "$AUTH_PG_PREFIX"/lib/postgresql/*/bin)
# Not /tmp, which may be memory: a durable commit must wait for a disk.
WORK=$(mktemp -d /var/tmp/auth-bench.XXXXXX)

as_server() {
    if [ "$(id -u)" = 0 ]; then (cd "$WORK" && runuser -u postgres -- "$@"); else "$@"; fi
}

end() {
    [ ! -f "$WORK/data/postmaster.pid" ] || as_server "$BIN/pg_ctl" -D "$WORK/data" -m immediate stop >/dev/null || true
    rm -rf "$WORK"
}
trap end EXIT
trap 'exit 1' INT TERM HUP

cargo build --quiet --release -p auth-core --example hash
HASH=$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples/hash

chmod 711 "$WORK"
mkdir "$WORK/data"
(umask 077; printf '1 %s\n' "$(head -c 32 /dev/urandom | base64)" >"$WORK/root.key")
if [ "$(id -u)" = 0 ]; then chown -R postgres: "$WORK"; fi
as_server "$BIN/initdb" -D "$WORK/data" -U postgres -E UTF8 --locale C.UTF-8 -A trust >/dev/null
cat >>"$WORK/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$WORK'
shared_preload_libraries = 'auth'
auth.root_key_file = '$WORK/root.key'
shared_buffers = '2GB'
max_connections = 300
max_wal_size = '8GB'
checkpoint_timeout = '1h'
jit = off
# The figures are of one thing at a time; what is loaded is vacuumed and analysed by hand.
autovacuum = off
END
as_server "$BIN/pg_ctl" -D "$WORK/data" -l "$WORK/log" -w start >/dev/null

export PGHOST=$WORK PGPORT=5432 PGUSER=postgres PATH="$BIN:$PATH"
unset PGOPTIONS PGDATABASE PGSERVICE PGPASSWORD
only() { [ "${BENCH_ONLY:-$1}" = "$1" ]; }
if only measure; then
    "${AUTH_PYTHON:-python3}" bench/measure.py --hash "$HASH" --users "${BENCH_USERS:-2000000}" --rounds "${BENCH_ROUNDS:-5}"
fi
if only storm; then
    "${AUTH_PYTHON:-python3}" bench/storm.py --data "$WORK/data" --rounds "${BENCH_STORM_ROUNDS:-3}" \
        --seconds "${BENCH_STORM_SECONDS:-10}" --limits "${BENCH_STORM_LIMITS:-0,1024}"
fi
if only mfa; then
    # Verifying alone, then with the database around it.
    cargo run --quiet --release -p auth-core --example second_factors
    "${AUTH_PYTHON:-python3}" bench/second_step.py --rounds "${BENCH_ROUNDS:-5}"
fi
if only http; then
    cargo build --quiet --release -p auth-sidecar
    "${AUTH_PYTHON:-python3}" bench/sidecar.py --sidecar "$(dirname "$(dirname "$HASH")")/auth-sidecar" \
        --rounds "${BENCH_HTTP_ROUNDS:-3}" --seconds "${BENCH_HTTP_SECONDS:-5}"
fi
