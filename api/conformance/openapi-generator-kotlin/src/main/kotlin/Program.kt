// Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON.
import com.squareup.moshi.Moshi
import com.squareup.moshi.adapter
import java.util.UUID
import java.util.concurrent.TimeUnit
import okhttp3.OkHttpClient
import org.openapitools.client.apis.PersonalAccessTokenApi
import org.openapitools.client.apis.TokenApi
import org.openapitools.client.infrastructure.ApiClient
import org.openapitools.client.infrastructure.ApiResponse
import org.openapitools.client.infrastructure.ClientError
import org.openapitools.client.infrastructure.Serializer
import org.openapitools.client.infrastructure.ServerError
import org.openapitools.client.infrastructure.Success
import org.openapitools.client.models.ErrorResponse
import org.openapitools.client.models.PersonalAccessTokenRenewal

fun Map<String, Any>.text(name: String) = getValue(name) as String

fun Map<String, Any>.number(name: String) = (getValue(name) as Double).toLong()

fun call(c: Map<String, Any>): ApiResponse<out Any?> {
    // snippet
    // OkHttp would send a request again by itself, and a renewal must be sent once.
    val http = OkHttpClient.Builder().retryOnConnectionFailure(false).readTimeout(c.number("timeout"), TimeUnit.SECONDS)
    if (c["by_itself"] == true) http.retryOnConnectionFailure(true)
    val client = http.build()
    ApiClient.accessToken = c.text("key")
    val api = TokenApi(c.text("url"), client)
    if (c["info_first"] == true) api.getTokenInfo()
    return when (c["operation"]) {
        "getTokenInfo" -> api.getTokenInfoWithHttpInfo()
        "renewToken" -> api.renewTokenWithHttpInfo(
            UUID.fromString(c.text("enterprise_id")), UUID.fromString(c.text("developerapp_id")), c.text("key"))
    // end of snippet
        "listPersonalAccessTokens" -> PersonalAccessTokenApi(c.text("url"), client).listPersonalAccessTokensWithHttpInfo()
        "renewPersonalAccessToken" -> PersonalAccessTokenApi(c.text("url"), client).renewPersonalAccessTokenWithHttpInfo(
            UUID.fromString(c.text("token_id")), PersonalAccessTokenRenewal(c.number("expiry_at")))
        else -> throw IllegalArgumentException("no such operation: ${c["operation"]}")
    }
}

val json: Moshi = Serializer.moshi

fun answer(c: Map<String, Any>): Map<String, Any?> {
    try {
        val response = call(c)
        val result = mutableMapOf<String, Any?>("status" to response.statusCode)
        result["retry_after"] = response.headers.entries.find { it.key.equals("Retry-After", ignoreCase = true) }?.value?.first()
        when (response) {
            is Success -> result["value"] = response.data
            is ClientError -> result["error"] = read(response.body)
            is ServerError -> result["error"] = read(response.body)
            else -> result["failure"] = response.toString()
        }
        return result
    } catch (e: Exception) {
        return mapOf("status" to 0, "failure" to e.toString())
    }
}

// The client hands over an error's body as it came; its model says what is in it.
fun read(body: Any?): ErrorResponse? =
    try { json.adapter(ErrorResponse::class.java).fromJson(body as String) } catch (e: Exception) { null }

@OptIn(ExperimentalStdlibApi::class)
fun main() {
    for (line in generateSequence(::readLine)) {
        val result = answer(json.adapter<Map<String, Any>>().fromJson(line)!!)
        val value = result["value"]
        val parts = result.filterKeys { it != "value" && it != "error" }.mapNotNull { (k, v) -> v?.let { "\"$k\":${json.adapter(Any::class.java).toJson(it)}" } }.toMutableList()
        if (value != null) parts += "\"value\":" + json.adapter(value.javaClass).toJson(value)
        result["error"]?.let { parts += "\"error\":" + json.adapter(ErrorResponse::class.java).toJson(it as ErrorResponse) }
        println("{" + parts.joinToString(",") + "}")
        System.out.flush()
    }
}
