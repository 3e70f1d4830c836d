#!/bin/sh
# Calls Esper's API with the key that esper-key keeps. The key is never an argument, because other users can see the
# arguments. ESPER_URL is the base URL, such as https://foo-api.esper.cloud/api.
set -eu
esper-key token | sed 's/^/Authorization: Bearer /' |
	curl --silent --show-error --fail --max-time 60 --header @- "$ESPER_URL/v1/token-info/"
