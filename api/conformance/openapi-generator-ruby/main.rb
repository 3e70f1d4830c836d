# Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON.

require "json"
require "time"
require "uri"
require "openapi_client"

def answer(call)
  # snippet
  config = OpenapiClient::Configuration.new do |c|
    uri = URI(call["url"])
    c.scheme = uri.scheme
    c.host = "#{uri.host}:#{uri.port}"
    c.base_path = uri.path
    c.access_token = call["key"]
    c.server_index = nil
    c.timeout = call["timeout"]
  end
  # A connection of its own: curl would send a request again by itself if a kept one broke, and a renewal must be sent once.
  Typhoeus.before { |request| request.options[:fresh_connect] = true }
  Typhoeus.before.clear if call["by_itself"]
  client = OpenapiClient::ApiClient.new(config)
  api = OpenapiClient::TokenApi.new(client)
  api.get_token_info if call["info_first"]
  value, status =
    case call["operation"]
    when "getTokenInfo"
      api.get_token_info_with_http_info
    when "renewToken"
      api.renew_token_with_http_info(call["enterprise_id"], call["developerapp_id"], call["key"])
  # end of snippet
    when "listPersonalAccessTokens"
      OpenapiClient::PersonalAccessTokenApi.new(client).list_personal_access_tokens_with_http_info
    when "renewPersonalAccessToken"
      renewal = OpenapiClient::PersonalAccessTokenRenewal.new(expiry_at: call["expiry_at"])
      OpenapiClient::PersonalAccessTokenApi.new(client).renew_personal_access_token_with_http_info(call["token_id"], renewal)
    end
  # The client's own way back to the names of the wire leaves a Time as it is.
  { status: status, value: value.to_hash.transform_values { |v| v.is_a?(Time) ? v.iso8601(6) : v } }
rescue OpenapiClient::ApiError => e
  error = begin
    JSON.parse(e.response_body.to_s) # the client hands over an error's body as it came
  rescue JSON::ParserError
    nil
  end
  { status: e.code.to_i, error: error, retry_after: e.response_headers&.transform_keys(&:downcase)&.[]("retry-after") }
end

$stdout.sync = true
$stdin.each_line do |line|
  result = begin
    answer(JSON.parse(line))
  rescue StandardError => e # whatever the client raises is its answer
    { status: 0, failure: e.message }
  end
  puts JSON.generate(result)
end
