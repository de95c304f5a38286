//! What is wrong with a configuration, in the words and the shape of a good compiler.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::path::KeyPath;
use super::source::Source;
use super::yaml::{Mistake, Span};

/// Whether a problem stops us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but somebody should look.
    Warning,
}

/// One problem and its place. Invariant 10: made of texts from which secrets are already cut.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// Whether it stops us.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 for the file as a whole.
    pub column: usize,
    /// The key path, empty where there is none.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// A few words about the marked place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip)]
    snippet: Option<Snippet>,
}

/// The marked line.
#[derive(Clone, Debug)]
pub(super) struct Snippet {
    pub(super) text: String,
    /// How many characters stand before the mark, and how many are marked.
    pub(super) before: usize,
    pub(super) marked: usize,
}

impl Problem {
    /// An error about a file as a whole.
    pub fn in_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            label: None,
            hint: None,
            snippet: None,
        }
    }

    /// The same problem, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        let width = self.line.max(1).to_string().len();
        let gutter = " ".repeat(width);
        if !self.file.as_os_str().is_empty() {
            write!(f, "\n{gutter}--> {}", self.file.display())?;
        }
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if let Some(snippet) = &self.snippet {
            let before = " ".repeat(snippet.before);
            let marks = "^".repeat(snippet.marked.max(1));
            write!(f, "\n{gutter} |\n{} | {}\n{gutter} | ", self.line, snippet.text)?;
            write!(f, "{before}{marks}")?;
            if let Some(label) = &self.label {
                write!(f, " {label}")?;
            }
        } else if let Some(label) = &self.label {
            write!(f, "\n{gutter} = {label}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{gutter} = {hint}")?;
        }
        Ok(())
    }
}

/// Why a configuration can not be used: everything that is wrong with it, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    /// The errors, and the warnings beside them.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            write!(f, "{problem}\n\n")?;
        }
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = self.problems.len() - errors;
        write!(f, "{}", count(errors, "error"))?;
        if warnings > 0 {
            write!(f, ", {}", count(warnings, "warning"))?;
        }
        Ok(())
    }
}

/// A number with its noun.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A problem whose place is known but not yet drawn.
pub(super) struct Draft {
    severity: Severity,
    path: KeyPath,
    span: Span,
    message: String,
    label: Option<String>,
    hint: Option<String>,
}

impl Draft {
    pub(super) fn error(path: &KeyPath, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        let severity = Severity::Error;
        Self { severity, path: path.clone(), span, message, label: None, hint: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Draws the problem.
    pub(super) fn draw(self, source: &Source) -> Problem {
        let (line, column) = source.position(self.span.start);
        Problem {
            severity: self.severity,
            file: source.file.clone(),
            line,
            column,
            path: self.path.to_string(),
            message: self.message,
            label: self.label,
            hint: self.hint,
            snippet: source.snippet(&self.span),
        }
    }
}

/// Problems as they are found.
pub(super) struct Problems {
    /// The text they are about; its masks grow as secrets are met.
    pub(super) source: Source,
    drafts: Vec<Draft>,
    /// Problems of other files, already drawn.
    drawn: Vec<Problem>,
    /// Places whose value is not what it should be, so that nothing further is said of them.
    broken: Vec<KeyPath>,
}

impl Problems {
    pub(super) fn new(source: Source) -> Self {
        Self { source, drafts: Vec::new(), drawn: Vec::new(), broken: Vec::new() }
    }

    /// Notes a problem that leaves nothing to say of its place.
    pub(super) fn break_at(&mut self, draft: Draft) {
        self.broken.push(draft.path.clone());
        self.drafts.push(draft);
    }

    /// Notes a problem at a place, unless the place is broken anyway.
    pub(super) fn push(&mut self, draft: Draft) {
        if !self.is_broken(&draft.path) {
            self.drafts.push(draft);
        }
    }

    /// Notes an error at the value of a key.
    pub(super) fn error(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.push(self.at(path, message));
    }

    /// Notes a warning at the value of a key.
    pub(super) fn warn(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.push(self.at(path, message).warning());
    }

    /// The beginning of an error at the value of a key.
    pub(super) fn at(&self, path: &KeyPath, message: impl Into<String>) -> Draft {
        Draft::error(path, self.source.locate(path), message)
    }

    /// Notes problems of another file.
    pub(super) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.drawn.extend(problems);
    }

    /// Whether anything stops us.
    pub(super) fn has_errors(&self) -> bool {
        let error = Severity::Error;
        self.drafts.iter().any(|d| d.severity == error)
            || self.drawn.iter().any(|p| p.severity == error)
    }

    pub(super) fn is_broken(&self, path: &KeyPath) -> bool {
        self.broken.iter().any(|broken| path.starts_with(broken))
    }

    /// Notes a key that is given twice.
    pub(super) fn twice(&mut self, mistake: Mistake) {
        // Invariant 10: nobody knows what stands at the second one.
        self.source.mask_line_after(mistake.span.end);
        let message = format!("the key `{}` is given twice", mistake.message);
        let (first, _) = self.source.position(mistake.first.unwrap_or_default());
        let draft = Draft::error(&KeyPath::root(), mistake.span, message);
        self.drafts.push(draft.label(format!("the first stands in line {first}")));
    }

    /// Invariant 10: the value at this place is drawn as `***`.
    pub(super) fn mask(&mut self, path: &KeyPath) {
        let span = self.source.locate(path);
        self.source.mask(span);
    }

    /// Marks a place as broken without a word of its own.
    pub(super) fn break_silently(&mut self, path: KeyPath) {
        self.broken.push(path);
    }

    /// All problems in the order of the file, and the source with its masks.
    pub(super) fn finish(self) -> (Vec<Problem>, Source) {
        let Self { source, mut drafts, drawn, .. } = self;
        drafts.sort_by_key(|draft| draft.span.start);
        let problems = drafts.into_iter().map(|draft| draft.draw(&source));
        (problems.chain(drawn).collect(), source)
    }
}
