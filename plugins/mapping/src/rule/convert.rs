//! The types that a value can be asked to have, and how it is brought into AEP's form of them.

use std::borrow::Cow;

use jiff::tz::TimeZone;

use super::Writer;
use crate::date::{self, Ambiguous, DateError, Moment, Unit};
use crate::decimal::{self, Decimal, Notation};
use crate::expression::Expression;
use crate::format;
use crate::identity;
use crate::scope::Scope;
use crate::value::Value;
use crate::write;

/// A type of a value in an event.
#[derive(Default)]
pub(crate) enum Kind {
    /// Whatever it is; lists and objects without their empty parts.
    #[default]
    Any,
    /// A text; numbers and booleans as they are written.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A truth value; texts in Data Prep's words.
    Boolean,
    /// A calendar day.
    Date(Times),
    /// An instant.
    DateTime(Times),
    /// A text in upper case, without blanks around it.
    Upper,
    /// A text in lower case, without blanks around it.
    Lower,
    /// An e-mail address as an identity.
    Email,
    /// A telephone number in E.164 form.
    Phone,
    /// An identity that is no placeholder.
    Id,
    /// A text that is safe in an `_id`.
    UriSafe,
    /// A currency code of three letters.
    Currency,
    /// An amount in the smallest unit of the currency that is given.
    MinorUnits(Given),
}

/// How the document writes times.
#[derive(Default)]
pub(crate) struct Times {
    /// The forms to try in order; ISO 8601 where there is none.
    pub(crate) forms: Vec<Form>,
    /// The zone of times without an offset.
    pub(crate) zone: Zone,
    /// What a local time means that is skipped or repeated.
    pub(crate) ambiguous: Ambiguous,
}

/// One form of times.
pub(crate) enum Form {
    /// ISO 8601.
    Iso,
    /// A number since 1970.
    Epoch(Unit),
    /// In the words of `strptime`.
    Pattern(String),
}

/// The zone of times without an offset.
#[derive(Default)]
pub(crate) enum Zone {
    /// None: such times are refused.
    #[default]
    Unknown,
    /// Always the same.
    Fixed(TimeZone),
    /// Named by the document or a look-up.
    From(Expression),
}

/// A text that is constant or read from the document.
pub(crate) enum Given {
    /// Constant.
    Fixed(String),
    /// Read.
    From(Expression),
}

/// What is wrong with a value: the end of a sentence that begins with its expression.
pub(crate) struct Mismatch(pub(crate) String);

/// A value has the wrong kind.
fn is(value: &Value<'_>) -> Mismatch {
    Mismatch(format!("is {}", value.kind()))
}

/// A text does not read as what is needed.
fn unread(what: &str) -> Mismatch {
    Mismatch(format!("is a text that {what}"))
}

impl Kind {
    /// What it is, with its article, for messages.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Kind::Any => "a value",
            Kind::Text | Kind::Upper | Kind::Lower => "a text",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Boolean => "a boolean",
            Kind::Date(_) => "a date",
            Kind::DateTime(_) => "a date-time",
            Kind::Email => "an e-mail address",
            Kind::Phone => "a telephone number that begins with `+`",
            Kind::Id | Kind::UriSafe => "an id",
            Kind::Currency => "a currency code of three letters",
            Kind::MinorUnits(_) => "a whole number of minor units",
        }
    }

    /// Writes a value in this type; false where it is a placeholder or blank.
    pub(crate) fn write(
        &self,
        writer: &mut Writer<'_>,
        value: &Value<'_>,
        scope: Scope<'_>,
    ) -> Result<bool, Mismatch> {
        let notation = writer.notation;
        match self {
            Kind::Any => return Ok(writer.pruned(value)),
            Kind::Integer | Kind::Number => return self.number(writer, value),
            Kind::Boolean => {
                let Some(value) = boolean(value)? else { return Ok(false) };
                writer.out.push_str(if value { "true" } else { "false" });
                return Ok(true);
            }
            Kind::MinorUnits(currency) => return minor_units(writer, value, currency, scope),
            Kind::Date(times) => {
                return date_of(value, times, scope, notation)
                    .map(|day| put(writer, day.as_deref()));
            }
            Kind::DateTime(times) => {
                let Some(moment) = times.moment(value, scope, notation)? else { return Ok(false) };
                writer.out.push('"');
                moment.write(writer.out);
                writer.out.push('"');
                return Ok(true);
            }
            _ => {}
        }
        let text = scalar_text(value).ok_or_else(|| is(value))?;
        let wrong = |_| Mismatch(format!("is not {}", self.expected()));
        let text = match self {
            Kind::Upper => Some(Cow::Owned(text.trim().to_uppercase())),
            Kind::Lower => Some(Cow::Owned(text.trim().to_lowercase())),
            Kind::Email => match identity::email(&text).map_err(wrong)? {
                Some(address) if format::is_email(&address) => Some(Cow::Owned(address)),
                Some(_) => return Err(wrong(identity::NotAnAddress)),
                None => None,
            },
            Kind::Phone => identity::phone(&text).map_err(wrong)?.map(Cow::Owned),
            Kind::Id => identity::usable(&text).map(Cow::Borrowed),
            Kind::UriSafe => identity::usable(&text).map(|id| Cow::Owned(identity::uri_safe(id))),
            Kind::Currency => Some(Cow::Owned(currency_code(&text)?)),
            _ => Some(Cow::Borrowed(&*text)),
        };
        Ok(put(writer, text.as_deref()))
    }

    /// Writes a number.
    fn number(&self, writer: &mut Writer<'_>, value: &Value<'_>) -> Result<bool, Mismatch> {
        let Some(text) = number_text(value, writer.notation)? else { return Ok(false) };
        let refuse = |what: &str| match value {
            Value::Number(_) => Mismatch(format!("is a number that {what}")),
            _ => unread(what),
        };
        match decimal::is_whole(&text) {
            None => return Err(refuse("is not written as one")),
            Some(false) if matches!(self, Kind::Integer) => return Err(refuse("has a fraction")),
            Some(_) => {}
        }
        if !decimal::write_canonical(writer.out, &text) {
            return Err(refuse(&format!("has more than {} digits", decimal::MAX_DIGITS)));
        }
        Ok(true)
    }
}

impl Times {
    /// The instant that a value gives; none where it is blank.
    fn moment(
        &self,
        value: &Value<'_>,
        scope: Scope<'_>,
        notation: Notation,
    ) -> Result<Option<Moment>, Mismatch> {
        let text = match value {
            Value::Text(text) => text.trim(),
            Value::Number(text) => text,
            other => return Err(is(other)),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let zone = self.zone(scope)?;
        let mut refused = None;
        for form in if self.forms.is_empty() { &[Form::Iso] } else { self.forms.as_slice() } {
            let read = match form {
                Form::Epoch(unit) => {
                    let plain = decimal::plain(text, notation).ok_or(DateError::Epoch);
                    plain.and_then(|number| Moment::from_epoch(&number, *unit, zone.as_ref()))
                }
                Form::Iso if matches!(value, Value::Number(_)) => {
                    return Err(Mismatch(
                        "is a number; state its unit as `format`: s, ms, us or ns".to_owned(),
                    ));
                }
                Form::Iso => Moment::parse(text, zone.as_ref(), self.ambiguous),
                Form::Pattern(pattern) => {
                    Moment::parse_format(text, pattern, zone.as_ref(), self.ambiguous)
                }
            };
            match read {
                Ok(moment) => return Ok(Some(moment)),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| is(value), |error| Mismatch(error.to_string())))
    }

    /// The zone of this record's local times.
    fn zone(&self, scope: Scope<'_>) -> Result<Option<TimeZone>, Mismatch> {
        match &self.zone {
            Zone::Unknown => Ok(None),
            Zone::Fixed(zone) => Ok(Some(zone.clone())),
            Zone::From(expression) => {
                let Some(name) = text_from(expression, scope)? else { return Ok(None) };
                let zone = date::zone(&name).map_err(|_| {
                    Mismatch(format!(
                        "cannot be placed: `{}` names no time zone",
                        expression.text()
                    ))
                })?;
                Ok(Some(zone))
            }
        }
    }
}

/// Writes a text in quotes; false where there is none or it is empty.
fn put(writer: &mut Writer<'_>, text: Option<&str>) -> bool {
    match text {
        None | Some("") => false,
        Some(text) => {
            write::text(writer.out, text);
            true
        }
    }
}

/// The day that a value gives; none where it is blank.
fn date_of(
    value: &Value<'_>,
    times: &Times,
    scope: Scope<'_>,
    notation: Notation,
) -> Result<Option<String>, Mismatch> {
    let Value::Text(text) = value else {
        return Ok(times.moment(value, scope, notation)?.map(Moment::date));
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let mut refused = None;
    for form in if times.forms.is_empty() { &[Form::Iso] } else { times.forms.as_slice() } {
        let read = match form {
            Form::Epoch(unit) => {
                let zone = times.zone(scope)?;
                let plain = decimal::plain(text, notation).ok_or(DateError::Epoch);
                plain
                    .and_then(|number| Moment::from_epoch(&number, *unit, zone.as_ref()))
                    .map(Moment::date)
            }
            Form::Iso => date::date(text, None),
            Form::Pattern(pattern) => date::date(text, Some(pattern)),
        };
        match read {
            Ok(day) => return Ok(Some(day)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| is(value), |error| Mismatch(error.to_string())))
}

/// The truth value that a value is; none where it is blank. The words are Data Prep's, in any case;
/// 0 and 1 are not among them.
fn boolean(value: &Value<'_>) -> Result<Option<bool>, Mismatch> {
    let text = match value {
        Value::Bool(value) => return Ok(Some(*value)),
        Value::Text(text) => text.trim(),
        other => return Err(is(other)),
    };
    let any = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        "" => Ok(None),
        _ if any(["y", "yes", "on", "true"]) => Ok(Some(true)),
        _ if any(["n", "no", "off", "false"]) => Ok(Some(false)),
        _ => Err(unread("is none of y, yes, on, true, n, no, off, false")),
    }
}

/// Writes an amount of minor units in the currency's own unit.
fn minor_units(
    writer: &mut Writer<'_>,
    value: &Value<'_>,
    currency: &Given,
    scope: Scope<'_>,
) -> Result<bool, Mismatch> {
    let Some(text) = number_text(value, writer.notation)? else { return Ok(false) };
    let units = Decimal::parse(&text).ok().and_then(Decimal::to_integer);
    let units = units.ok_or_else(|| Mismatch("is no whole number of minor units".to_owned()))?;
    let code = match currency {
        Given::Fixed(code) => code.clone(),
        Given::From(expression) => {
            let code = text_from(expression, scope)?.ok_or_else(|| {
                Mismatch(format!("has no currency: `{}` is missing", expression.text()))
            })?;
            currency_code(&code)?
        }
    };
    let amount = Decimal::from_minor_units(units, decimal::currency_digits(&code));
    writer.out.push_str(&amount.to_string());
    Ok(true)
}

/// A currency code in upper case.
pub(crate) fn currency_code(text: &str) -> Result<String, Mismatch> {
    let text = text.trim();
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(Mismatch("is no currency code of three letters".to_owned()))
    }
}

/// The one text that an expression gives.
fn text_from(expression: &Expression, scope: Scope<'_>) -> Result<Option<String>, Mismatch> {
    let answer = expression.one(scope).map_err(|failure| {
        Mismatch(format!("depends on `{}`, which {}", expression.text(), failure.what))
    })?;
    match answer.as_deref() {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) if text.is_empty() => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone().into_owned())),
        Some(other) => {
            Err(Mismatch(format!("depends on `{}`, which is {}", expression.text(), other.kind())))
        }
    }
}

/// A number's text in plain notation; none where it is blank.
fn number_text<'v>(
    value: &'v Value<'_>,
    notation: Notation,
) -> Result<Option<Cow<'v, str>>, Mismatch> {
    match value {
        Value::Number(text) => Ok(Some(Cow::Borrowed(&**text))),
        Value::Text(text) if text.trim().is_empty() => Ok(None),
        Value::Text(text) if notation == Notation::Plain => Ok(Some(Cow::Borrowed(text.trim()))),
        Value::Text(text) => {
            let plain = decimal::plain(text.trim(), notation);
            plain
                .map(|plain| Some(Cow::Owned(plain)))
                .ok_or_else(|| unread("is not written as a number"))
        }
        other => Err(is(other)),
    }
}

/// The text of a scalar; none of lists, objects and null. A number in its shortest exact form, so
/// that two spellings of one number are one id.
pub(crate) fn scalar_text<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Number(source) => {
            let mut text = String::new();
            write::number(&mut text, source);
            Some(Cow::Owned(text))
        }
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
