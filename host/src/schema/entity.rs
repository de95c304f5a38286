//! An event's body, parsed once and borrowed from its text: what the validator looks at.
//!
//! `jsonschema` checks any representation of JSON. This one costs less than `serde_json::Value`
//! (nothing is copied but strings with escapes), knows whether a number was written as a whole
//! number, and refuses what `Value` would swallow: a key that occurs twice.

use std::borrow::Cow;
use std::fmt;

use jsonschema::JsonType;
use jsonschema::json::{self, JsonNumber, NodeIdentity};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A parsed JSON value; object members stand in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Entity<'a> {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; one written with a fraction or an exponent is held as `f64`, any other as an
    /// integer where it has at most 64 bits.
    Number(Number),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object; no key occurs twice.
    Object(Vec<Member<'a>>),
}

/// A key and its value.
pub type Member<'a> = (Cow<'a, str>, Entity<'a>);

impl<'a> Entity<'a> {
    /// Parses JSON text. Objects and arrays may nest 127 deep.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a key, where this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, where this is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entity<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntityVisitor)
    }
}

struct EntityVisitor;

impl<'de> Visitor<'de> for EntityVisitor {
    type Value = Entity<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Entity::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Entity::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Entity::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Entity::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value).map(Entity::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Entity::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Entity::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Entity::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<Member<'de>> = Vec::new();
        while let Some(key) = entries.next_key_seed(KeyVisitor)? {
            members.push((key, entries.next_value()?));
        }
        match repeated_key(&members) {
            // What AEP makes of such an object is not known; parsers keep the first, the last or none.
            Some(key) => Err(A::Error::custom(format_args!("key `{key}` occurs twice"))),
            None => Ok(Entity::Object(members)),
        }
    }
}

/// Reads a key without copying it where it has no escapes.
struct KeyVisitor;

impl<'de> DeserializeSeed<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
}

/// A key that occurs twice. Small objects are compared pair by pair, large ones sorted.
fn repeated_key<'m>(members: &'m [Member<'_>]) -> Option<&'m str> {
    const PAIRWISE: usize = 12;
    if members.len() <= PAIRWISE {
        let mut rest = members;
        while let Some(((key, _), others)) = rest.split_first() {
            if others.iter().any(|(other, _)| other == key) {
                return Some(key);
            }
            rest = others;
        }
        return None;
    }
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    let twice = keys.iter().zip(keys.iter().skip(1)).find(|(a, b)| a == b);
    twice.map(|(key, _)| *key)
}

/// [`Entity`] as a representation of JSON for `jsonschema`.
pub struct EntityJson;

impl json::Json for EntityJson {
    type Node<'a> = &'a Entity<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = Entity<'static>;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(
        buffer: &mut Entity<'static>,
        string: &str,
        f: impl FnOnce(Self::Node<'_>) -> T,
    ) -> T {
        *buffer = Entity::Text(Cow::Owned(string.to_owned()));
        f(buffer)
    }
}

/// A number as it was written.
#[derive(Clone, Copy)]
pub struct Written<'a>(&'a Number);

impl JsonNumber for Written<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Borrowed(self.0)
    }

    /// AEP's rule, which JSON Schema has given up: `1.0` is not an integer.
    fn is_integer(&self) -> bool {
        !self.0.is_f64()
    }

    fn is_written_as_integer(&self) -> bool {
        self.is_integer()
    }
}

impl<'a> json::Node<'a, EntityJson> for &'a Entity<'a> {
    type Object = &'a [Member<'a>];
    type Array = &'a [Entity<'a>];
    type Number = Written<'a>;

    fn as_object(&self) -> Option<Self::Object> {
        match self {
            Entity::Object(members) => Some(members),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<Self::Array> {
        match self {
            Entity::Array(items) => Some(items),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_text().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Written<'a>> {
        match self {
            Entity::Number(number) => Some(Written(number)),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            Entity::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Entity::Null)
    }

    fn json_type(&self) -> JsonType {
        match self {
            Entity::Null => JsonType::Null,
            Entity::Bool(_) => JsonType::Boolean,
            Entity::Number(_) => JsonType::Number,
            Entity::Text(_) => JsonType::String,
            Entity::Array(_) => JsonType::Array,
            Entity::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self, expected) {
            // The usual case of `enum`, without the copy that the comparison of values needs.
            (Entity::Text(text), Value::String(string)) => text == string,
            _ => json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(value_of(self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref::<Entity<'_>>(self).addr()))
    }
}

fn value_of(entity: &Entity<'_>) -> Value {
    match entity {
        Entity::Null => Value::Null,
        Entity::Bool(value) => Value::Bool(*value),
        Entity::Number(number) => Value::Number(number.clone()),
        Entity::Text(text) => Value::String(text.to_string()),
        Entity::Array(items) => Value::Array(items.iter().map(value_of).collect()),
        Entity::Object(members) => {
            Value::Object(members.iter().map(|(key, v)| (key.to_string(), value_of(v))).collect())
        }
    }
}

/// The members of an object, for `jsonschema`.
pub struct Members<'a>(std::slice::Iter<'a, Member<'a>>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a Entity<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_ref(), value))
    }
}

impl<'a> json::Object<'a, EntityJson> for &'a [Member<'a>] {
    type Node = &'a Entity<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        <[Member<'_>]>::len(self)
    }

    fn get(&self, key: &Box<str>) -> Option<Self::Node> {
        self.iter().find(|(k, _)| k.as_ref() == key.as_ref()).map(|(_, value)| value)
    }

    fn members(&self) -> Members<'a> {
        Members(self.iter())
    }
}

impl<'a> json::Array<'a, EntityJson> for &'a [Entity<'a>] {
    type Node = &'a Entity<'a>;
    type ElementsIter = std::slice::Iter<'a, Entity<'a>>;

    fn len(&self) -> usize {
        <[Entity<'_>]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e9..1.0e9).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..20)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn parses_what_serde_json_parses(value in any_value()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(value_of(&Entity::parse(&text).unwrap()), value);
        }
    }

    #[test]
    fn knows_how_numbers_were_written() {
        let integer = |text| match Entity::parse(text).unwrap() {
            Entity::Number(number) => Written(&number).is_integer(),
            other => panic!("{other:?}"),
        };
        assert_eq!(["0", "-7", "18446744073709551615"].map(integer), [true; 3]);
        assert_eq!(["1.0", "1e2", "1E-2", "-0.0"].map(integer), [false; 4]);
    }

    #[test]
    fn refuses_a_key_that_occurs_twice() {
        let many = (0..40).fold(String::new(), |text, n| format!("{text}\"k{n}\":{n},"));
        for text in [r#"{"a":1,"b":{"x":1,"y":2,"\u0078":3}}"#, &format!("{{{many}\"k7\":0}}")] {
            let error = Entity::parse(text).unwrap_err().to_string();
            assert!(error.contains("occurs twice"), "{error}");
        }
        assert!(Entity::parse(&format!("{{{many}\"k40\":0}}")).is_ok());
    }

    #[test]
    fn refuses_what_is_no_json_and_what_nests_too_deep() {
        for text in ["", "{", "{}x", "{'a':1}", "[1,]", "1e999", "\"\\ud800\"", "\u{feff}{}"] {
            assert!(Entity::parse(text).is_err(), "{text}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Entity::parse(&nested(127)).is_ok());
        assert!(Entity::parse(&nested(100_000)).is_err());
    }

    #[test]
    fn is_compared_like_a_value() {
        let equal =
            |text, value: Value| json::Node::equals_value(&&Entity::parse(text).unwrap(), &value);
        assert!(
            equal("\"a\"", json!("a"))
                && equal("1.0", json!(1))
                && equal("[{\"a\":1}]", json!([{"a": 1}]))
        );
        assert!(!equal("\"a\"", json!("b")) && !equal("1", json!("1")) && !equal("[]", json!({})));
    }
}
