// Calls the API as each line of standard input says, with the client of @hey-api/openapi-ts, and answers with a line of JSON.
import { createInterface } from "node:readline";
import { createClient } from "./esper/client/index.js";
import {
  type ErrorResponse,
  getTokenInfo,
  listPersonalAccessTokens,
  type PersonalAccessToken,
  type PersonalAccessTokenList,
  renewPersonalAccessToken,
  renewToken,
  type TokenInfoV1,
  type TokenRenewV0,
} from "./esper/index.js";

interface Call {
  operation: "getTokenInfo" | "renewToken" | "listPersonalAccessTokens" | "renewPersonalAccessToken";
  url: string;
  key: string;
  enterprise_id: string;
  developerapp_id: string;
  token_id: string;
  expiry_at: number;
  timeout: number;
  info_first: boolean;
}

interface Answer {
  status: number;
  value?: TokenInfoV1 | TokenRenewV0 | PersonalAccessTokenList | PersonalAccessToken;
  error?: ErrorResponse;
  retry_after?: string | null;
  failure?: string;
}

async function answer(call: Call): Promise<Answer> {
  // snippet
  const signal = AbortSignal.timeout(call.timeout * 1000);
  const client = createClient({ baseUrl: call.url, auth: call.key, signal });
  if (call.info_first) await getTokenInfo({ client });
  switch (call.operation) {
    case "getTokenInfo":
      return told(await getTokenInfo({ client }));
    case "renewToken":
      return told(
        await renewToken({
          client,
          path: { enterprise_id: call.enterprise_id, developerapp_id: call.developerapp_id },
          query: { access_token: call.key },
  // end of snippet
        }),
      );
    case "listPersonalAccessTokens":
      return told(await listPersonalAccessTokens({ client }));
    case "renewPersonalAccessToken":
      return told(
        await renewPersonalAccessToken({
          client,
          path: { personal_access_token_id: call.token_id },
          body: { expiry_at: call.expiry_at },
        }),
      );
  }
}

type Operation =
  | typeof getTokenInfo<false>
  | typeof renewToken<false>
  | typeof listPersonalAccessTokens<false>
  | typeof renewPersonalAccessToken<false>;

// Any operation's result. There is no response where no answer came.
function told(result: Awaited<ReturnType<Operation>>): Answer {
  const { data, error, response } = result;
  if (!response) {
    return { status: 0, failure: String(error) };
  }
  if (data) {
    return { status: response.status, value: data };
  }
  return { status: response.status, error, retry_after: response.headers.get("Retry-After") };
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await answer(JSON.parse(line) as Call).catch(
    (cause: unknown): Answer => ({ status: 0, failure: String(cause) }),
  );
  process.stdout.write(JSON.stringify(result) + "\n");
}
