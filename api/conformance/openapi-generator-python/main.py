"""Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON."""

import json
import sys
from datetime import datetime
from typing import Any
from uuid import UUID

import esper
from pydantic import SecretStr


def answer(call: dict[str, Any]) -> dict[str, object]:
    # snippet
    # retries=False: urllib3 would send a PUT again by itself, and a renewal must be sent once.
    configuration = esper.Configuration(host=call["url"], access_token=call["key"], retries=False)
    if call["by_itself"]: configuration.retries = None
    with esper.ApiClient(configuration) as client:
        api = esper.TokenApi(client)
        try:
            if call["info_first"]: api.get_token_info()
            if call["operation"] == "getTokenInfo":
                response = api.get_token_info_with_http_info()
            elif call["operation"] == "renewToken":
                response = api.renew_token_with_http_info(
                    enterprise_id=UUID(call["enterprise_id"]),
                    developerapp_id=UUID(call["developerapp_id"]),
                    access_token=call["key"],
                    _request_timeout=call["timeout"],
    # end of snippet
                )
            elif call["operation"] == "listPersonalAccessTokens":
                response = esper.PersonalAccessTokenApi(client).list_personal_access_tokens_with_http_info()
            else:
                response = esper.PersonalAccessTokenApi(client).renew_personal_access_token_with_http_info(
                    personal_access_token_id=UUID(call["token_id"]),
                    personal_access_token_renewal=esper.PersonalAccessTokenRenewal(expiry_at=call["expiry_at"]),
                    _request_timeout=call["timeout"],
                )
        except esper.ApiException as refusal:
            return {
                "status": refusal.status,
                "error": refusal.data and json.loads(refusal.data.to_json()),
                "retry_after": refusal.headers.get("Retry-After"),
            }
    return {"status": response.status_code, "value": response.data.to_dict()}


def plain(value: Any) -> str:
    """The text of a value for which JSON has no type. The client's own to_json has stars for a key."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.isoformat() if isinstance(value, datetime) else str(value)


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as cause:  # whatever the client raises is its answer
        result = {"status": 0, "failure": repr(cause)}
    print(json.dumps(result, default=plain), flush=True)
