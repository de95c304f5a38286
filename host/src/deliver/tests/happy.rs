//! What goes well, in every shape of answer.

use serde_json::json;

use super::server::*;

#[tokio::test]
async fn events_are_taken_in_one_request() {
    let server = Server::start(|_, _| taken()).await;
    let destination = server.destination("flow: f1");
    assert_eq!(deliver(&destination, "a b c").await, ["ok", "ok", "ok"]);
    assert_eq!(server.ids(), ["a b c"]);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/collection/batch/i1");
    for header in [
        "content-type: application/json",
        "x-adobe-flow-id: f1",
        concat!("user-agent: xylem/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(request.head.contains(header), "{}", request.head);
    }
    for header in ["authorization", "referer", "accept-encoding", "content-encoding"] {
        assert!(!request.head.contains(header), "{}", request.head);
    }
    let status = destination.status();
    assert_eq!((status.accepted, status.requests, status.in_flight), (3, 1, 0));
    assert_eq!(status.last_xaction_id.as_deref(), Some("x-c"));
}

#[tokio::test]
async fn one_refused_event_among_500_is_refused_in_every_shape() {
    let shapes: [fn(&str) -> serde_json::Value; 3] = [
        |id| match id {
            "e321" => json!({ "statusCode": 400, "message": "no [e321]" }),
            id => json!({ "xactionId": format!("1565650704337:2124:92:{id}") }),
        },
        |id| match id {
            "e321" => json!({ "status": 400, "xactionId": "9341-321", "message": "no [e321]" }),
            id => json!({ "xactionId": format!("9341-{id}") }),
        },
        |id| match id {
            "e321" => json!({ "status": "400", "message": "no [e321]" }),
            _ => json!({}),
        },
    ];
    for shape in shapes {
        let server = Server::start(move |_, _| Answer::Each(shape)).await;
        let destination = server.destination("");
        let names: Vec<String> = (0..500).map(|i| format!("e{i}")).collect();
        let verdicts = deliver(&destination, &names.join(" ")).await;
        for (i, verdict) in verdicts.iter().enumerate() {
            if i == 321 {
                assert!(
                    verdict.starts_with("aep.refused: AEP answered 400: no [e321]"),
                    "{verdict}"
                );
            } else {
                assert_eq!(verdict, "ok");
            }
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn no_messages_need_no_request() {
    let server = Server::start(|_, _| taken()).await;
    assert!(deliver(&server.destination(""), "").await.is_empty());
    assert!(server.requests().is_empty());
}
