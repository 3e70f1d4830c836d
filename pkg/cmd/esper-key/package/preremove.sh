#!/bin/sh
# A deb passes "remove", an rpm 0; "upgrade" and 1 leave the service running. The key stays.
set -e
case $1 in
remove | 0)
	if [ -d /run/systemd/system ]; then systemctl disable --now esper-key.service esper-key-renew.timer; fi
	;;
esac
