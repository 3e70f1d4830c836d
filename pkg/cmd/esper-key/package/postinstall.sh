#!/bin/sh
# The service's user owns the key. The package does not own the folders of the key: removing it removes no key.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers esper-key.conf
elif ! getent passwd esper-key >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /var/lib/esper-key --shell /usr/sbin/nologin esper-key
fi
[ -d /var/lib/esper-key ] || install -d -o esper-key -g esper-key -m 0750 /var/lib/esper-key
if [ ! -e /etc/esper-key/api-key ]; then # the first time
	chgrp esper-key /etc/esper-key/environment # it may hold the password of a database
	chmod 0640 /etc/esper-key/environment
	install -m 0600 /dev/null /etc/esper-key/api-key # the unit wants it, and it may be empty
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart esper-key.service # it first finishes a renewal that has begun
fi
