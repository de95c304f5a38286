//! The functions of jq's library that are native in jaq-std but bound there to the clock and the
//! system's time zones: regular expressions (compiled once, not at each call) and two formats.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jaq_core::Cv;
use jaq_core::data::JustLut;
use jaq_core::load::{self, parse::Def};
use jaq_core::native::{Fun, bome, run, v};
use jaq_json::{Error, Val, ValR};
use regex_bites::{Captures, Regex, RegexBuilder};

use super::query::object;
use crate::identity::uri_safe;

/// How many compiled regular expressions are kept; more means that records make them.
const KEPT: usize = 256;

thread_local! {
    /// Regular expressions by pattern and flags. A matter of speed only.
    static COMPILED: RefCell<HashMap<(String, String), Rc<Regex>>> = RefCell::default();
}

/// jq's own definitions of `sub` and `test` spend twenty microseconds in the interpreter.
const FASTER: &str = r#"def sub(re; f; flags): reduce split_captures(re; flags)[] as $x (""; . + ($x | if . >= {} then f end));"#;

/// Definitions in place of jq's own.
pub(super) fn definitions() -> Vec<Def<&'static str>> {
    load::parse(FASTER, |parser| parser.defs()).unwrap_or_default()
}

/// Whether there is something here in place of a definition of jq's own.
pub(super) fn replaces(definition: &Def<&'static str>) -> bool {
    matches!((definition.name, definition.args.len()), ("sub", 3) | ("test", 2))
}

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    [
        run::<JustLut<Val>>(("matches", v(2), |cv| bome(regex(cv, false, Some(groups))))),
        run(("split_captures", v(2), |cv| bome(regex(cv, true, Some(named))))),
        run(("split_", v(2), |cv| bome(regex(cv, true, None)))),
        run(("test", v(2), |mut cv| {
            let flags = cv.0.pop_var();
            let pattern = cv.0.pop_var();
            bome(is_match(&pattern, &flags, &cv.1).map(Val::from))
        })),
        run(("encode_uri", v(0), |cv| bome(text(&cv.1).map(|text| Val::from(uri_safe(text)))))),
        run(("encode_base64", v(0), |cv| {
            bome(text(&cv.1).map(|text| Val::from(encode_base64(text.as_bytes()))))
        })),
        run(("decode_base64", v(0), |cv| {
            let decoded = text(&cv.1).and_then(|text| {
                let bytes = decode_base64(text).and_then(|bytes| String::from_utf8(bytes).ok());
                bytes.ok_or_else(|| Error::str("cannot parse as base64 of a text"))
            });
            bome(decoded.map(Val::from))
        })),
    ]
    .into_iter()
}

/// How a match is shown.
type Show = fn(&Regex, &Captures<'_>, &str) -> Val;

/// Whether a regular expression matches somewhere.
fn is_match(pattern: &Val, flags: &Val, subject: &Val) -> Result<bool, Error> {
    Ok(compiled(text(pattern)?, text(flags)?)?.is_match(text(subject)?))
}

/// Applies a regular expression: the parts between matches, the matches, or both in order.
fn regex(mut cv: Cv<'_, JustLut<Val>>, between: bool, matches: Option<Show>) -> ValR {
    let flags = cv.0.pop_var();
    let pattern = cv.0.pop_var();
    let (pattern, flags, subject) = (text(&pattern)?, text(&flags)?, text(&cv.1)?);
    let regex = compiled(pattern, flags)?;
    let mut out = Vec::new();
    let mut last = 0;
    for captures in regex.captures_iter(subject) {
        let Some(whole) = captures.get(0) else { continue };
        if flags.contains('n') && whole.is_empty() {
            continue;
        }
        if between {
            out.push(Val::from(subject.get(last..whole.start()).unwrap_or_default().to_owned()));
            last = whole.end();
        }
        if let Some(show) = matches {
            out.push(show(&regex, &captures, subject));
        }
        if !flags.contains('g') {
            break;
        }
    }
    if between {
        out.push(Val::from(subject.get(last..).unwrap_or_default().to_owned()));
    }
    Ok(out.into_iter().collect())
}

/// The named groups of a match that took part in it, as the replacement in `sub` sees them.
fn named(regex: &Regex, captures: &Captures<'_>, _subject: &str) -> Val {
    let groups = captures.iter().zip(regex.capture_names());
    let named =
        groups.filter_map(|(group, name)| Some((name?, Val::from(group?.as_str().to_owned()))));
    object(named)
}

/// A match and its groups, as jq shows them; offsets and lengths count characters.
fn groups(regex: &Regex, captures: &Captures<'_>, subject: &str) -> Val {
    let groups = captures.iter().zip(regex.capture_names());
    groups
        .filter_map(|(group, name)| {
            let group = group?;
            let offset = subject.get(..group.start()).unwrap_or_default().chars().count();
            let fields = [
                ("offset", Val::from(offset)),
                ("length", Val::from(group.as_str().chars().count())),
                ("string", Val::from(group.as_str().to_owned())),
            ];
            let name = name.map(|name| ("name", Val::from(name.to_owned())));
            Some(object(fields.into_iter().chain(name)))
        })
        .collect()
}

/// The compiled form of a pattern with jq's flags.
fn compiled(pattern: &str, flags: &str) -> Result<Rc<Regex>, Error> {
    let key = (pattern.to_owned(), flags.to_owned());
    if let Some(known) = COMPILED.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(known);
    }
    if flags.chars().any(|flag| !"gnimslxp".contains(flag)) {
        return Err(Error::str("cannot parse as flags of a regular expression"));
    }
    let has = |flag| flags.contains(flag);
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m') || has('p'))
        .dot_matches_new_line(has('s') || has('p'))
        .swap_greed(has('l'))
        .ignore_whitespace(has('x'))
        .build()
        .map_err(|_| Error::str("cannot parse as a regular expression"))?;
    let regex = Rc::new(regex);
    COMPILED.with_borrow_mut(|known| {
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, Rc::clone(&regex));
    });
    Ok(regex)
}

/// The text that a value is.
fn text(value: &Val) -> Result<&str, Error> {
    let failure = || Error::typ(value.clone(), "string");
    match value {
        Val::TStr(bytes) => std::str::from_utf8(bytes).map_err(|_| failure()),
        _ => Err(failure()),
    }
}

/// The 64 digits of base64 in order.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as base64 with padding.
fn encode_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit =
                DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

/// The bytes of base64, padded or not; none where it is none.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 255).ok()?);
        }
    }
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode_base64(plain.as_bytes()), encoded);
            assert_eq!(decode_base64(encoded).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode_base64("Z"), None);
        assert_eq!(decode_base64("Z$=="), None);
    }
}
