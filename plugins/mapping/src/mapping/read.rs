//! A mapping from its JSON.

use std::cell::{Cell, RefCell};

use xylem_kit::Operation;

use super::{EventRule, Mapping, Options};
use crate::conserve::Unmapped;
use crate::expression::usage::{Place, PlaceStep};
use crate::expression::{Compiler, Expression};
use crate::json;
use crate::lookups::Lookups;
use crate::rule::Group;
use crate::rule::keys::{Keys, MappingError, Read, join, list, object, wrong};
use crate::rule::read::{Rules, has_source};
use crate::value::Value;

/// The most events of one mapping: each is a bit in what is noted about reading.
const MAX_EVENTS: usize = 63;

impl Mapping {
    /// Compiles a mapping from JSON text. An error names the place and what to write instead.
    pub fn from_json(text: &str, options: &Options) -> Result<Mapping, MappingError> {
        let value = json::parse(text, json::MAX_DEPTH)
            .or_else(|error| wrong("", format!("is no JSON: {error}")))?;
        Mapping::from_value(&value, options)
    }

    /// Compiles a mapping that was read already.
    pub fn from_value(value: &Value<'_>, options: &Options) -> Result<Mapping, MappingError> {
        let keys = Keys::new(value, "", &["split", "filter", "events", "drop", "unmapped"])?;
        let lookups = Lookups::read(&options.lookups).or_else(|what| wrong("lookups", what))?;
        let tenant = options.tenant.as_deref();
        if tenant.is_some_and(|tenant| !tenant.starts_with('_') || tenant.len() < 2) {
            return wrong(
                "tenant",
                "needs the tenant's namespace with its underscore, such as `_acme`",
            );
        }
        let mut compiler = Compiler::new(&lookups);
        let (split, items) = read_split(&keys, &mut compiler)?;
        let filters = read_filters(&keys, &mut compiler)?;
        let (events, constants) = read_events(&keys, &mut compiler, tenant)?;
        read_drop(&keys, &mut compiler, items.as_ref())?;
        let words =
            [("ignore", Unmapped::Ignore), ("warn", Unmapped::Warn), ("reject", Unmapped::Reject)];
        let unmapped = keys.word("unmapped", &words)?.unwrap_or_default();
        for name in &options.added {
            let place = Place { steps: vec![PlaceStep::Member(name.clone())], ..Place::document() };
            compiler.usage.mark(&[place], u64::MAX);
        }
        let (mut usage, uses_record) = (compiler.usage, compiler.uses_record);
        usage.settle();
        Ok(Mapping {
            split,
            items,
            filters,
            events,
            lookups,
            usage,
            unmapped,
            notation: options.notation,
            uses_record,
            constants,
            size: Cell::new(512),
            warnings: RefCell::default(),
        })
    }
}

/// Reads `split`; what follows is then read at the items.
fn read_split(
    keys: &Keys<'_>,
    compiler: &mut Compiler<'_>,
) -> Read<(Option<Expression>, Option<Place>)> {
    let Some(text) = keys.text("split")? else { return Ok((None, None)) };
    let (split, places) =
        compiler.places(text).or_else(|what| wrong(&keys.place("split"), what))?;
    // What becomes an item is looked at as an item.
    compiler.usage.mark(&places, u64::MAX);
    let items = match <[Place; 1]>::try_from(places) {
        Ok([place]) => Some(place),
        Err(_) => None,
    };
    compiler.item = items.iter().map(|_| Place::item()).collect();
    compiler.this.clone_from(&compiler.item);
    Ok((Some(split), items))
}

/// Reads `filter`.
fn read_filters(keys: &Keys<'_>, compiler: &mut Compiler<'_>) -> Read<Vec<(Expression, String)>> {
    let Some(filters) = keys.get("filter") else { return Ok(Vec::new()) };
    let place = keys.place("filter");
    let mut out = Vec::new();
    for (index, filter) in list(filters, &place)?.iter().enumerate() {
        let entry = Keys::new(filter, &format!("{place}[{index}]"), &["when", "reason"])?;
        let (Some(when), Some(reason)) = (entry.text("when")?, entry.text("reason")?) else {
            return wrong(&entry.at, "needs `when` and `reason`");
        };
        let when = compiler.value(when).or_else(|what| wrong(&entry.place("when"), what))?;
        out.push((when, reason.to_owned()));
    }
    Ok(out)
}

/// Reads `events`, and the paths of their constants.
fn read_events(
    keys: &Keys<'_>,
    compiler: &mut Compiler<'_>,
    tenant: Option<&str>,
) -> Read<(Vec<EventRule>, Vec<String>)> {
    let place = keys.place("events");
    let Some(events) = keys.get("events") else {
        return wrong("", "needs `events`: a list of what items become");
    };
    let events = list(events, &place)?;
    if events.len() > MAX_EVENTS {
        return wrong(&place, format!("has {} events, the limit is {MAX_EVENTS}", events.len()));
    }
    let mut rules = Rules { compiler, tenant, constants: Vec::new() };
    let mut out = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let at = format!("{place}[{index}]");
        out.push(read_event(event, &at, index, &mut rules)?);
    }
    rules.compiler.events = u64::MAX;
    Ok((out, rules.constants))
}

/// Reads one event.
fn read_event(
    event: &Value<'_>,
    at: &str,
    index: usize,
    rules: &mut Rules<'_, '_>,
) -> Read<EventRule> {
    let keys = Keys::new(event, at, &["when", "route", "operation", "copy", "fields"])?;
    let expression = |compiler: &mut Compiler<'_>, key: &str| match keys.text(key)? {
        Some(text) => compiler.value(text).map(Some).or_else(|what| wrong(&keys.place(key), what)),
        None => Ok(None),
    };
    // Whether an event is made depends on what its condition reads, whichever event it is.
    rules.compiler.events = u64::MAX;
    let when = expression(rules.compiler, "when")?;
    rules.compiler.events = 1 << index;
    let copy = expression(rules.compiler, "copy")?;
    let fields = match keys.get("fields") {
        Some(fields) => rules.group(fields, &keys.place("fields"), "", false)?,
        None if copy.is_some() => Group::default(),
        None => {
            return wrong(
                at,
                "needs `fields`: paths of the event and where their values come from",
            );
        }
    };
    let words = [
        ("create", Operation::Create),
        ("update", Operation::Update),
        ("delete", Operation::Delete),
    ];
    Ok(EventRule {
        when,
        route: keys.text("route")?.map(str::to_owned),
        operation: keys.word("operation", &words)?,
        copy,
        has_source: fields.members.iter().any(|member| has_source(&member.node)),
        fields,
    })
}

/// Reads `drop`: paths of the document, which count as read.
fn read_drop(keys: &Keys<'_>, compiler: &mut Compiler<'_>, items: Option<&Place>) -> Read<()> {
    let Some(drop) = keys.get("drop") else { return Ok(()) };
    let at = keys.place("drop");
    compiler.this = vec![Place::document()];
    for (path, reason) in object(drop, &at)? {
        let place = join(&at, path);
        if reason.as_str().is_none_or(|reason| reason.trim().is_empty()) {
            return wrong(&place, "needs a reason: why may this be dropped?");
        }
        let (expression, mut places) = compiler.places(path).or_else(|what| wrong(&place, what))?;
        if !expression.is_place() {
            return wrong(
                &place,
                "needs a plain path of the document, such as `.context.library` or `.batch[].sentAt`",
            );
        }
        for dropped in &mut places {
            if let Some(items) = items
                && let Some(rest) = dropped.steps.strip_prefix(items.steps.as_slice())
            {
                *dropped = Place { steps: rest.to_vec(), ..Place::item() };
            }
        }
        compiler.usage.mark(&places, u64::MAX);
    }
    Ok(())
}
