#!/bin/sh
# Calls Esper's API with the key that esper-key keeps. The key is never an argument of a program, because other users can
# see the arguments. exec sets ESPER_API_KEY and ESPER_URL, the base URL.
set -eu
exec esper-key exec -- sh -c 'printf "Authorization: Bearer %s" "$ESPER_API_KEY" |
	curl --silent --show-error --fail --max-time 60 --header @- "$ESPER_URL/v1/token-info/"'
