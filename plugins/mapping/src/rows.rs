//! CSV (RFC 4180) into rows of fields that borrow from the text.
//!
//! Line ends are LF, CRLF or CR; a quoted field keeps the line ends inside it; a doubled quote is a
//! quote; blank lines are no rows. A quote inside a field that does not begin with one stands for
//! itself. What cannot be meant is an error: text behind a closing quote, a quote never closed.

use std::borrow::Cow;

use thiserror::Error;

/// Which characters mean what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Between two fields; ASCII.
    pub delimiter: u8,
    /// Around a field; none where quotes stand for themselves. ASCII.
    pub quote: Option<u8>,
    /// Whether blanks around a field are taken away, quoted or not.
    pub trim: bool,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect { delimiter: b',', quote: Some(b'"'), trim: false }
    }
}

/// What makes a text no CSV. Rows count from 1, the header included.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RowError {
    /// A quoted field that the document ends in.
    #[error("row {0}: a quote is never closed")]
    Unclosed(usize),
    /// Something between a closing quote and the next delimiter.
    #[error("row {0}: text follows a closing quote")]
    AfterQuote(usize),
}

/// The rows of a text, one after the other.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// What is not read yet.
    rest: &'a str,
    /// The rows read so far.
    number: usize,
    /// Which characters mean what.
    dialect: Dialect,
}

impl<'a> Rows<'a> {
    /// The rows of a text.
    pub fn new(text: &'a str, dialect: Dialect) -> Rows<'a> {
        Rows { rest: text, number: 0, dialect }
    }

    /// The number of the row last read, from 1; blank lines are not counted.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The next row into `fields`, whose content before is lost; false at the end.
    pub fn read(&mut self, fields: &mut Vec<Cow<'a, str>>) -> Result<bool, RowError> {
        fields.clear();
        self.rest = self.rest.trim_start_matches(['\r', '\n']);
        if self.rest.is_empty() {
            return Ok(false);
        }
        self.number += 1;
        loop {
            let field = self.field()?;
            fields.push(if self.dialect.trim { trimmed(field) } else { field });
            let mut rest = self.rest.chars();
            match rest.next() {
                Some(c) if c == char::from(self.dialect.delimiter) => self.rest = rest.as_str(),
                _ => return Ok(true),
            }
        }
    }

    /// One field, up to but without the delimiter or line end behind it.
    fn field(&mut self) -> Result<Cow<'a, str>, RowError> {
        match self.dialect.quote {
            Some(quote) if self.rest.as_bytes().first() == Some(&quote) => {
                self.quoted(char::from(quote))
            }
            _ => Ok(Cow::Borrowed(self.take_to_end())),
        }
    }

    /// A field in quotes.
    fn quoted(&mut self, quote: char) -> Result<Cow<'a, str>, RowError> {
        let body = self.rest.strip_prefix(quote).unwrap_or_default();
        let mut field = Cow::Borrowed("");
        let mut rest = body;
        loop {
            let (before, after) = rest.split_once(quote).ok_or(RowError::Unclosed(self.number))?;
            field += before;
            if let Some(next) = after.strip_prefix(quote) {
                field.to_mut().push(quote);
                rest = next;
            } else {
                self.rest = after;
                let ended = self.take_to_end().is_empty();
                return if ended { Ok(field) } else { Err(RowError::AfterQuote(self.number)) };
            }
        }
    }

    /// Everything before the next delimiter or line end.
    fn take_to_end(&mut self) -> &'a str {
        let delimiter = self.dialect.delimiter;
        let bytes = self.rest.as_bytes();
        let end =
            bytes.iter().position(|byte| *byte == delimiter || *byte == b'\n' || *byte == b'\r');
        let (field, rest) = self.rest.split_at(end.unwrap_or(bytes.len()));
        self.rest = rest;
        field
    }
}

/// The same field without blanks around it.
fn trimmed(field: Cow<'_, str>) -> Cow<'_, str> {
    match field {
        Cow::Borrowed(field) => Cow::Borrowed(field.trim()),
        Cow::Owned(field) => Cow::Owned(field.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, dialect: Dialect) -> Result<Vec<Vec<String>>, RowError> {
        let mut rows = Rows::new(text, dialect);
        let mut fields = Vec::new();
        let mut all = Vec::new();
        while rows.read(&mut fields)? {
            all.push(fields.iter().map(|field| field.clone().into_owned()).collect());
        }
        Ok(all)
    }

    fn plain(text: &str) -> Result<Vec<Vec<String>>, RowError> {
        read(text, Dialect::default())
    }

    #[test]
    fn rows_and_fields() {
        assert_eq!(
            plain("a,b\r\n1,\"x, \"\"y\"\"\r\nz\"\n\n,\n").unwrap(),
            [vec!["a", "b"], vec!["1", "x, \"y\"\r\nz"], vec!["", ""],]
        );
        assert_eq!(plain("a\rb").unwrap(), [["a"], ["b"]]);
        assert_eq!(plain("5\" pipe,x").unwrap(), [["5\" pipe", "x"]]);
        assert_eq!(plain("").unwrap().len(), 0);
        assert_eq!(plain("\"\"").unwrap(), [[""]]);
    }

    #[test]
    fn dialects() {
        let dialect = Dialect { delimiter: b'!', quote: Some(b'\''), trim: true };
        assert_eq!(read("a ! 'b!c '!\td", dialect).unwrap(), [["a", "'b", "c '", "d"]]);
        assert_eq!(read("'b!c '!\td", dialect).unwrap(), [["b!c", "d"]]);
        let tabs = Dialect { delimiter: b'\t', quote: None, trim: false };
        assert_eq!(read("\"a\tb\"", tabs).unwrap(), [["\"a", "b\""]]);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        assert_eq!(plain("a\n\"b"), Err(RowError::Unclosed(2)));
        assert_eq!(plain("\"a\"b,c"), Err(RowError::AfterQuote(1)));
    }

    proptest! {
        /// Agrees with another reader wherever that one has no leniency of its own.
        #[test]
        fn agrees_with_another_reader(text in "[ab,\"\n\r é]{0,30}") {
            let Ok(mine) = plain(&text) else { return Ok(()) };
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let other: Vec<Vec<String>> = reader.records()
                .map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            prop_assert_eq!(mine, other);
        }

        /// What another writer wrote is read back.
        #[test]
        fn reads_what_another_writer_wrote(rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r é;]{0,6}", 2..4), 0..5)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(plain(&text).unwrap(), rows);
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,60}", trim: bool) {
            let _rows = read(&text, Dialect { trim, ..Dialect::default() });
        }
    }
}
