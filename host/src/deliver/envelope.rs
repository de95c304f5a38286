//! What the host writes around an event. Constant parts are encoded once.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::Message;
use crate::config::{Aep, Destination, Mode};
use crate::fault::{Code, Fault};
use crate::record::Operation;

/// The largest request that AEP documents, read strictly: it says "1 MB" and not which.
pub(super) const REQUEST_CAP: usize = 1_000_000;
/// What stands before the messages of a request.
const OPEN: &[u8] = br#"{"messages":["#;
/// What stands after them.
const CLOSE: &[u8] = b"]}";

/// The parts of a message that are the same for every event of a destination.
pub(super) struct Envelope {
    mode: Mode,
    /// Up to the `msgId` of a created entity; empty in raw mode, where such an entity is sent bare.
    create: Box<str>,
    /// From behind the `msgId` up to the entity.
    create_body: Box<str>,
    /// Up to the `msgId` of an update.
    update: Box<str>,
    /// Up to the `msgId` of a delete.
    delete: Box<str>,
    /// The largest message that fits a request.
    cap: usize,
}

impl Envelope {
    /// The envelope of a destination.
    ///
    /// - `xdm`: header and `xdmMeta` name schema, organisation, dataset, and flow and source where
    ///   the configuration gives them (`aep.md` 1.3).
    /// - `raw`: a created entity is the whole message, and the flow is named by a request header
    ///   (1.4). An update or delete needs `header.operations`, so it is `{header, body}` with the
    ///   entity as the body (1.5); `operations.data` is `merge` or `delete`.
    pub(super) fn new(destination: &Destination, aep: &Aep) -> Self {
        let mut header = Map::new();
        let schema = json!({
            "id": destination.schema.id.as_str(),
            "contentType": format!(
                "application/vnd.adobe.xed-full+json;version={}",
                destination.schema.version
            ),
        });
        if destination.mode == Mode::Xdm {
            header.insert("schemaRef".to_owned(), schema.clone());
        }
        header.insert("imsOrgId".to_owned(), aep.organisation.as_str().into());
        header.insert("datasetId".to_owned(), destination.dataset.as_str().into());
        if let Some(flow) = &destination.flow {
            header.insert("flowId".to_owned(), flow.as_str().into());
        }
        if let Some(source) = &destination.source {
            header.insert("source".to_owned(), json!({ "name": source }));
        }
        let (create, create_body) = match destination.mode {
            Mode::Xdm => {
                let meta = json!({ "schemaRef": schema });
                (open_header(&header), format!(r#""}},"body":{{"xdmMeta":{meta},"xdmEntity":"#))
            }
            Mode::Raw => (String::new(), String::new()),
        };
        let operation = |data: &str| {
            let mut header = header.clone();
            header.insert("operations".to_owned(), json!({ "data": data }));
            open_header(&header).into_boxed_str()
        };
        Self {
            mode: destination.mode,
            create: create.into(),
            create_body: create_body.into(),
            update: operation("merge"),
            delete: operation("delete"),
            cap: REQUEST_CAP.max(destination.batch.max_bytes) - OPEN.len() - CLOSE.len(),
        }
    }

    /// Writes the message of one event: `entity` is a JSON object as text, `msg_id` the host's id.
    pub(super) fn encode(
        &self,
        msg_id: &str,
        entity: &str,
        operation: Operation,
    ) -> Result<Message, Box<Fault>> {
        let msg_id = &*escape(msg_id);
        let parts: [&str; 5] = match (self.mode, operation) {
            (Mode::Xdm, Operation::Create) => {
                [&self.create, msg_id, &self.create_body, entity, "}}"]
            }
            (Mode::Raw, Operation::Create) => ["", "", "", entity, ""],
            (Mode::Raw, Operation::Update) => [&self.update, msg_id, r#""},"body":"#, entity, "}"],
            (Mode::Raw, Operation::Delete) => [&self.delete, msg_id, r#""},"body":"#, entity, "}"],
            (Mode::Xdm, Operation::Update | Operation::Delete) => {
                let message = "an update or delete needs a destination with `mode: raw`";
                return Err(Box::new(Fault::new(Code::PluginOperation, message)));
            }
        };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > self.cap {
            let cap = self.cap;
            let message =
                format!("the message has {length} bytes with its header, {cap} fit a request");
            return Err(Box::new(Fault::new(Code::TooLarge, message)));
        }
        let mut bytes = BytesMut::with_capacity(length);
        for part in parts {
            bytes.put_slice(part.as_bytes());
        }
        Ok(Message { bytes: bytes.freeze() })
    }
}

/// How many bytes a request of these messages has.
pub(super) fn request_length<'a>(messages: impl Iterator<Item = &'a Message>) -> usize {
    let (count, length) =
        messages.fold((0_usize, 0_usize), |(count, length), m| (count + 1, length + m.bytes.len()));
    OPEN.len() + length + count.saturating_sub(1) + CLOSE.len()
}

/// The body of a request of these messages, in their order.
pub(super) fn request_body<'a>(messages: impl Iterator<Item = &'a Message> + Clone) -> Bytes {
    let mut body = BytesMut::with_capacity(request_length(messages.clone()));
    body.put_slice(OPEN);
    for (i, message) in messages.enumerate() {
        if i > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&message.bytes);
    }
    body.put_slice(CLOSE);
    body.freeze()
}

/// `{"header":{…,"msgId":"`.
fn open_header(header: &Map<String, Value>) -> String {
    let header = Value::Object(header.clone()).to_string();
    let header = header.strip_suffix('}').unwrap_or(&header);
    format!(r#"{{"header":{header},"msgId":""#)
}

/// A text as it stands within a JSON string.
fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        return text.into();
    }
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A destination as a configuration gives it.
    pub(in crate::deliver) fn destination(yaml: &str) -> Destination {
        serde_saphyr::from_str(&format!(
            "schema: {{id: 'https://ns.adobe.com/acme/schemas/1', file: s.json}}\ndataset: d1\n{yaml}"
        ))
        .unwrap()
    }

    /// An organisation as a configuration gives it.
    pub(in crate::deliver) fn aep(yaml: &str) -> Aep {
        serde_saphyr::from_str(&format!("organisation: ORG@AdobeOrg\n{yaml}")).unwrap()
    }

    fn parsed(message: &Message) -> Value {
        serde_json::from_slice(&message.bytes).unwrap()
    }

    #[test]
    fn an_xdm_message_has_the_documented_envelope() {
        let config = destination("inlet: x\nflow: f1\nsource: shop \"north\"");
        let envelope = Envelope::new(&config, &aep(""));
        let message =
            envelope.encode("abc:3:17:0", r#"{"_id":"1","n":1.50}"#, Operation::Create).unwrap();
        let schema = json!({
            "id": "https://ns.adobe.com/acme/schemas/1",
            "contentType": "application/vnd.adobe.xed-full+json;version=1",
        });
        let expected = json!({
            "header": {
                "schemaRef": schema, "imsOrgId": "ORG@AdobeOrg", "datasetId": "d1", "flowId": "f1",
                "source": { "name": "shop \"north\"" }, "msgId": "abc:3:17:0",
            },
            "body": { "xdmMeta": { "schemaRef": schema }, "xdmEntity": { "_id": "1", "n": 1.50 } },
        });
        assert_eq!(parsed(&message), expected);
        // The entity's own text is untouched: 1.50 stays 1.50.
        assert!(message.bytes.ends_with(br#""xdmEntity":{"_id":"1","n":1.50}}}"#));
    }

    #[test]
    fn an_id_is_escaped() {
        let envelope = Envelope::new(&destination("inlet: x"), &aep(""));
        let message = envelope.encode("a\"\\\n", "{}", Operation::Create).unwrap();
        assert_eq!(parsed(&message)["header"]["msgId"], "a\"\\\n");
    }

    #[test]
    fn a_raw_message_is_bare_unless_it_has_an_operation() {
        let envelope = Envelope::new(&destination("inlet: x\nmode: raw\nflow: f1"), &aep(""));
        let entity = r#"{"a":1}"#;
        assert_eq!(
            envelope.encode("id", entity, Operation::Create).unwrap().bytes,
            entity.as_bytes()
        );
        for (operation, data) in [(Operation::Update, "merge"), (Operation::Delete, "delete")] {
            let message = envelope.encode("id", entity, operation).unwrap();
            let expected = json!({
                "header": {
                    "imsOrgId": "ORG@AdobeOrg", "datasetId": "d1", "flowId": "f1",
                    "operations": { "data": data }, "msgId": "id",
                },
                "body": { "a": 1 },
            });
            assert_eq!(parsed(&message), expected);
        }
    }

    #[test]
    fn an_operation_at_an_xdm_destination_is_refused() {
        let envelope = Envelope::new(&destination("inlet: x"), &aep(""));
        let fault = envelope.encode("id", "{}", Operation::Delete).unwrap_err();
        assert_eq!(fault.code, Code::PluginOperation);
    }

    #[test]
    fn a_message_fits_a_request_or_is_too_large() {
        let envelope = Envelope::new(&destination("inlet: x\nmode: raw\nflow: f"), &aep(""));
        // 15 bytes of a request are around its messages.
        let entity = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
        let fits = envelope.encode("id", &entity(REQUEST_CAP - 15), Operation::Create).unwrap();
        assert_eq!(request_body([&fits].into_iter()).len(), REQUEST_CAP);
        let fault = envelope.encode("id", &entity(REQUEST_CAP - 14), Operation::Create);
        assert_eq!(fault.unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_request_holds_its_messages_in_order() {
        let messages: Vec<Message> =
            ["{}", "[1]", "2"].map(|m| Message { bytes: Bytes::from_static(m.as_bytes()) }).into();
        let body = request_body(messages.iter());
        assert_eq!(body, r#"{"messages":[{},[1],2]}"#.as_bytes());
        assert_eq!(body.len(), request_length(messages.iter()));
        assert_eq!(request_body([].into_iter()), r#"{"messages":[]}"#.as_bytes());
    }
}
