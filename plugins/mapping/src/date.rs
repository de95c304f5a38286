//! Dates and times in the two forms that AEP takes: `2026-01-02` and `2026-01-02T03:04:05.678Z` or
//! with `±HH:MM`. Nothing is guessed: a time without an offset needs a zone, a form that is not
//! ISO 8601 needs a format.

use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{Offset, TimeZone};
use thiserror::Error;

use crate::decimal::Decimal;

/// An instant and the offset it is written with. `Display` gives AEP's `date-time` form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    timestamp: jiff::Timestamp,
    /// Whole minutes east of UTC.
    offset: Offset,
}

/// The unit of a time given as a number since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `s`
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

/// What a local time means that the clocks skipped or showed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ambiguous {
    /// The first of two, and past a gap as far as the time was into it (RFC 5545).
    #[default]
    Compatible,
    /// The earlier of two.
    Earlier,
    /// The later of two.
    Later,
    /// An error.
    Reject,
}

/// Why a text is no date or time. Values are not repeated: these go into logs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DateError {
    /// Not ISO 8601, and no format was given.
    #[error("is not an ISO 8601 {0}; state its `format`")]
    Grammar(&'static str),
    /// The text does not have the stated format.
    #[error("does not have the format `{0}`")]
    Format(String),
    /// A local time, and no zone was given.
    #[error("has no offset from UTC; state its `zone`")]
    NoOffset,
    /// A date where a time of day is needed.
    #[error("has no time of day; state its `format` if midnight is meant")]
    NoTime,
    /// A time that a change of clocks skipped or repeated, where the rule says to refuse it.
    #[error("is a time that the clocks of its zone skip or repeat")]
    Ambiguous,
    /// Outside the years 1000 to 9999.
    #[error("is outside the years 1000 to 9999 (`%Y` reads `26` as the year 26, `%y` as 2026)")]
    Range,
    /// Not a number since 1970.
    #[error("is not a number of time units since 1970")]
    Epoch,
    /// No such time zone.
    #[error("`{0}` is no time zone of the IANA database and no offset such as `+02:00`")]
    Zone(String),
}

/// The years that can be meant. Below them lie the two-digit years that a format took for whole ones.
const YEARS: std::ops::RangeInclusive<i16> = 1000..=9999;

/// A time zone by its IANA name (`Europe/Berlin`, `UTC`) or as an offset (`+02:00`).
pub fn zone(name: &str) -> Result<TimeZone, DateError> {
    let unknown = || DateError::Zone(name.chars().take(64).collect());
    if name.starts_with(['+', '-']) {
        let sample = format!("2000-01-01T00:00:00{name}");
        let pieces = DateTimeParser::new().parse_pieces(&sample).map_err(|_| unknown())?;
        return Ok(pieces.to_numeric_offset().ok_or_else(unknown)?.to_time_zone());
    }
    TimeZone::get(name).map_err(|_| unknown())
}

impl Moment {
    /// Reads ISO 8601 (`2026-01-02T03:04:05Z`, `20260102T030405+0100`, a blank for the `T`). The
    /// text's own offset is kept; `zone` is for texts that have none.
    pub fn parse(
        text: &str,
        zone: Option<&TimeZone>,
        ambiguous: Ambiguous,
    ) -> Result<Moment, DateError> {
        let pieces = DateTimeParser::new()
            .parse_pieces(text)
            .map_err(|_| DateError::Grammar("date-time"))?;
        let time = pieces.time().ok_or(DateError::NoTime)?;
        let local = pieces.date().to_datetime(time);
        match pieces.to_numeric_offset() {
            Some(offset) => Moment::at_offset(local, offset),
            None => Moment::in_zone(local, zone.ok_or(DateError::NoOffset)?, ambiguous),
        }
    }

    /// Reads a stated format, in the words of `strptime` (`%d.%m.%Y %H:%M`). `%z` in it keeps the
    /// text's offset; a format without a time of day means midnight.
    pub fn parse_format(
        text: &str,
        format: &str,
        zone: Option<&TimeZone>,
        ambiguous: Ambiguous,
    ) -> Result<Moment, DateError> {
        let wrong = || DateError::Format(format.to_owned());
        let parts = BrokenDownTime::parse(format, text).map_err(|_| wrong())?;
        if let Some(offset) = parts.offset() {
            return Moment::at_offset(parts.to_datetime().map_err(|_| wrong())?, offset);
        }
        let date = parts.to_date().map_err(|_| wrong())?;
        let time = if parts.hour().is_some() {
            parts.to_time().map_err(|_| wrong())?
        } else {
            civil::Time::midnight()
        };
        Moment::in_zone(date.to_datetime(time), zone.ok_or(DateError::NoOffset)?, ambiguous)
    }

    /// Reads a number of units since 1970 in UTC, fractions included; written in `zone` if given.
    pub fn from_epoch(
        number: &str,
        unit: Unit,
        zone: Option<&TimeZone>,
    ) -> Result<Moment, DateError> {
        let nanoseconds = match unit {
            Unit::Seconds => 1_000_000_000,
            Unit::Milliseconds => 1_000_000,
            Unit::Microseconds => 1_000,
            Unit::Nanoseconds => 1,
        };
        let number = Decimal::parse(number.trim()).map_err(|_| DateError::Epoch)?;
        let total = number
            .checked_mul(Decimal::from_minor_units(nanoseconds, 0))
            .ok_or(DateError::Range)?;
        let timestamp =
            jiff::Timestamp::from_nanosecond(total.floor()).map_err(|_| DateError::Range)?;
        let offset = zone.map_or(Offset::UTC, |zone| zone.to_offset(timestamp));
        Moment::new(timestamp, offset)
    }

    /// The moment of a Kafka timestamp, in UTC.
    pub fn from_milliseconds(milliseconds: i64) -> Result<Moment, DateError> {
        let timestamp =
            jiff::Timestamp::from_millisecond(milliseconds).map_err(|_| DateError::Range)?;
        Moment::new(timestamp, Offset::UTC)
    }

    /// A local time in a zone.
    pub fn in_zone(
        local: civil::DateTime,
        zone: &TimeZone,
        ambiguous: Ambiguous,
    ) -> Result<Moment, DateError> {
        let candidates = zone.to_ambiguous_timestamp(local);
        let timestamp = match ambiguous {
            Ambiguous::Compatible => candidates.compatible(),
            Ambiguous::Earlier => candidates.earlier(),
            Ambiguous::Later => candidates.later(),
            Ambiguous::Reject if candidates.is_ambiguous() => return Err(DateError::Ambiguous),
            Ambiguous::Reject => candidates.unambiguous(),
        };
        let timestamp = timestamp.map_err(|_| DateError::Range)?;
        Moment::new(timestamp, zone.to_offset(timestamp))
    }

    /// A local time at an offset.
    fn at_offset(local: civil::DateTime, offset: Offset) -> Result<Moment, DateError> {
        Moment::new(offset.to_timestamp(local).map_err(|_| DateError::Range)?, offset)
    }

    /// Checks the years; an offset with seconds (local mean time before about 1900) has no form in
    /// AEP and becomes UTC.
    fn new(timestamp: jiff::Timestamp, offset: Offset) -> Result<Moment, DateError> {
        let offset = if offset.seconds() % 60 == 0 { offset } else { Offset::UTC };
        if YEARS.contains(&offset.to_datetime(timestamp).year()) {
            Ok(Moment { timestamp, offset })
        } else {
            Err(DateError::Range)
        }
    }

    /// The instant.
    pub fn timestamp(self) -> jiff::Timestamp {
        self.timestamp
    }

    /// The calendar day at the moment's own offset, as AEP's `date`.
    pub fn date(self) -> String {
        write_date(self.offset.to_datetime(self.timestamp).date())
    }
}

impl Moment {
    /// Appends AEP's `date-time` form.
    pub fn write(self, out: &mut String) {
        let local = self.offset.to_datetime(self.timestamp);
        push_date(out, local.date());
        for (mark, part) in [('T', local.hour()), (':', local.minute()), (':', local.second())] {
            out.push(mark);
            push_two(out, part);
        }
        let fraction = local.subsec_nanosecond();
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            out.push('.');
            out.push_str(digits.trim_end_matches('0'));
        }
        let seconds = self.offset.seconds();
        if seconds == 0 {
            return out.push('Z');
        }
        out.push(if seconds < 0 { '-' } else { '+' });
        // An offset has less than 26 hours, so both parts have two digits.
        let minutes = seconds.unsigned_abs() / 60;
        push_two(out, i8::try_from(minutes / 60).unwrap_or_default());
        out.push(':');
        push_two(out, i8::try_from(minutes % 60).unwrap_or_default());
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::with_capacity(32);
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Reads a calendar day: ISO 8601, with or without a time of day (the day as it is written), or
/// the stated format. The result has AEP's `date` form.
pub fn date(text: &str, format: Option<&str>) -> Result<String, DateError> {
    let date = match format {
        None => {
            DateTimeParser::new().parse_pieces(text).map_err(|_| DateError::Grammar("date"))?.date()
        }
        Some(format) => {
            let wrong = || DateError::Format(format.to_owned());
            BrokenDownTime::parse(format, text)
                .and_then(|parts| parts.to_date())
                .map_err(|_| wrong())?
        }
    };
    if YEARS.contains(&date.year()) { Ok(write_date(date)) } else { Err(DateError::Range) }
}

/// Checks a format before any record is read. The error says what is wrong with it.
pub fn check_format(format: &str) -> Result<(), String> {
    if !format.contains('%') {
        return Err(format!(
            "`{format}` is no format: write `%Y-%m-%d %H:%M:%S` for 2026-01-31 23:59:59, or s, ms, us, ns for a number since 1970"
        ));
    }
    let sample = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &sample)
        .map(|_| ())
        .map_err(|error| format!("`{format}` is no format: {error}"))
}

/// A date in AEP's form.
fn write_date(date: civil::Date) -> String {
    let mut out = String::with_capacity(10);
    push_date(&mut out, date);
    out
}

/// Appends a date in AEP's form; its year has four digits ([`YEARS`]).
fn push_date(out: &mut String, date: civil::Date) {
    push_two(out, i8::try_from(date.year() / 100).unwrap_or_default());
    push_two(out, i8::try_from(date.year() % 100).unwrap_or_default());
    out.push('-');
    push_two(out, date.month());
    out.push('-');
    push_two(out, date.day());
}

/// Appends a number from 0 to 99 as two digits.
fn push_two(out: &mut String, number: i8) {
    let number = number.unsigned_abs();
    out.push(char::from(b'0' + number / 10 % 10));
    out.push(char::from(b'0' + number % 10));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        zone("Europe/Berlin").unwrap()
    }

    fn iso(text: &str) -> Result<String, DateError> {
        Moment::parse(text, None, Ambiguous::Reject).map(|moment| moment.to_string())
    }

    #[test]
    fn iso_forms_become_the_one_form() {
        for (text, expected) in [
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02t03:04:05.500z", "2026-01-02T03:04:05.5Z"),
            ("2026-01-02 03:04:05+0100", "2026-01-02T03:04:05+01:00"),
            ("2026-01-02T03:04:05+05", "2026-01-02T03:04:05+05:00"),
            ("20260102T030405-0330", "2026-01-02T03:04:05-03:30"),
            ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04Z", "2026-01-02T03:04:00Z"),
        ] {
            assert_eq!(iso(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(iso("2026-01-02T03:04:05"), Err(DateError::NoOffset));
        assert_eq!(iso("2026-01-02"), Err(DateError::NoTime));
        for text in [
            "",
            "2026-02-02T7:36:51.000Z",
            "2020-02-15T23:40:2321:44:40.000Z",
            "2026-13-01T00:00:00Z",
            "24:00",
            "01/02/2026",
            "1600000000",
            "2026-01-02T24:00:00Z",
        ] {
            assert_eq!(iso(text), Err(DateError::Grammar("date-time")), "{text}");
        }
    }

    #[test]
    fn local_times_take_the_zone_of_their_day() {
        let read = |text, rule| {
            Moment::parse(text, Some(&berlin()), rule).map(|moment| moment.to_string())
        };
        assert_eq!(
            read("2026-01-02T03:04:05", Ambiguous::Reject).unwrap(),
            "2026-01-02T03:04:05+01:00"
        );
        assert_eq!(
            read("2026-07-02T03:04:05", Ambiguous::Reject).unwrap(),
            "2026-07-02T03:04:05+02:00"
        );
        // The clocks go from 02:00 to 03:00 on 2026-03-29 and from 03:00 to 02:00 on 2026-10-25.
        assert_eq!(read("2026-03-29T02:30:00", Ambiguous::Reject), Err(DateError::Ambiguous));
        assert_eq!(
            read("2026-03-29T02:30:00", Ambiguous::Compatible).unwrap(),
            "2026-03-29T03:30:00+02:00"
        );
        assert_eq!(
            read("2026-03-29T02:30:00", Ambiguous::Earlier).unwrap(),
            "2026-03-29T01:30:00+01:00"
        );
        assert_eq!(read("2026-10-25T02:30:00", Ambiguous::Reject), Err(DateError::Ambiguous));
        assert_eq!(
            read("2026-10-25T02:30:00", Ambiguous::Compatible).unwrap(),
            "2026-10-25T02:30:00+02:00"
        );
        assert_eq!(
            read("2026-10-25T02:30:00", Ambiguous::Later).unwrap(),
            "2026-10-25T02:30:00+01:00"
        );
        // Local mean time, 53 minutes and 28 seconds east, has no form of its own.
        assert_eq!(read("1880-01-01T00:53:28", Ambiguous::Reject).unwrap(), "1880-01-01T00:00:00Z");
    }

    #[test]
    fn stated_formats() {
        let read = |text, format| {
            Moment::parse_format(text, format, Some(&berlin()), Ambiguous::Reject)
                .map(|moment| moment.to_string())
        };
        assert_eq!(
            read("2026-01-31 23:59", "%Y-%m-%d %H:%M").unwrap(),
            "2026-01-31T23:59:00+01:00"
        );
        assert_eq!(read("1/2/2026 7:05", "%m/%d/%Y %H:%M").unwrap(), "2026-01-02T07:05:00+01:00");
        assert_eq!(
            read("07/15/2009 02:14:45+0800", "%m/%d/%Y %H:%M:%S%z").unwrap(),
            "2009-07-15T02:14:45+08:00"
        );
        assert_eq!(read("31.12.2026", "%d.%m.%Y").unwrap(), "2026-12-31T00:00:00+01:00");
        assert_eq!(
            read("2010-10-14T12:00:00.000Z-0300", "%Y-%m-%dT%H:%M:%S%.fZ%z").unwrap(),
            "2010-10-14T12:00:00-03:00"
        );
        assert_eq!(read("31.12.26", "%d.%m.%Y"), Err(DateError::Range));
        assert_eq!(
            Moment::parse_format("31.12.2026", "%d.%m.%Y", None, Ambiguous::Reject),
            Err(DateError::NoOffset)
        );
        assert!(check_format("yyyy-MM-dd").unwrap_err().contains("%Y-%m-%d"));
        assert!(check_format("%Y %!").is_err());
        assert_eq!(check_format("%Y-%m-%dT%H:%M:%S%.f%z"), Ok(()));
    }

    #[test]
    fn numbers_since_1970() {
        let read =
            |text, unit| Moment::from_epoch(text, unit, None).map(|moment| moment.to_string());
        assert_eq!(read("1600000000", Unit::Seconds).unwrap(), "2020-09-13T12:26:40Z");
        assert_eq!(read("1600000000.25", Unit::Seconds).unwrap(), "2020-09-13T12:26:40.25Z");
        assert_eq!(read("1600000000123", Unit::Milliseconds).unwrap(), "2020-09-13T12:26:40.123Z");
        assert_eq!(
            read("1600000000123456", Unit::Microseconds).unwrap(),
            "2020-09-13T12:26:40.123456Z"
        );
        assert_eq!(read("-86400", Unit::Seconds).unwrap(), "1969-12-31T00:00:00Z");
        assert_eq!(read("-0.5", Unit::Nanoseconds).unwrap(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(read("1600000000123", Unit::Seconds), Err(DateError::Range));
        assert_eq!(read("soon", Unit::Seconds), Err(DateError::Epoch));
        let local = Moment::from_epoch("1600000000", Unit::Seconds, Some(&berlin())).unwrap();
        assert_eq!(local.to_string(), "2020-09-13T14:26:40+02:00");
        assert_eq!(local.date(), "2020-09-13");
    }

    #[test]
    fn days_and_zones() {
        assert_eq!(date("2026-01-02", None).unwrap(), "2026-01-02");
        assert_eq!(date("2026-01-02T23:59:59-05:00", None).unwrap(), "2026-01-02");
        assert_eq!(date("2/5/10", Some("%m/%d/%y")).unwrap(), "2010-02-05");
        assert_eq!(date("12112020", None), Err(DateError::Grammar("date")));
        assert!(zone("Mars/Olympus").is_err());
        assert!(zone("+2").is_err());
        assert_eq!(zone("+02:00").unwrap(), Offset::constant(2).to_time_zone());
    }
}
