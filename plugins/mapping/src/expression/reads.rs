//! Which members of its input an expression may look at. Only these are copied for jq, so that not
//! one may be missed: whatever this module does not know counts as looking at everything.
//!
//! That is another question than the tracker's, which follows values into the event: a member that
//! only decides whether something is answered, or how often, has to be there all the same.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path;

use super::direct::text_of;

/// The members of its input that a term may look at; none where it may look at any.
pub(super) fn members(term: &Term<&str>) -> Option<Vec<String>> {
    let mut reads = Reads::default();
    reads.value(term, true);
    (!reads.all).then_some(reads.members)
}

/// What is looked at so far. The expression's own input is called the root.
#[derive(Default)]
struct Reads {
    /// Members of the root.
    members: Vec<String>,
    /// Whether any member may be looked at.
    all: bool,
    /// The variables that are bound, and whether each may stand for the root.
    variables: Vec<(String, bool)>,
}

impl Reads {
    /// Looks at what a term answers.
    fn value(&mut self, term: &Term<&str>, root: bool) {
        self.all |= self.follow(term, root);
    }

    /// Looks at what several terms answer.
    fn values(&mut self, terms: &[Term<&str>], root: bool) {
        for term in terms {
            self.value(term, root);
        }
    }

    /// Looks at one member.
    fn member(&mut self, name: String) {
        if !self.members.contains(&name) {
            self.members.push(name);
        }
    }

    /// Whether an answer of a term may be the root itself, `.` being the root or not.
    fn follow(&mut self, term: &Term<&str>, root: bool) -> bool {
        match term {
            Term::Id => root,
            Term::Var(name) => {
                // Also where another of its name hides it: a pattern's keys still see the first.
                self.variables.iter().any(|(known, is_root)| known == name && *is_root)
            }
            Term::Num(_) | Term::Arr(None) | Term::Break(_) => false,
            Term::Arr(Some(inner)) | Term::Neg(inner) => {
                self.value(inner, root);
                false
            }
            Term::Label(_, inner) => self.follow(inner, root),
            Term::Path(head, path::Path(parts)) => {
                let start = self.follow(head, root);
                self.path(start, parts, root)
            }
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.value(inner, root);
                    }
                }
                false
            }
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.entry(key, value.as_ref(), root);
                }
                false
            }
            Term::BinOp(left, op, right) => self.operation(left, op, right, root),
            Term::IfThenElse(branches, otherwise) => {
                let mut is_root = false;
                for (condition, then) in branches {
                    self.value(condition, root);
                    is_root |= self.follow(then, root);
                }
                is_root | otherwise.as_ref().map_or(root, |last| self.follow(last, root))
            }
            Term::TryCatch(inner, catch) => {
                // What is caught is not the root: what could raise it counts as looking at it.
                let caught = catch.as_ref().is_some_and(|catch| self.follow(catch, false));
                self.follow(inner, root) | caught
            }
            Term::Fold(_, source, pattern, arguments) => {
                let is_root = self.follow(source, root);
                let Some((first, rest)) = arguments.split_first() else { return false };
                // What is gathered is not the root either, for the same reason.
                self.value(first, root);
                self.bound(pattern, is_root, |reads| {
                    reads.values(rest, false);
                    false
                })
            }
            Term::Recurse => self.everything(root),
            // A function may have the name of one that is known here.
            Term::Def(..) => self.everything(true),
            Term::Call(name, arguments) => self.call(name, arguments, root),
        }
    }

    /// Looks at everything where a value may be the root; what comes of it is another value.
    fn everything(&mut self, root: bool) -> bool {
        self.all |= root;
        false
    }

    /// The parts of a path that begins at the root or elsewhere.
    fn path(
        &mut self,
        start: bool,
        parts: &[(path::Part<Term<&str>>, path::Opt)],
        root: bool,
    ) -> bool {
        for (part, _) in parts {
            match part {
                path::Part::Index(index) => self.value(index, root),
                path::Part::Range(from, to) => {
                    for bound in from.iter().chain(to) {
                        self.value(bound, root);
                    }
                }
            }
        }
        match parts.first() {
            None => return start,
            Some(_) if !start => {}
            Some((path::Part::Index(index), _)) => match text_of(index) {
                Some(name) => self.member(name),
                None => self.all = true,
            },
            Some((path::Part::Range(..), _)) => self.all = true,
        }
        false
    }

    /// An entry of an object that the expression builds: `{a: .b}`, `{a}`, `{$x}`.
    fn entry(&mut self, key: &Term<&str>, value: Option<&Term<&str>>, root: bool) {
        self.value(key, root);
        match (value, key) {
            (Some(value), _) => self.value(value, root),
            (None, Term::Var(_)) => {}
            (None, _) if !root => {}
            (None, _) => match text_of(key) {
                Some(name) => self.member(name),
                None => self.all = true,
            },
        }
    }

    /// A binary operation.
    fn operation(
        &mut self,
        left: &Term<&str>,
        op: &BinaryOp<&str>,
        right: &Term<&str>,
        root: bool,
    ) -> bool {
        match op {
            BinaryOp::Pipe(None) => {
                let is_root = self.follow(left, root);
                self.follow(right, is_root)
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let is_root = self.follow(left, root);
                self.bound(pattern, is_root, |reads| reads.follow(right, root))
            }
            BinaryOp::Comma | BinaryOp::Alt => self.follow(left, root) | self.follow(right, root),
            BinaryOp::Or | BinaryOp::And | BinaryOp::Math(_) | BinaryOp::Cmp(_) => {
                self.value(left, root);
                self.value(right, root);
                false
            }
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.value(left, root);
                self.value(right, root);
                self.everything(root)
            }
        }
    }

    /// Runs `body` with the variables of a pattern bound to what may be the root.
    fn bound(
        &mut self,
        pattern: &Pattern<&str>,
        is_root: bool,
        body: impl FnOnce(&mut Self) -> bool,
    ) -> bool {
        let before = self.variables.len();
        self.pattern(pattern, is_root);
        let result = body(self);
        self.variables.truncate(before);
        result
    }

    /// Binds the variables of a pattern.
    fn pattern(&mut self, pattern: &Pattern<&str>, is_root: bool) {
        match pattern {
            Pattern::Var(name) => self.variables.push(((*name).to_owned(), is_root)),
            Pattern::Arr(items) => {
                self.all |= is_root;
                for item in items {
                    self.pattern(item, false);
                }
            }
            Pattern::Obj(entries) => {
                for (key, value) in entries {
                    self.value(key, is_root);
                    match text_of(key) {
                        Some(name) if is_root => self.member(name),
                        None if is_root => self.all = true,
                        _ => {}
                    }
                    self.pattern(value, false);
                }
            }
        }
    }

    /// A call.
    fn call(&mut self, name: &str, arguments: &[Term<&str>], root: bool) -> bool {
        match (name, arguments) {
            ("empty" | "true" | "false" | "null", []) => false,
            ("first" | "last", [inner]) => self.follow(inner, root),
            ("limit" | "skip" | "nth", [count, inner]) => {
                self.value(count, root);
                self.follow(inner, root)
            }
            ("select", [condition]) => {
                self.value(condition, root);
                root
            }
            ("any" | "all", [source, condition]) => {
                let is_root = self.follow(source, root);
                self.value(condition, is_root);
                false
            }
            ("has", [key]) => {
                self.value(key, root);
                match text_of(key) {
                    Some(member) if root => self.member(member),
                    None => self.all |= root,
                    Some(_) => {}
                }
                false
            }
            ("range" | "isempty" | "error", [_, ..]) => {
                self.values(arguments, root);
                false
            }
            _ => {
                self.values(arguments, root);
                self.everything(root)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jaq_core::load;

    use super::members;

    #[test]
    fn what_an_expression_may_look_at() {
        for (expression, expected) in [
            (".a.b + .c[0]", Some("a c")),
            (".a // empty | \"x\"", Some("a")),
            (".a | values | \"x\"", Some("a")),
            ("[.lines[]? | 1] | add", Some("lines")),
            ("reduce .lines[] as $l (0; . + 1)", Some("lines")),
            ("foreach .l[] as {a: $x} (.s; . + $x; [., $x])", Some("l s")),
            ("select(.a == 1) | .b", Some("a b")),
            ("if .a then \"x\" elif .b then .c else .d end", Some("a b c d")),
            (". as $o | .l[] | {id: $o.id, v}", Some("l id")),
            (". as {a: $a, $b} | \"\\($a)\"", Some("a b")),
            ("{a, \"b\": .c, \"d\"}", Some("a c d")),
            ("any(.l[]; .x) and has(\"k\")", Some("l k")),
            ("limit(.n; .l[])", Some("n l")),
            ("try .a[0] catch .b", Some("a")),
            ("label $f | .l[] | if . then ., break $f else . end", Some("l")),
            (".v | keys", Some("v")),
            (".v[$document.i]", Some("v")),
            ("$document.a + 1", Some("")),
            (".", None),
            ("..", None),
            (".[]", None),
            (".[.k]", None),
            (".[\"a\", \"b\"]", None),
            (".[1:]", None),
            ("select(.a)", None),
            ("if .a then 1 end", None),
            ("keys", None),
            ("[paths]", None),
            ("getpath([\"a\"])", None),
            (".a = 1 | .b", None),
            ("del(.a)", None),
            (". as [$x] | $x", None),
            (". as {(.k): $x} | $x", None),
            (". as $o | $o | keys", None),
            (". as $o | .l | length + ($o | length)", None),
            (". as $o | 1 | {$o}", None),
            ("reduce . as $x (0; $x)", None),
            ("reduce 1 as $x (.; .)", None),
            ("has(.k)", None),
            ("{\"a\\(1)\"}", None),
            ("\"\\(.)\"", None),
            ("@json", None),
            ("@json \"\\(.)\"", None),
            ("try error catch .a", None),
            ("def f: .b; .a | f", None),
            (".a | def select(f): $document; .", None),
            ("(., .a) | length", None),
            ("first(.)", None),
        ] {
            let term = load::parse(expression, |parser| parser.term()).unwrap();
            let expected: Option<Vec<String>> =
                expected.map(|names| names.split_whitespace().map(str::to_owned).collect());
            assert_eq!(members(&term), expected, "{expression}");
        }
    }
}
