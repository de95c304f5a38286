//! The generation's name, written into an event where its destination names a field for it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What mappings write for the tenant's namespace.
const TENANT: &str = "_tenant";

/// The field of an event that names its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The keys down to the field, one at least.
    keys: Arc<[String]>,
}

/// Why a field cannot hold the generation's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// It does not read as a JSON pointer into an object.
    #[error("it is no JSON pointer; expected such as `/_tenant/xylem/generation`")]
    Pointer,
    /// There is no tenant to put in place of `_tenant`.
    #[error("`_tenant` stands for `aep.tenant`, which is missing")]
    Tenant,
}

impl Stamp {
    /// The field at a JSON pointer; its first key may be `_tenant`.
    pub fn new(pointer: &str, tenant: Option<&str>) -> Result<Self, StampError> {
        let keys = pointer.strip_prefix('/').ok_or(StampError::Pointer)?.split('/');
        let mut keys: Vec<String> =
            keys.map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
        if keys.iter().any(String::is_empty) {
            return Err(StampError::Pointer);
        }
        if let Some(first) = keys.first_mut().filter(|first| *first == TENANT) {
            tenant.ok_or(StampError::Tenant)?.clone_into(first);
        }
        Ok(Self { keys: keys.into() })
    }

    /// The event with the generation's name in the field: objects on the way are made where there are
    /// none, and what stands there is replaced. Everything else stays as it is written. None where the
    /// event, or something on the way, is no object: then there is no place for it.
    pub fn write(&self, body: &str, generation: &str) -> Option<String> {
        put(body, &self.keys, generation)
    }
}

fn put(text: &str, keys: &[String], stamp: &str) -> Option<String> {
    let Some((key, deeper)) = keys.split_first() else { return quote(stamp) };
    let members = serde_json::from_str::<Members<'_>>(text).ok()?.0;
    let mut written = String::with_capacity(text.len() + stamp.len() + key.len() + 8);
    let mut add = |name: &str, value: &str| {
        written.push(if written.is_empty() { '{' } else { ',' });
        written.push_str(&quote(name)?);
        written.push(':');
        written.push_str(value);
        Some(())
    };
    let mut found = false;
    for (name, raw) in members {
        let here = name == key.as_str();
        found |= here;
        if here {
            add(&name, &put(raw.get(), deeper, stamp)?)?;
        } else {
            add(&name, raw.get())?;
        }
    }
    if !found {
        add(key, &put("{}", deeper, stamp)?)?;
    }
    written.push('}');
    Some(written)
}

fn quote(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

/// An object's members in their order, the values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pointer: &str, body: &str) -> Option<String> {
        Stamp::new(pointer, Some("_acme")).unwrap().write(body, "4f0c")
    }

    #[test]
    fn the_field_is_made_or_replaced_and_all_else_stays_as_it_is_written() {
        let body = r#"{ "price": 1.50, "_acme": {"a\u0062": [1e3, {"x": null}]} }"#;
        assert_eq!(
            write("/_tenant/xylem/generation", body).unwrap(),
            r#"{"price":1.50,"_acme":{"ab":[1e3, {"x": null}],"xylem":{"generation":"4f0c"}}}"#
        );
        assert_eq!(write("/generation", "{}").unwrap(), r#"{"generation":"4f0c"}"#);
        assert_eq!(write("/a~1b/c", r#"{"a/b":{"c":{}}}"#).unwrap(), r#"{"a/b":{"c":"4f0c"}}"#);
    }

    #[test]
    fn where_there_is_no_place_for_it_nothing_is_written() {
        assert_eq!(write("/a/b", r#"{"a":[1]}"#), None);
        assert_eq!(write("/a/b", "no JSON"), None);
        assert_eq!(write("/a", "[]"), None);
    }

    #[test]
    fn a_field_is_a_pointer_into_an_object() {
        let refused = |pointer, tenant| Stamp::new(pointer, tenant).unwrap_err();
        for pointer in ["", "/", "a/b", "/a//b"] {
            assert_eq!(refused(pointer, None), StampError::Pointer, "{pointer}");
        }
        assert_eq!(refused("/_tenant/a", None), StampError::Tenant);
        assert!(Stamp::new("/a/_tenant", None).is_ok());
    }
}
