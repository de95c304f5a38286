//! Follows an expression through the document without running it: which places it reads, and which
//! places its answers come from.
//!
//! It errs to one side: an expression that builds new objects or calls what this module does not
//! know counts as reading everything it was given.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path;

use super::direct::text_of;
use super::query::{children, in_pattern};
use super::usage::{Place, PlaceStep, Usage};

/// The most places that one expression is followed to.
const MAX_PLACES: usize = 64;

/// Follows one expression through the document.
pub(crate) struct Tracker<'t> {
    /// Where reading is noted.
    usage: &'t mut Usage,
    /// What `.` stands for at the beginning.
    this: &'t [Place],
    /// What `$item` stands for.
    item: &'t [Place],
    /// On whose behalf it is read.
    events: u64,
    /// What the expression's own variables stand for.
    variables: Vec<(String, Vec<Place>)>,
}

impl<'t> Tracker<'t> {
    /// A tracker at some places.
    pub(crate) fn new(
        usage: &'t mut Usage,
        this: &'t [Place],
        item: &'t [Place],
        events: u64,
    ) -> Tracker<'t> {
        Tracker { usage, this, item, events, variables: Vec::new() }
    }

    /// The places that the answers of an expression come from; what it reads on the way is marked.
    pub(crate) fn run(&mut self, term: &Term<&str>) -> Vec<Place> {
        self.follow(term, self.this)
    }

    /// Marks what a term answers as read.
    fn read(&mut self, term: &Term<&str>, input: &[Place]) {
        let places = self.follow(term, input);
        self.usage.mark(&places, self.events);
    }

    /// Marks what several terms answer as read.
    fn read_all(&mut self, terms: &[Term<&str>], input: &[Place]) {
        for term in terms {
            self.read(term, input);
        }
    }

    /// The places that a term's answers come from, its input coming from `input`.
    fn follow(&mut self, term: &Term<&str>, input: &[Place]) -> Vec<Place> {
        let places = match term {
            Term::Id => input.to_vec(),
            Term::Var(name) => self.variable(name),
            Term::Path(head, path::Path(parts)) => {
                let start = self.follow(head, input);
                self.steps(start, parts, input)
            }
            Term::BinOp(left, op, right) => self.operation(left, op, right, input),
            Term::IfThenElse(branches, otherwise) => {
                self.choice(branches, otherwise.as_deref(), input)
            }
            Term::TryCatch(inner, catch) => {
                if let Some(catch) = catch {
                    self.read(catch, &[]);
                }
                self.follow(inner, input)
            }
            Term::Arr(Some(inner)) => wrap(self.follow(inner, input)),
            Term::Label(_, inner) => self.follow(inner, input),
            Term::Call(name, arguments) => self.call(name, arguments, input),
            Term::Num(_) | Term::Arr(None) | Term::Break(_) => Vec::new(),
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.read(inner, input);
                    }
                }
                Vec::new()
            }
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.entry(key, value.as_ref(), input);
                }
                Vec::new()
            }
            Term::Neg(inner) => {
                self.read(inner, input);
                Vec::new()
            }
            Term::Fold(_, source, pattern, arguments) => {
                self.fold(source, pattern, arguments, input);
                Vec::new()
            }
            Term::Recurse => self.everything(input),
            Term::Def(..) => {
                self.variables_in(term);
                self.everything(input)
            }
        };
        if places.len() > MAX_PLACES { self.everything(&places) } else { places }
    }

    /// The places behind `if`: those of its branches.
    fn choice(
        &mut self,
        branches: &[(Term<&str>, Term<&str>)],
        otherwise: Option<&Term<&str>>,
        input: &[Place],
    ) -> Vec<Place> {
        let mut places = Vec::new();
        for (condition, then) in branches {
            self.read(condition, input);
            places.extend(self.follow(then, input));
        }
        match otherwise {
            Some(otherwise) => places.extend(self.follow(otherwise, input)),
            None => places.extend_from_slice(input),
        }
        places
    }

    /// Reads what `reduce` and `foreach` read. Behind the first argument `.` is what they have
    /// gathered so far.
    fn fold(
        &mut self,
        source: &Term<&str>,
        pattern: &Pattern<&str>,
        arguments: &[Term<&str>],
        input: &[Place],
    ) {
        let places = self.follow(source, input);
        let Some((first, rest)) = arguments.split_first() else { return };
        let gathered = self.follow(first, input);
        self.usage.mark(&gathered, self.events);
        self.bound(pattern, places, rest, |tracker| {
            for argument in rest {
                tracker.read(argument, &gathered);
            }
        });
    }

    /// An entry of an object that an expression builds: `{a: .b}`, `{a}`, `{$x}`.
    fn entry(&mut self, key: &Term<&str>, value: Option<&Term<&str>>, input: &[Place]) {
        match (text_of(key), value) {
            (_, Some(value)) => {
                self.read(key, input);
                self.read(value, input);
            }
            (Some(name), None) => {
                self.member(name, input);
            }
            (None, None) => {
                self.read(key, input);
                // `{"\(.a)"}` reads the member of that name.
                if !matches!(key, Term::Var(_)) {
                    self.everything(input);
                }
            }
        }
    }

    /// Marks the places that a term is given where it does not look at them: then they only decide
    /// whether and how often it answers. What is merely handed on to it decides nothing.
    fn counted(&mut self, term: &Term<&str>, handed_on: bool, places: &[Place]) {
        if is_blind(term) && !handed_on {
            self.usage.mark(places, self.events);
        }
    }

    /// Marks a member of places as read.
    fn member(&mut self, name: String, input: &[Place]) -> Vec<Place> {
        let step = PlaceStep::Member(name);
        let places: Vec<Place> =
            input.iter().map(|place| place.clone().then(step.clone())).collect();
        self.everything(&places)
    }

    /// Marks places as read; nothing comes out of them that could be followed.
    fn everything(&mut self, places: &[Place]) -> Vec<Place> {
        self.usage.mark(places, self.events);
        Vec::new()
    }

    /// The places that a variable stands for.
    fn variable(&self, name: &str) -> Vec<Place> {
        if let Some((_, places)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return places.clone();
        }
        match name {
            "$document" => vec![Place::document()],
            "$item" => self.item.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Marks what all variables inside a term stand for.
    fn variables_in(&mut self, term: &Term<&str>) {
        if let Term::Var(name) = term {
            let places = self.variable(name);
            self.usage.mark(&places, self.events);
        }
        children(term, &mut |child| self.variables_in(child));
    }

    /// The places that the parts of a path lead to.
    fn steps(
        &mut self,
        mut places: Vec<Place>,
        parts: &[(path::Part<Term<&str>>, path::Opt)],
        input: &[Place],
    ) -> Vec<Place> {
        for (part, _) in parts {
            let step = match part {
                path::Part::Index(index) => text_of(index).map_or_else(
                    || {
                        self.read(index, input);
                        PlaceStep::Any
                    },
                    PlaceStep::Member,
                ),
                path::Part::Range(None, None) => PlaceStep::Any,
                path::Part::Range(from, to) => {
                    from.iter().chain(to).for_each(|bound| self.read(bound, input));
                    // A slice is a list still, or a piece of a text.
                    continue;
                }
            };
            places = places.into_iter().map(|place| place.then(step.clone())).collect();
        }
        places
    }

    /// The places behind a binary operation.
    fn operation(
        &mut self,
        left: &Term<&str>,
        op: &BinaryOp<&str>,
        right: &Term<&str>,
        input: &[Place],
    ) -> Vec<Place> {
        match op {
            BinaryOp::Pipe(None) => {
                let places = self.follow(left, input);
                self.counted(right, hands_on(left), &places);
                self.follow(right, &places)
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let places = self.follow(left, input);
                let body = std::slice::from_ref(right);
                self.bound(pattern, places, body, |tracker| tracker.follow(right, input))
            }
            BinaryOp::Comma | BinaryOp::Alt => {
                let mut places = self.follow(left, input);
                for place in self.follow(right, input) {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
                places
            }
            BinaryOp::Or | BinaryOp::And | BinaryOp::Math(_) | BinaryOp::Cmp(_) => {
                self.read(left, input);
                self.read(right, input);
                Vec::new()
            }
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                self.read(right, input);
                self.everything(input)
            }
        }
    }

    /// Runs `body`, which follows `terms`, with the variables of a pattern bound.
    fn bound<T>(
        &mut self,
        pattern: &Pattern<&str>,
        places: Vec<Place>,
        terms: &[Term<&str>],
        body: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.variables.len();
        if let Pattern::Var(name) = pattern {
            // Then it only matters whether and how often something is bound.
            if !terms.iter().any(|term| names(term, name)) {
                self.usage.mark(&places, self.events);
            }
            self.variables.push(((*name).to_owned(), places));
        } else {
            self.everything(&places);
            in_pattern(pattern, &mut |key| self.read(key, &[]));
            bind_nothing(pattern, &mut self.variables);
        }
        let result = body(self);
        self.variables.truncate(before);
        result
    }

    /// The places behind a call.
    fn call(&mut self, name: &str, arguments: &[Term<&str>], input: &[Place]) -> Vec<Place> {
        let items =
            || input.iter().map(|place| place.clone().then(PlaceStep::Any)).collect::<Vec<_>>();
        match (name, arguments) {
            ("empty" | "true" | "false" | "null" | "input_line_number", []) => Vec::new(),
            (
                "values" | "strings" | "numbers" | "booleans" | "arrays" | "objects" | "scalars"
                | "reverse",
                [],
            ) => input.to_vec(),
            ("first" | "last", []) => items(),
            ("first" | "last", [inner]) => self.follow(inner, input),
            ("limit" | "skip" | "nth", [count, inner]) => {
                self.read(count, input);
                self.follow(inner, input)
            }
            ("select", [condition]) => {
                self.read(condition, input);
                input.to_vec()
            }
            ("map", [inner]) => {
                let items = items();
                self.counted(inner, false, &items);
                wrap(self.follow(inner, &items))
            }
            ("sort_by" | "unique_by", [key]) => {
                self.read(key, &items());
                input.to_vec()
            }
            ("min_by" | "max_by", [key]) => {
                let items = items();
                self.read(key, &items);
                items
            }
            ("any" | "all", [condition]) => {
                self.read(condition, &items());
                Vec::new()
            }
            ("any" | "all", [source, condition]) => {
                let places = self.follow(source, input);
                self.counted(condition, hands_on(source), &places);
                self.read(condition, &places);
                Vec::new()
            }
            ("has", [key]) => {
                self.read(key, input);
                match text_of(key) {
                    Some(member) => self.member(member, input),
                    None => self.everything(input),
                }
            }
            ("error" | "range" | "isempty", [_, ..]) => {
                self.read_all(arguments, input);
                Vec::new()
            }
            _ => {
                self.read_all(arguments, input);
                self.everything(input)
            }
        }
    }
}

/// Whether a term answers the same whatever its input is. What the tracker does not know marks its
/// input, so that it need not be known here either.
fn is_blind(term: &Term<&str>) -> bool {
    match term {
        Term::Id
        | Term::Recurse
        | Term::Def(..)
        | Term::IfThenElse(_, None)
        | Term::BinOp(
            _,
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt,
            _,
        ) => false,
        // What follows has another input.
        Term::BinOp(first, BinaryOp::Pipe(None), _) | Term::TryCatch(first, _) => is_blind(first),
        Term::Fold(_, source, _, arguments) => {
            is_blind(source) && arguments.first().is_none_or(is_blind)
        }
        Term::Call(name, arguments) => match (*name, arguments.as_slice()) {
            ("empty" | "true" | "false" | "null" | "input_line_number", []) => true,
            ("any" | "all", [source, _]) => is_blind(source),
            ("first" | "last", [_])
            | ("limit" | "skip" | "nth", [_, _])
            | ("range" | "isempty" | "error", [_, ..]) => arguments.iter().all(is_blind),
            _ => false,
        },
        other => {
            let mut blind = match other {
                // `{a}` reads a member, `{$a}` does not.
                Term::Obj(entries) => entries
                    .iter()
                    .all(|(key, value)| value.is_some() || matches!(key, Term::Var(_))),
                _ => true,
            };
            children(other, &mut |child| blind &= is_blind(child));
            blind
        }
    }
}

/// Whether a term answers nothing but its input, and what decides whether it does is marked.
fn hands_on(term: &Term<&str>) -> bool {
    match term {
        Term::Id | Term::Call("select" | "empty", _) => true,
        Term::BinOp(left, BinaryOp::Pipe(None) | BinaryOp::Comma | BinaryOp::Alt, right) => {
            hands_on(left) && hands_on(right)
        }
        Term::BinOp(_, BinaryOp::Pipe(Some(_)), right) => hands_on(right),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().all(|(_, then)| hands_on(then))
                && otherwise.as_deref().is_none_or(hands_on)
        }
        _ => false,
    }
}

/// Whether a term names a variable.
fn names(term: &Term<&str>, variable: &str) -> bool {
    if matches!(term, Term::Var(name) if *name == variable) {
        return true;
    }
    let mut found = false;
    children(term, &mut |child| found |= names(child, variable));
    found
}

/// The same places with a list around them.
fn wrap(mut places: Vec<Place>) -> Vec<Place> {
    for place in &mut places {
        place.wrapped = place.wrapped.saturating_add(1);
    }
    places
}

/// Binds a pattern's variables to no place: what they stand for is marked already.
fn bind_nothing(pattern: &Pattern<&str>, variables: &mut Vec<(String, Vec<Place>)>) {
    match pattern {
        Pattern::Var(name) => variables.push(((*name).to_owned(), Vec::new())),
        Pattern::Arr(items) => items.iter().for_each(|item| bind_nothing(item, variables)),
        Pattern::Obj(entries) => {
            for (_, value) in entries {
                bind_nothing(value, variables);
            }
        }
    }
}
