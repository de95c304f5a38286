//! Flow Service: connections make inlets, flows join an inlet to a dataset.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    error,
    objects::{Collection, Objects},
};
use crate::{
    ident,
    settings::{DataType, Inlet},
    state::Shared,
};

/// `POST /connections`, `/sourceConnections`, `/targetConnections` and `/flows`.
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    Json(mut body): Json<Value>,
) -> Response {
    let (Some(collection), true) = (collection(&kind), body.is_object()) else {
        return unknown(&kind);
    };
    let id = ident::uuid();
    let org = headers.get("x-gw-ims-org-id").and_then(|value| value.to_str().ok());
    match collection {
        Collection::Connections => connect(&shared, &id, org, &mut body),
        Collection::Flows => {
            if let Err(missing) = join(&shared, &id, &body) {
                let message = format!("`{missing}` names nothing that exists");
                return error(400, &json!({"errorCode": "CONNECTOR-1001-400", "message": message}));
            }
        }
        _ => {}
    }
    let etag = format!("\"{}\"", ident::uuid());
    let created = ident::now_ms();
    let more = json!({
        "id": id, "etag": etag, "state": "enabled", "createdAt": created, "updatedAt": created,
        "imsOrgId": org, "sandboxName": shared.settings.sandbox,
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut body, more) {
        fields.extend(more);
    }
    shared.objects.add(collection, &id, body);
    (StatusCode::CREATED, Json(json!({"id": id, "etag": etag}))).into_response()
}

/// `GET /connections` and its siblings.
pub(super) async fn list(State(shared): State<Arc<Shared>>, Path(kind): Path<String>) -> Response {
    let Some(collection) = collection(&kind) else { return unknown(&kind) };
    let items: Vec<Value> =
        shared.objects.list(collection).into_iter().map(|object| object.value).collect();
    Json(json!({"items": items})).into_response()
}

/// `GET /connections/{id}` and its siblings: a list of one.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let object = collection(&kind).and_then(|collection| shared.objects.get(collection, &id));
    object.map_or_else(|| unknown(&id), |object| Json(json!({"items": [object]})).into_response())
}

/// `DELETE /flows/{id}` and its siblings.
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let Some(collection) = collection(&kind) else { return unknown(&kind) };
    if !shared.objects.remove(collection, &id) {
        return unknown(&id);
    }
    if collection == Collection::Flows {
        shared.known.remove_flow(&id);
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Makes the inlet of a base connection and writes its URL into the connection's parameters.
fn connect(shared: &Shared, id: &str, org: Option<&str>, body: &mut Value) {
    let name = body.get("name").and_then(Value::as_str).unwrap_or(id).to_owned();
    let params = body.pointer_mut("/auth/params").and_then(Value::as_object_mut);
    let param = |key: &str| params.as_ref().and_then(|params| params.get(key));
    let text = |key: &str| param(key).and_then(Value::as_str);
    let name = text("name").map_or(name, str::to_owned);
    let taken = shared.known.has_inlet(&name);
    let inlet = Inlet {
        name: if taken { format!("{name}-{}", ident::hex_of(id, 8)) } else { name },
        id: Some(ident::inlet(id)),
        org: org.map(str::to_owned),
        authentication_required: param("authenticationRequired") == Some(&json!(true)),
        data_type: if text("dataType") == Some("raw") { DataType::Raw } else { DataType::Xdm },
        source: text("sourceId").map(str::to_owned),
        ..Inlet::default()
    };
    let gate = shared.known.add_inlet(&inlet);
    if let Some(params) = params {
        params.insert("inletId".to_owned(), json!(gate.id));
        params
            .insert("inletUrl".to_owned(), json!(format!("{}/collection/{}", shared.url, gate.id)));
    }
}

/// Registers a flow; the error is the field that names nothing.
fn join(shared: &Shared, id: &str, body: &Value) -> Result<(), &'static str> {
    let first = |field: &str| body.pointer(&format!("/{field}/0")).and_then(Value::as_str);
    let find = |objects: &Objects, kind, named: Option<&str>| objects.get(kind, named?);
    let source = find(&shared.objects, Collection::SourceConnections, first("sourceConnectionIds"));
    source.ok_or("sourceConnectionIds")?;
    let target = find(&shared.objects, Collection::TargetConnections, first("targetConnectionIds"));
    let target = target.ok_or("targetConnectionIds")?;
    let dataset = target.pointer("/params/dataSetId").and_then(Value::as_str);
    shared.known.add_flow(id, dataset.ok_or("targetConnectionIds")?);
    Ok(())
}

fn collection(kind: &str) -> Option<Collection> {
    match kind {
        "connections" => Some(Collection::Connections),
        "sourceConnections" => Some(Collection::SourceConnections),
        "targetConnections" => Some(Collection::TargetConnections),
        "flows" => Some(Collection::Flows),
        _ => None,
    }
}

fn unknown(what: &str) -> Response {
    let message = format!("`{what}` is not known");
    error(404, &json!({"errorCode": "CONNECTOR-1004-404", "message": message}))
}
