"""Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON."""

import json
import sys
from typing import Any
from uuid import UUID

from esper import AuthenticatedClient
from esper.api.personal_access_token import list_personal_access_tokens, renew_personal_access_token
from esper.api.token import get_token_info, renew_token
from esper.models import (
    ErrorResponse,
    PersonalAccessToken,
    PersonalAccessTokenList,
    PersonalAccessTokenRenewal,
    TokenInfoV1,
    TokenRenewV0,
)
from httpx import Timeout


def answer(call: dict[str, Any]) -> dict[str, object]:
    # snippet
    with AuthenticatedClient(base_url=call["url"], token=call["key"], timeout=Timeout(call["timeout"])) as client:
        if call["info_first"]: get_token_info.sync_detailed(client=client)
        if call["operation"] == "getTokenInfo":
            response = get_token_info.sync_detailed(client=client)
        elif call["operation"] == "renewToken":
            response = renew_token.sync_detailed(
                UUID(call["enterprise_id"]),
                UUID(call["developerapp_id"]),
                client=client,
                access_token=call["key"],
    # end of snippet
            )
        elif call["operation"] == "listPersonalAccessTokens":
            response = list_personal_access_tokens.sync_detailed(client=client)
        else:
            response = renew_personal_access_token.sync_detailed(
                UUID(call["token_id"]), client=client, body=PersonalAccessTokenRenewal(expiry_at=call["expiry_at"])
            )
    status = int(response.status_code)
    match response.parsed:
        case TokenInfoV1() | TokenRenewV0() | PersonalAccessTokenList() | PersonalAccessToken() as value:
            return {"status": status, "value": value.to_dict()}
        case ErrorResponse() as error:
            return {"status": status, "error": error.to_dict(), "retry_after": response.headers.get("Retry-After")}
        case _:
            return {"status": status, "retry_after": response.headers.get("Retry-After")}


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as cause:  # whatever the client raises is its answer
        result = {"status": 0, "failure": repr(cause)}
    print(json.dumps(result), flush=True)
