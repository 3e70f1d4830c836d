//! Program of the openapi-generator Rust client: a command a line in, an answer a line out.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use esper::apis::configuration::Configuration;
use esper::apis::{Error, personal_access_token_api, token_api};
use esper::models::{ErrorResponse, PersonalAccessTokenRenewal};
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Command {
    operation: String,
    url: String,
    key: String,
    enterprise_id: String,
    developerapp_id: String,
    token_id: String,
    expiry_at: i64,
    timeout: u64,
    info_first: bool,
}

/// Notes the answer's status and Retry-After: the generated client hides which 2xx it got, and all headers.
#[derive(Clone, Default)]
struct Head(Arc<OnceLock<(u16, Option<String>)>>);

#[async_trait::async_trait]
impl Middleware for Head {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let response = next.run(request, extensions).await?;
        let retry_after = response
            .headers()
            .get("Retry-After")
            .and_then(|v| v.to_str().ok());
        let _ = self
            .0
            .set((response.status().as_u16(), retry_after.map(str::to_owned)));
        Ok(response)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(call(&command))?;
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn call(c: &Command) -> Result<Value, Box<dyn std::error::Error>> {
    let head = Head::default();
    // snippet
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(c.timeout))
        .build()?;
    let config = Configuration {
        base_path: c.url.clone(),
        client: ClientBuilder::new(http).with(head.clone()).build(),
        bearer_access_token: Some(c.key.clone()),
        ..Configuration::default()
    };
    if c.info_first { let _ = token_api::get_token_info(&config).await; }
    let decoded = match c.operation.as_str() {
        "getTokenInfo" => show(token_api::get_token_info(&config).await),
        "renewToken" => show(
            token_api::renew_token(&config, &c.enterprise_id, &c.developerapp_id, &c.key).await,
    // end of snippet
        ),
        "listPersonalAccessTokens" => {
            show(personal_access_token_api::list_personal_access_tokens(&config).await)
        }
        "renewPersonalAccessToken" => show(
            personal_access_token_api::renew_personal_access_token(
                &config,
                &c.token_id,
                PersonalAccessTokenRenewal::new(c.expiry_at),
            )
            .await,
        ),
        other => return Err(format!("no such operation: {other:?}").into()),
    };
    Ok(match (decoded, head.0.get()) {
        (Ok((part, value)), Some((status, retry_after))) => {
            json!({"status": status, part: value, "retry_after": retry_after})
        }
        (Ok(_), None) => json!({"status": 0, "failure": "decoded without an answer"}),
        (Err(failure), _) => json!({"status": 0, "failure": failure}),
    })
}

/// Writes down what was decoded, with the name of its part of the answer.
fn show<T: Serialize, E: Serialize>(
    result: Result<T, Error<E>>,
) -> Result<(&'static str, Value), String> {
    match result {
        Ok(value) => Ok(("value", json!(value))),
        // What the model cannot read ends in the variant UnknownValue, and counts as not read.
        Err(Error::ResponseError(response)) => {
            match serde_json::from_value::<Option<ErrorResponse>>(json!(response.entity)) {
                Ok(error) => Ok(("error", json!(error))),
                Err(e) => Err(format!("status {}: {e}", response.status)),
            }
        }
        Err(other) => Err(other.to_string()),
    }
}
