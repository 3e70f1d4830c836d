// Calls the API as each line of standard input says, with a client of openapi-fetch, and answers with a line of JSON.
import { createInterface } from "node:readline";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];

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
  value?: Schemas["TokenInfoV1" | "TokenRenewV0" | "PersonalAccessTokenList" | "PersonalAccessToken"];
  error?: Schemas["ErrorResponse"];
  retry_after?: string | null;
  failure?: string;
}

async function answer(call: Call): Promise<Answer> {
  // snippet
  const signal = AbortSignal.timeout(call.timeout * 1000);
  const client = createClient<paths>({ baseUrl: call.url, headers: { Authorization: `Bearer ${call.key}` }, signal });
  if (call.info_first) await client.GET("/v1/token-info/");
  switch (call.operation) {
    case "getTokenInfo": {
      const { data, error, response } = await client.GET("/v1/token-info/");
  // end of snippet
      return data ? { status: response.status, value: data } : refused(response, error);
    }
    case "renewToken": {
      const { data, error, response } = await client.POST(
        "/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/",
        {
          params: {
            path: { enterprise_id: call.enterprise_id, developerapp_id: call.developerapp_id },
            query: { access_token: call.key },
          },
        },
      );
      return data ? { status: response.status, value: data } : refused(response, error);
    }
    case "listPersonalAccessTokens": {
      const { data, error, response } = await client.GET("/authn2/v0/personal-access-token/");
      return data ? { status: response.status, value: data } : refused(response, error);
    }
    case "renewPersonalAccessToken": {
      const { data, error, response } = await client.PUT("/authn2/v0/personal-access-token/{personal_access_token_id}", {
        params: { path: { personal_access_token_id: call.token_id } },
        body: { expiry_at: call.expiry_at },
      });
      return data ? { status: response.status, value: data } : refused(response, error);
    }
  }
}

function refused(response: Response, error: Schemas["ErrorResponse"]): Answer {
  return { status: response.status, error, retry_after: response.headers.get("Retry-After") };
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await answer(JSON.parse(line) as Call).catch(
    (cause: unknown): Answer => ({ status: 0, failure: String(cause) }),
  );
  process.stdout.write(JSON.stringify(result) + "\n");
}
