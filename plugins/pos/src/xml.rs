//! XML into a tree: encodings as the prolog says, no DTD, no entities but XML's own, bounded.

use std::borrow::Cow;

use encoding_rs::Encoding;
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesRef, BytesStart, Event},
};
use xylem_mapping::{
    decode,
    document::{Kind, MAX_VALUES, Names, Node},
};

/// How deep elements may nest. POSLog documents nest about ten deep.
const MAX_DEPTH: usize = 64;

/// How much of a document is searched for `encoding=` in its prolog.
const PROLOG: usize = 256;

/// The text of a document given as bytes: by byte order mark, else by the prolog's encoding, else
/// UTF-8.
///
/// # Errors
/// A sentence without any of the document's content.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let fallback = match prolog_encoding(bytes) {
        Some(label) => Encoding::for_label_no_replacement(label.as_bytes())
            .ok_or("the prolog names an encoding that is not known")?,
        None => encoding_rs::UTF_8,
    };
    decode::decode(bytes, fallback).map_err(|error| format!("the document {error}"))
}

/// The encoding that `<?xml … encoding="…"?>` names. UTF-16 without a byte order mark is seen by
/// its first two bytes.
fn prolog_encoding(bytes: &[u8]) -> Option<String> {
    match bytes {
        [b'<', 0, ..] => return Some("utf-16le".to_owned()),
        [0, b'<', ..] => return Some("utf-16be".to_owned()),
        _ => {}
    }
    let start = bytes.get(..PROLOG.min(bytes.len()))?;
    let start = String::from_utf8_lossy(start);
    let (prolog, _) = start.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, value) = prolog.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.get(1..)?.split_once(quote).map(|(label, _)| label.to_owned())
}

/// Reads a document into a tree of local names: prefixes and namespace declarations are left away,
/// since producers differ in both. The root node is the root element.
///
/// # Errors
/// A sentence without any of the document's content.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    loop {
        let event = reader
            .read_event()
            .map_err(|_| format!("not well-formed XML near byte {}", reader.error_position()))?;
        match event {
            Event::Start(start) => {
                let node = tree.open(&start)?;
                tree.stack.push(node);
            }
            Event::Empty(start) => {
                let node = tree.open(&start)?;
                tree.close(node)?;
            }
            Event::End(_) => {
                let node = tree.stack.pop().ok_or("an element ends that did not begin")?;
                tree.close(node)?;
            }
            Event::Text(content) => tree.text(&content.xml10_content(), true)?,
            Event::CData(content) => tree.text(&content.xml10_content(), false)?,
            Event::GeneralRef(reference) => {
                let resolved = resolve(&reference)?;
                tree.text(&resolved, false)?;
            }
            Event::DocType(_) => {
                return Err("it has a DOCTYPE; document type definitions are refused, take it out"
                    .to_owned());
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !tree.stack.is_empty() {
        return Err("the document ends inside an element".to_owned());
    }
    tree.root.ok_or_else(|| "the document has no element".to_owned())
}

/// The tree while it is read.
#[derive(Default)]
struct Tree {
    /// The root element, once it has ended.
    root: Option<Node>,
    /// The elements that have begun and not ended, outermost first.
    stack: Vec<Node>,
    /// The names of the document.
    names: Names,
    /// How many values there are so far.
    values: usize,
}

impl Tree {
    /// The node of an element that begins, with its attributes.
    fn open(&mut self, start: &BytesStart<'_>) -> Result<Node, String> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(format!("its elements nest deeper than {MAX_DEPTH}"));
        }
        if self.root.is_some() {
            return Err("it has more than one root element".to_owned());
        }
        self.count()?;
        let mut node = Node::new(self.names.get(start.local_name().as_ref()), Kind::Element, "");
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            self.count()?;
            let name = format!("@{}", attribute.key.local_name().as_ref());
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| "an attribute holds an entity that is not XML's own")?;
            node.push(Node::new(self.names.get(&name), Kind::Text, value));
        }
        Ok(node)
    }

    /// Puts an element that has ended below the one around it.
    fn close(&mut self, node: Node) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(parent) => parent.push(node),
            None if self.root.is_none() => self.root = Some(node),
            None => return Err("it has more than one root element".to_owned()),
        }
        Ok(())
    }

    /// Adds text to the innermost element; the blanks between elements are not text.
    fn text(&mut self, text: &str, skip_blank: bool) -> Result<(), String> {
        let blank = text.trim().is_empty();
        match self.stack.last_mut() {
            Some(node) => {
                if !(skip_blank && blank && node.peek().is_none()) {
                    node.push_text(text);
                }
                Ok(())
            }
            None if blank => Ok(()),
            None => Err("it has text outside its root element".to_owned()),
        }
    }

    /// Counts one value.
    fn count(&mut self) -> Result<(), String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("it has more than {MAX_VALUES} elements and attributes"));
        }
        Ok(())
    }
}

/// What an entity or character reference stands for.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    let character = reference.resolve_char_ref().map_err(|_| "a character reference is wrong")?;
    if let Some(character) = character {
        return Ok(character.to_string());
    }
    let known = match reference.xml10_content().as_ref() {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "apos" => "'",
        "quot" => "\"",
        _ => return Err("it holds an entity that is not one of XML's own five".to_owned()),
    };
    Ok(known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_and_text_is_put_together() {
        let root = parse(
            r#"<?xml version="1.0"?><p:A xmlns:p="urn:x" p:b="1 &amp; 2"> <c>x<![CDATA[<y>]]> &amp; &#x7a; </c><d/></p:A>"#,
        )
        .unwrap();
        assert_eq!(root.name(), "A");
        assert_eq!(root.text_at("@b"), Some("1 & 2"));
        assert_eq!(root.text_at("c"), Some("x<y> & z"));
        assert_eq!(root.peek(), None);
        assert_eq!(root.children().len(), 3);
    }

    #[test]
    fn encodings_by_mark_and_by_prolog() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>";
        assert!(decode(latin).unwrap().contains('ä'));
        let windows = b"<?xml version=\"1.0\" encoding = \"windows-1252\"?><a>\x80</a>";
        assert!(decode(windows).unwrap().contains('€'));
        let utf16: Vec<u8> = "\u{feff}<a>ä</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(parse(&decode(&utf16).unwrap()).unwrap().text(), Some("ä"));
        let big: Vec<u8> = "<a>ä</a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(parse(&decode(&big).unwrap()).unwrap().text(), Some("ä"));
        assert!(decode(b"<?xml version='1.0' encoding='klingon'?><a/>").is_err());
        assert!(decode(b"<a>\xe4</a>").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn what_is_not_a_document_is_refused_without_showing_it() {
        for text in [
            "",
            "secret",
            "<secret>",
            "<secret></other>",
            "<a/><secret/>",
            "<a>&secret;</a>",
            "<a b='&secret;'/>",
            "<a b='1' b='secret'/>",
            "<!DOCTYPE a [<!ENTITY secret 'x'>]><a>&secret;</a>",
            "<a>&#xFFFFFFFF;</a>",
            &format!("{}{}", "<secret>".repeat(65), "</secret>".repeat(65)),
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
    }
}
