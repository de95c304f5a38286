//! A client and messages.

use std::{sync::Once, time::Duration};

use aep_emulator::{Emulator, Settings};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

pub(crate) const ORG: &str = "5C1328435BF324E90A49402A@AdobeOrg";
pub(crate) const SCHEMA: &str = "https://ns.adobe.com/acme/schemas/orders";
pub(crate) const DATASET: &str = "5da9452f7de80400007jc52a";

/// How long to wait for what should be there at once; `XYLEM_TEST_PATIENCE` is a factor.
pub(crate) fn patience() -> Duration {
    let factor = std::env::var_os("XYLEM_TEST_PATIENCE");
    let factor = factor.and_then(|text| text.to_str()?.parse::<f64>().ok()).unwrap_or(1.0);
    Duration::from_secs(20).mul_f64(factor.max(1.0))
}

pub(crate) fn start(settings: Settings) -> Emulator {
    Emulator::start(settings).unwrap()
}

pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
    Client::builder().timeout(patience()).no_proxy().build().unwrap()
}

/// A request with a JSON body.
pub(crate) fn post(url: &str, body: &Value) -> RequestBuilder {
    client().post(url).header("content-type", "application/json").body(body.to_string())
}

/// Status and body, parsed where it is JSON, else as text.
pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) async fn send(url: &str, body: &Value) -> (u16, Value) {
    read(post(url, body).send().await.unwrap()).await
}

pub(crate) async fn get(url: &str) -> (u16, Value) {
    read(client().get(url).send().await.unwrap()).await
}

/// A message as `aep.md` 1.3 prints it.
pub(crate) fn message(msg_id: &str, entity: &Value) -> Value {
    let schema =
        json!({"id": SCHEMA, "contentType": "application/vnd.adobe.xed-full+json;version=1"});
    json!({
        "header": {
            "schemaRef": schema, "imsOrgId": ORG, "datasetId": DATASET, "msgId": msg_id,
            "source": {"name": "test"},
        },
        "body": {"xdmMeta": {"schemaRef": schema}, "xdmEntity": entity},
    })
}

/// A message of no interest.
pub(crate) fn plain(msg_id: &str) -> Value {
    message(msg_id, &json!({"_id": msg_id, "timestamp": "2026-01-02T03:04:05Z"}))
}

pub(crate) fn batch(messages: &[Value]) -> Value {
    json!({"messages": messages})
}

/// Messages `m0`, `m1`, …
pub(crate) fn plain_batch(count: usize) -> Value {
    batch(&(0..count).map(|index| plain(&format!("m{index}"))).collect::<Vec<_>>())
}
