//! Rows of Data Loader: one record of Salesforce each.

use xylem_kit::Event;
use xylem_mapping::{document::Node, identity};

use crate::{
    Context, Stop,
    entity::{Kind, id18},
    profile::Profile,
    source::{self, Fields},
};

/// The events of rows: one for each row that holds anything.
pub(crate) fn events(rows: &Node, context: &Context) -> Result<Vec<Event>, Stop> {
    let mut events = Vec::new();
    for (index, row) in rows.children().iter().enumerate() {
        let fields = source::row_fields(row, &context.derived);
        if fields.iter().all(|(_, cell)| cell.peek().is_none()) {
            continue;
        }
        let path = format!("rows[{index}]");
        let kind = kind(&fields, context, &path)?;
        let mut profile = Profile::new(context, kind);
        let id = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Id"));
        let id =
            id.and_then(|(_, cell)| identity::usable(cell.peek()?).map(|text| (*cell, id18(text))));
        if let Some((cell, id)) = &id {
            cell.text();
            profile.id(id);
        }
        let others: Fields<'_> =
            fields.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Id")).collect();
        profile.fields(&others, &path)?;
        if profile.entity.is_empty() {
            return Err(Stop::reject(
                "nothing-to-map",
                "no column of the row has a place in a profile, and no `tenant` takes the others in",
                path,
            ));
        }
        // An empty cell of Data Loader leaves the field of a record that exists as it is.
        events.push(profile.event(id.is_some()));
    }
    if events.is_empty() {
        return Err(Stop::Filter("no row holds anything".to_owned()));
    }
    Ok(events)
}

/// What a row is: by its id, else by its columns, else by the settings.
fn kind(fields: &Fields<'_>, context: &Context, path: &str) -> Result<Kind, Stop> {
    let id = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Id"));
    if let Some(id) = id.and_then(|(_, cell)| cell.peek()) {
        if !is_salesforce_id(id) {
            let what = "the id does not have the 15 or 18 letters and digits of a Salesforce id; map \
                        rows of other systems with the csv plugin";
            return Err(Stop::reject("bad-id", what, format!("{path}.Id")));
        }
        let what = "the id belongs to none of accounts, contacts, leads and opportunities";
        return Kind::of_id(id)
            .ok_or_else(|| Stop::reject("unknown-entity", what, format!("{path}.Id")));
    }
    Kind::of_columns(fields.iter().map(|(name, _)| name.as_ref()))
        .or(context.settings.entity)
        .ok_or_else(|| {
            Stop::reject(
                "unknown-entity",
                "neither the row's id nor its columns say whether it is an account, contact, lead or \
                 opportunity: set `entity` in the plugin's settings",
                path,
            )
        })
}

/// Whether a text has the form of a Salesforce id.
fn is_salesforce_id(id: &str) -> bool {
    matches!(id.len(), 15 | 18) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
