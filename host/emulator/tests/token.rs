//! The token endpoint over HTTP.

use aep_emulator::{Emulator, Fault, Settings};
use serde_json::{Value, json};

use crate::support::*;

const FORM: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", "id"),
    ("client_secret", "secret"),
    ("scope", "openid"),
];

/// A fresh token of client `id`.
pub(crate) async fn token(emulator: &Emulator) -> String {
    let response = client().post(emulator.token_url()).form(&FORM).send().await.unwrap();
    let (status, body) = read(response).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_version_and_encoding_gives_a_token() {
    let emulator = start(Settings::default().with_client("id", "secret"));
    for version in ["v1", "v2", "v3", "v4"] {
        let url = format!("{}/ims/token/{version}", emulator.url());
        let (status, body) = read(client().post(&url).form(&FORM).send().await.unwrap()).await;
        assert_eq!((status, &body["expires_in"]), (200, &json!(86_399)));
        assert_eq!(body["token_type"], "bearer");
    }
    let query = "grant_type=client_credentials&client_id=id&client_secret=secret&scope=openid";
    let url = format!("{}?{query}", emulator.token_url());
    assert_eq!(client().post(url).send().await.unwrap().status(), 200, "all in the query");
    let part = |(name, value): (&str, &str)| {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = FORM.map(part).concat() + "--X--\r\n";
    let multipart = client()
        .post(emulator.token_url())
        .header("content-type", "multipart/form-data; boundary=X")
        .body(body);
    assert_eq!(multipart.send().await.unwrap().status(), 200);
    assert_eq!(emulator.control().summary().tokens.issued, 6);
}

#[tokio::test]
async fn refusals_are_400_with_imss_words() {
    let emulator = start(Settings::default().with_client("id", "secret"));
    let mut wrong = FORM;
    wrong[2].1 = "guess";
    let response = client().post(emulator.token_url()).form(&wrong).send().await.unwrap();
    assert_eq!(
        read(response).await,
        (
            400,
            json!({"error": "invalid_client", "error_description": "invalid client_secret parameter"})
        )
    );
    let response = client().post(emulator.token_url()).form(&FORM[1..]).send().await.unwrap();
    let (status, body) = read(response).await;
    assert_eq!((status, &body["error"]), (400, &json!("unsupported_grant_type")));
}

#[tokio::test]
async fn jwt_exchange_answers_milliseconds_with_and_without_slash() {
    let emulator = start(Settings::default());
    let form = [("client_id", "id"), ("client_secret", "s"), ("jwt_token", "a.b.c")];
    for path in ["/ims/exchange/jwt", "/ims/exchange/jwt/"] {
        let url = format!("{}{path}", emulator.url());
        let (status, body) = read(client().post(url).form(&form).send().await.unwrap()).await;
        assert_eq!((status, &body["expires_in"]), (200, &json!(86_399_992)));
    }
}

#[tokio::test]
async fn the_endpoint_can_be_throttled_and_away() {
    let emulator = start(Settings::default());
    let control = emulator.control();
    let ask = || client().post(emulator.token_url()).form(&FORM).send();
    let throttle = control.fault(Fault::status(429).at_token().times(2));
    for expected in [429, 429, 200] {
        assert_eq!(ask().await.unwrap().status().as_u16(), expected);
    }
    assert_eq!(control.took_effect(throttle), 2);
    let outage = control.fault(Fault::outage(7).at_token());
    let response = ask().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert!(control.clear(outage));
    let (status, body) = read(ask().await.unwrap()).await;
    assert_eq!(status, 200);
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(token.split('.').count(), 3, "the shape of a JWT");
    assert_ne!(body, Value::Null);
}
