//! Bytes into text: a byte order mark decides, otherwise the encoding that the configuration names.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use thiserror::Error;

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A byte that the encoding does not have.
    #[error("holds bytes that are not {0}; state the `encoding`")]
    Invalid(&'static str),
    /// A mark of UTF-32.
    #[error("begins with the mark of UTF-32, which is not read; send UTF-8 or UTF-16")]
    Utf32,
}

/// The encoding of a name such as `utf-8`, `windows-1252` or `iso-8859-15` (WHATWG's labels).
pub fn encoding(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(|| {
        format!("`{label}` is no encoding; write for example utf-8, utf-16le, windows-1252 or iso-8859-15")
    })
}

/// The text of some bytes, without its mark. Borrowed where they are UTF-8 already.
pub fn decode<'a>(
    bytes: &'a [u8],
    fallback: &'static Encoding,
) -> Result<Cow<'a, str>, DecodeError> {
    if bytes.starts_with(&[0xff, 0xfe, 0, 0]) || bytes.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(DecodeError::Utf32);
    }
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((fallback, 0));
    let body = bytes.get(mark..).unwrap_or_default();
    if encoding == UTF_8 {
        return std::str::from_utf8(body)
            .map(Cow::Borrowed)
            .map_err(|_| DecodeError::Invalid(UTF_8.name()));
    }
    encoding
        .decode_without_bom_handling_and_without_replacement(body)
        .ok_or(DecodeError::Invalid(encoding.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_decides() {
        let latin = encoding("windows-1252").unwrap();
        assert_eq!(decode(b"\xef\xbb\xbfa\xc3\xa9", latin).unwrap(), "aé");
        assert_eq!(decode(b"\xff\xfea\0\xe9\0", UTF_8).unwrap(), "aé");
        assert_eq!(decode(b"\xfe\xff\0a\0\xe9", UTF_8).unwrap(), "aé");
        assert_eq!(decode(b"a\xf1o", latin).unwrap(), "año");
        assert!(matches!(decode(b"plain", UTF_8), Ok(Cow::Borrowed("plain"))));
        assert_eq!(decode(b"", UTF_8).unwrap(), "");
    }

    #[test]
    fn invalid_bytes_are_refused() {
        assert_eq!(decode(b"a\xf1o", UTF_8), Err(DecodeError::Invalid("UTF-8")));
        assert_eq!(decode(b"\xff\xfea", UTF_8), Err(DecodeError::Invalid("UTF-16LE")));
        assert_eq!(decode(b"\xff\xfe\0\0a\0\0\0", UTF_8), Err(DecodeError::Utf32));
        assert!(encoding("latin-99").unwrap_err().contains("windows-1252"));
    }
}
