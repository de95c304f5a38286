//! A source document as a tree whose leaves remember what became of them.
//!
//! A mapping reads leaves through [`Node::text`], [`Node::number`] and [`Node::is`], which note the
//! leaf as *used*; what it leaves out on purpose it gives to [`Node::leave_out`] or declares in a
//! table ([`crate::conserve`]). What is neither is a field that the mapping does not know, and can
//! be reported: nothing is dropped unseen.
//!
//! One shape serves JSON, XML and rows. An XML attribute is a child named `@name`; a repeated
//! element is several children of one name; the items of a JSON array are children named `[]`.

use std::{cell::Cell, collections::HashSet, fmt, rc::Rc};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

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
    /// A JSON object, or an XML element (which may have text beside its children).
    Object,
    /// A JSON array.
    Array,
    /// Text: a JSON string, an attribute, a cell.
    Text,
    /// A JSON number, its text being the shortest that reads back as the same number.
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
        let mut names = Names::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let mut left = MAX_VALUES;
        let name = names.get("");
        let root = Seed { name, names: &mut names, left: &mut left }
            .deserialize(&mut reader)
            .and_then(|root| reader.end().map(|()| root));
        root.map_err(|error| format!("the document is not JSON: {error}"))
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

    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| &*child.name == name)
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

    /// The first value at a path of names separated by dots.
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

/// Reads one JSON value into a [`Node`]; `serde_json` bounds the depth at 128.
struct Seed<'s> {
    /// The value's name.
    name: Rc<str>,
    /// The document's names.
    names: &'s mut Names,
    /// How many values the document may still have.
    left: &'s mut usize,
}

impl Seed<'_> {
    /// The node, unless the document has too many.
    fn node<E: de::Error>(self, kind: Kind, text: impl Into<String>) -> Result<Node, E> {
        count(self.left)?;
        Ok(Node::new(self.name, kind, text))
    }
}

/// Counts one value.
fn count<E: de::Error>(left: &mut usize) -> Result<(), E> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| E::custom(format_args!("it has more than {MAX_VALUES} values")))?;
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node(Kind::Null, "")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.node(Kind::Bool, if value { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.node(Kind::Number, value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.node(Kind::Number, value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.node(Kind::Number, value.to_string())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.node(Kind::Text, value)
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node, E> {
        self.node(Kind::Text, value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        count(self.left)?;
        let mut node = Node::new(self.name, Kind::Array, "");
        loop {
            let name = self.names.get(ITEM);
            let seed = Seed { name, names: &mut *self.names, left: &mut *self.left };
            match items.next_element_seed(seed)? {
                Some(item) => node.push(item),
                None => return Ok(node),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        count(self.left)?;
        let mut node = Node::new(self.name, Kind::Object, "");
        while let Some(key) = entries.next_key::<String>()? {
            let name = self.names.get(&key);
            let seed = Seed { name, names: &mut *self.names, left: &mut *self.left };
            node.push(entries.next_value_seed(seed)?);
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let node = Node::from_json(r#"{"id": 9007199254740993, "f": 13.50, "n": -5}"#).unwrap();
        assert_eq!(node.text_at("id"), Some("9007199254740993"));
        assert_eq!(node.text_at("f"), Some("13.5"));
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
        assert!(error.contains("line 1 column") && !error.contains("secret"), "{error}");
        assert!(Node::from_json("{} {}").is_err());
        assert!(Node::from_json(&"[".repeat(1000)).is_err());
    }
}
