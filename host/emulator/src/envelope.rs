//! What AEP adds to the header of a message that it accepted.

use serde_json::{Map, Value, json};

use crate::{ident, lake::Arrival};

/// The header as messages downstream carry it: what came, completed. `processed_ms` is the time
/// of the validator, 0 for none.
pub(crate) fn header(
    came: &[u8],
    arrival: &Arrival,
    index: u32,
    processed_ms: u64,
    sandbox: &str,
) -> Value {
    let mut header: Map<String, Value> = serde_json::from_slice(came).unwrap_or_default();
    let gate = &arrival.gate;
    let xaction = arrival.xaction(index);
    if let Some(org) = &gate.org {
        header.entry("imsOrgId").or_insert_with(|| json!(org));
    }
    if let Some(flow) = &arrival.flow {
        header.entry("flowId").or_insert_with(|| json!(flow));
    }
    header.entry("source").or_insert_with(|| json!({"name": gate.source}));
    header.entry("msgId").or_insert_with(|| json!(xaction));
    header.entry("msgVersion").or_insert_with(|| json!("1.0"));
    header.insert("xactionId".to_owned(), json!(xaction));
    header.insert("sandboxId".to_owned(), json!(ident::uuid_of(sandbox)));
    header.insert("sandboxName".to_owned(), json!(sandbox));
    header.insert("originalTimestamp".to_owned(), json!(arrival.received_ms));
    header.insert(
        "traceContext".to_owned(),
        json!({"traceId": ident::hex_of(&xaction, 32), "spanId": ident::hex_of(&xaction, 16), "isSampled": 1.0}),
    );
    header.insert(
        "_dcsMeta".to_owned(),
        json!({"inletId": gate.id, "authenticatedRequest": arrival.authenticated, "debug": false}),
    );
    if processed_ms > 0 {
        header.insert("_dcvsMeta".to_owned(), json!({"processingTimestamp": processed_ms}));
    }
    Value::Object(header)
}
