//! Schema Registry and Catalog's datasets.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{error, objects::Collection};
use crate::{ident, schema::Schema, state::Shared};

/// The tenant that `GET /stats` names and new schemas belong to.
const TENANT: &str = "acme";

/// `GET /stats`.
pub(super) async fn stats() -> Response {
    Json(json!({"tenantId": TENANT})).into_response()
}

/// `POST /tenant/schemas`. What has properties of its own is validated from now on; what only
/// refers to Adobe's library is known by id, since the library is not here.
pub(super) async fn create_schema(
    State(shared): State<Arc<Shared>>,
    Json(mut body): Json<Value>,
) -> Response {
    let title = body.get("title").cloned().unwrap_or_default();
    let known = shared.objects.list(Collection::Schemas);
    if title.is_null() || known.iter().any(|object| object.value.get("title") == Some(&title)) {
        let detail = format!("title {title} is missing or taken");
        return problem(400, "BadRequestError", &detail);
    }
    let hash = ident::hex_of(&ident::uuid(), 32);
    let id = format!("https://ns.adobe.com/{TENANT}/schemas/{hash}");
    if let Some(fields) = body.as_object_mut() {
        fields.insert("$id".to_owned(), json!(id));
        fields.insert("meta:altId".to_owned(), json!(format!("_{TENANT}.schemas.{hash}")));
        fields.insert("version".to_owned(), json!("1.0"));
    }
    if body.get("properties").is_some() {
        match Schema::new(&body) {
            Ok(schema) => shared.validator.add(&id, schema),
            Err(fault) => return problem(400, "BadRequestError", &fault.to_string()),
        }
    }
    shared.known.add_schema(&id);
    shared.objects.add(Collection::Schemas, &id, body.clone());
    (StatusCode::CREATED, Json(body)).into_response()
}

/// `GET /tenant/schemas`.
pub(super) async fn list_schemas(State(shared): State<Arc<Shared>>) -> Response {
    let schemas = shared.objects.list(Collection::Schemas);
    let results: Vec<Value> = schemas
        .iter()
        .map(|schema| {
            let field = |key: &str| schema.value.get(key);
            json!({
                "$id": schema.id, "meta:altId": field("meta:altId"), "version": field("version"),
                "title": field("title"),
            })
        })
        .collect();
    let count = results.len();
    Json(json!({"results": results, "_page": {"orderby": "updated", "next": null, "count": count}}))
        .into_response()
}

/// `GET /tenant/schemas/{id}`, by `$id` or `meta:altId`, in whatever form it was loaded.
pub(super) async fn schema(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let accept =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.starts_with("application/vnd.adobe.xed") {
        return problem(
            406,
            "NotAcceptableError",
            "Accept must be one of application/vnd.adobe.xed…+json",
        );
    }
    if !accept.contains("version=") {
        return problem(
            400,
            "BadRequestError",
            "Accept must name a version, such as `; version=1`",
        );
    }
    let schemas = shared.objects.list(Collection::Schemas);
    let is = |value: Option<&Value>| value.and_then(Value::as_str) == Some(id.as_str());
    let found =
        schemas.into_iter().find(|object| object.id == id || is(object.value.get("meta:altId")));
    match found {
        Some(object) => Json(object.value).into_response(),
        None => problem(404, "NotFoundError", &format!("schema `{id}` is not known")),
    }
}

/// `POST /tenant/descriptors`. Kept, and without effect on validation.
pub(super) async fn create_descriptor(
    State(shared): State<Arc<Shared>>,
    Json(mut body): Json<Value>,
) -> Response {
    let id = ident::hex_of(&ident::uuid(), 40);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("@id".to_owned(), json!(id));
    }
    shared.objects.add(Collection::Descriptors, &id, body.clone());
    (StatusCode::CREATED, Json(body)).into_response()
}

/// `POST /dataSets`.
pub(super) async fn create_dataset(
    State(shared): State<Arc<Shared>>,
    Json(body): Json<Value>,
) -> Response {
    let schema = body.pointer("/schemaRef/id").and_then(Value::as_str);
    if schema.is_some_and(|id| !shared.known.is_open() && !shared.known.read().has_schema(id)) {
        return problem(400, "BadRequestError", "`schemaRef.id` names no schema that exists");
    }
    let id = ident::hex_of(&ident::uuid(), 24);
    shared.known.add_dataset(&id, schema);
    shared.objects.add(Collection::DataSets, &id, body);
    (StatusCode::CREATED, Json(json!([format!("@/dataSets/{id}")]))).into_response()
}

/// `GET /dataSets?name=`.
pub(super) async fn list_datasets(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let named = |value: &Value| {
        let wanted = query.get("name").map(String::as_str);
        wanted.is_none() || value.get("name").and_then(Value::as_str) == wanted
    };
    let datasets = shared.objects.list(Collection::DataSets).into_iter();
    let wanted = datasets.filter(|object| named(&object.value));
    Json(wanted.map(|object| (object.id, object.value)).collect::<Map<_, _>>()).into_response()
}

/// `GET /dataSets/{id}`.
pub(super) async fn dataset(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match shared.objects.get(Collection::DataSets, &id) {
        Some(value) => Json(Map::from_iter([(id, value)])).into_response(),
        None => problem(404, "NotFoundError", &format!("dataset `{id}` is not known")),
    }
}

fn problem(status: u16, title: &str, detail: &str) -> Response {
    let kind = format!("http://ns.adobe.com/aep/errors/{title}");
    error(status, &json!({"type": kind, "status": status, "title": title, "detail": detail}))
}
