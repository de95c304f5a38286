//! The rules of a mapping from its JSON.

use std::collections::HashMap;

use super::convert::Kind;
use super::keys::{Keys, Read, join, list, object, wrong};
use super::{From, Group, Member, Node, Rule, Source, Table, TableRows, Unknown, Unset};
use crate::entity;
use crate::expression::Compiler;
use crate::expression::usage::push_member;
use crate::value::Value;
use crate::write;

/// The keys that say where a value comes from.
const SOURCES: [&str; 5] = ["from", "const", "list", "each", "fields"];

/// All keys of a rule.
const KEYS: [&str; 17] = [
    "from", "const", "list", "each", "fields", "value", "type", "required", "default", "table",
    "lookup", "unknown", "trim", "unset", "invalid", "format", "zone",
];

/// The keys of single types.
const MORE_KEYS: [&str; 3] = ["ambiguous", "currency", "column"];

/// Reads rules.
pub(crate) struct Rules<'r, 'c> {
    /// Compiles their expressions.
    pub(crate) compiler: &'r mut Compiler<'c>,
    /// What stands for `_tenant`.
    pub(crate) tenant: Option<&'r str>,
    /// The paths in the event whose values are constants or may be defaults, `[]` for items.
    pub(crate) constants: Vec<String>,
}

impl Rules<'_, '_> {
    /// An object's fields: paths to rules. `target` is its own path in the event.
    pub(crate) fn group(
        &mut self,
        value: &Value<'_>,
        at: &str,
        target: &str,
        strict: bool,
    ) -> Read<Group> {
        let members = object(value, at)?;
        if members.is_empty() {
            return wrong(at, "has no fields");
        }
        let mut group = Group::default();
        for (path, rule) in members {
            let place = join(at, path);
            let names = self.names(path, &place)?;
            let node = self.field(rule, &place, &below(target, &names))?;
            insert(&mut group, &names, node, &place)?;
        }
        group.needs_source = strict && group.members.iter().any(|member| has_source(&member.node));
        Ok(group)
    }

    /// The names of a path, the tenant's put in.
    fn names(&self, path: &str, at: &str) -> Read<Vec<String>> {
        let mut names = Vec::new();
        for name in entity::split(path) {
            if name.is_empty() {
                return wrong(
                    at,
                    "has an empty name between two dots; write `\\.` for a dot inside a name",
                );
            }
            if name.ends_with(']') {
                return wrong(at, "has an index; write the whole list with `list` or `each`");
            }
            names.push(match self.tenant {
                _ if name != entity::TENANT => name.into_owned(),
                Some(tenant) => tenant.to_owned(),
                None => {
                    return wrong(at, "names `_tenant`, but the configuration gives no `tenant`");
                }
            });
        }
        Ok(names)
    }

    /// What stands at a field's path: an expression, a constant, or a rule.
    fn field(&mut self, value: &Value<'_>, at: &str, target: &str) -> Read<Node> {
        match value {
            Value::Text(text) => self.expression_rule(text, at, target),
            Value::Bool(_) | Value::Number(_) => {
                self.constants.push(target.to_owned());
                Ok(rule(target, Source::Constant(value.to_json()), false))
            }
            Value::Object(_) => self.rule(value, at, target),
            other => wrong(
                at,
                format!("needs an expression, a constant or a rule, but is {}", other.kind()),
            ),
        }
    }

    /// An item of a `list`: as a field, but an object without a source is an object of fields.
    fn item(&mut self, value: &Value<'_>, at: &str, target: &str) -> Read<Node> {
        match value {
            Value::Object(members) if !members.iter().any(|(key, _)| SOURCES.contains(&&**key)) => {
                Ok(Node::Group(self.group(value, at, target, true)?))
            }
            other => self.field(other, at, target),
        }
    }

    /// An expression without anything more.
    fn expression_rule(&mut self, text: &str, at: &str, target: &str) -> Read<Node> {
        let expression = self.compiler.value(text).or_else(|what| wrong(at, what))?;
        let from = From {
            expression,
            trim: false,
            table: None,
            kind: Kind::Any,
            lenient: false,
            default: None,
            unset: Unset::Never,
        };
        Ok(rule(target, Source::From(Box::new(from)), false))
    }

    /// A rule with keys.
    fn rule(&mut self, value: &Value<'_>, at: &str, target: &str) -> Read<Node> {
        let known: Vec<&str> = KEYS.iter().chain(&MORE_KEYS).copied().collect();
        let table = Keys::new(value, at, &known)?;
        let sources: Vec<&str> = SOURCES.iter().copied().filter(|key| table.has(key)).collect();
        let required = table.flag("required")?;
        let allowed: &[&str] = match sources.as_slice() {
            ["from"] => return self.from(&table, target, required),
            ["const"] => &["const"],
            ["list"] => &["list", "required"],
            ["each", "fields"] => &["each", "fields", "required"],
            ["each"] => &["each", "value", "required"],
            ["fields"] => &["fields", "required"],
            [] => {
                return wrong(
                    at,
                    format!(
                        "says not where the value comes from: needs one of {}",
                        SOURCES.join(", ")
                    ),
                );
            }
            several => {
                return wrong(
                    at,
                    format!(
                        "has {} together; one says where the value comes from",
                        several.join(" and ")
                    ),
                );
            }
        };
        if let Some((key, _)) = table.members.iter().find(|(key, _)| !allowed.contains(&&**key)) {
            return wrong(at, format!("`{key}` does not go with `{}`", sources.join("` and `")));
        }
        let source = match sources.as_slice() {
            ["const"] => self.constant(&table, target)?,
            ["list"] => {
                let place = table.place("list");
                let items = table.get("list").map_or(Ok(&[][..]), |items| list(items, &place))?;
                let target = format!("{target}[]");
                let nodes = items.iter().enumerate();
                let nodes = nodes
                    .map(|(index, item)| self.item(item, &format!("{place}[{index}]"), &target));
                Source::List(nodes.collect::<Read<_>>()?)
            }
            ["fields"] => {
                let group = self.fields(&table, target)?;
                if !required {
                    return Ok(Node::Group(group));
                }
                Source::Group(group)
            }
            _ => self.each(&table, target)?,
        };
        Ok(rule(target, source, required))
    }

    /// A constant.
    fn constant(&mut self, table: &Keys<'_>, target: &str) -> Read<Source> {
        self.constants.push(target.to_owned());
        Ok(Source::Constant(constant(table, "const")?))
    }

    /// The fields of an object.
    fn fields(&mut self, table: &Keys<'_>, target: &str) -> Read<Group> {
        let place = table.place("fields");
        match table.get("fields") {
            Some(fields) => self.group(fields, &place, target, true),
            None => wrong(&place, "has no fields"),
        }
    }

    /// A list with an item for each answer.
    fn each(&mut self, table: &Keys<'_>, target: &str) -> Read<Source> {
        let place = table.place("each");
        let Some(text) = table.text("each")? else { return wrong(&place, "needs an expression") };
        let (each, places) = self.compiler.places(text).or_else(|what| wrong(&place, what))?;
        let outer = std::mem::replace(&mut self.compiler.this, places);
        let target = format!("{target}[]");
        let node = if table.has("fields") {
            self.fields(table, &target).map(Node::Group)
        } else {
            match table.get("value") {
                Some(value) => self.item(value, &table.place("value"), &target),
                None => wrong(
                    &table.at,
                    "`each` needs `fields` (a list of objects) or `value` (a list of values)",
                ),
            }
        };
        self.compiler.this = outer;
        Ok(Source::Each(each, node?))
    }

    /// A value of the document.
    fn from(&mut self, keys: &Keys<'_>, target: &str, required: bool) -> Read<Node> {
        if keys.has("value") {
            return wrong(&keys.at, "`value` goes with `each`, not with `from`");
        }
        let Some(text) = keys.text("from")? else {
            return wrong(&keys.place("from"), "needs an expression");
        };
        let expression =
            self.compiler.value(text).or_else(|what| wrong(&keys.place("from"), what))?;
        let default = match keys.get("default") {
            Some(_) => {
                self.constants.push(target.to_owned());
                Some(constant(keys, "default")?)
            }
            None => None,
        };
        let unset = match keys.get("unset") {
            None | Some(Value::Bool(false)) => Unset::Never,
            Some(Value::Bool(true)) => Unset::Null,
            Some(Value::Text(word)) if word == "empty" => Unset::Empty,
            Some(_) => {
                return wrong(
                    &keys.place("unset"),
                    "needs true (a null unsets) or `empty` (an empty text too)",
                );
            }
        };
        if unset != Unset::Never && default.is_some() {
            return wrong(
                &keys.at,
                "`unset` and `default` contradict each other: what should a null become?",
            );
        }
        let from = From {
            expression,
            trim: keys.flag("trim")?,
            table: self.table(keys)?,
            kind: self.kind(keys)?,
            lenient: keys.word("invalid", &[("reject", false), ("omit", true)])?.unwrap_or(false),
            default,
            unset,
        };
        Ok(rule(target, Source::From(Box::new(from)), required))
    }

    /// The table that translates a value.
    fn table(&mut self, keys: &Keys<'_>) -> Read<Option<Table>> {
        let words = [("reject", Unknown::Reject), ("omit", Unknown::Omit), ("keep", Unknown::Keep)];
        let unknown = keys.word("unknown", &words)?;
        let rows = match (keys.get("table"), keys.text("lookup")?) {
            (Some(_), Some(_)) => {
                return wrong(&keys.at, "has `table` and `lookup`; one of them translates");
            }
            (Some(table), None) => {
                let place = keys.place("table");
                let mut rows = HashMap::new();
                for (key, value) in object(table, &place)? {
                    if matches!(value, Value::Object(_) | Value::Array(_)) {
                        return wrong(
                            &join(&place, key),
                            format!("needs a scalar, but is {}", value.kind()),
                        );
                    }
                    rows.insert(key.clone().into_owned(), value.clone().into_owned());
                }
                TableRows::Inline(rows)
            }
            (None, Some(name)) => {
                let table = self
                    .compiler
                    .lookups
                    .find(name)
                    .or_else(|what| wrong(&keys.place("lookup"), what))?;
                TableRows::Lookup(table, keys.text("column")?.map(str::to_owned))
            }
            (None, None) if unknown.is_some() => {
                return wrong(&keys.at, "`unknown` needs `table` or `lookup`");
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Table { rows, unknown: unknown.unwrap_or_default() }))
    }
}

/// A constant as JSON; never empty.
fn constant(keys: &Keys<'_>, key: &str) -> Read<String> {
    match keys.get(key).and_then(|value| value.clone().pruned()) {
        Some(value) => {
            let mut json = String::new();
            write::value(&mut json, &value);
            Ok(json)
        }
        None => wrong(&keys.place(key), "is empty; empty values are never emitted"),
    }
}

/// The path of a field in the event.
fn below(target: &str, names: &[String]) -> String {
    let mut path = target.to_owned();
    for name in names {
        push_member(&mut path, name);
    }
    path.strip_prefix('.').map(str::to_owned).unwrap_or(path)
}

/// A rule as a node.
fn rule(target: &str, source: Source, required: bool) -> Node {
    Node::Rule(Box::new(Rule { target: target.to_owned(), source, required }))
}

/// Puts a node into an object at a path.
fn insert(group: &mut Group, names: &[String], node: Node, at: &str) -> Read<()> {
    let Some((name, rest)) = names.split_first() else { return wrong(at, "is an empty path") };
    let known = group.members.iter().position(|member| member.name == *name);
    match (known.and_then(|known| group.members.get_mut(known)), rest.is_empty()) {
        (None, true) => group.members.push(Member::new(name, node)),
        (None, false) => {
            let mut inner = Group::default();
            insert(&mut inner, rest, node, at)?;
            group.members.push(Member::new(name, Node::Group(inner)));
        }
        (Some(Member { node: Node::Group(inner), .. }), false) if !inner.needs_source => {
            insert(inner, rest, node, at)?;
        }
        (Some(_), _) => {
            return wrong(
                at,
                "stands in the way of another field: a path is a value or an object, not both",
            );
        }
    }
    Ok(())
}

impl Member {
    /// A member with its key as JSON.
    fn new(name: &str, node: Node) -> Member {
        let mut key = String::new();
        write::text(&mut key, name);
        key.push(':');
        Member { name: name.to_owned(), key, node }
    }
}

/// Whether a node might write something that comes from the document.
pub(crate) fn has_source(node: &Node) -> bool {
    match node {
        Node::Group(group) => group.members.iter().any(|member| has_source(&member.node)),
        Node::Rule(rule) => match &rule.source {
            Source::Constant(_) => false,
            Source::From(_) | Source::Each(..) => true,
            Source::List(nodes) => nodes.iter().any(has_source),
            Source::Group(group) => group.members.iter().any(|member| has_source(&member.node)),
        },
    }
}
