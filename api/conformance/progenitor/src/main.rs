//! Calls the API as each line of standard input says, with the generated client, and answers with a line of JSON.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

progenitor::generate_api!("openapi.yaml");

#[derive(serde::Deserialize)]
struct Call {
    operation: String,
    url: String,
    key: String,
    enterprise_id: uuid::Uuid,
    developerapp_id: uuid::Uuid,
    token_id: uuid::Uuid,
    expiry_at: i64,
    timeout: u64,
    info_first: bool,
}

async fn answer(call: &Call) -> Result<Value, Box<dyn std::error::Error>> {
    // snippet
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("Authorization", format!("Bearer {}", call.key).parse()?);
    let timeout = std::time::Duration::from_secs(call.timeout);
    let http = reqwest::Client::builder().default_headers(headers).timeout(timeout).build()?;
    let client = Client::new_with_client(&call.url, http);
    if call.info_first { let _ = client.get_token_info().await; }
    if call.operation == "getTokenInfo" {
        return show(client.get_token_info().await);
    // end of snippet
    }
    match call.operation.as_str() {
        "renewToken" => show(client.renew_token(&call.enterprise_id, &call.developerapp_id, &call.key).await),
        "listPersonalAccessTokens" => show(client.list_personal_access_tokens().await),
        "renewPersonalAccessToken" => {
            let renewal = types::PersonalAccessTokenRenewal { expiry_at: call.expiry_at };
            show(client.renew_personal_access_token(&call.token_id, &renewal).await)
        }
        other => Err(format!("no such operation: {other:?}").into()),
    }
}

fn show<T: serde::Serialize>(
    result: Result<ResponseValue<T>, Error<types::ErrorResponse>>,
) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(match result {
        Ok(r) => json!({"status": r.status().as_u16(), "value": r.into_inner()}),
        Err(Error::ErrorResponse(r)) => {
            let retry_after = r.headers().get("Retry-After").and_then(|v| v.to_str().ok()).map(str::to_owned);
            json!({"status": r.status().as_u16(), "retry_after": retry_after, "error": r.into_inner()})
        }
        Err(e) => json!({"status": e.status().map_or(0, |s| s.as_u16()), "failure": e.to_string()}),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let call = serde_json::from_str(&line?)?;
        writeln!(out, "{}", runtime.block_on(answer(&call))?)?;
        out.flush()?;
    }
    Ok(())
}
