//! Texts of Salesforce into values of XDM.

use std::borrow::Cow;

use xylem_mapping::{
    Decimal, Moment, Value,
    date::{self, Ambiguous, DateError, Unit},
    document::{Kind as Shape, Node},
    format, identity,
};

use crate::{
    Context, Stop,
    entity::{Form, id18},
    settings::SlashDates,
};

/// The value that a leaf becomes; none where it does not have its form, so that it has to be kept
/// elsewhere. A leaf that becomes a value is noted as used.
pub(crate) fn convert<'n>(
    form: Form,
    node: &'n Node,
    context: &Context,
    path: &str,
) -> Result<Option<Value<'n>>, Stop> {
    let Some(text) = node.peek() else { return Ok(None) };
    let value: Option<Value<'n>> = match form {
        Form::Text | Form::Item => Some(text.into()),
        Form::Id | Form::AccountKey | Form::ContactKey => {
            identity::usable(text).map(|id| id18(id).into())
        }
        Form::Email => format::is_email(text).then(|| text.into()),
        Form::CountryCode => {
            let code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
            code.then(|| text.into())
        }
        Form::Bool => truth(text).map(Into::into),
        Form::OptOut => truth(text).map(|out| if out { "n" } else { "y" }.into()),
        Form::Degrees(limit) => {
            let angle = Decimal::parse(text).ok();
            angle.filter(|angle| angle.abs() <= Decimal::from_minor_units(limit, 0)).map(Into::into)
        }
        Form::Date => Some(day(node, text, context).map_err(|error| wrong(&error, path))?.into()),
        Form::DateTime => {
            let moment = moment(node, text, context).map_err(|error| wrong(&error, path))?;
            Some(moment.into())
        }
    };
    if value.is_some() {
        node.text();
    }
    Ok(value)
}

/// A truth value in the words that Salesforce and Data Loader write.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// A day: ISO 8601, with slashes, or milliseconds since 1970 as the Pub/Sub interface has it.
fn day(node: &Node, text: &str, context: &Context) -> Result<String, DateError> {
    if node.kind() == Shape::Number {
        return Moment::from_epoch(text, Unit::Milliseconds, None).map(Moment::date);
    }
    date::date(&iso(text, context.settings.slash_dates)?, None)
}

/// A moment, in the same forms. A day alone is its midnight in UTC, as Salesforce stores it.
fn moment(node: &Node, text: &str, context: &Context) -> Result<String, DateError> {
    if node.kind() == Shape::Number {
        return Moment::from_epoch(text, Unit::Milliseconds, None).map(|moment| moment.to_string());
    }
    let text = iso(text, context.settings.slash_dates)?;
    let zone = context.derived.zone.as_ref();
    match Moment::parse(&text, zone, Ambiguous::Compatible) {
        Ok(moment) => Ok(moment.to_string()),
        Err(DateError::NoTime) => Ok(format!("{}T00:00:00Z", date::date(&text, None)?)),
        Err(error) => Err(error),
    }
}

/// The text in the order of ISO 8601: slashes turned by the settings' word, and the `Z` that Data
/// Loader writes before an offset (`12:00:00.000Z-0300`) taken out.
fn iso(text: &str, order: Option<SlashDates>) -> Result<Cow<'_, str>, DateError> {
    let marked = text.split_once('Z').filter(|(_, offset)| offset.starts_with(['+', '-']));
    let out = match marked {
        Some((head, offset)) => Cow::Owned(format!("{head}{offset}")),
        None => Cow::Borrowed(text),
    };
    let mut parts = out.splitn(3, '/');
    let (Some(first), Some(second), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(out);
    };
    let (month, day) = match order {
        Some(SlashDates::Us) => (first, second),
        Some(SlashDates::European) => (second, first),
        None => {
            return Err(DateError::Grammar(
                "date; `slash_dates` says which of day and month is first",
            ));
        }
    };
    let end = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (year, time) = rest.split_at(end);
    Ok(Cow::Owned(format!("{year:0>4}-{month:0>2}-{day:0>2}{time}")))
}

/// A date that can not be read rejects the record: it is a matter of the settings.
fn wrong(error: &DateError, path: &str) -> Stop {
    match error {
        DateError::NoOffset => Stop::reject(
            "no-time-zone",
            "the time has no offset from UTC: set `time_zone` in the plugin's settings",
            path,
        ),
        error => Stop::reject("bad-date", format!("the text {error}"), path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_salesforce() {
        let context = Context::new(r#"{"org": "00D", "slash_dates": "us"}"#).unwrap();
        let read = |text: &str| {
            let node = Node::new("x".into(), Shape::Text, text);
            moment(&node, text, &context)
        };
        for (text, expected) in [
            ("2021-03-10T09:08:59Z", "2021-03-10T09:08:59Z"),
            ("2010-10-14T12:00:00.000Z-0300", "2010-10-14T12:00:00-03:00"),
            ("07/15/2009 02:14:45+0800", "2009-07-15T02:14:45+08:00"),
            ("07/13/2009T22:14:45-0800", "2009-07-13T22:14:45-08:00"),
            ("2009-07-14 22:14:45+0800", "2009-07-14T22:14:45+08:00"),
            ("2006-06-12", "2006-06-12T00:00:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert_eq!(read("2010-10-14T12:00:00.000"), Err(DateError::NoOffset));
        assert!(iso("07/15/2009", None).is_err());
        assert_eq!(iso("15/7/2009", Some(SlashDates::European)).unwrap(), "2009-07-15");
        let node = Node::from_json("1615367339000").unwrap();
        let text = node.peek().unwrap();
        assert_eq!(moment(&node, text, &context).unwrap(), "2021-03-10T09:08:59Z");
        assert_eq!(day(&node, text, &context).unwrap(), "2021-03-10");
    }

    #[test]
    fn an_opt_out_is_negated() {
        let context = Context::new(r#"{"org": "00D"}"#).unwrap();
        for (text, expected) in
            [("true", Some("n")), ("FALSE", Some("y")), ("1", Some("n")), ("?", None)]
        {
            let node = Node::new("x".into(), Shape::Text, text);
            let value = convert(Form::OptOut, &node, &context, "").unwrap();
            assert_eq!(value, expected.map(Value::from), "{text}");
        }
    }
}
