//! The tree that documents are read into and entities are built from.
//!
//! It differs from `serde_json::Value` where exactness needs it: a number keeps its source text
//! (`19.990`, `12345678901234567890`), an object keeps its order, and text is borrowed from the
//! document wherever no escape stands in the way.

use std::borrow::Cow;

use crate::decimal::Decimal;

/// A JSON value that may borrow from the document it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written; always in JSON's number grammar. Make one with `from`.
    Number(Cow<'a, str>),
    /// A text, unescaped.
    Text(Cow<'a, str>),
    /// A list.
    Array(Vec<Value<'a>>),
    /// An object in source order. Of repeated keys the last counts.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The member `key`, or none if this is no object or has no such member.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Object(members) => {
                members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text, or none if this is something else.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is null, an empty text, an empty list or an empty object.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) => false,
            Value::Text(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
        }
    }

    /// The same without empty parts at any depth; none if nothing is left.
    #[must_use]
    pub fn pruned(self) -> Option<Value<'a>> {
        let value = match self {
            Value::Array(items) => {
                Value::Array(items.into_iter().filter_map(Value::pruned).collect())
            }
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value.pruned()?)))
                    .collect(),
            ),
            scalar => scalar,
        };
        (!value.is_empty()).then_some(value)
    }

    /// The same without a borrow.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(text) => Value::Number(Cow::Owned(text.into_owned())),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
        }
    }

    /// The word for messages: what kind of value this is, never which.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// The value as JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        crate::write::value(&mut out, self);
        out
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Number(Cow::Owned(value.to_string()))
    }
}

impl From<Decimal> for Value<'_> {
    fn from(value: Decimal) -> Self {
        Value::Number(Cow::Owned(value.to_string()))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Value::Text(Cow::Owned(value))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(value: Cow<'a, str>) -> Self {
        Value::Text(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a, T: Into<Value<'a>>> From<Vec<T>> for Value<'a> {
    fn from(value: Vec<T>) -> Self {
        Value::Array(value.into_iter().map(Into::into).collect())
    }
}

impl From<&serde_json::Value> for Value<'static> {
    /// For tests and documents that were parsed elsewhere: what serde already rounded stays rounded.
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => Value::Number(Cow::Owned(number.to_string())),
            serde_json::Value::String(text) => Value::Text(Cow::Owned(text.clone())),
            serde_json::Value::Array(items) => {
                Value::Array(items.iter().map(Value::from).collect())
            }
            serde_json::Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, member)| (Cow::Owned(key.clone()), Value::from(member)))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_removes_what_is_empty_at_any_depth() {
        let value = Value::from(&serde_json::json!({
            "a": null, "b": "", "c": [], "d": {"e": [{"f": null}]}, "g": [1, null, ""], "h": false, "i": 0
        }));
        assert_eq!(
            value.pruned().unwrap(),
            Value::from(&serde_json::json!({"g": [1], "h": false, "i": 0}))
        );
        assert_eq!(Value::from(&serde_json::json!({"a": {"b": [""]}})).pruned(), None);
    }

    #[test]
    fn of_repeated_keys_the_last_counts() {
        let value = Value::Object(vec![("a".into(), 1.into()), ("a".into(), 2.into())]);
        assert_eq!(value.get("a"), Some(&Value::from(2)));
        assert_eq!(value.get("b"), None);
    }
}
