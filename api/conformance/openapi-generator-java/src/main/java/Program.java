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
import org.openapitools.client.api.TokenApi;
import org.openapitools.client.model.ErrorResponse;

/**
 * Program of the openapi-generator Java client: a command a line in, an answer a line out.
 *
 * <p>The generate command maps each schema of more than one shape to Object. Left to itself, the
 * generator makes unions of them that do not compile where a shape is a list or a map, and that
 * refuse every id, since the client's ObjectMapper reads "570" as a number and as a text.
 */
final class Program {
  /** Bounds a call. */
  private static final Duration TIMEOUT = Duration.ofSeconds(20);

  /** Reads the commands, and writes down what the generated types hold. */
  private static final ObjectMapper JSON = ApiClient.createDefaultObjectMapper();

  private record Command(
      String operation, String url, String key, UUID enterprise_id, UUID developerapp_id) {}

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
        return failure(unreadable);
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
    var client = new ApiClient();
    client.updateBaseUri(command.url());
    client.setConnectTimeout(TIMEOUT);
    client.setReadTimeout(TIMEOUT);
    client.setRequestInterceptor(
        request -> request.header("Authorization", "Bearer " + command.key()));
    var api = new TokenApi(client);
    return switch (command.operation()) {
      case "getTokenInfo" -> api.getTokenInfoWithHttpInfo();
      case "renewToken" ->
          api.renewTokenWithHttpInfo(
              command.enterprise_id(), command.developerapp_id(), command.key());
      default -> throw new IllegalArgumentException("no such operation: " + command.operation());
    };
  }
}
