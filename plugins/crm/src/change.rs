//! Change events: what changed, on which records.

use xylem_kit::Event;
use xylem_mapping::{Moment, date::Unit, document::Node, identity};

use crate::{
    Context, Stop,
    entity::{Kind, id18},
    profile::Profile,
    settings::Nulls,
    source::{self, Fields},
};

/// What happened to the records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// They are new.
    Create,
    /// Some of their fields have other values.
    Update,
    /// They are gone.
    Delete,
    /// They are back.
    Undelete,
}

/// The events of a change event: one for each record that changed.
pub(crate) fn events(root: &Node, context: &Context) -> Result<Vec<Event>, Stop> {
    let payload = source::payload(root).ok_or_else(|| source::unknown(root))?;
    let header = payload.child("ChangeEventHeader").ok_or_else(|| source::unknown(root))?;
    let entity = header.text_at("entityName").ok_or_else(|| missing("entityName"))?;
    let change = change(header, entity)?;
    let Some(kind) = Kind::named(entity) else {
        root.leave_out();
        return Err(Stop::Filter(format!(
            "a change of `{}`: accounts, contacts, leads and opportunities are mapped",
            word(entity)
        )));
    };
    if change == Change::Delete && !kind.is_person() && !context.has_tenant() {
        root.leave_out();
        return Err(Stop::Filter(format!(
            "the profile has no field that says that an {entity} was deleted"
        )));
    }
    let mut fields = source::event_fields(payload);
    let diffs: Vec<&Node> = header.items("diffFields").collect();
    let is_diff = |name: &str| diffs.iter().any(|diff| diff.peek() == Some(name));
    fields.retain(|(name, node)| {
        let diff = is_diff(name);
        if diff {
            node.leave_out();
        }
        !diff
    });
    let mut events = Vec::new();
    for record in header.items("recordIds") {
        let id = record.peek().and_then(identity::usable);
        let Some(id) = id else { continue };
        record.text();
        let mut profile = Profile::new(context, kind);
        profile.id(&id18(id));
        profile.fields(&fields, "payload")?;
        marks(&mut profile, header, change, context);
        audit(&mut profile, header, &fields)?;
        nulled(&mut profile, header, kind, context);
        events.push(profile.event(matches!(change, Change::Update | Change::Delete)));
    }
    if events.is_empty() { Err(missing("recordIds")) } else { Ok(events) }
}

/// What happened. A gap says only that something did.
fn change(header: &Node, entity: &str) -> Result<Change, Stop> {
    let kind = header.text_at("changeType").ok_or_else(|| missing("changeType"))?;
    Ok(match kind {
        "CREATE" => Change::Create,
        "UPDATE" => Change::Update,
        "DELETE" => Change::Delete,
        "UNDELETE" => Change::Undelete,
        gap if gap.starts_with("GAP_") => {
            return Err(Stop::Filter(format!(
                "{}: Salesforce says that a record of `{}` changed and not what; read it again",
                word(gap),
                word(entity)
            )));
        }
        _ => {
            let path = "payload.ChangeEventHeader.changeType";
            return Err(Stop::reject("unknown-change", "a kind of change that is not known", path));
        }
    })
}

/// Writes what the header says of the change itself.
fn marks<'n>(profile: &mut Profile<'n>, header: &'n Node, change: Change, context: &Context) {
    if matches!(change, Change::Delete | Change::Undelete) && profile.is_person() {
        profile.entity.set("isDeleted", change == Change::Delete);
    }
    if context.has_tenant() {
        profile.entity.set("_tenant.crm.changeType", header.text_at("changeType"));
        // As text: it may have more digits than AEP's numbers keep.
        profile.entity.set("_tenant.crm.commitNumber", header.text_at("commitNumber"));
        for diff in header.items("diffFields") {
            profile.entity.push("_tenant.crm.diffFields", diff.text());
        }
    }
}

/// Writes when and by whom the record was changed, where its fields do not say it.
fn audit<'n>(profile: &mut Profile<'n>, header: &'n Node, fields: &Fields<'n>) -> Result<(), Stop> {
    let has =
        |name: &str| fields.iter().any(|(field, node)| field == name && node.peek().is_some());
    let time = header.child("commitTimestamp").filter(|_| !has("LastModifiedDate"));
    if let Some(time) = time.and_then(Node::text) {
        let moment = Moment::from_epoch(time, Unit::Milliseconds, None).map_err(|error| {
            let path = "payload.ChangeEventHeader.commitTimestamp";
            Stop::reject("bad-date", format!("the text {error}"), path)
        })?;
        profile.entity.set("extSourceSystemAudit.lastUpdatedDate", moment.to_string());
    }
    if !has("LastModifiedById") {
        let user = header.text_at("commitUser").map(id18);
        profile.entity.set("extSourceSystemAudit.lastUpdatedBy", user);
    }
    Ok(())
}

/// Writes which fields were cleared: as nulls where the settings ask for it, else their names.
fn nulled<'n>(profile: &mut Profile<'n>, header: &'n Node, kind: Kind, context: &Context) {
    for name in header.items("nulledFields") {
        let Some(text) = name.peek() else { continue };
        let of_name = text.strip_prefix("Name.").map(str::to_owned);
        let flat = of_name.unwrap_or_else(|| text.replace("Address.", ""));
        let field = kind.field(&flat).filter(|field| !field.path.is_empty());
        match field {
            Some(field) if context.settings.nulls == Nulls::Unset => {
                name.text();
                profile.entity.unset(field.path);
            }
            _ if context.has_tenant() => {
                profile.entity.push("_tenant.crm.nulledFields", name.text());
            }
            _ => {}
        }
    }
}

/// A name out of the document, if it is one: what is said reaches logs.
fn word(text: &str) -> &str {
    let is =
        text.len() <= 80 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is { text } else { "…" }
}

/// A part of the header is not there.
fn missing(name: &str) -> Stop {
    Stop::reject(
        "incomplete-event",
        format!("`{name}` is missing"),
        format!("payload.ChangeEventHeader.{name}"),
    )
}
