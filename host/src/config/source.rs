//! A file's text with its tree: finds places and draws marked lines, secrets cut out.

use std::path::PathBuf;

use super::path::{KeyPath, Segment};
use super::problem::Snippet;
use super::yaml::{Node, Span, Value};

/// The most characters of a line that are shown.
const MAX_SHOWN: usize = 100;

/// A file's text, its tree and what of it must not be shown.
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) text: String,
    root: Option<Node>,
    masks: Vec<Span>,
    /// Set where the text is no YAML, so that nobody knows where its secrets are.
    keys_only: bool,
}

impl Source {
    /// A text whose tree is known.
    pub(super) fn new(file: PathBuf, text: String, root: Node) -> Self {
        Self { file, text, root: Some(root), masks: Vec::new(), keys_only: false }
    }

    /// A text that is no YAML: of its lines only the part up to the first colon is shown.
    pub(super) fn unreadable(file: PathBuf, text: String) -> Self {
        Self { file, text, root: None, masks: Vec::new(), keys_only: true }
    }

    /// Invariant 10: from here on this part of the text is drawn as `***`.
    pub(super) fn mask(&mut self, span: Span) {
        self.masks.push(span);
    }

    /// Masks what follows on the line.
    pub(super) fn mask_line_after(&mut self, at: usize) {
        let rest = self.text.get(at..).unwrap_or_default();
        let end = rest.find('\n').unwrap_or(rest.len());
        let start = rest.find(':').map_or(0, |colon| colon + 2).min(end);
        self.mask(at + start..at + end);
    }

    /// The value at a path, or the key of the deepest part of the path that is there.
    pub(super) fn locate(&self, path: &KeyPath) -> Span {
        let Some(mut node) = self.root.as_ref() else { return 0..0 };
        let mut found = 0..0;
        let mut complete = true;
        for segment in path.segments() {
            let next = match (segment, &node.value) {
                (Segment::Key(key), _) => node.entry(key).map(|entry| {
                    found = entry.key_span.clone();
                    &entry.value
                }),
                (Segment::Index(index), Value::List(items)) => {
                    items.get(*index).inspect(|item| found = item.span.clone())
                }
                (Segment::Index(_), _) => None,
            };
            let Some(next) = next else {
                complete = false;
                break;
            };
            node = next;
        }
        // A scalar or a list on one line is pointed at itself; of anything longer, the key.
        let short = self.text.get(node.span.clone()).is_some_and(|text| !text.contains('\n'));
        let is_map = matches!(node.value, Value::Map(_));
        if complete && short && !is_map && !node.span.is_empty() {
            node.span.clone()
        } else {
            found
        }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let head = self.text.get(..at).unwrap_or(&self.text);
        let line_start = head.rfind('\n').map_or(0, |end| end + 1);
        let line = head.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = head.get(line_start..).map_or(0, |text| text.chars().count()) + 1;
        (line, column)
    }

    /// The line of a span with the part to mark; none where there is no text.
    pub(super) fn snippet(&self, span: &Span) -> Option<Snippet> {
        if self.text.trim().is_empty() {
            return None;
        }
        let head = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = head.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text.get(line_start..).and_then(|t| t.lines().next()).unwrap_or_default();
        let mut drawn = Drawn::default();
        for (offset, c) in line.char_indices() {
            let at = line_start + offset;
            if drawn.text.is_empty() && c == '\u{feff}' {
                continue;
            }
            if at == span.start {
                drawn.mark_from = Some(drawn.text.len());
            }
            if at == span.end {
                drawn.mark_to = Some(drawn.text.len());
            }
            let masked = self.masks.iter().any(|mask| mask.contains(&at));
            drawn.push(if c == '\t' { '→' } else { c }, masked);
            if self.keys_only && c == ':' {
                break;
            }
        }
        if self.keys_only && !line.trim_end().ends_with(':') {
            if !line.contains(':') {
                drawn.text.retain(|c| c.is_whitespace() || *c == '→');
            }
            drawn.text.extend(" …".chars());
        }
        Some(drawn.finish())
    }
}

#[derive(Default)]
struct Drawn {
    text: Vec<char>,
    mark_from: Option<usize>,
    mark_to: Option<usize>,
    hidden: bool,
}

impl Drawn {
    fn push(&mut self, c: char, masked: bool) {
        if !masked {
            self.text.push(c);
        } else if !self.hidden {
            self.text.extend("***".chars());
        }
        self.hidden = masked;
    }

    fn finish(self) -> Snippet {
        let len = self.text.len();
        let from = self.mark_from.unwrap_or(len).min(len);
        let to = self.mark_to.unwrap_or(len).clamp(from, len);
        let first = if len > MAX_SHOWN { from.saturating_sub(MAX_SHOWN / 2) } else { 0 };
        let shown = self.text.into_iter().skip(first).take(MAX_SHOWN);
        let mut text: String = if first > 0 { "…".to_owned() } else { String::new() };
        text.extend(shown);
        if len > first + MAX_SHOWN {
            text.push('…');
        }
        let before = from - first + usize::from(first > 0);
        Snippet { text: text.trim_end().to_owned(), before, marked: (to - from).min(MAX_SHOWN / 2) }
    }
}
