//! The formats that AEP reads more strictly than JSON Schema does: dates and times.
//!
//! A timestamp has the form `2026-01-02T03:04:05Z`, with one to nine digits of a fraction or none, and
//! `Z` or `±HH:mm`; anything else is accepted with a 200 and never ingested. Upper-case `T` and `Z`, no
//! leap second, and the day must exist.

/// Whether `text` is a timestamp that AEP takes.
pub(super) fn is_date_time(text: &str) -> bool {
    matches!(text.split_once('T'), Some((date, time)) if is_date(date) && is_time(time))
}

/// Whether `text` is a day, `yyyy-MM-dd`.
pub(super) fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return false };
    let (Some(year), Some(month), Some(day)) =
        (number(&[*y1, *y2, *y3, *y4]), number(&[*m1, *m2]), number(&[*d1, *d2]))
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// Whether `text` is a time of day with an offset, `HH:mm:ss`, a fraction or none, `Z` or `±HH:mm`.
pub(super) fn is_time(text: &str) -> bool {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text.as_bytes() else { return false };
    let below = |a: u8, b: u8, limit| number(&[a, b]).is_some_and(|n| n < limit);
    let offset = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        offset => offset,
    };
    is_offset(offset) && below(*h1, *h2, 24) && below(*m1, *m2, 60) && below(*s1, *s2, 60)
}

/// Whether `text` is `Z` or `±HH:mm`, at most 18 hours as in Java.
fn is_offset(text: &[u8]) -> bool {
    match text {
        [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let parts = number(&[*h1, *h2]).zip(number(&[*m1, *m2]));
            parts.is_some_and(|(hours, minutes)| minutes < 60 && hours * 60 + minutes <= 18 * 60)
        }
        _ => false,
    }
}

/// The number that up to four ASCII digits write.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |sum: u16, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_as_aep_reads_them() {
        let good = [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.6Z",
            "2026-01-02T03:04:05.123456789Z",
            "2026-01-02T03:04:05+01:00",
            "2026-01-02T03:04:05.678-11:30",
            "2024-02-29T23:59:59Z",
            "2000-02-29T00:00:00+18:00",
        ];
        for text in good {
            assert!(is_date_time(text), "{text}");
        }
        let bad = [
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05+0000",
            "2026-01-02T03:04:05+05",
            "2026-01-02 03:04:05Z",
            "2026-01-02t03:04:05Z",
            "2026-01-02T03:04:05z",
            "2026-12-31T23:59:60Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04Z",
            "2026-01-02T7:36:51.000Z",
            "2018-00-23T22:07:01Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "+2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05+18:01",
            "2026-01-02T03:04:05+01:60",
            "2026-01-02T03:04:05Z ",
            "",
            "T",
            "２０２６-01-02T03:04:05Z",
        ];
        for text in bad {
            assert!(!is_date_time(text), "{text}");
        }
    }

    #[test]
    fn days_are_of_the_calendar() {
        assert!(is_date("2026-12-31") && is_date("2024-02-29"));
        for text in
            ["2026-13-01", "2026-1-1", "2026-02-30", "2026-01-00", "20260101", "2026-01-01Z"]
        {
            assert!(!is_date(text), "{text}");
        }
    }
}
