//! Writes events: each rule puts its part into JSON text or leaves the text as it was.

use super::{From, Group, Node, Problem, Rule, Source, Unset, Wrote};
use crate::decimal::Notation;
use crate::scope::{Frame, Scope};
use crate::value::Value;
use crate::write;

/// What a rule writes with.
pub(crate) struct Writer<'w> {
    /// The event so far.
    pub(crate) out: &'w mut String,
    /// How the document writes numbers in texts.
    pub(crate) notation: Notation,
}

impl Writer<'_> {
    /// Writes a part of an event. Where it wrote nothing, the text is as it was.
    pub(crate) fn node(&mut self, node: &Node, scope: Scope<'_>) -> Result<Wrote, Problem> {
        match node {
            Node::Group(group) => self.group(group, scope),
            Node::Rule(rule) => self.rule(rule, scope),
        }
    }

    /// Writes an object.
    pub(crate) fn group(&mut self, group: &Group, scope: Scope<'_>) -> Result<Wrote, Problem> {
        let start = self.out.len();
        let mut wrote = Wrote::Nothing;
        self.out.push('{');
        for member in &group.members {
            let mark = self.out.len();
            if wrote > Wrote::Nothing {
                self.out.push(',');
            }
            self.out.push_str(&member.key);
            match self.node(&member.node, scope)? {
                Wrote::Nothing => self.out.truncate(mark),
                some => wrote = wrote.max(some),
            }
        }
        self.out.push('}');
        if wrote == Wrote::Nothing || (group.needs_source && wrote == Wrote::Constants) {
            self.out.truncate(start);
            return Ok(Wrote::Nothing);
        }
        Ok(wrote)
    }

    /// Writes a value, or rejects the record where a required one is not there.
    fn rule(&mut self, rule: &Rule, scope: Scope<'_>) -> Result<Wrote, Problem> {
        let wrote = match &rule.source {
            Source::Constant(json) => {
                self.out.push_str(json);
                Wrote::Constants
            }
            Source::From(from) => return self.from(rule, from, scope),
            Source::List(nodes) => self
                .list(|writer, item| nodes.iter().try_for_each(|node| item(writer, node, scope)))?,
            Source::Each(each, node) => {
                let answers =
                    each.many(scope).map_err(|failure| Problem::failure(each, &failure))?;
                self.list(|writer, item| {
                    answers.iter().enumerate().try_for_each(|(index, answer)| {
                        let frame = Frame::new(answer);
                        item(writer, node, scope.at(&frame))
                            .map_err(|problem| problem.inside(each, index))
                    })
                })?
            }
            Source::Group(group) => self.group(group, scope)?,
        };
        if wrote == Wrote::Nothing && rule.required {
            let path = match &rule.source {
                Source::Each(each, _) => each.text().to_owned(),
                _ => ".".to_owned(),
            };
            return Err(missing(rule, &path, "gives nothing"));
        }
        Ok(wrote)
    }

    /// Writes a list of those items that write something. `fill` calls its second argument for each.
    fn list(
        &mut self,
        fill: impl FnOnce(
            &mut Self,
            &mut dyn FnMut(&mut Self, &Node, Scope<'_>) -> Result<(), Problem>,
        ) -> Result<(), Problem>,
    ) -> Result<Wrote, Problem> {
        let start = self.out.len();
        let mut wrote = Wrote::Nothing;
        self.out.push('[');
        fill(self, &mut |writer, node, scope| {
            let mark = writer.out.len();
            if wrote > Wrote::Nothing {
                writer.out.push(',');
            }
            match writer.node(node, scope)? {
                Wrote::Nothing => writer.out.truncate(mark),
                some => wrote = wrote.max(some),
            }
            Ok(())
        })?;
        if wrote == Wrote::Nothing {
            self.out.truncate(start);
        } else {
            self.out.push(']');
        }
        Ok(wrote)
    }

    /// Writes a value of the document.
    fn from(&mut self, rule: &Rule, from: &From, scope: Scope<'_>) -> Result<Wrote, Problem> {
        let expression = &from.expression;
        let answer =
            expression.one(scope).map_err(|failure| Problem::failure(expression, &failure))?;
        let state = match &answer {
            None => "is missing",
            Some(answer) => {
                let trimmed;
                let value = match &**answer {
                    Value::Text(text) if from.trim => {
                        trimmed = Value::from(text.trim());
                        &trimmed
                    }
                    value => value,
                };
                if unsets(value, from.unset) {
                    self.out.push_str("null");
                    return Ok(Wrote::Sourced);
                }
                if value.is_empty() {
                    if matches!(value, Value::Null) { "is null" } else { "is empty" }
                } else if self.value(rule, from, value, scope)? {
                    return Ok(Wrote::Sourced);
                } else {
                    "gives no usable value"
                }
            }
        };
        if let Some(default) = &from.default {
            self.out.push_str(default);
            return Ok(Wrote::Constants);
        }
        if rule.required {
            return Err(missing(rule, expression.text(), state));
        }
        Ok(Wrote::Nothing)
    }

    /// Translates and converts a value that is there; false where nothing of it is left.
    fn value(
        &mut self,
        rule: &Rule,
        from: &From,
        value: &Value<'_>,
        scope: Scope<'_>,
    ) -> Result<bool, Problem> {
        let translated = match &from.table {
            None => Some(value),
            Some(table) => table.translate(value, scope).map_err(|()| Problem {
                code: "unknown-value",
                message: format!(
                    "`{}`: the table has no entry for the value of `{}`",
                    rule.target,
                    from.expression.text()
                ),
                path: from.expression.text().to_owned(),
            })?,
        };
        let Some(translated) = translated.filter(|some| !some.is_empty()) else { return Ok(false) };
        let mark = self.out.len();
        match from.kind.write(self, translated, scope) {
            Ok(written) => Ok(written),
            Err(_) if from.lenient => {
                self.out.truncate(mark);
                Ok(false)
            }
            Err(mismatch) => Err(Problem {
                code: "mismatch",
                message: format!(
                    "`{}` needs {}, but `{}` {}",
                    rule.target,
                    from.kind.expected(),
                    from.expression.text(),
                    mismatch.0
                ),
                path: from.expression.text().to_owned(),
            }),
        }
    }

    /// Writes a value of any kind without its empty parts; false where nothing is left.
    pub(crate) fn pruned(&mut self, value: &Value<'_>) -> bool {
        let start = self.out.len();
        let mut any = false;
        match value {
            empty if empty.is_empty() => return false,
            Value::Array(items) => {
                self.out.push('[');
                for item in items {
                    let mark = self.out.len();
                    if any {
                        self.out.push(',');
                    }
                    if self.pruned(item) { any = true } else { self.out.truncate(mark) }
                }
                self.out.push(']');
            }
            Value::Object(members) => {
                self.out.push('{');
                for (name, member) in members {
                    let mark = self.out.len();
                    if any {
                        self.out.push(',');
                    }
                    write::text(self.out, name);
                    self.out.push(':');
                    if self.pruned(member) { any = true } else { self.out.truncate(mark) }
                }
                self.out.push('}');
            }
            scalar => {
                write::value(self.out, scalar);
                any = true;
            }
        }
        if !any {
            self.out.truncate(start);
        }
        any
    }
}

/// Whether a value becomes an explicit null.
fn unsets(value: &Value<'_>, unset: Unset) -> bool {
    match value {
        Value::Null => unset != Unset::Never,
        Value::Text(text) => unset == Unset::Empty && text.is_empty(),
        _ => false,
    }
}

/// A required value that is not there.
fn missing(rule: &Rule, path: &str, state: &str) -> Problem {
    Problem {
        code: "missing",
        message: format!("`{}` is required, but `{path}` {state}", rule.target),
        path: path.to_owned(),
    }
}
