// Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON.
import { createInterface } from "node:readline";
import { isAxiosError } from "axios";
import { Configuration, PersonalAccessTokenApi, TokenApi } from "./esper/index.js";

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

async function answer(call: Call): Promise<object> {
  // snippet
  const config = new Configuration({
    basePath: call.url,
    accessToken: call.key,
    baseOptions: { timeout: call.timeout * 1000 },
  });
  const api = new TokenApi(config);
  // end of snippet
  const personal = new PersonalAccessTokenApi(config);
  try {
    if (call.info_first) await api.getTokenInfo();
    const { status, data } = await {
      getTokenInfo: () => api.getTokenInfo(),
      renewToken: () => api.renewToken(call.enterprise_id, call.developerapp_id, call.key),
      listPersonalAccessTokens: () => personal.listPersonalAccessTokens(),
      renewPersonalAccessToken: () => personal.renewPersonalAccessToken(call.token_id, { expiry_at: call.expiry_at }),
    }[call.operation]();
    return { status, value: data };
  } catch (cause) {
    if (!isAxiosError(cause) || !cause.response) {
      return { status: 0, failure: String(cause) };
    }
    const { status, data, headers } = cause.response;
    return { status, error: data, retry_after: headers["retry-after"] };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(JSON.parse(line) as Call)) + "\n");
}
