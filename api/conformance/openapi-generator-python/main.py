"""Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON."""

import json
import sys
from uuid import UUID

import esper


def answer(call: dict[str, str]) -> dict[str, object]:
    configuration = esper.Configuration(host=call["url"], access_token=call["key"])
    with esper.ApiClient(configuration) as client:
        api = esper.TokenApi(client)
        try:
            if call["operation"] == "getTokenInfo":
                response = api.get_token_info_with_http_info()
            else:
                response = api.renew_token_with_http_info(
                    UUID(call["enterprise_id"]), UUID(call["developerapp_id"]), call["key"]
                )
        except esper.ApiException as refusal:
            if refusal.data is None:  # its model could not read the error
                raise refusal.__context__ or refusal
            return {
                "status": refusal.status,
                "error": json.loads(refusal.data.to_json()),
                "retry_after": refusal.headers.get("Retry-After"),
            }
    return {"status": response.status_code, "value": json.loads(response.data.to_json())}


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as cause:  # whatever the client raises is its answer
        result = {"status": 0, "failure": repr(cause)}
    print(json.dumps(result), flush=True)
