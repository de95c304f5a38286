//! jq expressions in jaq: compiling, running, and values to and fro.
//!
//! An expression cannot read the clock, the environment or other inputs: the functions that would
//! are not there. It gives a bounded number of values and defines no function that calls itself;
//! CPU time and memory are bounded by the host.

use std::borrow::Cow;

use jaq_core::data::JustLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Ctx, ValT, Vars, path};
use jaq_json::Val;

use super::{Failure, MAX_OUTPUTS, natives};
use crate::decimal;
use crate::scope::Scope;
use crate::value::Value;

/// The variables that every expression has, in the order that [`Query::run`] gives them.
const VARIABLES: [&str; 4] = ["$document", "$item", "$record", "$lookups"];

/// Definitions of jq's library that would reach outside the record, or need what we leave out.
const LEFT_OUT: [&str; 14] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "todate",
    "fromdate",
    "@html",
    "@htmld",
    "@urid",
    "now",
    "env",
    "gamma",
    "drem",
    "nexttoward",
];

/// A jq program.
pub(super) struct Query {
    /// The program.
    filter: jaq_core::Filter<JustLut<Val>>,
    /// As it was written: what stands in it is the author's, not the record's.
    source: String,
    /// Which of [`VARIABLES`] it names.
    names: [bool; 4],
    /// The members of its input that it may look at, unless that may be any
    /// ([`super::reads`]): the others need not be copied for it.
    reads: Option<Vec<String>>,
}

/// jq's own definitions, read when a mapping first needs them.
#[derive(Default)]
pub(super) struct Library {
    /// All of them.
    definitions: Vec<Def<&'static str>>,
}

impl Query {
    /// Compiles a program with the definitions that it needs: all of them would take milliseconds.
    pub(super) fn compile(
        text: &str,
        term: &Term<&str>,
        reads: Option<Vec<String>>,
        library: &mut Library,
    ) -> Result<Query, String> {
        let arena = Arena::default();
        let loader = Loader::new(library.needed_by(term));
        let modules = loader
            .load(&arena, File { code: text, path: () })
            .map_err(|errors| explain(&errors))?;
        let functions = jaq_core::funs::<JustLut<Val>>()
            .chain(jaq_std::base_funs())
            .chain(jaq_json::funs())
            .filter(|(name, _, _)| *name != "halt")
            .chain(natives::functions());
        let filter = jaq_core::Compiler::default()
            .with_funs(functions)
            .with_global_vars(VARIABLES)
            .compile(modules)
            .map_err(|errors| {
                let names = errors.iter().flat_map(|(_, undefined)| undefined);
                let names: Vec<String> = names
                    .map(|(name, kind)| format!("there is no {} `{name}`", kind.as_str()))
                    .collect();
                names.join("; ")
            })?;
        let names = VARIABLES.map(|name| text.contains(name));
        Ok(Query { filter, source: text.to_owned(), names, reads })
    }

    /// All answers in order.
    pub(super) fn run(&self, scope: Scope<'_>) -> Result<Vec<Value<'static>>, Failure> {
        let [document, item, record, lookups] = self.names;
        let vars = Vars::new([
            if document { scope.document.copy() } else { Val::Null },
            if item { scope.item.copy() } else { Val::Null },
            if record { scope.record.copy() } else { Val::Null },
            if lookups { scope.lookups.copy() } else { Val::Null },
        ]);
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, vars);
        let mut answers = Vec::new();
        for answer in self.filter.id.run((context, self.input(scope))) {
            if answers.len() >= MAX_OUTPUTS {
                return Err(Failure::new(format!("gives more than {MAX_OUTPUTS} values")));
            }
            let value = answer.map_err(|exception| match exception.get_err() {
                Ok(error) => Failure::new(match error.into_val() {
                    Val::TStr(text) => self.blame(&String::from_utf8_lossy(&text)),
                    _ => "raises an error".to_owned(),
                }),
                Err(_) => Failure::new("breaks out of nothing"),
            })?;
            answers.push(from_val(value)?);
        }
        Ok(answers)
    }

    /// The value that it runs on.
    fn input(&self, scope: Scope<'_>) -> Val {
        match (&self.reads, scope.this.value) {
            (Some(reads), Value::Object(members)) => {
                let read =
                    members.iter().filter(|(name, _)| reads.iter().any(|known| known == name));
                object(read.map(|(name, member)| (&**name, to_val(member))))
            }
            _ => scope.this.copy(),
        }
    }

    /// An error's text without the record's content. What the author wrote into the expression may
    /// be repeated, what jq says about values may not.
    fn blame(&self, error: &str) -> String {
        // Invariant 10: jq's own messages hold the values that they are about.
        const KINDS: [&str; 7] = [
            "integer",
            "floating-point number",
            "number",
            "string",
            "array",
            "iterable (array or object)",
            "rangeable (array or string)",
        ];
        if error.starts_with("cannot use ")
            && let Some(kind) = KINDS.iter().find(|kind| error.ends_with(&format!(" as {kind}")))
        {
            return format!("fails: a value cannot be used as {kind}");
        }
        for (start, what) in [
            ("cannot index ", "fails: a value of the wrong kind is indexed"),
            ("cannot calculate ", "fails: values of the wrong kind are calculated with"),
            ("cannot parse as ", "fails: a text cannot be converted"),
            ("invalid path expression", "fails: what is updated is no path"),
        ] {
            if error.starts_with(start) {
                return what.to_owned();
            }
        }
        if error.len() > 2 && self.source.contains(&format!("\"{error}\"")) {
            return format!("raises: {error}");
        }
        "raises an error".to_owned()
    }
}

impl Library {
    /// The definitions that a term uses, and those that they use, in the library's order.
    fn needed_by(&mut self, term: &Term<&str>) -> Vec<Def<&'static str>> {
        if self.definitions.is_empty() {
            let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
            let theirs = all.filter(|def| !LEFT_OUT.contains(&def.name) && !natives::replaces(def));
            // A definition sees those before it only, and theirs use ours.
            self.definitions = natives::definitions().into_iter().chain(theirs).collect();
        }
        let mut needed = vec![false; self.definitions.len()];
        let mut names = Vec::new();
        calls(term, &mut |name| names.push(name.to_owned()));
        while let Some(name) = names.pop() {
            for (def, taken) in self.definitions.iter().zip(&mut needed) {
                if def.name == name && !*taken {
                    *taken = true;
                    calls(&def.body, &mut |called| names.push(called.to_owned()));
                }
            }
        }
        self.definitions
            .iter()
            .zip(needed)
            .filter(|(_, needed)| *needed)
            .map(|(def, _)| def.clone())
            .collect()
    }
}

/// Refuses functions that call themselves: their depth would be bounded by nothing but the stack.
pub(super) fn refuse_recursion(term: &Term<&str>) -> Result<(), String> {
    if let Term::Def(definitions, _) = term {
        for definition in definitions {
            let mut recursive = false;
            calls(&definition.body, &mut |name| recursive |= name == definition.name);
            if recursive {
                return Err(format!(
                    "the function `{}` calls itself; use recurse, limit or reduce",
                    definition.name
                ));
            }
        }
    }
    let mut result = Ok(());
    children(term, &mut |child| {
        if result.is_ok() {
            result = refuse_recursion(child);
        }
    });
    result
}

/// The names of all functions that a term calls.
fn calls<'t, 's>(term: &'t Term<&'s str>, found: &mut dyn FnMut(&'s str)) {
    match term {
        Term::Call(name, _) | Term::Str(Some(name), _) => found(name),
        _ => {}
    }
    children(term, &mut |child| calls(child, found));
}

/// The terms directly inside a term.
pub(super) fn children<'t, 's>(term: &'t Term<&'s str>, found: &mut dyn FnMut(&'t Term<&'s str>)) {
    match term {
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Arr(None)
        | Term::Break(_)
        | Term::Var(_) => {}
        Term::Str(_, parts) => {
            let inner = parts.iter().filter_map(|part| match part {
                StrPart::Term(inner) => Some(inner),
                StrPart::Str(_) | StrPart::Char(_) => None,
            });
            inner.for_each(found);
        }
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => found(inner),
        Term::Obj(entries) => {
            entries.iter().flat_map(|(key, value)| [key].into_iter().chain(value)).for_each(found);
        }
        Term::BinOp(left, op, right) => {
            found(left);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                in_pattern(pattern, found);
            }
            found(right);
        }
        Term::Fold(_, source, pattern, arguments) => {
            found(source);
            in_pattern(pattern, found);
            arguments.iter().for_each(found);
        }
        Term::TryCatch(inner, catch) => {
            [inner].into_iter().chain(catch).map(|part| &**part).for_each(found);
        }
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().flat_map(|(condition, then)| [condition, then]).for_each(&mut *found);
            otherwise.iter().map(|otherwise| &**otherwise).for_each(found);
        }
        Term::Def(definitions, inner) => {
            definitions.iter().map(|definition| &definition.body).chain([&**inner]).for_each(found);
        }
        Term::Call(_, arguments) => arguments.iter().for_each(found),
        Term::Path(head, path::Path(parts)) => {
            found(head);
            for (part, _) in parts {
                match part {
                    path::Part::Index(index) => found(index),
                    path::Part::Range(from, to) => from.iter().chain(to).for_each(&mut *found),
                }
            }
        }
    }
}

/// The terms inside a pattern: keys of objects that are computed.
pub(super) fn in_pattern<'t, 's>(
    pattern: &'t Pattern<&'s str>,
    found: &mut dyn FnMut(&'t Term<&'s str>),
) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| in_pattern(item, found)),
        Pattern::Obj(entries) => entries.iter().for_each(|(key, value)| {
            found(key);
            in_pattern(value, found);
        }),
    }
}

/// What is wrong with an expression that does not parse.
pub(super) fn syntax_error(text: &str) -> String {
    let arena = Arena::default();
    match Loader::new([]).load(&arena, File { code: text, path: () }) {
        Ok(_) => {
            "is no expression: `include`, `import` and `module` are not for mappings".to_owned()
        }
        Err(errors) => explain(&errors),
    }
}

/// jaq's errors of loading as a sentence.
fn explain(errors: &load::Errors<&str, ()>) -> String {
    let found = |rest: &str| match rest.trim() {
        "" => "the end".to_owned(),
        rest => format!("`{}`", super::shortened(rest)),
    };
    let texts: Vec<String> = errors
        .iter()
        .flat_map(|(_, error)| match error {
            load::Error::Io(missing) => {
                missing.iter().map(|(name, _)| format!("cannot import `{name}`")).collect()
            }
            load::Error::Lex(wrong) => wrong
                .iter()
                .map(|(expected, rest)| {
                    format!("expected {} at {}", expected.as_str(), found(rest))
                })
                .collect(),
            load::Error::Parse(wrong) => wrong
                .iter()
                .map(|(expected, rest)| {
                    format!("expected {} at {}", expected.as_str(), found(rest))
                })
                .collect::<Vec<_>>(),
        })
        .collect();
    format!("is no jq expression: {}", texts.join("; "))
}

/// A value for jq.
pub(crate) fn to_val(value: &Value<'_>) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(text) => Val::from_num(text).unwrap_or_default(),
        Value::Text(text) => Val::from(text.clone().into_owned()),
        Value::Array(items) => items.iter().map(to_val).collect(),
        Value::Object(members) => {
            object(members.iter().map(|(key, member)| (&**key, to_val(member))))
        }
    }
}

/// An object for jq.
pub(crate) fn object<'k>(members: impl Iterator<Item = (&'k str, Val)>) -> Val {
    Val::obj(members.map(|(key, value)| (Val::from(key.to_owned()), value)).collect())
}

/// A value from jq.
fn from_val(value: Val) -> Result<Value<'static>, Failure> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(value),
        Val::Num(number) => {
            let text = number.to_string();
            if decimal::is_whole(&text).is_none() {
                return Err(Failure::new("gives a number that is infinite or none"));
            }
            Value::Number(Cow::Owned(text))
        }
        Val::TStr(bytes) | Val::BStr(bytes) => Value::Text(Cow::Owned(text_from(bytes.to_vec())?)),
        Val::Arr(items) => {
            Value::Array(items.iter().cloned().map(from_val).collect::<Result<_, _>>()?)
        }
        Val::Obj(members) => {
            let mut out = Vec::with_capacity(members.len());
            for (key, member) in members.iter() {
                let Val::TStr(key) = key else {
                    return Err(Failure::new("gives an object whose keys are no texts"));
                };
                out.push((Cow::Owned(text_from(key.to_vec())?), from_val(member.clone())?));
            }
            Value::Object(out)
        }
    })
}

/// A text from jq's bytes.
fn text_from(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::new("gives bytes that are no text"))
}
