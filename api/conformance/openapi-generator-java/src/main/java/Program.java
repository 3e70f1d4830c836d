import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.api.PersonalAccessTokenApi;
import org.openapitools.client.api.TokenApi;
import org.openapitools.client.model.ErrorResponse;
import org.openapitools.client.model.PersonalAccessTokenRenewal;

/** Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON. */
final class Program {
  /** Reads the commands, and writes down what the generated types hold. */
  private static final ObjectMapper JSON = ApiClient.createDefaultObjectMapper();

  private record Command(
      String operation,
      String url,
      String key,
      UUID enterprise_id,
      UUID developerapp_id,
      UUID token_id,
      long expiry_at,
      int timeout,
      boolean info_first) {}

  public static void main(String[] args) throws IOException {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line; (line = in.readLine()) != null; ) {
      out.println(answer(JSON.readValue(line, Command.class)));
    }
  }

  private static ObjectNode answer(Command command) {
    var answer = JSON.createObjectNode();
    try {
      var response = call(command);
      answer.put("status", response.getStatusCode());
      answer.set("value", JSON.valueToTree(response.getData()));
    } catch (ApiException e) {
      if (e.getCode() == 0) {
        return failure(e);
      }
      try {
        // The client hands over the body as it came; its model says what is in it.
        var error = JSON.readValue(e.getResponseBody(), ErrorResponse.class);
        answer.put("status", e.getCode());
        answer.set("error", JSON.valueToTree(error));
      } catch (JsonProcessingException unreadable) {
        answer.put("status", e.getCode()).put("failure", unreadable.toString());
      }
      e.getResponseHeaders()
          .firstValue("Retry-After")
          .ifPresent(value -> answer.put("retry_after", value));
    }
    return answer;
  }

  private static ObjectNode failure(Exception e) {
    return JSON.createObjectNode().put("status", 0).put("failure", String.valueOf(e));
  }

  private static ApiResponse<?> call(Command command) throws ApiException {
    // snippet
    var client = new ApiClient();
    client.updateBaseUri(command.url());
    client.setConnectTimeout(Duration.ofSeconds(command.timeout()));
    client.setReadTimeout(Duration.ofSeconds(command.timeout()));
    client.setRequestInterceptor(
        request -> request.header("Authorization", "Bearer " + command.key()));
    var api = new TokenApi(client);
    if (command.info_first()) api.getTokenInfo();
    return switch (command.operation()) {
      case "getTokenInfo" -> api.getTokenInfoWithHttpInfo();
      case "renewToken" ->
          api.renewTokenWithHttpInfo(
              command.enterprise_id(), command.developerapp_id(), command.key());
    // end of snippet
      case "listPersonalAccessTokens" ->
          new PersonalAccessTokenApi(client).listPersonalAccessTokensWithHttpInfo();
      case "renewPersonalAccessToken" ->
          new PersonalAccessTokenApi(client)
              .renewPersonalAccessTokenWithHttpInfo(
                  command.token_id(),
                  new PersonalAccessTokenRenewal().expiryAt(command.expiry_at()));
      default -> throw new IllegalArgumentException("no such operation: " + command.operation());
    };
  }
}
