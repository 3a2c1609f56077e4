#!/bin/bash
# Runs before every start of the database's pod, not only before the first: a start that was cut off at any moment is
# finished by the next one. PGDATA says where the data is; databases.sql lies beside this file.
set -euo pipefail

# initdb writes PG_VERSION long before it is done. Made elsewhere and then renamed, a directory is whole or not there.
if [ ! -d "$PGDATA" ]; then
    rm -rf "$PGDATA.new"
    mkdir -p "$(dirname "$PGDATA")"
    # No password for the superuser, so nobody logs in as one over the network; `kubectl exec` reaches it by the socket.
    initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --no-locale --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$PGDATA.new/pg_hba.conf"
    sync
    mv "$PGDATA.new" "$PGDATA"
fi

# On a socket of its own and no port: nobody meets this server by mistake.
socket=$(mktemp -d)
trap 'pg_ctl --pgdata="$PGDATA" --mode=immediate stop || true' EXIT
pg_ctl --pgdata="$PGDATA" --wait --timeout=300 --options="-c listen_addresses='' -c unix_socket_directories='$socket'" start
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$socket" --username=postgres --dbname=postgres \
    --file="$(dirname "$0")/databases.sql"
pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop
trap - EXIT
