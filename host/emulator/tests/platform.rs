//! The control plane: what a set-up tool does from schema to flow, and what the gateway asks for.

use aep_emulator::{Emulator, Settings};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn the_gateway_asks_for_token_key_and_organisation() {
    let emulator =
        start(Settings { open: false, ..Settings::default() }.with_client("id", "secret"));
    let url = format!("{}/data/foundation/catalog/batches", emulator.url());
    let ask = async |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(client().get(&url), |request, (name, value)| request.header(*name, *value));
        read(request.send().await.unwrap()).await
    };
    assert_eq!(
        ask(&[]).await,
        (403, json!({"error_code": "403010", "message": "Oauth token is missing."}))
    );
    let (status, body) = ask(&[("authorization", "Bearer x")]).await;
    assert_eq!((status, &body["error_code"]), (401, &json!("401013")));
    let bearer = format!("Bearer {}", crate::token::token(&emulator).await);
    let (status, body) = ask(&[("authorization", &bearer)]).await;
    assert_eq!((status, &body["error_code"]), (403, &json!("403000")));
    let (status, body) = ask(&[("authorization", &bearer), ("x-api-key", "id")]).await;
    assert_eq!((status, &body["error_code"]), (400, &json!("400003")));
    let all = [("authorization", bearer.as_str()), ("x-api-key", "id"), ("x-gw-ims-org-id", ORG)];
    assert_eq!(ask(&all).await, (200, json!({})));
}

/// A set-up tool.
struct Tool {
    emulator: Emulator,
    bearer: String,
}

impl Tool {
    async fn call(&self, method: &str, path: &str, body: Value, accept: &str) -> (u16, Value) {
        let url = format!("{}/data/foundation{path}", self.emulator.url());
        let request = client()
            .request(method.parse().unwrap(), url)
            .header("authorization", &self.bearer)
            .header("x-api-key", "id")
            .header("x-gw-ims-org-id", ORG)
            .header("accept", accept)
            .header("content-type", "application/json");
        read(request.body(body.to_string()).send().await.unwrap()).await
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let (status, created) = self.call("POST", path, body, "application/json").await;
        assert_eq!(status, 201, "{created}");
        created
    }

    async fn get(&self, path: &str) -> Value {
        let (status, found) = self.call("GET", path, Value::Null, "application/json").await;
        assert_eq!(status, 200, "{found}");
        found
    }

    /// The `schemaRef` of a new schema.
    async fn schema(&self) -> Value {
        let document =
            json!({"type": "object", "title": "Orders", "properties": {"_id": {"type": "string"}}});
        let schema = self.create("/schemaregistry/tenant/schemas", document.clone()).await;
        assert_eq!(schema["version"], "1.0");
        let (status, _) =
            self.call("POST", "/schemaregistry/tenant/schemas", document, "application/json").await;
        assert_eq!(status, 400, "the title is taken");
        let alt =
            format!("/schemaregistry/tenant/schemas/{}", schema["meta:altId"].as_str().unwrap());
        for (accept, expected) in [
            ("application/json", 406),
            ("application/vnd.adobe.xed-full+json", 400),
            ("application/vnd.adobe.xed-full+json; version=1", 200),
        ] {
            assert_eq!(self.call("GET", &alt, Value::Null, accept).await.0, expected, "{accept}");
        }
        json!({"id": schema["$id"], "contentType": "application/vnd.adobe.xed-full+json;version=1"})
    }

    /// Inlet URL and flow id of a new connection into the dataset.
    async fn flow(&self, dataset: &str) -> (String, String) {
        let connection = json!({"name": "c", "auth": {"specName": "Streaming Connection", "params":
            {"sourceId": "shop", "dataType": "xdm", "name": "orders", "authenticationRequired": false}}});
        let base = self.create("/flowservice/connections", connection).await;
        assert!(base["etag"].is_string());
        let found =
            self.get(&format!("/flowservice/connections/{}", base["id"].as_str().unwrap())).await;
        let params = &found["items"][0]["auth"]["params"];
        assert_eq!(params["inletId"].as_str().unwrap().len(), 64);
        let source = json!({"baseConnectionId": base["id"]});
        let source = self.create("/flowservice/sourceConnections", source).await;
        let target = json!({"params": {"dataSetId": dataset}});
        let target = self.create("/flowservice/targetConnections", target).await;
        let join = |source: &Value| json!({"sourceConnectionIds": [source], "targetConnectionIds": [target["id"]]});
        let (status, _) =
            self.call("POST", "/flowservice/flows", join(&json!("no")), "application/json").await;
        assert_eq!(status, 400);
        let flow = self.create("/flowservice/flows", join(&source["id"])).await;
        (params["inletUrl"].as_str().unwrap().to_owned(), flow["id"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn from_schema_to_flow_and_then_messages_arrive() {
    let settings = Settings { open: false, ..Settings::default() };
    let emulator = start(settings.with_client("id", "secret"));
    let bearer = format!("Bearer {}", crate::token::token(&emulator).await);
    let tool = Tool { emulator, bearer };
    let reference = tool.schema().await;
    let dataset = json!({"name": "orders", "schemaRef": reference});
    let dataset = tool.create("/catalog/dataSets", dataset).await;
    let dataset = dataset[0].as_str().unwrap().strip_prefix("@/dataSets/").unwrap().to_owned();
    assert_eq!(tool.get("/catalog/dataSets?name=orders").await[&dataset]["name"], "orders");
    let (inlet, flow) = tool.flow(&dataset).await;

    let good = json!({
        "header": {"schemaRef": reference, "datasetId": dataset, "imsOrgId": ORG},
        "body": {"xdmMeta": {"schemaRef": reference}, "xdmEntity": {"_id": "1"}},
    });
    assert_eq!(send(&inlet, &good).await.0, 200);
    let raw = format!("{inlet}?x-adobe-flow-id={flow}");
    assert_eq!(send(&raw, &json!({"_id": 2})).await.0, 200);
    let control = tool.emulator.control();
    assert!(control.wait_validated(patience()));
    let entries = control.messages("orders");
    assert_eq!(entries.iter().map(|entry| entry.invalid).collect::<Vec<_>>(), [false, true]);
    assert!(entries.iter().all(|entry| entry.dataset == dataset));

    let path = format!("/flowservice/flows/{flow}");
    assert_eq!(tool.call("DELETE", &path, Value::Null, "application/json").await.0, 204);
    assert_eq!(send(&raw, &json!({"_id": "3"})).await.0, 400, "the flow is gone");
}
