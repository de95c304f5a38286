//! Look-up tables: files beside the mapping, from a key to a value or to a row of values.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use jaq_json::Val;

use crate::expression::query;
use crate::json;
use crate::rows::{Dialect, Rows};
use crate::value::Value;

/// All tables of a mapping, in the order of their names.
#[derive(Default)]
pub(crate) struct Lookups {
    /// Name and rows.
    tables: Vec<(String, ByKey)>,
    /// All of it for jq, made when an expression first asks.
    copy: OnceCell<Val>,
}

/// The rows of one table by their key.
type ByKey = HashMap<String, Value<'static>>;

impl Lookups {
    /// Reads the files' texts: a JSON object, or CSV whose first row names the columns and whose
    /// first column is the key.
    pub(crate) fn read(files: &BTreeMap<String, String>) -> Result<Lookups, String> {
        let mut tables = Vec::with_capacity(files.len());
        for (name, text) in files {
            let rows = read(text).map_err(|what| format!("look-up `{name}`: {what}"))?;
            tables.push((name.clone(), rows));
        }
        Ok(Lookups { tables, copy: OnceCell::new() })
    }

    /// A table's place by its name, or what to write instead.
    pub(crate) fn find(&self, name: &str) -> Result<usize, String> {
        self.tables.iter().position(|(known, _)| known == name).ok_or_else(|| {
            let names: Vec<&str> = self.tables.iter().map(|(known, _)| known.as_str()).collect();
            if names.is_empty() {
                format!("there is no look-up `{name}`: the configuration gives none")
            } else {
                format!("there is no look-up `{name}`; there are: {}", names.join(", "))
            }
        })
    }

    /// The row of a key.
    pub(crate) fn row(&self, table: usize, key: &str) -> Option<&Value<'static>> {
        self.tables.get(table)?.1.get(key)
    }

    /// Everything for jq.
    pub(crate) fn copy(&self) -> Val {
        let make = || {
            query::object(self.tables.iter().map(|(name, rows)| {
                let mut rows: Vec<_> = rows.iter().collect();
                rows.sort_unstable_by_key(|(key, _)| key.as_str());
                let rows = rows.into_iter().map(|(key, row)| (key.as_str(), query::to_val(row)));
                (name.as_str(), query::object(rows))
            }))
        };
        self.copy.get_or_init(make).clone()
    }
}

/// One file's rows.
fn read(text: &str) -> Result<ByKey, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        let Value::Object(members) =
            json::parse(text, json::MAX_DEPTH).map_err(|error| error.to_string())?
        else {
            return Err("is no JSON object".to_owned());
        };
        let mut rows = ByKey::with_capacity(members.len());
        for (key, value) in members {
            if rows.insert(key.clone().into_owned(), value.into_owned()).is_some() {
                return Err(format!("the key `{key}` stands twice"));
            }
        }
        return Ok(rows);
    }
    read_csv(text)
}

/// The rows of a CSV table: each an object of its columns but the first, without empty fields.
fn read_csv(text: &str) -> Result<ByKey, String> {
    let mut lines = Rows::new(text, Dialect { trim: true, ..Dialect::default() });
    let mut header = Vec::new();
    if !lines.read(&mut header).map_err(|error| error.to_string())? {
        return Err("is empty".to_owned());
    }
    if header.len() < 2 {
        return Err(
            "is neither a JSON object nor CSV with a key and at least one more column".to_owned()
        );
    }
    let mut rows = ByKey::new();
    let mut fields = Vec::new();
    while lines.read(&mut fields).map_err(|error| error.to_string())? {
        if fields.len() != header.len() {
            let (row, have, want) = (lines.number(), fields.len(), header.len());
            return Err(format!("row {row} has {have} fields, the first row has {want}"));
        }
        let mut cells = header.iter().zip(&fields);
        let key = cells.next().map_or_else(String::new, |(_, key)| key.clone().into_owned());
        let row = cells
            .filter(|(_, field)| !field.is_empty())
            .map(|(name, field)| (name.clone(), Value::Text(field.clone())))
            .collect();
        if rows.insert(key, Value::Object(row).into_owned()).is_some() {
            return Err(format!("row {}: its key stands in an earlier row", lines.number()));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_csv_tables() {
        let files = BTreeMap::from([
            ("a".to_owned(), r#"{"1": "one", "2": {"x": 2}}"#.to_owned()),
            ("b".to_owned(), "\u{feff}store,zone,city\n007,Europe/Berlin,\n".to_owned()),
        ]);
        let lookups = Lookups::read(&files).unwrap();
        let (a, b) = (lookups.find("a").unwrap(), lookups.find("b").unwrap());
        assert_eq!(lookups.row(a, "1").unwrap().as_str(), Some("one"));
        assert_eq!(lookups.row(b, "007").unwrap().to_json(), r#"{"zone":"Europe/Berlin"}"#);
        assert_eq!(lookups.row(b, "7"), None);
        assert_eq!(lookups.find("c").unwrap_err(), "there is no look-up `c`; there are: a, b");
    }

    #[test]
    fn broken_tables_are_refused() {
        for (text, expected) in [
            ("", "is empty"),
            ("key\nx", "is neither"),
            ("k,v\na", "row 2 has 1 fields"),
            ("k,v\na,1\na,2", "row 3: its key"),
            ("{\"a\":1,\"a\":2}", "stands twice"),
            ("{\"a\":", "line 1, column 6"),
        ] {
            assert!(read(text).unwrap_err().contains(expected), "{text}");
        }
    }
}
