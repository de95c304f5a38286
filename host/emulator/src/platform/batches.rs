//! Catalog's list of failed batches, and Data Access to their files.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error;
use crate::{ident, state::Shared};

/// Which batches.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Wanted {
    status: String,
    data_set: Option<String>,
    created_after: u64,
    created_before: u64,
    offset: usize,
    limit: usize,
    order_by: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            status: "failed".to_owned(),
            data_set: None,
            created_after: 0,
            created_before: u64::MAX,
            offset: 0,
            limit: 100,
            order_by: "desc:created".to_owned(),
        }
    }
}

/// `GET /batches?status=failed`: an object from batch id to batch. Only failed ones are known.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let mut batches = shared.failed.list();
    batches.retain(|(_, dataset, created, _)| {
        wanted.status == "failed"
            && wanted.data_set.as_deref().is_none_or(|wanted| wanted == dataset)
            && (wanted.created_after..=wanted.created_before).contains(created)
    });
    if wanted.order_by.starts_with("desc") {
        batches.reverse();
    }
    let page = batches.into_iter().skip(wanted.offset).take(wanted.limit);
    let page: Map<String, Value> = page
        .map(|(id, dataset, created, records)| {
            let batch = json!({
                "status": "failed", "created": created, "updated": created, "imsOrg": shared.settings.org,
                "relatedObjects": [{"type": "dataSet", "id": dataset}],
                "metrics": {"inputRecordCount": records, "outputRecordCount": 0, "failedRecordCount": records},
            });
            (id, batch)
        })
        .collect();
    Json(page).into_response()
}

/// `GET /batches/{id}/failed`: the list of files, or with `path` one of them.
pub(super) async fn failed(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let shape = shared.live().failed_shape;
    let Some(file) = shared.failed.file(&id, shape, &shared.settings.sandbox) else {
        let detail = format!("batch `{id}` is not known");
        return error(404, &json!({"status": 404, "title": "NotFoundError", "detail": detail}));
    };
    let part = format!("part-00000-{}-c000.json", ident::uuid_of(&id));
    match query.get("path").map(String::as_str) {
        Some("_SUCCESS") => String::new().into_response(),
        Some(path) if path == part => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], file).into_response()
        }
        Some(path) => {
            let detail = format!("file `{path}` is not in batch `{id}`");
            error(404, &json!({"status": 404, "title": "NotFoundError", "detail": detail}))
        }
        None => {
            let base = format!("{}/data/foundation/export/batches/{id}/failed?path=", shared.url);
            let entry = |name: &str, length: usize| {
                json!({
                    "name": name, "length": length.to_string(),
                    "_links": {"self": {"href": format!("{base}{name}")}},
                })
            };
            let data = [entry("_SUCCESS", 0), entry(&part, file.len())];
            Json(json!({"data": data, "_page": {"limit": 100, "count": data.len()}}))
                .into_response()
        }
    }
}
