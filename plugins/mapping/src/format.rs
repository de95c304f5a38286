//! Texts that a schema's `format` would refuse.

/// Whether a text is an e-mail address as JSON Schema's `email` has it: letters, digits and the
/// usual signs of ASCII, no quotes, no comments. Stricter than what mail servers take, since an
/// event with anything else is refused as a whole.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let word = |part: &str, signs: &[u8]| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || signs.contains(&b))
    };
    local.len() <= 64
        && domain.len() <= 253
        && local.split('.').all(|part| word(part, b"!#$%&'*+/=?^_`{|}~-"))
        && domain.split('.').all(|label| {
            word(label, b"-")
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["a@b.c", "jenkins+smorly@squareup.com", "o'neil@x-y.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["", "a", "a@", "@b", "a b@c", "a..b@c", ".a@b", "ä@b.c", "a@b..c", "a@-b", "\"a\"@b"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
