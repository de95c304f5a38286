//! YAML as a tree in which every node knows its place in the text.
//!
//! Bounded in depth and, with aliases followed, in nodes. Tags, several documents and keys that
//! are no scalars are refused; keys given twice are reported together, the first one counts.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

use super::path::KeyPath;
use super::problem::Draft;

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// The most nodes in one file once its aliases are followed; ours have hundreds.
const MAX_NODES: usize = 100_000;

/// The deepest nesting of lists and mappings in the text; ours have eight.
const MAX_DEPTH: usize = 64;

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
    /// How many nodes this is, itself included.
    weight: usize,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Value {
    /// A scalar's text; `plain` where it is not in quotes, so that it may be a number.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the text.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// What is wrong with a text as YAML.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Where the same thing stands already.
    pub(super) first: Option<usize>,
}

impl Mistake {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None, first: None }
    }

    /// The mistake as a problem at its place.
    pub(super) fn draft(self) -> Draft {
        let draft = Draft::error(&KeyPath::root(), self.span, self.message);
        match self.hint {
            Some(hint) => draft.hint(hint),
            None => draft,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A scalar by YAML's core schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as JSON writes it, digits kept.
    Number(String),
    /// A text.
    Text(&'a str),
    /// Something that readers of YAML take for different things, and why.
    Unclear(&'static str),
}

impl Node {
    /// The scalar in this node, if it is one.
    pub(super) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(plain(text)),
            Value::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entry of this mapping with that key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }
}

/// Reads one document. Errors that end reading are `Err`; keys given twice come with the tree.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<Mistake>), Mistake> {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_comments: false,
    };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| syntax(text, &error))?;
        let end = span.end.byte_offset().unwrap_or_default();
        builder.take(event, span.start.byte_offset().unwrap_or_default()..end)?;
    }
    match builder.root {
        Some(root) => Ok((root, builder.twice)),
        None => Err(Mistake::new(0..0, "the file holds nothing")),
    }
}

/// A list or mapping whose end has not come yet.
struct Open {
    anchor: usize,
    start: usize,
    style: StructureStyle,
    weight: usize,
    inner: Inner,
}

enum Inner {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Span)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    twice: Vec<Mistake>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), &span)?;
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.finish(anchor, Node { span, value, weight: 1 })
            }
            Event::SequenceStart(style, anchor, tag) => {
                refuse_tag(tag.is_some(), &span)?;
                self.begin(anchor, span.start, style, Inner::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(style, anchor, tag) => {
                refuse_tag(tag.is_some(), &span)?;
                if let Some(Open { inner: Inner::Map { key: None, .. }, .. }) = self.open.last() {
                    return Err(Mistake::new(span, "a key must be a plain text"));
                }
                self.begin(
                    anchor,
                    span.start,
                    style,
                    Inner::Map { entries: Vec::new(), key: None },
                );
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span.end),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = node.clone();
                    self.finish(0, node)
                }
                None => Err(Mistake::new(span, "an alias stands inside what it refers to")),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Mistake::new(span, "a second document begins here")
                    .hint("one file holds one document: remove `---` and what follows"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, start: usize, style: StructureStyle, inner: Inner) {
        self.open.push(Open { anchor, start, style, weight: 1, inner });
    }

    fn end(&mut self, end: usize) -> Result<(), Mistake> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let (value, last) = match open.inner {
            Inner::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (Value::List(items), last)
            }
            Inner::Map { entries, .. } => {
                let last = entries.last().map(|entry| entry.value.span.end);
                (Value::Map(entries), last)
            }
        };
        // A block ends where its last child ends, not at the key that follows it.
        let end = match (open.style, last) {
            (StructureStyle::Block, Some(last)) => last,
            _ => end,
        };
        let span = open.start..end.max(open.start);
        self.finish(open.anchor, Node { span, value, weight: open.weight })
    }

    /// Puts a complete node where it belongs.
    fn finish(&mut self, anchor: usize, node: Node) -> Result<(), Mistake> {
        self.nodes += if matches!(node.value, Value::Scalar { .. }) { 1 } else { node.weight };
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, aliases followed");
            return Err(Mistake::new(node.span, message));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.weight += node.weight;
        match &mut open.inner {
            Inner::List(items) => items.push(node),
            Inner::Map { entries, key } => match key.take() {
                Some((key, key_span)) => match entries.iter().find(|entry| entry.key == key) {
                    Some(first) => {
                        let first = Some(first.key_span.start);
                        self.twice.push(Mistake { first, ..Mistake::new(key_span, key) });
                    }
                    None => entries.push(Entry { key, key_span, value: node }),
                },
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.span)),
                    Value::List(_) | Value::Map(_) => {
                        return Err(Mistake::new(node.span, "a key must be a plain text"));
                    }
                },
            },
        }
        Ok(())
    }
}

fn refuse_tag(tagged: bool, span: &Span) -> Result<(), Mistake> {
    if tagged {
        return Err(Mistake::new(span.clone(), "tags (`!…`) are not read")
            .hint("secrets come by reference: `${NAME}` or `${file:PATH}`"));
    }
    Ok(())
}

fn syntax(text: &str, error: &granit_parser::ScanError) -> Mistake {
    let at = error.marker().byte_offset().unwrap_or_default().min(text.len());
    let line_start = text.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |end| end + 1);
    let rest = text.get(line_start..).unwrap_or_default();

    // A tab may be noticed at the end of the line before it.
    let mut start = line_start;
    for line in rest.split_inclusive('\n').take(2) {
        let indent = line.len() - line.trim_start().len();
        let tab = line.get(..indent).and_then(|indent| indent.find('\t'));
        if let Some(tab) = tab.filter(|_| !line.trim().is_empty()) {
            let span = start + tab..start + tab + 1;
            return Mistake::new(span, "a tab indents this line")
                .hint("YAML is indented with spaces");
        }
        start += line.len();
    }
    let mistake = Mistake::new(at..at, format!("this is no YAML: {}", error.kind()));
    let line = rest.lines().next().unwrap_or_default();
    if line.contains("${") && line.contains(['[', ',']) {
        mistake.hint("inside `{…}` and `[…]` a reference stands in quotes: `\"${NAME}\"`")
    } else {
        mistake
    }
}

/// The core schema of YAML 1.2, less what other versions read differently.
fn plain(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | ".nan" | ".NaN" | ".NAN" => {
            Scalar::Unclear("JSON has no such number")
        }
        _ => number(text).unwrap_or(Scalar::Text(text)),
    }
}

/// A number as JSON, or nothing where the text is none.
fn number(text: &str) -> Option<Scalar<'static>> {
    let radix = match text.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        _ => return decimal(text),
    };
    let value = u64::from_str_radix(text.get(2..)?, radix).ok()?;
    Some(Scalar::Number(value.to_string()))
}

fn decimal(text: &str) -> Option<Scalar<'static>> {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent_digits = exponent.map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    let is_number = digits(whole)
        && fraction.is_none_or(digits)
        && (!whole.is_empty() || fraction.is_some_and(|f| !f.is_empty()))
        && exponent_digits.is_none_or(|e| !e.is_empty() && digits(e));
    if !is_number {
        return None;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Some(Scalar::Unclear(
            "with leading zeros it is a text to some and a number to others",
        ));
    }
    let mut json = String::with_capacity(text.len() + 2);
    json.push_str(if negative { "-" } else { "" });
    json.push_str(if whole.is_empty() { "0" } else { whole });
    if let Some(fraction) = fraction {
        json.push('.');
        json.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let Some(exponent) = exponent {
        json.push('e');
        json.push_str(exponent);
    }
    Some(Scalar::Number(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from YAML 1.2.2, 10.3.2, and JSON's grammar.
    #[test]
    fn scalars_follow_the_core_schema() {
        let number = |text: &str| Scalar::Number(text.to_owned());
        for (text, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("no", Scalar::Text("no")),
            ("12", number("12")),
            ("+12", number("12")),
            ("-0", number("-0")),
            ("0x1F", number("31")),
            ("0o17", number("15")),
            (".5", number("0.5")),
            ("1.", number("1.0")),
            ("1e3", number("1e3")),
            ("12345678901234567890.10", number("12345678901234567890.10")),
            ("1e", Scalar::Text("1e")),
            (".", Scalar::Text(".")),
            ("-", Scalar::Text("-")),
            ("1.2.3", Scalar::Text("1.2.3")),
            ("2024-01-01", Scalar::Text("2024-01-01")),
            ("é", Scalar::Text("é")),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        assert!(matches!(plain("0049"), Scalar::Unclear(_)));
        assert!(matches!(plain(".nan"), Scalar::Unclear(_)));
    }

    #[test]
    fn aliases_are_followed_within_bounds() {
        let (root, _) = parse("a: &x [1, 2]\nb: *x\n").unwrap();
        assert!(
            matches!(&root.entry("b").unwrap().value.value, Value::List(items) if items.len() == 2)
        );
        assert!(parse("a: &x [*x]\n").is_err());

        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            bomb = format!("{bomb}a{level}: &a{level} [{}]\n", below.trim_end_matches(", "));
        }
        let refused = parse(&bomb).err().unwrap();
        assert!(refused.message.contains("100000"), "{}", refused.message);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"[".repeat(10_000)).is_err());
        let nested: String = (0..1_000).map(|depth| " ".repeat(depth) + "a:\n").collect();
        assert!(parse(&nested).is_err());
    }
}
