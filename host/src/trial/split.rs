//! How `xylem try` cuts an input into records.

use crate::config::{Split, Step};

/// Where a record of an input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The input is one record.
    Whole,
    /// At the end of a line: LF or CRLF.
    Lines,
    /// At the end of a CSV row: LF, CRLF or CR outside quotes.
    Rows(Dialect),
}

impl Cut {
    /// Where the records of an input end, by the pipeline's `split` and the first step of its chain.
    pub(crate) fn of(split: Split, first: Option<&Step>) -> Self {
        match (split, first.and_then(Dialect::of)) {
            (Split::File, _) => Self::Whole,
            (Split::Line, Some(dialect)) => Self::Rows(dialect),
            (Split::Line, None) => Self::Lines,
        }
    }
}

/// Which characters of a CSV row mean what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    delimiter: u8,
    /// None where quotes stand for themselves.
    quote: Option<u8>,
}

impl Dialect {
    /// The dialect of a chain whose first step reads CSV rows: the csv plugin, or any plugin that is told
    /// `columns`.
    pub(crate) fn of(first: &Step) -> Option<Self> {
        if first.plugin != "csv" && !first.settings.contains_key("columns") {
            return None;
        }
        // As the plugins read it; csv calls it `delimiter`, crm `separator`.
        let character = |name| match first.settings.get(name)?.as_str()?.as_bytes() {
            [] => Some(None),
            b"tab" | b"\\t" => Some(Some(b'\t')),
            [byte, ..] => Some(Some(*byte)),
        };
        let delimiter = character("delimiter").or_else(|| character("separator"));
        Some(Self {
            delimiter: delimiter.flatten().unwrap_or(b','),
            quote: character("quote").unwrap_or(Some(b'"')),
        })
    }
}

/// The records of an input, in order. Blank lines are none.
pub(crate) fn split(input: &[u8], cut: Cut) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = input;
    if cut == Cut::Whole {
        return vec![input];
    }
    while !rest.is_empty() {
        let end = match cut {
            Cut::Rows(dialect) => end_of_row(rest, dialect),
            Cut::Whole | Cut::Lines => {
                rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
            }
        };
        let (record, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if !record.is_empty() {
            records.push(record);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    records
}

/// Where the first row ends: at a line end outside quotes. A quote opens only at the beginning of a field.
fn end_of_row(text: &[u8], dialect: Dialect) -> usize {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let skipped = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let (mut may_open, mut is_open) = (true, false);
    for (at, byte) in text.iter().enumerate().skip(skipped) {
        if Some(*byte) == dialect.quote && (may_open || is_open) {
            // A doubled quote closes and opens again.
            is_open = !is_open;
            may_open = true;
        } else if !is_open {
            match byte {
                b'\n' | b'\r' => return at,
                _ => may_open = *byte == dialect.delimiter,
            }
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

    fn cut(input: &str, cut: Cut) -> Vec<String> {
        split(input.as_bytes(), cut)
            .into_iter()
            .map(|r| String::from_utf8(r.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn lines_end_at_lf_or_crlf_and_blank_ones_are_none() {
        assert_eq!(
            cut("{\"a\":1}\n\n{\"a\":\"\r\"}\r\n{}", Cut::Lines),
            ["{\"a\":1}", "{\"a\":\"\r\"}", "{}"]
        );
        assert_eq!(cut("\n\r\n", Cut::Lines), [""; 0]);
        assert_eq!(cut("", Cut::Lines), [""; 0]);
    }

    #[test]
    fn a_file_is_one_record_whatever_it_holds() {
        assert_eq!(cut("a\n\nb\n", Cut::Whole), ["a\n\nb\n"]);
        assert_eq!(cut("", Cut::Whole), [""]);
    }

    #[test]
    fn rows_end_outside_quotes() {
        let rows = Cut::Rows(COMMA);
        assert_eq!(cut("a,\"b\nc\"\nd,e\n", rows), ["a,\"b\nc\"", "d,e"]);
        assert_eq!(
            cut("\"say \"\"hi\n\"\"\",1\r\n2\r3", rows),
            ["\"say \"\"hi\n\"\"\",1", "2", "3"]
        );
        assert_eq!(cut("\u{feff}\"a\nb\",1\n2", rows), ["\u{feff}\"a\nb\",1", "2"]);
        // A quote inside a field stands for itself.
        assert_eq!(cut("5\" nail,1\n6\" nail,2", rows), ["5\" nail,1", "6\" nail,2"]);
        assert_eq!(cut("\"never closed\n1", rows), ["\"never closed\n1"]);
    }

    #[test]
    fn the_dialect_is_the_plugins() {
        let step = |plugin: &str, settings: serde_json::Value| Step {
            plugin: plugin.to_owned(),
            settings: settings.as_object().unwrap().clone(),
            mapping: None,
            lookups: std::collections::BTreeMap::default(),
        };
        assert_eq!(Dialect::of(&step("csv", json!({}))), Some(COMMA));
        assert_eq!(Dialect::of(&step("crm", json!({"columns": ["Id"]}))), Some(COMMA));
        assert_eq!(Dialect::of(&step("json", json!({}))), None);
        let pipes = Dialect::of(&step("csv", json!({"delimiter": "|", "quote": "'"}))).unwrap();
        assert_eq!(cut("'a\n'|'b'\nc", Cut::Rows(pipes)), ["'a\n'|'b'", "c"]);
        let plain = Dialect::of(&step("csv", json!({"delimiter": "\t", "quote": ""}))).unwrap();
        assert_eq!(cut("\"a\tb\nc", Cut::Rows(plain)), ["\"a\tb", "c"]);
        for settings in [
            json!({"delimiter": "tab", "columns": ["a"]}),
            json!({"separator": "tab", "columns": ["a"]}),
            json!({"separator": "\\t", "columns": ["a"]}),
        ] {
            let tabs = Dialect::of(&step("crm", settings.clone())).unwrap();
            let rows = cut("at\"b\t\"c\nd\"\ne", Cut::Rows(tabs));
            assert_eq!(rows, ["at\"b\t\"c\nd\"", "e"], "{settings}");
        }
        let semicolons = json!({"separator": ";", "columns": ["a"]});
        let semicolons = Dialect::of(&step("crm", semicolons)).unwrap();
        assert_eq!(cut("a;\"b\nc\"\nd", Cut::Rows(semicolons)), ["a;\"b\nc\"", "d"]);
    }
}
