#!/usr/bin/env bash
# Installs PostgreSQL, MariaDB and etcd from Debian's packages, where they are missing. It leaves none of them running.
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
command -v mariadbd >/dev/null || missing+=(mariadb-server)
command -v etcd >/dev/null || missing+=(etcd-server)
if [ ${#missing[@]} = 0 ]; then exit 0; fi

sudo=
if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
# With RUNLEVEL=1 the packages do not start their services.
install() { $sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ install || { $sudo apt-get update && install; }; } >"$log" 2>&1 || { cat "$log"; exit 1; }
