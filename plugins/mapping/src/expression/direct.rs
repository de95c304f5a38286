//! Look-ups without an interpreter: paths, constants, comparisons with constants, `and`, `or`,
//! `not`, and `a // b` of these.
//!
//! They answer as jq does, but for one thing: iterating over what is missing or null gives nothing,
//! where jq raises an error.

use std::borrow::Cow;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::ops::Cmp;
use jaq_core::path;

use super::{Answer, Failure, MAX_OUTPUTS};
use crate::decimal::Decimal;
use crate::lookups::Lookups;
use crate::scope::Scope;
use crate::value::Value;

/// An expression that needs no interpreter.
pub(super) enum Direct {
    /// A place in a document.
    Path(Path),
    /// A constant scalar.
    Constant(Value<'static>),
    /// Whether the left side equals the constant scalar on the right, or does not.
    Equal(Box<Direct>, Value<'static>, bool),
    /// Both.
    And(Box<Direct>, Box<Direct>),
    /// Either.
    Or(Box<Direct>, Box<Direct>),
    /// The opposite.
    Not(Box<Direct>),
    /// The left side, unless it is missing, null or false.
    Else(Box<Direct>, Box<Direct>),
}

/// A path from somewhere.
pub(super) struct Path {
    /// Where it begins.
    root: Root,
    /// How it goes on.
    steps: Vec<Step>,
    /// Whether a step iterates.
    many: bool,
}

/// Where a path begins.
enum Root {
    /// `.`
    This,
    /// `$item`
    Item,
    /// `$document`
    Document,
    /// `$record`
    Record,
    /// `$lookups.name[…]`: a table and its key.
    Lookup(usize, Key),
}

/// The key of a look-up table.
enum Key {
    /// Written in the expression.
    Fixed(String),
    /// Read from a place.
    At(Box<Path>),
}

/// A step of a path.
struct Step {
    /// Which members it leads to.
    part: Part,
    /// Whether a value of the wrong kind is nothing instead of a failure.
    optional: bool,
}

/// Which members a step leads to.
enum Part {
    /// The member of an object.
    Member(String),
    /// The item of a list, counted from the end where negative.
    Index(i64),
    /// All items of a list or members of an object.
    Each,
}

static TRUE: Value<'static> = Value::Bool(true);
static FALSE: Value<'static> = Value::Bool(false);
static NULL: Value<'static> = Value::Null;

impl Direct {
    /// Whether it may give more than one answer.
    pub(super) fn is_many(&self) -> bool {
        matches!(self, Direct::Path(Path { many: true, .. }))
    }

    /// The one answer of an expression that does not iterate.
    pub(super) fn one<'s>(&'s self, scope: Scope<'s>) -> Result<Option<&'s Value<'s>>, Failure> {
        match self {
            Direct::Path(path) => path.one(scope),
            Direct::Constant(value) => Ok(Some(value)),
            Direct::Else(left, right) => match left.one(scope)? {
                Some(value) if !matches!(value, Value::Null | Value::Bool(false)) => {
                    Ok(Some(value))
                }
                _ => right.one(scope),
            },
            condition => Ok(Some(if condition.truth(scope)? { &TRUE } else { &FALSE })),
        }
    }

    /// Whether the answer is neither null nor false.
    pub(super) fn truth(&self, scope: Scope<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Direct::Equal(left, constant, equal) => equals(left.one(scope)?, constant) == *equal,
            Direct::And(left, right) => left.truth(scope)? && right.truth(scope)?,
            Direct::Or(left, right) => left.truth(scope)? || right.truth(scope)?,
            Direct::Not(inner) => !inner.truth(scope)?,
            value => {
                value.one(scope)?.is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)))
            }
        })
    }

    /// All answers, added to `answers`.
    pub(super) fn many<'s>(
        &'s self,
        scope: Scope<'s>,
        answers: &mut Vec<Answer<'s>>,
    ) -> Result<(), Failure> {
        match self {
            Direct::Path(path) if path.many => {
                if let Some(start) = path.start(scope)? {
                    gather(&path.steps, start, answers)?;
                }
                Ok(())
            }
            other => {
                answers.extend(other.one(scope)?.map(Cow::Borrowed));
                Ok(())
            }
        }
    }
}

impl Path {
    /// The value it begins at.
    fn start<'s>(&'s self, scope: Scope<'s>) -> Result<Option<&'s Value<'s>>, Failure> {
        Ok(Some(match &self.root {
            Root::This => scope.this.value,
            Root::Item => scope.item.value,
            Root::Document => scope.document.value,
            Root::Record => scope.record.value,
            Root::Lookup(table, Key::Fixed(key)) => return Ok(scope.lookups.row(*table, key)),
            Root::Lookup(table, Key::At(path)) => match path.one(scope)? {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Text(key) | Value::Number(key)) => {
                    return Ok(scope.lookups.row(*table, key));
                }
                Some(other) => {
                    return Err(Failure::new(format!(
                        "looks up {} where a text is needed",
                        other.kind()
                    )));
                }
            },
        }))
    }

    /// The value it leads to.
    fn one<'s>(&'s self, scope: Scope<'s>) -> Result<Option<&'s Value<'s>>, Failure> {
        let mut place = self.start(scope)?;
        for step in &self.steps {
            let Some(value) = place else { return Ok(None) };
            place = step.one(value)?;
        }
        Ok(place)
    }
}

impl Step {
    /// Where it leads from a value; nothing from what is missing or null.
    fn one<'s>(&self, value: &'s Value<'s>) -> Result<Option<&'s Value<'s>>, Failure> {
        match (&self.part, value) {
            (Part::Member(name), Value::Object(_)) => Ok(value.get(name)),
            (Part::Index(index), Value::Array(items)) => {
                let index = if *index < 0 {
                    i64::try_from(items.len()).unwrap_or(i64::MAX) + index
                } else {
                    *index
                };
                Ok(usize::try_from(index).ok().and_then(|index| items.get(index)))
            }
            (_, Value::Null) => Ok(None),
            _ if self.optional => Ok(None),
            (Part::Member(name), other) => {
                Err(Failure::new(format!("reads the member `{name}` of {}", other.kind())))
            }
            (Part::Index(index), other) => {
                Err(Failure::new(format!("reads the item {index} of {}", other.kind())))
            }
            (Part::Each, other) => Err(Failure::new(format!("iterates over {}", other.kind()))),
        }
    }
}

/// All values that some steps lead to from a value.
fn gather<'s>(
    steps: &'s [Step],
    value: &'s Value<'s>,
    answers: &mut Vec<Answer<'s>>,
) -> Result<(), Failure> {
    let Some((step, rest)) = steps.split_first() else {
        if answers.len() >= MAX_OUTPUTS {
            return Err(Failure::new(format!("gives more than {MAX_OUTPUTS} values")));
        }
        answers.push(Cow::Borrowed(value));
        return Ok(());
    };
    match (&step.part, value) {
        (Part::Each, Value::Array(items)) => {
            items.iter().try_for_each(|item| gather(rest, item, answers))
        }
        (Part::Each, Value::Object(members)) => {
            members.iter().try_for_each(|(_, member)| gather(rest, member, answers))
        }
        _ => match step.one(value)? {
            Some(next) => gather(rest, next, answers),
            // jq's null: `.a[].b` gives one answer for each item, also where `b` is missing.
            None if rest.is_empty() && !matches!(step.part, Part::Each) => {
                answers.push(Cow::Borrowed(&NULL));
                Ok(())
            }
            None => Ok(()),
        },
    }
}

/// Whether a value equals a constant scalar. Missing is null; numbers are equal by value.
fn equals(value: Option<&Value<'_>>, constant: &Value<'_>) -> bool {
    match (value.unwrap_or(&NULL), constant) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || matches!((Decimal::parse(a), Decimal::parse(b)), (Ok(a), Ok(b)) if a == b)
        }
        (a, b) => a == b,
    }
}

/// Both sides of an operation.
type Pair = (Box<Direct>, Box<Direct>);

/// The direct form of a term; none where it needs an interpreter. An error where it names a
/// look-up table that does not exist.
pub(super) fn compile(term: &Term<&str>, lookups: &Lookups) -> Result<Option<Direct>, String> {
    let both = |left: &Term<&str>, right: &Term<&str>| -> Result<Option<Pair>, String> {
        let (left, right) = (single(left, lookups)?, single(right, lookups)?);
        Ok(left.zip(right).map(|(left, right)| (Box::new(left), Box::new(right))))
    };
    if let Some(constant) = constant(term) {
        return Ok(Some(Direct::Constant(constant)));
    }
    Ok(match term {
        Term::Id | Term::Var(_) | Term::Path(..) => path_of(term, lookups)?.map(Direct::Path),
        Term::BinOp(left, BinaryOp::Cmp(Cmp::Eq), right) => compare(left, right, true, lookups)?,
        Term::BinOp(left, BinaryOp::Cmp(Cmp::Ne), right) => compare(left, right, false, lookups)?,
        Term::BinOp(left, BinaryOp::And, right) => {
            both(left, right)?.map(|(l, r)| Direct::And(l, r))
        }
        Term::BinOp(left, BinaryOp::Or, right) => both(left, right)?.map(|(l, r)| Direct::Or(l, r)),
        Term::BinOp(left, BinaryOp::Alt, right) => {
            both(left, right)?.map(|(l, r)| Direct::Else(l, r))
        }
        Term::BinOp(left, BinaryOp::Pipe(None), right) if matches!(**right, Term::Call("not", ref a) if a.is_empty()) => {
            single(left, lookups)?.map(|inner| Direct::Not(Box::new(inner)))
        }
        _ => None,
    })
}

/// The direct form of a term that does not iterate.
fn single(term: &Term<&str>, lookups: &Lookups) -> Result<Option<Direct>, String> {
    Ok(compile(term, lookups)?.filter(|direct| !direct.is_many()))
}

/// A comparison of which one side is a constant.
fn compare(
    left: &Term<&str>,
    right: &Term<&str>,
    equal: bool,
    lookups: &Lookups,
) -> Result<Option<Direct>, String> {
    let (side, constant) = match (constant(left), constant(right)) {
        (_, Some(constant)) => (left, constant),
        (Some(constant), None) => (right, constant),
        (None, None) => return Ok(None),
    };
    Ok(single(side, lookups)?.map(|direct| Direct::Equal(Box::new(direct), constant, equal)))
}

/// The value of a constant scalar.
fn constant(term: &Term<&str>) -> Option<Value<'static>> {
    match term {
        Term::Num(text) if Decimal::parse(text).is_ok() => {
            Some(Value::Number((*text).to_owned().into()))
        }
        Term::Neg(inner) => match constant(inner)? {
            Value::Number(text) => Some(Value::Number(format!("-{text}").into())),
            _ => None,
        },
        Term::Str(None, _) => text_of(term).map(Value::from),
        Term::Call("true", arguments) if arguments.is_empty() => Some(Value::Bool(true)),
        Term::Call("false", arguments) if arguments.is_empty() => Some(Value::Bool(false)),
        Term::Call("null", arguments) if arguments.is_empty() => Some(Value::Null),
        _ => None,
    }
}

/// The text of a string literal without interpolation.
pub(super) fn text_of(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(plain) => text.push_str(plain),
            StrPart::Char(escaped) => text.push(*escaped),
            StrPart::Term(_) => return None,
        }
    }
    Some(text)
}

/// The path that a term is; none where it is something else.
fn path_of(term: &Term<&str>, lookups: &Lookups) -> Result<Option<Path>, String> {
    let (head, mut parts) = match term {
        Term::Path(head, path::Path(parts)) => (&**head, parts.as_slice()),
        other => (other, &[][..]),
    };
    let mut path = match head {
        Term::Id => Path { root: Root::This, steps: Vec::new(), many: false },
        Term::Var("$item") => Path { root: Root::Item, steps: Vec::new(), many: false },
        Term::Var("$document") => Path { root: Root::Document, steps: Vec::new(), many: false },
        Term::Var("$record") => Path { root: Root::Record, steps: Vec::new(), many: false },
        Term::Var("$lookups") => {
            let [(path::Part::Index(name), _), (path::Part::Index(key), _), rest @ ..] = parts
            else {
                return Ok(None);
            };
            let Some(name) = text_of(name) else { return Ok(None) };
            let table = lookups.find(&name)?;
            let key = match text_of(key) {
                Some(key) => Key::Fixed(key),
                None => match path_of(key, lookups)?.filter(|path| !path.many) {
                    Some(path) => Key::At(Box::new(path)),
                    None => return Ok(None),
                },
            };
            parts = rest;
            Path { root: Root::Lookup(table, key), steps: Vec::new(), many: false }
        }
        // `.a?.b` and the like nest.
        Term::Path(..) => match path_of(head, lookups)? {
            Some(path) => path,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    for (part, opt) in parts {
        let Some(part) = part_of(part) else { return Ok(None) };
        path.many |= matches!(part, Part::Each);
        path.steps.push(Step { part, optional: matches!(opt, path::Opt::Optional) });
    }
    Ok(Some(path))
}

/// The step that a part of a path is; none where it depends on the document.
fn part_of(part: &path::Part<Term<&str>>) -> Option<Part> {
    match part {
        path::Part::Range(None, None) => Some(Part::Each),
        path::Part::Range(..) => None,
        path::Part::Index(term) => match constant(term)? {
            Value::Text(name) => Some(Part::Member(name.into_owned())),
            Value::Number(index) => index.parse().ok().map(Part::Index),
            _ => None,
        },
    }
}
