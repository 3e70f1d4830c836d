<?php
// Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON.

require_once 'GuzzleHttp/autoload.php'; // the package of the distribution
spl_autoload_register(function (string $class): void {
    if (str_starts_with($class, 'OpenAPI\\Client\\')) {
        require __DIR__ . '/esper/lib/' . str_replace('\\', '/', substr($class, strlen('OpenAPI\\Client\\'))) . '.php';
    }
});

use OpenAPI\Client\Api\PersonalAccessTokenApi;
use OpenAPI\Client\Api\TokenApi;
use OpenAPI\Client\ApiException;
use OpenAPI\Client\Configuration;
use OpenAPI\Client\Model\PersonalAccessTokenRenewal;
use OpenAPI\Client\ObjectSerializer;

function answer(object $call): array
{
    // snippet
    $config = (new Configuration())->setHost($call->url)->setAccessToken($call->key);
    // A connection of its own: curl would send a request again by itself if a kept one broke, and a renewal must be sent once.
    $http = new GuzzleHttp\Client(['timeout' => $call->timeout, 'curl' => [CURLOPT_FRESH_CONNECT => true]]);
    $http = $call->by_itself ? new GuzzleHttp\Client(['timeout' => $call->timeout]) : $http;
    $api = new TokenApi($http, $config);
    try {
        $call->info_first && $api->getTokenInfo();
        [$value, $status] = match ($call->operation) {
            'getTokenInfo' => $api->getTokenInfoWithHttpInfo(),
            'renewToken' => $api->renewTokenWithHttpInfo($call->enterprise_id, $call->developerapp_id, $call->key),
    // end of snippet
            'listPersonalAccessTokens' => (new PersonalAccessTokenApi($http, $config))->listPersonalAccessTokensWithHttpInfo(),
            'renewPersonalAccessToken' => (new PersonalAccessTokenApi($http, $config))->renewPersonalAccessTokenWithHttpInfo(
                $call->token_id,
                new PersonalAccessTokenRenewal(['expiry_at' => $call->expiry_at])
            ),
        };
        return ['status' => $status, 'value' => ObjectSerializer::sanitizeForSerialization($value)];
    } catch (ApiException $e) {
        $headers = array_change_key_case($e->getResponseHeaders() ?? []);
        return [
            'status' => $e->getCode(),
            'error' => $e->getResponseObject() ? ObjectSerializer::sanitizeForSerialization($e->getResponseObject()) : null,
            'retry_after' => $headers['retry-after'][0] ?? null,
        ];
    }
}

ObjectSerializer::setDateTimeFormat('Y-m-d\TH:i:s.uP'); // with microseconds
while (($line = fgets(STDIN)) !== false) {
    try {
        $result = answer(json_decode($line));
    } catch (Throwable $e) { // whatever the client throws is its answer
        $result = ['status' => 0, 'failure' => $e->getMessage()];
    }
    echo json_encode($result), "\n";
}
