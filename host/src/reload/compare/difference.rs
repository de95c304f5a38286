//! Where two events differ. Pure.
//!
//! Values compare as JSON does, and as AEP does where JSON leaves it open: the order of an object's keys and
//! how a text is escaped make no difference; `1` and `1.0` do, since AEP takes the second for no
//! integer; `1.0` and `1.00` do not. Numbers with a fraction or of more than 64 bits compare as `f64`.

use std::cmp::Ordering;

use serde_json::Value;

use crate::schema::{Entity, Member};

/// What happened to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It is another one.
    Changed,
    /// It was not there.
    Added,
    /// It is not there.
    Removed,
}

/// One place where two events differ.
pub(super) struct Difference<'e> {
    pub(super) kind: Kind,
    /// None where it was added.
    pub(super) before: Option<&'e Entity<'e>>,
    /// None where it was removed.
    pub(super) after: Option<&'e Entity<'e>>,
}

/// A walk over two events at once.
pub(super) struct Walk<'w, 'e> {
    /// Whether a key may be shown. Any other is `*`: a map's keys may be parts of the record (Invariant 10).
    pub(super) is_known: &'w dyn Fn(&str) -> bool,
    /// Told of each difference and its path: a JSON pointer in which `*` stands for an item's number.
    pub(super) found: &'w mut dyn FnMut(&str, Difference<'e>),
    /// Where the walk is.
    pub(super) path: String,
}

impl<'e> Walk<'_, 'e> {
    /// Finds all differences. Of what was added or removed as a whole, the outermost is told.
    pub(super) fn go(&mut self, before: &'e Entity<'e>, after: &'e Entity<'e>) {
        match (before, after) {
            (Entity::Object(before), Entity::Object(after)) => self.members(before, after),
            (Entity::Array(before), Entity::Array(after)) => self.items(before, after),
            (before, after) if before == after => {}
            (before, after) => self.tell(Kind::Changed, Some(before), Some(after)),
        }
    }

    fn members(&mut self, before: &'e [Member<'e>], after: &'e [Member<'e>]) {
        let (before, after) = (sorted(before), sorted(after));
        let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((ours, _)), Some((theirs, _))) => ours.cmp(theirs),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            let Some((key, _)) = old.or(new) else { return };
            let end = self.path.len();
            self.step(if (self.is_known)(key) { key } else { "*" });
            self.pair(old.map(|(_, value)| value), new.map(|(_, value)| value));
            self.path.truncate(end);
        }
    }

    fn items(&mut self, before: &'e [Entity<'e>], after: &'e [Entity<'e>]) {
        let end = self.path.len();
        self.step("*");
        for at in 0..before.len().max(after.len()) {
            self.pair(before.get(at), after.get(at));
        }
        self.path.truncate(end);
    }

    fn pair(&mut self, before: Option<&'e Entity<'e>>, after: Option<&'e Entity<'e>>) {
        match (before, after) {
            (Some(before), Some(after)) => self.go(before, after),
            (None, after) => self.tell(Kind::Added, None, after),
            (before, None) => self.tell(Kind::Removed, before, None),
        }
    }

    fn tell(&mut self, kind: Kind, before: Option<&'e Entity<'e>>, after: Option<&'e Entity<'e>>) {
        (self.found)(&self.path, Difference { kind, before, after });
    }

    fn step(&mut self, key: &str) {
        self.path.push('/');
        for c in key.chars() {
            match c {
                '~' => self.path.push_str("~0"),
                '/' => self.path.push_str("~1"),
                c => self.path.push(c),
            }
        }
    }
}

fn sorted<'e>(members: &'e [Member<'e>]) -> Vec<(&'e str, &'e Entity<'e>)> {
    let mut sorted: Vec<_> = members.iter().map(|(key, value)| (&**key, value)).collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    sorted
}

/// A pointer into an event with its numbers, and the keys that may not be shown, as `*`.
pub(super) fn folded(pointer: &str, is_known: &dyn Fn(&str) -> bool) -> String {
    let mut folded = String::with_capacity(pointer.len());
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        folded.push('/');
        folded.push_str(if is_known(&key) { segment } else { "*" });
    }
    folded
}

/// A value as JSON text, for people.
pub(super) fn text(entity: &Entity<'_>) -> String {
    value(entity).to_string()
}

fn value(entity: &Entity<'_>) -> Value {
    match entity {
        Entity::Null => Value::Null,
        Entity::Bool(value) => Value::Bool(*value),
        Entity::Number(number) => Value::Number(number.clone()),
        Entity::Text(text) => Value::String(text.to_string()),
        Entity::Array(items) => items.iter().map(value).collect(),
        Entity::Object(members) => Value::Object(
            members.iter().map(|(key, member)| (key.to_string(), value(member))).collect(),
        ),
    }
}

/// Whether what stands at `path` is, holds or is part of something that is not to be shown.
pub(super) fn is_hidden(path: &str, redact: &[String]) -> bool {
    let meets = |rule: &String| {
        let (mut ours, mut theirs) = (path.split('/').skip(1), rule.split('/').skip(1));
        loop {
            match (ours.next(), theirs.next()) {
                (Some(ours), Some(theirs)) if ours == theirs || ours == "*" || theirs == "*" => {}
                (Some(_), Some(_)) => return false,
                _ => return true,
            }
        }
    };
    redact.iter().any(meets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(before: &str, after: &str) -> Vec<String> {
        let (before, after) = (Entity::parse(before).unwrap(), Entity::parse(after).unwrap());
        let mut list = Vec::new();
        let mut found = |path: &str, difference: Difference<'_>| {
            let shown = |side: Option<&Entity<'_>>| side.map(text).unwrap_or_default();
            let (old, new) = (shown(difference.before), shown(difference.after));
            list.push(format!("{path} {:?} {old} {new}", difference.kind));
        };
        let is_known = |key: &str| !key.contains('@');
        Walk { is_known: &is_known, found: &mut found, path: String::new() }.go(&before, &after);
        list
    }

    #[test]
    fn the_order_of_keys_and_escapes_make_no_difference_and_a_fraction_does() {
        assert_eq!(found(r#"{"a":"\u0041","b":1}"#, r#"{"b":1,"a":"A"}"#), [""; 0]);
        assert_eq!(found(r#"{"a":1.0}"#, r#"{"a":1.00}"#), [""; 0]);
        assert_eq!(found(r#"{"a":1}"#, r#"{"a":1.0}"#), ["/a Changed 1 1.0"]);
        assert_eq!(found(r#"{"a":null}"#, "{}"), ["/a Removed null "]);
    }

    #[test]
    fn items_share_a_path_and_what_is_more_or_less_is_told() {
        let (before, after) = (r#"{"l":[{"p":1},{"p":2}]}"#, r#"{"l":[{"p":100},{"p":200},3]}"#);
        assert_eq!(
            found(before, after),
            ["/l/*/p Changed 1 100", "/l/*/p Changed 2 200", "/l/* Added  3"]
        );
        assert_eq!(found(r#"{"l":[1]}"#, r#"{"l":{}}"#), ["/l Changed [1] {}"]);
    }

    #[test]
    fn invariant_10_a_key_of_a_map_is_not_shown() {
        let (before, after) = (r#"{"m":{"ann@example.org":1}}"#, r#"{"m":{"bob@example.org":1}}"#);
        assert_eq!(found(before, after), ["/m/* Removed 1 ", "/m/* Added  1"]);
        assert_eq!(folded("/m/ann@example.org/0", &|key| key == "m"), "/m/*/*");
        assert_eq!(folded("", &|_| true), "");
    }

    #[test]
    fn keys_are_escaped_as_pointers_are() {
        assert_eq!(found(r#"{"a/b":{"~":1}}"#, r#"{"a/b":{"~":2}}"#), ["/a~1b/~0 Changed 1 2"]);
    }

    #[test]
    fn what_holds_or_is_part_of_what_is_hidden_is_hidden() {
        let redact = ["/person/name".to_owned(), "/identityMap/Email".to_owned()];
        for hidden in ["/person", "/person/name", "/person/name/first", "/identityMap/*/*/id", ""] {
            assert!(is_hidden(hidden, &redact), "{hidden}");
        }
        for shown in ["/person/age", "/personal", "/identityMap/Phone"] {
            assert!(!is_hidden(shown, &redact), "{shown}");
        }
        assert!(!is_hidden("/a", &[]));
    }
}
