//! A source document as a tree whose leaves remember what became of them.
//!
//! A mapping reads leaves through [`Node::text`] and [`Node::is`], which note the
//! leaf as *used*; what it leaves out on purpose it gives to [`Node::leave_out`] or declares in a
//! table ([`crate::conserve`]). What is neither is a field that the mapping does not know, and can
//! be reported: nothing is dropped unseen.
//!
//! One shape serves JSON, XML and rows. An XML attribute is a child named `@name`; a repeated
//! element is several children of one name; the items of a JSON array are children named `[]`.

use std::{borrow::Cow, cell::Cell, collections::HashSet, rc::Rc};

use crate::{json, value::Value};

/// The most values (elements, attributes, keys, items) of one document. A value costs about
/// 100 bytes, so a document at this limit takes 25 of the 64 MB that an instance has.
pub const MAX_VALUES: usize = 250_000;

/// The name of an item of a JSON array.
pub const ITEM: &str = "[]";

/// One value of a source document: an element, an attribute, an object, an array or a scalar.
#[derive(Debug)]
pub struct Node {
    /// The element's local name, `@` and the attribute's, the key, the column, or [`ITEM`].
    name: Rc<str>,
    /// What kind of value it is.
    kind: Kind,
    /// The scalar's text as it stands in the document; empty where there is none.
    text: String,
    /// What is below it, in document order.
    children: Vec<Node>,
    /// What the mapping did with the leaf.
    fate: Cell<Fate>,
}

/// What kind of value a [`Node`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON object. Of repeated keys the last counts.
    Object,
    /// An XML element, which may have text beside its children.
    Element,
    /// A JSON array.
    Array,
    /// Text: a JSON string, an attribute, a cell.
    Text,
    /// A JSON number, as it is written.
    Number,
    /// A JSON boolean.
    Bool,
    /// A JSON null.
    Null,
}

/// What the mapping did with a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing so far.
    Unseen,
    /// Its value influenced the outcome.
    Used,
    /// It was left out for a reason that holds in this document only.
    LeftOut,
}

impl Clone for Node {
    /// A copy that nothing has been read from.
    fn clone(&self) -> Self {
        Self {
            name: Rc::clone(&self.name),
            kind: self.kind,
            text: self.text.clone(),
            children: self.children.clone(),
            fate: Cell::new(Fate::Unseen),
        }
    }
}

impl Node {
    /// A value without children.
    pub fn new(name: Rc<str>, kind: Kind, text: impl Into<String>) -> Self {
        Self { name, kind, text: text.into(), children: Vec::new(), fate: Cell::new(Fate::Unseen) }
    }

    /// Reads a JSON document; the root's name is empty.
    ///
    /// # Errors
    /// A sentence with line and column, without any of the document's content.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value = json::parse(text, json::MAX_DEPTH)
            .map_err(|error| format!("the document is not JSON: {error}"))?;
        let mut names = Names::default();
        let mut left = MAX_VALUES;
        Self::from_value("", value, &mut names, &mut left)
            .ok_or_else(|| format!("the document has more than {MAX_VALUES} values"))
    }

    /// A value and what is below it; none where the document has too many.
    fn from_value(
        name: &str,
        value: Value<'_>,
        names: &mut Names,
        left: &mut usize,
    ) -> Option<Self> {
        *left = left.checked_sub(1)?;
        let name = names.get(name);
        let scalar = |kind, text: Cow<'_, str>| Self::new(name, kind, text);
        Some(match value {
            Value::Null => scalar(Kind::Null, "".into()),
            Value::Bool(value) => scalar(Kind::Bool, if value { "true" } else { "false" }.into()),
            Value::Number(text) => scalar(Kind::Number, text),
            Value::Text(text) => scalar(Kind::Text, text),
            Value::Array(items) => {
                let mut node = scalar(Kind::Array, "".into());
                for item in items {
                    node.push(Self::from_value(ITEM, item, names, left)?);
                }
                node
            }
            Value::Object(members) => {
                let mut node = scalar(Kind::Object, "".into());
                for (key, member) in members {
                    node.push(Self::from_value(&key, member, names, left)?);
                }
                node
            }
        })
    }

    /// The name: see the module's notation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of value it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What became of the leaf so far.
    pub fn fate(&self) -> Fate {
        self.fate.get()
    }

    /// Every child, in document order.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// Adds a child at the end.
    pub fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    /// Adds to the text of an element.
    pub fn push_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The child of a name: of an element the first, of an object, as everywhere, the last.
    pub fn child(&self, name: &str) -> Option<&Self> {
        let mut named = self.children.iter().filter(|child| &*child.name == name);
        if self.kind == Kind::Object { named.next_back() } else { named.next() }
    }

    /// Every child of a name: a repeated element.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Self> {
        self.children.iter().filter(move |child| &*child.name == name)
    }

    /// The items below a key, whether it holds an array or, as some producers write a list of one,
    /// the item itself.
    pub fn items(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = self.child(name);
        let (items, one) = match list {
            Some(list) if list.kind == Kind::Array => (list.children.as_slice(), None),
            Some(list) if list.kind == Kind::Null => (&[][..], None),
            other => (&[][..], other),
        };
        items.iter().chain(one)
    }

    /// The value at a path of names separated by dots.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, name| node.child(name))
    }

    /// The text without surrounding blanks, noted as used; none where it is empty or null.
    pub fn text(&self) -> Option<&str> {
        let text = self.peek()?;
        self.fate.set(Fate::Used);
        Some(text)
    }

    /// The text as it stands, blanks included, noted as used; none where it is empty or null.
    pub fn verbatim(&self) -> Option<&str> {
        self.text().map(|_| self.text.as_str())
    }

    /// The text without surrounding blanks, for a look that does not count as use.
    pub fn peek(&self) -> Option<&str> {
        let text = self.text.trim();
        (self.kind != Kind::Null && !text.is_empty()).then_some(text)
    }

    /// Whether the text is this one; noted as used only if so, since otherwise it decides nothing.
    pub fn is(&self, value: &str) -> bool {
        let same = self.peek() == Some(value);
        if same {
            self.fate.set(Fate::Used);
        }
        same
    }

    /// [`Node::text`] of the value at a path.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path)?.text()
    }

    /// [`Node::peek`] of the value at a path.
    pub fn peek_at(&self, path: &str) -> Option<&str> {
        self.at(path)?.peek()
    }

    /// [`Node::is`] of the value at a path.
    pub fn is_at(&self, path: &str, value: &str) -> bool {
        self.at(path).is_some_and(|node| node.is(value))
    }

    /// Notes every leaf from here down that is not used as left out on purpose.
    pub fn leave_out(&self) {
        if self.fate.get() == Fate::Unseen {
            self.fate.set(Fate::LeftOut);
        }
        self.children.iter().for_each(Self::leave_out);
    }

    /// Calls back for every leaf (every value with text, nulls and empty texts aside) with its path:
    /// names separated by dots, an array's items by `[]` without a dot.
    pub fn each_leaf<'n>(&'n self, visit: &mut dyn FnMut(&str, &'n Self)) {
        self.walk(&mut String::new(), visit);
    }

    /// [`Node::each_leaf`] below a path.
    fn walk<'n>(&'n self, path: &mut String, visit: &mut dyn FnMut(&str, &'n Self)) {
        if self.peek().is_some() {
            visit(path, self);
        }
        let length = path.len();
        for child in &self.children {
            if &*child.name != ITEM && !path.is_empty() {
                path.push('.');
            }
            path.push_str(&child.name);
            child.walk(path, visit);
            path.truncate(length);
        }
    }

    /// Replaces the text of the n-th leaf in the order of [`Node::each_leaf`]; for tests that ask
    /// what a change of one leaf changes.
    pub fn replace_leaf(&mut self, index: usize, text: &str) -> bool {
        self.replace(&mut { index }, text)
    }

    /// [`Node::replace_leaf`], counting down.
    fn replace(&mut self, left: &mut usize, text: &str) -> bool {
        if self.peek().is_some() {
            if *left == 0 {
                text.clone_into(&mut self.text);
                return true;
            }
            *left -= 1;
        }
        self.children.iter_mut().any(|child| child.replace(left, text))
    }
}

/// The names of a document, each kept once.
#[derive(Default)]
pub struct Names(HashSet<Rc<str>>);

impl Names {
    /// The one copy of a name.
    pub fn get(&mut self, name: &str) -> Rc<str> {
        if let Some(known) = self.0.get(name) {
            return Rc::clone(known);
        }
        let name: Rc<str> = name.into();
        self.0.insert(Rc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let node =
            Node::from_json(r#"{"id": 123456789012345678901234, "f": 13.50, "n": -5}"#).unwrap();
        assert_eq!(node.text_at("id"), Some("123456789012345678901234"));
        assert_eq!(node.text_at("f"), Some("13.50"));
        assert_eq!(node.text_at("n"), Some("-5"));
    }

    #[test]
    fn a_leaf_is_used_once_read_and_nulls_and_blanks_are_no_leaves() {
        let node = Node::from_json(r#"{"a": {"b": " x "}, "c": [1, null], "d": "  ", "e": true}"#)
            .unwrap();
        assert_eq!(node.text_at("a.b"), Some("x"));
        assert!(!node.is_at("e", "false"));
        let mut seen = Vec::new();
        node.each_leaf(&mut |path, leaf| seen.push((path.to_owned(), leaf.fate())));
        assert_eq!(
            seen,
            [
                ("a.b".to_owned(), Fate::Used),
                ("c[]".to_owned(), Fate::Unseen),
                ("e".to_owned(), Fate::Unseen),
            ]
        );
    }

    #[test]
    fn a_list_of_one_may_be_the_item_itself() {
        let node =
            Node::from_json(r#"{"many": [{"x": 1}, {"x": 2}], "one": {"x": 3}, "no": null}"#)
                .unwrap();
        let read = |name| node.items(name).filter_map(|item| item.text_at("x")).collect::<Vec<_>>();
        assert_eq!(read("many"), ["1", "2"]);
        assert_eq!(read("one"), ["3"]);
        assert!(read("no").is_empty() && read("none").is_empty());
    }

    #[test]
    fn a_document_that_is_not_json_says_where_and_shows_nothing() {
        let error = Node::from_json("{\"secret\": tru}").unwrap_err();
        assert!(error.contains("line 1, column") && !error.contains("secret"), "{error}");
        assert!(Node::from_json("{} {}").is_err());
        assert!(Node::from_json(&"[".repeat(1000)).is_err());
    }
}
