//! Objects of a mapping whose keys are known: strict, with the place of what is wrong and the nearest
//! key that was meant.

use std::borrow::Cow;

use thiserror::Error;

use crate::value::Value;

/// Why a mapping is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("mapping: `{at}`: {what}")]
pub struct MappingError {
    /// The place in the mapping, as in `events[0].fields.timestamp`.
    pub at: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// A result of reading a mapping.
pub(crate) type Read<T> = Result<T, MappingError>;

/// An error at a place.
pub(crate) fn wrong<T>(at: &str, what: impl Into<String>) -> Read<T> {
    Err(MappingError {
        at: if at.is_empty() { ".".to_owned() } else { at.to_owned() },
        what: what.into(),
    })
}

/// An object of the mapping whose keys are known.
pub(crate) struct Keys<'v> {
    /// Its place.
    pub(crate) at: String,
    /// Its members.
    pub(super) members: &'v [(Cow<'v, str>, Value<'v>)],
}

impl<'v> Keys<'v> {
    /// An object with these keys and no others, none of them twice.
    pub(crate) fn new(value: &'v Value<'v>, at: &str, known: &[&str]) -> Read<Keys<'v>> {
        let members = object(value, at)?;
        for (key, _) in members {
            if !known.contains(&&**key) {
                return wrong(at, unknown_key(key, known));
            }
        }
        Ok(Keys { at: at.to_owned(), members })
    }

    /// The value of a key; a null is none.
    pub(crate) fn get(&self, key: &str) -> Option<&'v Value<'v>> {
        let found = self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        found.filter(|value| !matches!(value, Value::Null))
    }

    /// Whether the key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|(name, _)| name == key)
    }

    /// The place of a key.
    pub(crate) fn place(&self, key: &str) -> String {
        join(&self.at, key)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, key: &str) -> Read<Option<&'v str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(other) => wrong(
                &self.place(key),
                format!("needs a text that is not empty, but is {}", other.kind()),
            ),
        }
    }

    /// A truth value, false where it is not given.
    pub(super) fn flag(&self, key: &str) -> Read<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => {
                wrong(&self.place(key), format!("needs true or false, but is {}", other.kind()))
            }
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Read<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*meaning));
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(&self.place(key), unknown_word(text, &words))
    }
}

/// The members of an object, none of them twice.
pub(crate) fn object<'v>(value: &'v Value<'v>, at: &str) -> Read<&'v [(Cow<'v, str>, Value<'v>)]> {
    let Value::Object(members) = value else {
        return wrong(at, format!("needs an object, but is {}", value.kind()));
    };
    for (index, (key, _)) in members.iter().enumerate() {
        if members.iter().take(index).any(|(earlier, _)| earlier == key) {
            return wrong(at, format!("the key `{key}` stands twice"));
        }
    }
    Ok(members)
}

/// The items of a list.
pub(crate) fn list<'v>(value: &'v Value<'v>, at: &str) -> Read<&'v [Value<'v>]> {
    match value {
        Value::Array(items) if !items.is_empty() => Ok(items),
        Value::Array(_) => wrong(at, "is an empty list"),
        other => wrong(at, format!("needs a list, but is {}", other.kind())),
    }
}

/// The message for a key that is not known.
fn unknown_key(key: &str, known: &[&str]) -> String {
    format!("unknown key {}", suggestion(key, known))
}

/// The message for a word that is not known.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> String {
    format!("unknown word {}", suggestion(word, known))
}

/// What was written, and the nearest of what could have been.
fn suggestion(written: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|word| strsim::damerau_levenshtein(written, word));
    match nearest {
        Some(nearest) if strsim::damerau_levenshtein(written, nearest) <= 1 + nearest.len() / 3 => {
            format!("`{written}`; did you mean `{nearest}`? (there are: {})", known.join(", "))
        }
        _ => format!("`{written}`; there are: {}", known.join(", ")),
    }
}

/// A place inside a place.
pub(crate) fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}
