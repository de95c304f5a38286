//! CSV into XDM events, through a mapping table: a row in each record, or a whole file with its
//! header in one. `README.md` beside this file names the settings; the mapping's keys are those of
//! `xylem-mapping`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use encoding_rs::Encoding;
use serde::Deserialize;
use serde_json::value::RawValue;
use xylem_kit::{Level, Outcome, Payload, Plugin, Record, Rejection, Source, log, reject};
use xylem_mapping::rows::{Dialect, RowError, Rows};
use xylem_mapping::{Mapping, Notation, Options, Value, decode, record_value};

/// The member that holds a row's number, from 1, the header included.
const ROW: &str = "__row";

/// The csv plugin: a mapping and how its rows are written.
pub struct Csv {
    /// What rows become.
    mapping: Mapping,
    /// The names of a record's fields, where a record is one row.
    columns: Option<Names>,
    /// The encoding of bytes without a mark.
    encoding: &'static Encoding,
    /// Which characters mean what.
    dialect: Dialect,
    /// What a header with equal names means.
    duplicates: Duplicates,
}

/// The names of columns in order; none where the column is not read.
type Names = Vec<Option<String>>;

/// What `init` reads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings<'a> {
    /// The mapping table.
    #[serde(borrow)]
    mapping: Option<&'a RawValue>,
    /// What stands for `_tenant` in the mapping's paths.
    tenant: Option<String>,
    /// Look-up files' texts by name.
    #[serde(default)]
    lookups: BTreeMap<String, String>,
    /// The fields' names, where a record is one row without a header.
    columns: Option<Vec<String>>,
    /// The encoding of bytes without a mark.
    encoding: Option<String>,
    /// The character between fields.
    delimiter: Option<String>,
    /// The character around fields; empty for none.
    quote: Option<String>,
    /// Whether blanks around fields are taken away.
    #[serde(default)]
    trim: bool,
    /// The decimal sign in numbers.
    decimal: Option<DecimalSign>,
    /// What a header with equal names means.
    #[serde(default)]
    duplicates: Duplicates,
}

/// The decimal sign in numbers.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DecimalSign {
    /// `1,234.56`
    Point,
    /// `1.234,56`
    Comma,
}

/// What a header with equal names means.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Duplicates {
    /// The document is rejected.
    #[default]
    Reject,
    /// The first column of the name counts.
    First,
    /// The last column of the name counts.
    Last,
    /// The second is called `name_2`, the third `name_3`.
    Number,
}

impl Plugin for Csv {
    fn init(configuration: &str) -> Result<Self, String> {
        let settings: Settings<'_> = serde_json::from_str(configuration)
            .map_err(|error| format!("settings of the csv plugin: {error}"))?;
        let table = settings
            .mapping
            .ok_or("the csv plugin needs a mapping table: state `mapping: FILE` beside it")?;
        let dialect = Dialect {
            delimiter: character("delimiter", settings.delimiter.as_deref())?.unwrap_or(b','),
            quote: match settings.quote.as_deref() {
                None => Some(b'"'),
                Some("") => None,
                quote => character("quote", quote)?,
            },
            trim: settings.trim,
        };
        if Some(dialect.delimiter) == dialect.quote {
            return Err("`delimiter` and `quote` are the same character".to_owned());
        }
        let columns =
            settings.columns.map(|columns| named(columns, settings.duplicates)).transpose()?;
        let options = Options {
            tenant: settings.tenant,
            lookups: settings.lookups,
            notation: match settings.decimal {
                None => Notation::Plain,
                Some(DecimalSign::Point) => Notation::Point,
                Some(DecimalSign::Comma) => Notation::Comma,
            },
            added: vec![ROW.to_owned()],
        };
        Ok(Csv {
            mapping: Mapping::from_json(table.get(), &options)
                .map_err(|error| error.to_string())?,
            columns,
            encoding: decode::encoding(settings.encoding.as_deref().unwrap_or("utf-8"))?,
            dialect,
            duplicates: settings.duplicates,
        })
    }

    fn transform(&self, source: &Source, record: &Record) -> Outcome {
        let text = match self.text(record) {
            Ok(text) => text,
            Err(outcome) => return outcome,
        };
        let record =
            if self.mapping.uses_record() { record_value(source, record) } else { Value::Null };
        let mut rows = Rows::new(&text, self.dialect);
        let outcome = match self.names(&mut rows) {
            Ok(Some(names)) => {
                let rows = Table { names: &names, rows, single: self.columns.is_some() };
                self.mapping.apply_rows(rows, &record)
            }
            Ok(None) => Outcome::Filter("the record holds no rows".to_owned()),
            Err(rejection) => Outcome::Reject(rejection),
        };
        for path in self.mapping.take_warnings() {
            log(Level::Warn, &format!("the mapping neither reads nor drops the column `{path}`"));
        }
        outcome
    }
}

impl Csv {
    /// A record's text.
    fn text<'r>(&self, record: &'r Record) -> Result<Cow<'r, str>, Outcome> {
        match &record.payload {
            None => Err(Outcome::Filter("a tombstone holds no rows".to_owned())),
            Some(Payload::Text(text)) => {
                Ok(Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)))
            }
            Some(Payload::Bytes(bytes)) => decode::decode(bytes, self.encoding)
                .map_err(|error| reject("undecodable", format!("the payload {error}"))),
        }
    }

    /// The columns' names: configured, or the first row; none where there is no row.
    fn names<'t>(
        &'t self,
        rows: &mut Rows<'t>,
    ) -> Result<Option<Cow<'t, [Option<String>]>>, Rejection> {
        if let Some(columns) = &self.columns {
            return Ok(Some(Cow::Borrowed(columns)));
        }
        let mut header = Vec::new();
        if !rows.read(&mut header).map_err(malformed)? {
            return Ok(None);
        }
        let names = header.into_iter().map(Cow::into_owned).collect();
        named(names, self.duplicates)
            .map(|names| Some(Cow::Owned(names)))
            .map_err(|what| rejection("header", what, 1))
    }
}

/// The rows of a document under their columns' names.
struct Table<'t> {
    /// The columns' names.
    names: &'t [Option<String>],
    /// What is not read yet.
    rows: Rows<'t>,
    /// Whether a second row is an error.
    single: bool,
}

impl<'t> Iterator for Table<'t> {
    type Item = Result<(usize, Value<'t>), Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Vec::with_capacity(self.names.len());
        match self.rows.read(&mut fields) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(malformed(error))),
        }
        let number = self.rows.number();
        if self.single && number > 1 {
            let what = "the record holds a second row, but `columns` says that a record is one row";
            return Some(Err(rejection("rows", what, number)));
        }
        if fields.len() != self.names.len() {
            let what = format!(
                "row {number} has {} fields where {} are named",
                fields.len(),
                self.names.len()
            );
            return Some(Err(rejection("ragged-row", what, number)));
        }
        Some(Ok((number, self.row(fields, number))))
    }
}

impl<'t> Table<'t> {
    /// A row as an object of texts and its number.
    fn row(&self, fields: Vec<Cow<'t, str>>, number: usize) -> Value<'t> {
        let cells = self.names.iter().zip(fields);
        let cells = cells.filter_map(|(name, field)| {
            Some((Cow::Borrowed(name.as_deref()?), Value::Text(field)))
        });
        let number = Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        Value::Object(cells.chain([(Cow::Borrowed(ROW), number)]).collect())
    }
}

/// The names of columns, those that stand twice treated as the settings say.
fn named(names: Vec<String>, duplicates: Duplicates) -> Result<Names, String> {
    let mut out: Names = Vec::with_capacity(names.len());
    for (place, name) in names.into_iter().enumerate() {
        if name == ROW {
            return Err(format!("a column is called `{ROW}`, the name of the row's number"));
        }
        let earlier = out.iter().position(|known| known.as_ref() == Some(&name));
        let kept = match (earlier, duplicates) {
            (None, _) => Some(name),
            (Some(_), Duplicates::Reject) => {
                return Err(format!(
                    "column {} has the name of an earlier column; state `duplicates`: first, last or number",
                    place + 1
                ));
            }
            (Some(_), Duplicates::First) => None,
            (Some(earlier), Duplicates::Last) => out.get_mut(earlier).and_then(Option::take),
            (Some(_), Duplicates::Number) => {
                let numbered = (2..).map(|count| format!("{name}_{count}"));
                numbered.into_iter().find(|other| !out.iter().flatten().any(|known| known == other))
            }
        };
        out.push(kept);
    }
    Ok(out)
}

/// The one ASCII character of a setting.
fn character(key: &str, text: Option<&str>) -> Result<Option<u8>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.as_bytes() {
        b"tab" => Ok(Some(b'\t')),
        [one] if one.is_ascii() && !matches!(one, b'\n' | b'\r') => Ok(Some(*one)),
        _ => Err(format!("`{key}` is `{text}`; it must be one ASCII character, or `tab`")),
    }
}

/// A text that is no CSV.
fn malformed(error: RowError) -> Rejection {
    let (RowError::Unclosed(row) | RowError::AfterQuote(row)) = error;
    rejection("malformed-csv", error.to_string(), row)
}

/// A rejection that names a row.
fn rejection(code: &str, message: impl Into<String>, row: usize) -> Rejection {
    Rejection { code: code.to_owned(), message: message.into(), path: Some(format!("row {row}")) }
}

xylem_kit::export!(Csv);
