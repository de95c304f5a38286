//! Documents into records of Salesforce: change events and rows.

use std::borrow::Cow;

use xylem_mapping::{
    document::{Kind as Shape, MAX_VALUES, Names, Node},
    rows::{Dialect, Rows},
};

use crate::{
    Stop,
    settings::{Derived, Settings},
};

/// The name of the root of rows; JSON documents have none.
pub(crate) const ROWS: &str = "rows";

/// The separators that a header is searched for, most usual first.
const SEPARATORS: [u8; 5] = [b',', b';', b'\t', b'|', b'!'];

/// A field of a record: Salesforce's name and the leaf that holds its value.
pub(crate) type Fields<'n> = Vec<(Cow<'n, str>, &'n Node)>;

/// Reads rows into a tree: a list of objects from column to cell.
pub(crate) fn read_rows(text: &str, settings: &Settings, derived: &Derived) -> Result<Node, Stop> {
    let delimiter = derived.separator.unwrap_or_else(|| separator(text));
    let mut rows = Rows::new(text, Dialect { delimiter, ..Dialect::default() });
    let mut cells = Vec::new();
    let mut names = Names::default();
    let mut columns: Vec<String> = settings.columns.clone();
    if columns.is_empty() {
        if !read(&mut rows, &mut cells)? {
            return Err(Stop::Filter("the record is empty".to_owned()));
        }
        columns = cells.iter().map(|cell| cell.trim().to_owned()).collect();
    }
    check(&columns)?;
    let mut list = Node::new(names.get(ROWS), Shape::Array, "");
    let mut values = 0;
    while read(&mut rows, &mut cells)? {
        if cells.len() != columns.len() {
            return Err(Stop::reject(
                "ragged-row",
                format!("the row has {} cells, the header {}", cells.len(), columns.len()),
                format!("row {}", rows.number()),
            ));
        }
        values += cells.len() + 1;
        if values > MAX_VALUES {
            return Err(Stop::reject("too-large", format!("more than {MAX_VALUES} cells"), ""));
        }
        let mut row = Node::new(names.get(xylem_mapping::document::ITEM), Shape::Object, "");
        for (column, cell) in columns.iter().zip(&cells) {
            row.push(Node::new(names.get(column), Shape::Text, cell.as_ref()));
        }
        list.push(row);
    }
    Ok(list)
}

/// The next row.
fn read<'t>(rows: &mut Rows<'t>, cells: &mut Vec<Cow<'t, str>>) -> Result<bool, Stop> {
    rows.read(cells).map_err(|error| Stop::reject("bad-csv", error.to_string(), ""))
}

/// A header must name each column once.
fn check(columns: &[String]) -> Result<(), Stop> {
    for (index, column) in columns.iter().enumerate() {
        let again = columns.iter().take(index).any(|other| other.eq_ignore_ascii_case(column));
        if column.is_empty() || again {
            let what = if again { "a name that stands twice" } else { "no name" };
            return Err(Stop::reject("bad-header", format!("column {} has {what}", index + 1), ""));
        }
    }
    Ok(())
}

/// What stands between the cells of the first line.
fn separator(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default().as_bytes();
    SEPARATORS.into_iter().find(|separator| line.contains(separator)).unwrap_or(b',')
}

/// The fields of a row, under Salesforce's names.
pub(crate) fn row_fields<'n>(row: &'n Node, derived: &'n Derived) -> Fields<'n> {
    let name = |column: &'n str| {
        let known = derived.fields.get(&column.to_ascii_lowercase());
        known.map_or(Cow::Borrowed(column), |field| Cow::Borrowed(field.as_str()))
    };
    row.children().iter().map(|cell| (name(cell.name()), cell)).collect()
}

/// The payload of a change event: below `data` as the streaming interface sends it, below `payload`
/// as connectors pass it on, or the document itself as the Pub/Sub interface decodes it.
pub(crate) fn payload(root: &Node) -> Option<&Node> {
    let places =
        [root.at("data.payload"), root.at("event.payload"), root.at("payload"), Some(root)];
    places.into_iter().flatten().find(|node| node.child("ChangeEventHeader").is_some())
}

/// The fields of a change event, compound ones taken apart: `Name.FirstName` is `FirstName`,
/// `MailingAddress.City` is `MailingCity`.
pub(crate) fn event_fields(payload: &Node) -> Fields<'_> {
    let mut fields = Vec::new();
    for member in payload.children().iter().filter(|member| member.name() != "ChangeEventHeader") {
        let value = unwrapped(member);
        if value.kind() != Shape::Object {
            fields.push((Cow::Borrowed(member.name()), value));
            continue;
        }
        let prefix = match member.name() {
            "Name" => Some(""),
            name => name.strip_suffix("Address"),
        };
        for part in value.children() {
            let name = match prefix {
                Some(prefix) => format!("{prefix}{}", part.name()),
                None => format!("{}.{}", member.name(), part.name()),
            };
            fields.push((Cow::Owned(name), unwrapped(part)));
        }
    }
    fields
}

/// A value without the object that names its type in Avro's JSON encoding: `{"string": "x"}`.
fn unwrapped(node: &Node) -> &Node {
    const TYPES: [&str; 6] = ["string", "long", "int", "double", "float", "boolean"];
    match node.children() {
        [only]
            if node.kind() == Shape::Object
                && (TYPES.contains(&only.name()) || only.name().contains('.')) =>
        {
            only
        }
        _ => node,
    }
}

/// A rejection that names what a JSON document seems to be.
pub(crate) fn unknown(root: &Node) -> Stop {
    let has = |name: &str| root.at(name).is_some();
    let text_payload = root.at("data.payload").is_some_and(|node| node.kind() == Shape::Text);
    let known = [
        (text_payload, "a generic event of Salesforce"),
        (has("data.sobject"), "a PushTopic event of Salesforce"),
        (has("data.payload"), "a platform event of Salesforce"),
        (has("records"), "a tree of records of Salesforce"),
        (has("merchant_id") && has("data.type"), "a webhook of Square"),
    ];
    let what = known.into_iter().find_map(|(is, what)| is.then_some(what));
    let what = what.unwrap_or("a document of a kind that is not known");
    Stop::reject(
        "unknown-format",
        format!("this is {what}, not a change event of Salesforce; map it with the json plugin"),
        "",
    )
}
