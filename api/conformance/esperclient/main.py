"""Calls the API as each line of standard input says, with the vendor's client, and answers with a line of JSON."""

import json
import sys
from typing import Any

import esperclient
from esperclient.rest import ApiException


def answer(call: dict[str, Any]) -> dict[str, object]:
    # snippet
    configuration = esperclient.Configuration()
    configuration.host = call["url"]
    configuration.api_key["Authorization"] = call["key"]
    configuration.api_key_prefix["Authorization"] = "Bearer"
    client = esperclient.ApiClient(configuration)
    api = esperclient.TokenApi(client)
    # end of snippet
    try:
        if call["info_first"]:
            api.get_token_info()
        if call["operation"] == "getTokenInfo":
            value, status, _ = api.get_token_info_with_http_info()
        else:
            value, status, _ = api.renew_token_with_http_info(
                call["enterprise_id"], call["developerapp_id"], call["key"], _request_timeout=call["timeout"]
            )
    except ApiException as refusal:
        if not refusal.status:  # no answer, or one that it could not read
            raise
        result = {"status": refusal.status, "retry_after": refusal.headers.get("Retry-After")}
        try:
            result["error"] = json.loads(refusal.body)  # it does not decode errors, but hands the body over
        except ValueError:
            result["failure"] = "the body is no JSON"
        return result
    # The client's own way back from its types to the names of the wire.
    return {"status": status, "value": client.sanitize_for_serialization(value)}


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as cause:  # whatever the client raises is its answer
        result = {"status": 0, "failure": repr(cause)}
    print(json.dumps(result), flush=True)
