//! What is checked of a message before it is accepted: the envelope, never the entity's contents.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    known::{Gate, Tables},
    settings::DataType,
};

/// The dataset of messages that name none at an open emulator.
pub(crate) const NO_DATASET: &str = "auto";

/// What the checks compare with.
pub(crate) struct Rules<'a> {
    /// The inlet.
    pub(crate) gate: &'a Gate,
    /// Datasets, flows and schemas.
    pub(crate) tables: &'a Tables,
    /// Whether what is not listed is accepted.
    pub(crate) open: bool,
    /// Whether `operations` is accepted in the XDM form.
    pub(crate) operations_in_xdm: bool,
    /// The flow of the request, when it names a known one.
    pub(crate) flow: Option<FlowRef<'a>>,
}

/// A flow that the request names.
pub(crate) struct FlowRef<'a> {
    /// Where its messages go.
    pub(crate) dataset: Cow<'a, str>,
    /// Whether the flow is listed, so that its dataset is not a guess.
    pub(crate) listed: bool,
}

/// A message that passed.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    /// `header.msgId`.
    pub(crate) msg_id: Option<Cow<'a, str>>,
    /// `_id` of the entity.
    pub(crate) entity_id: Option<Cow<'a, str>>,
    /// The header as it came.
    pub(crate) header: Option<&'a str>,
    /// The entity as it came; none where `body.xdmEntity` is missing, which the validator reports.
    pub(crate) entity: Option<&'a str>,
    /// Where it goes.
    pub(crate) dataset: Cow<'a, str>,
    /// The schema that it is held against.
    pub(crate) schema: Option<Cow<'a, str>>,
    /// A merge or delete: `required` does not hold.
    pub(crate) partial: bool,
}

/// Why a message did not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// No header.
    NoHeader,
    /// Anything wrong with body, schema or dataset.
    UnknownFormat,
    /// Another organisation's message.
    WrongOrg,
    /// `operations` in a message of the XDM form.
    Operations,
}

/// Text that borrows where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    header: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    schema_ref: Option<SchemaRef<'a>>,
    #[serde(borrow)]
    ims_org_id: Option<Text<'a>>,
    #[serde(borrow)]
    dataset_id: Option<Text<'a>>,
    #[serde(borrow)]
    msg_id: Option<Text<'a>>,
    #[serde(borrow)]
    operations: Option<Operations<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaRef<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    content_type: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Operations<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    xdm_meta: Option<Meta<'a>>,
    #[serde(borrow)]
    xdm_entity: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    schema_ref: Option<SchemaRef<'a>>,
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<Text<'a>>,
}

impl Refusal {
    /// AEP's text.
    pub(crate) fn text(self, inlet: &str, org: &str) -> String {
        let what = match self {
            Self::NoHeader => {
                return "The 'header' field is mandatory. Provide a valid 'header' value and try again."
                    .to_owned();
            }
            Self::UnknownFormat => "Message has unknown xdm format",
            Self::WrongOrg => "Message has an absent or wrong ims org in the header",
            Self::Operations => "Message has operations, which only a raw dataflow takes",
        };
        format!("inletId: [{inlet}] imsOrgId: [{org}] {what}")
    }
}

/// Checks one message.
pub(crate) fn check<'a>(message: &'a RawValue, rules: &Rules<'a>) -> Result<Passed<'a>, Refusal> {
    let raw = rules.flow.is_some();
    if !is_object(message) {
        return Err(if raw { Refusal::UnknownFormat } else { Refusal::NoHeader });
    }
    let envelope: Envelope<'a> = parse(message)?;
    let header = envelope.header.filter(|header| is_object(header));
    let body = envelope.body.filter(|body| is_object(body));
    match (header, body, &rules.flow) {
        (Some(header), Some(body), _) => enveloped(header, body, rules),
        (_, _, Some(flow)) => bare(message, flow, rules),
        (None, _, None) => Err(Refusal::NoHeader),
        (Some(_), None, None) => Err(Refusal::UnknownFormat),
    }
}

/// The entity alone, as a raw flow takes it.
fn bare<'a>(
    message: &'a RawValue,
    flow: &FlowRef<'a>,
    rules: &Rules<'a>,
) -> Result<Passed<'a>, Refusal> {
    let schema = rules.tables.schema_of(&flow.dataset).map(Cow::Borrowed);
    let passed = Passed {
        msg_id: None,
        entity_id: entity_id(message),
        header: None,
        entity: Some(message.get()),
        dataset: flow.dataset.clone(),
        schema,
        partial: false,
    };
    if rules.gate.takes_dataset(&passed.dataset) { Ok(passed) } else { Err(Refusal::UnknownFormat) }
}

fn enveloped<'a>(
    header_text: &'a RawValue,
    body_text: &'a RawValue,
    rules: &Rules<'a>,
) -> Result<Passed<'a>, Refusal> {
    let header: Header<'a> = parse(header_text)?;
    let body: Body<'a> = parse(body_text)?;
    let foreign = |org: &Text<'_>| rules.gate.org.as_deref().is_some_and(|own| own != org.0);
    if header.ims_org_id.as_ref().is_some_and(foreign) {
        return Err(Refusal::WrongOrg);
    }
    let is_xdm = body.xdm_entity.is_some() || body.xdm_meta.is_some() || rules.flow.is_none();
    if is_xdm && header.operations.is_some() && !rules.operations_in_xdm {
        return Err(Refusal::Operations);
    }
    let meta = body.xdm_meta.and_then(|meta| meta.schema_ref);
    agree(header.schema_ref.as_ref(), meta.as_ref(), rules)?;
    let dataset = dataset(header.dataset_id, rules)?;
    let schema = header.schema_ref.and_then(|schema| schema.id).map(|id| id.0);
    let schema = schema_of(schema, &dataset, rules)?;
    let operation = header.operations.and_then(|operations| operations.data);
    let entity = if is_xdm { body.xdm_entity } else { Some(body_text) };
    Ok(Passed {
        msg_id: header.msg_id.map(|id| id.0),
        entity_id: entity.and_then(entity_id),
        header: Some(header_text.get()),
        entity: entity.map(RawValue::get),
        dataset,
        schema,
        partial: operation.is_some_and(|operation| matches!(&*operation.0, "merge" | "delete")),
    })
}

/// The two schema references must both be there and equal; under a flow they may be missing.
fn agree(
    header: Option<&SchemaRef<'_>>,
    meta: Option<&SchemaRef<'_>>,
    rules: &Rules<'_>,
) -> Result<(), Refusal> {
    match (header, meta) {
        (Some(header), Some(meta)) if same(header, meta) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::UnknownFormat),
        _ if rules.flow.is_some() => Ok(()),
        _ => Err(Refusal::UnknownFormat),
    }
}

fn same(left: &SchemaRef<'_>, right: &SchemaRef<'_>) -> bool {
    let (Some(left_id), Some(right_id)) = (&left.id, &right.id) else { return false };
    left_id.0 == right_id.0
        && match (&left.content_type, &right.content_type) {
            (Some(left), Some(right)) => {
                left.0 == right.0 || normalised(&left.0) == normalised(&right.0)
            }
            (None, None) => true,
            _ => false,
        }
}

/// A content type without blanks, and its version without the minor part.
fn normalised(content_type: &str) -> String {
    let text: String = content_type.chars().filter(|letter| !letter.is_whitespace()).collect();
    match text.split_once("version=") {
        Some((before, version)) => {
            let major = version.split('.').next().unwrap_or(version);
            format!("{before}version={major}")
        }
        None => text,
    }
}

fn dataset<'a>(header: Option<Text<'a>>, rules: &Rules<'a>) -> Result<Cow<'a, str>, Refusal> {
    let named = header.map(|id| id.0);
    let dataset = match (&rules.flow, named) {
        (Some(flow), Some(named)) if flow.listed && flow.dataset != named => {
            return Err(Refusal::UnknownFormat);
        }
        (Some(flow), Some(_)) if flow.listed => flow.dataset.clone(),
        (_, Some(named)) => named,
        (Some(flow), None) => flow.dataset.clone(),
        (None, None) if rules.open => Cow::Borrowed(NO_DATASET),
        (None, None) => return Err(Refusal::UnknownFormat),
    };
    let known = rules.open || rules.tables.has_dataset(&dataset);
    if known && rules.gate.takes_dataset(&dataset) {
        Ok(dataset)
    } else {
        Err(Refusal::UnknownFormat)
    }
}

/// The schema of the message, which must be known and that of the dataset.
fn schema_of<'a>(
    named: Option<Cow<'a, str>>,
    dataset: &str,
    rules: &Rules<'a>,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let own = rules.tables.schema_of(dataset);
    match (named, own) {
        (Some(named), Some(own)) if named != own => Err(Refusal::UnknownFormat),
        (Some(named), _) if !rules.gate.takes_schema(&named) => Err(Refusal::UnknownFormat),
        (Some(named), _) if rules.open || rules.tables.has_schema(&named) => Ok(Some(named)),
        (None, own) if rules.flow.is_some() => Ok(own.map(Cow::Borrowed)),
        _ => Err(Refusal::UnknownFormat),
    }
}

fn entity_id(entity: &RawValue) -> Option<Cow<'_, str>> {
    if !is_object(entity) {
        return None;
    }
    serde_json::from_str::<Id<'_>>(entity.get()).ok()?.id.map(|id| id.0)
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(value.get()).map_err(|_| Refusal::UnknownFormat)
}

/// The flow of a request, by `x-adobe-flow-id`. An unknown one counts only at an open emulator,
/// where its dataset is the one of `x-adobe-dataset-id` or, failing that, bears the flow's id.
pub(crate) fn flow<'a>(
    id: Option<&'a str>,
    dataset_header: Option<&'a str>,
    gate: &Gate,
    tables: &'a Tables,
    open: bool,
) -> Option<FlowRef<'a>> {
    let listed = id.and_then(|id| tables.flow(id));
    match (id, listed) {
        (Some(id), Some(dataset)) if gate.takes_flow(id) => {
            Some(FlowRef { dataset: Cow::Borrowed(dataset), listed: true })
        }
        (Some(id), None) if open && gate.takes_flow(id) => {
            Some(FlowRef { dataset: Cow::Borrowed(dataset_header.unwrap_or(id)), listed: false })
        }
        (None, _) if open && gate.data_type == DataType::Raw => Some(FlowRef {
            dataset: Cow::Borrowed(dataset_header.unwrap_or(NO_DATASET)),
            listed: false,
        }),
        _ => None,
    }
}
