import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.JSON;
import org.openapitools.client.api.PersonalAccessTokenApi;
import org.openapitools.client.api.TokenApi;
import org.openapitools.client.model.ErrorResponse;
import org.openapitools.client.model.PersonalAccessTokenRenewal;

/** Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON. */
final class Program {
  private record Command(
      String operation, String url, String key, UUID enterprise_id, UUID developerapp_id, UUID token_id, long expiry_at,
      int timeout, boolean info_first, boolean by_itself) {}

  public static void main(String[] args) throws IOException {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line; (line = in.readLine()) != null; ) {
      out.println(answer(JSON.getGson().fromJson(line, Command.class)));
    }
  }

  private static ApiResponse<?> call(Command command) throws ApiException {
    // snippet
    var client = new ApiClient();
    client.setBasePath(command.url());
    client.setBearerToken(command.key());
    // OkHttp would send a request again by itself, and a renewal must be sent once.
    client.setHttpClient(client.getHttpClient().newBuilder().retryOnConnectionFailure(false).build());
    if (command.by_itself()) client.setHttpClient(client.getHttpClient().newBuilder().retryOnConnectionFailure(true).build());
    client.setReadTimeout(command.timeout() * 1000);
    var api = new TokenApi(client);
    if (command.info_first()) api.getTokenInfo();
    return switch (command.operation()) {
      case "getTokenInfo" -> api.getTokenInfoWithHttpInfo();
      case "renewToken" -> api.renewTokenWithHttpInfo(command.enterprise_id(), command.developerapp_id(), command.key());
    // end of snippet
      case "listPersonalAccessTokens" -> new PersonalAccessTokenApi(client).listPersonalAccessTokensWithHttpInfo();
      case "renewPersonalAccessToken" -> new PersonalAccessTokenApi(client)
          .renewPersonalAccessTokenWithHttpInfo(command.token_id(), new PersonalAccessTokenRenewal().expiryAt(command.expiry_at()));
      default -> throw new IllegalArgumentException("no such operation: " + command.operation());
    };
  }

  private static JsonObject answer(Command command) {
    var answer = new JsonObject();
    try {
      var response = call(command);
      answer.addProperty("status", response.getStatusCode());
      answer.add("value", JSON.getGson().toJsonTree(response.getData()));
    } catch (ApiException e) {
      answer.addProperty("status", e.getCode());
      answer.addProperty("failure", e.toString());
      if (e.getResponseHeaders() != null) {
        for (Map.Entry<String, List<String>> header : e.getResponseHeaders().entrySet()) {
          if (header.getKey().equalsIgnoreCase("Retry-After")) {
            answer.addProperty("retry_after", header.getValue().get(0));
          }
        }
      }
      try {
        // The client hands over the body as it came; its model says what is in it.
        answer.add("error", JSON.getGson().toJsonTree(JSON.getGson().fromJson(e.getResponseBody(), ErrorResponse.class)));
      } catch (JsonParseException notJson) {
        answer.addProperty("failure", notJson.toString());
      }
    } catch (RuntimeException e) {
      answer.addProperty("status", 0);
      answer.addProperty("failure", e.toString());
    }
    return answer;
  }
}
