//! An XDM entity under construction, for plugins that know their format.
//!
//! ```
//! use xylem_mapping::{Decimal, Entity};
//!
//! let mut entity = Entity::for_tenant("_acme");
//! entity.set("commerce.order.purchaseID", "A-1");
//! entity.set("commerce.order.priceTotal", Decimal::parse("19.90").unwrap());
//! entity.set("commerce.order.currencyCode", "");        // nothing: never emitted
//! entity.set("_tenant.pos.register", "7");
//! let mut line = Entity::new();
//! line.set("SKU", "0012");
//! entity.push("productListItems", line);
//! assert_eq!(
//!     entity.into_json(),
//!     r#"{"commerce":{"order":{"purchaseID":"A-1","priceTotal":19.9}},"_acme":{"pos":{"register":"7"}},"productListItems":[{"SKU":"0012"}]}"#
//! );
//! ```

use std::borrow::Cow;

use crate::value::Value;

/// The name in a path that stands for the tenant's own namespace.
pub const TENANT: &str = "_tenant";

/// An entity: paths in, JSON out. What is empty is never part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity<'a> {
    /// The members so far, in the order they were first set.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
    /// What stands for [`TENANT`] in a path.
    tenant: Option<&'a str>,
}

impl<'a> Entity<'a> {
    /// An empty entity, or an empty part of one.
    pub fn new() -> Entity<'a> {
        Entity::default()
    }

    /// An empty entity whose paths may name [`TENANT`].
    pub fn for_tenant(tenant: &'a str) -> Entity<'a> {
        Entity { members: Vec::new(), tenant: Some(tenant) }
    }

    /// Sets what stands at a path: names joined by dots, `\.` for a dot inside a name
    /// (`identityMap.Phone_E\.164`). An empty value changes nothing; a second value replaces the first.
    pub fn set(&mut self, path: &'a str, value: impl Into<Value<'a>>) {
        if let Some(value) = value.into().pruned() {
            *self.place(path) = value;
        }
    }

    /// Sets an explicit null, which destinations in `raw` mode read as "unset this field".
    pub fn unset(&mut self, path: &'a str) {
        *self.place(path) = Value::Null;
    }

    /// Adds an item to the list at a path. An empty item changes nothing.
    pub fn push(&mut self, path: &'a str, item: impl Into<Value<'a>>) {
        if let Some(item) = item.into().pruned() {
            let place = self.place(path);
            if let Value::Array(items) = place {
                items.push(item);
            } else {
                *place = Value::Array(vec![item]);
            }
        }
    }

    /// What stands at a path so far.
    pub fn get(&self, path: &str) -> Option<&Value<'a>> {
        let mut names = split(path).map(|name| self.real(name));
        let first = names.next()?;
        let mut value =
            self.members.iter().find(|(name, _)| *name == first).map(|(_, value)| value)?;
        for name in names {
            value = value.get(&name)?;
        }
        Some(value)
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The entity as JSON text.
    pub fn into_json(self) -> String {
        Value::from(self).to_json()
    }

    /// The value at a path, made where it is missing.
    fn place(&mut self, path: &'a str) -> &mut Value<'a> {
        let tenant = self.tenant;
        let mut names = split(path).map(|name| replace(name, tenant));
        let first = names.next().unwrap_or_default();
        let mut place = member(&mut self.members, first);
        for name in names {
            if !matches!(place, Value::Object(_)) {
                *place = Value::Object(Vec::new());
            }
            if let Value::Object(members) = place {
                place = member(members, name);
            } else {
                break;
            }
        }
        place
    }

    /// A name with the tenant's in place of [`TENANT`].
    fn real<'b>(&self, name: Cow<'b, str>) -> Cow<'b, str>
    where
        'a: 'b,
    {
        replace(name, self.tenant)
    }
}

impl<'a> From<Entity<'a>> for Value<'a> {
    fn from(entity: Entity<'a>) -> Self {
        Value::Object(entity.members)
    }
}

/// The names of a path: split at dots, except behind a backslash.
pub(crate) fn split(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text
            .char_indices()
            .scan(false, |escaped, (at, c)| {
                let ends = c == '.' && !*escaped;
                *escaped = c == '\\' && !*escaped;
                Some((at, ends))
            })
            .find_map(|(at, ends)| ends.then_some(at));
        let (name, tail) = text.split_at(end.unwrap_or(text.len()));
        rest = tail.strip_prefix('.');
        Some(if name.contains('\\') {
            Cow::Owned(name.replace("\\.", ".").replace("\\\\", "\\"))
        } else {
            Cow::Borrowed(name)
        })
    })
}

/// A name with the tenant's in place of [`TENANT`].
fn replace<'a>(name: Cow<'a, str>, tenant: Option<&'a str>) -> Cow<'a, str> {
    match tenant {
        Some(tenant) if name == TENANT => Cow::Borrowed(tenant),
        _ => name,
    }
}

/// The member `name`, added as null where it is missing.
fn member<'m, 'a>(
    members: &'m mut Vec<(Cow<'a, str>, Value<'a>)>,
    name: Cow<'a, str>,
) -> &'m mut Value<'a> {
    let at = members.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        members.push((name, Value::Null));
        members.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "the position was found or made just above")]
    &mut members[at].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_values_are_never_part_of_it() {
        let mut entity = Entity::new();
        entity.set("a.b", "");
        entity.set("a.c", Value::Null);
        entity.set("a.d", Value::Array(vec![Value::Null, "".into()]));
        entity.set("e", None::<String>);
        entity.push("f", "");
        entity.push("g", Entity::new());
        assert!(entity.is_empty());
        assert_eq!(entity.into_json(), "{}");
    }

    #[test]
    fn an_unset_field_is_null() {
        let mut entity = Entity::new();
        entity.unset("person.name.firstName");
        assert_eq!(entity.into_json(), r#"{"person":{"name":{"firstName":null}}}"#);
    }

    #[test]
    fn names_with_dots() {
        let mut entity = Entity::for_tenant("_acme");
        entity.push(r"identityMap.Phone_E\.164", "+491");
        entity.set("_tenant.a", 1);
        entity.set("x._tenant.b", 1);
        assert_eq!(entity.get("x._acme.b"), Some(&Value::from(1)));
        assert_eq!(entity.get(r"identityMap.Phone_E\.164").unwrap().kind(), "a list");
        assert_eq!(entity.get("_tenant.a"), Some(&Value::from(1)));
        assert_eq!(entity.get("a"), None);
        assert_eq!(split(r"a\\.b\.c.").collect::<Vec<_>>(), [r"a\", "b.c", ""]);
    }

    proptest! {
        /// What was set last at a path is what stands there, and setting it again changes nothing.
        #[test]
        fn a_set_path_is_found_again(
            earlier in proptest::collection::vec(("[ab](\\.[ab]){0,3}", 1i64..9), 0..12),
            path in "[ab](\\.[ab]){0,3}",
        ) {
            let mut entity = Entity::new();
            for (other, value) in &earlier {
                entity.set(other, *value);
            }
            entity.set(&path, 42);
            prop_assert_eq!(entity.get(&path), Some(&Value::from(42)));
            let once = entity.clone();
            entity.set(&path, 42);
            prop_assert_eq!(&once, &entity);
            let read: serde_json::Value = serde_json::from_str(&entity.into_json()).unwrap();
            prop_assert_eq!(read.pointer(&format!("/{}", path.replace('.', "/"))), Some(&serde_json::json!(42)));
        }

        /// Paths that do not lead through one another merge in any order.
        #[test]
        fn separate_paths_merge_in_any_order(mut paths in proptest::collection::hash_set("[abc]\\.[abc]\\.[abc]", 1..12), seed: u64) {
            let mut shuffled: Vec<_> = paths.drain().collect();
            shuffled.sort();
            let build = |order: &[String]| {
                let mut entity = Entity::new();
                for path in order {
                    entity.set(path, path.clone());
                }
                serde_json::from_str::<serde_json::Value>(&entity.into_json()).unwrap()
            };
            let expected = build(&shuffled);
            let turn = usize::try_from(seed % shuffled.len() as u64).unwrap();
            shuffled.rotate_left(turn);
            prop_assert_eq!(build(&shuffled), expected);
        }
    }
}
