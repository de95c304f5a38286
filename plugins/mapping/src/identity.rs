//! Identities: what may stand in an identity map. One placeholder id merges strangers into one
//! profile for good, so what is doubtful is left out.

/// The id without surrounding blanks, or none where it is a placeholder: empty, only zeros (with
/// or without separators, such as the zero GUID), or a word that programs write for "nothing".
pub fn usable(id: &str) -> Option<&str> {
    const WORDS: [&str; 9] =
        ["null", "(null)", "undefined", "none", "nil", "nan", "n/a", "unknown", "[object object]"];
    let id = id.trim();
    let only_zeros = id.chars().all(|c| matches!(c, '0' | '-' | '.' | ':' | '_' | '{' | '}' | '/'));
    if only_zeros || WORDS.iter().any(|word| id.eq_ignore_ascii_case(word)) {
        None
    } else {
        Some(id)
    }
}

/// An e-mail address as an identity: trimmed and in lower case; none where it is a placeholder.
/// An error where it is no address at all.
pub fn email(address: &str) -> Result<Option<String>, NotAnAddress> {
    let Some(address) = usable(address) else { return Ok(None) };
    let plausible = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !domain.contains('@')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
    }) && !address.chars().any(|c| c.is_whitespace() || c.is_control());
    if plausible { Ok(Some(address.to_lowercase())) } else { Err(NotAnAddress) }
}

/// A telephone number in E.164 form: `+` and 7 to 15 digits, blanks and the usual separators taken
/// out; none where it is a placeholder, an error where it does not begin with `+`: the country is
/// never guessed.
pub fn phone(number: &str) -> Result<Option<String>, NotAnAddress> {
    let Some(number) = usable(number) else { return Ok(None) };
    let compact: String = number
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}'))
        .collect();
    let digits = compact.strip_prefix('+').unwrap_or_default();
    let plausible = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plausible { Ok(Some(compact)) } else { Err(NotAnAddress) }
}

/// The text is neither an address of its kind nor a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an address")]
pub struct NotAnAddress;

/// A text as part of an `_id`: what is not `[A-Za-z0-9._~-]` is percent-encoded, so the result is
/// always a valid `uri-reference` and different texts stay different.
pub fn uri_safe(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(HEX.get(usize::from(byte >> 4)).map(|digit| char::from(*digit)));
            out.extend(HEX.get(usize::from(byte & 15)).map(|digit| char::from(*digit)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_identities() {
        for id in [
            "",
            " ",
            "0",
            "000",
            "00000000-0000-0000-0000-000000000000",
            "null",
            "NULL",
            "undefined",
            "NaN",
            "N/A",
            "none",
            "-",
            "0.0",
            "[object Object]",
        ] {
            assert_eq!(usable(id), None, "{id}");
        }
        assert_eq!(usable(" 0012 "), Some("0012"));
        assert_eq!(usable("A"), Some("A"));
    }

    #[test]
    fn addresses() {
        assert_eq!(email(" Ann@Example.COM "), Ok(Some("ann@example.com".to_owned())));
        assert_eq!(email("null"), Ok(None));
        for wrong in ["ann", "@b", "a@", "a@b@c", "a b@c.d", "a@.d"] {
            assert_eq!(email(wrong), Err(NotAnAddress), "{wrong}");
        }
        assert_eq!(phone("+49 (30) 123-4567"), Ok(Some("+49301234567".to_owned())));
        assert_eq!(phone("0"), Ok(None));
        for wrong in ["030 1234567", "+0301234567", "+12", "+1234567890123456", "+49x1234567"] {
            assert_eq!(phone(wrong), Err(NotAnAddress), "{wrong}");
        }
    }

    #[test]
    fn ids_become_valid_uri_references() {
        assert_eq!(uri_safe("I'm unique"), "I%27m%20unique");
        assert_eq!(uri_safe("crmid:[16D284]"), "crmid%3A%5B16D284%5D");
        assert_eq!(uri_safe("50314b8e9bcf-_.~"), "50314b8e9bcf-_.~");
        assert_eq!(uri_safe("é"), "%C3%A9");
    }
}
