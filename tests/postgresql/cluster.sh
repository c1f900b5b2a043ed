#!/usr/bin/env bash
# A throw-away PostgreSQL cluster on loopback, for tests alone (trust, no fsync): cluster.sh start|stop DIRECTORY [PORT]
# PostgreSQL refuses to run as root: there it runs as the user postgres, elsewhere as oneself.
set -euo pipefail
action=$1 directory=$2 port=${3:-54331}
programs=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1 || command -v initdb)")
as_owner() {
    if [ "$(id -u)" = 0 ]; then su -s /bin/bash postgres -c "$*"; else bash -c "$*"; fi
}
case $action in
start)
    mkdir -p "$directory"
    [ "$(id -u)" != 0 ] || chown postgres "$directory"
    chmod 700 "$directory"
    if [ ! -f "$directory/data/PG_VERSION" ]; then
        as_owner "$programs/initdb -D $directory/data -U app --auth=trust --no-sync -E UTF8 --locale=C.UTF-8 >$directory/initdb.log 2>&1"
    fi
    options="-p $port -k $directory -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    as_owner "$programs/pg_ctl -D $directory/data -w -t 30 -l $directory/server.log -o '$options' start >/dev/null"
    ;;
stop)
    as_owner "$programs/pg_ctl -D $directory/data -m fast -w stop >/dev/null"
    ;;
*)
    echo "usage: cluster.sh start|stop DIRECTORY [PORT]" >&2
    exit 2
    ;;
esac
