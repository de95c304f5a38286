//! Exact decimal numbers: money, quantities and ids never pass through a float.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

/// The most digits a number may have when written out in full.
pub const MAX_DIGITS: usize = 64;

/// An exact decimal number of up to 38 digits: `mantissa / 10^scale`.
///
/// `Display` writes the shortest form: no trailing zeros, no exponent, no fraction on whole numbers.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// All digits, with the sign.
    mantissa: i128,
    /// How many of the digits stand behind the point.
    scale: u32,
}

/// Why a text is no [`Decimal`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecimalError {
    /// Not digits with an optional sign, point and exponent.
    #[error("is not a decimal number")]
    Grammar,
    /// More than 38 digits.
    #[error("has more than 38 digits")]
    Size,
}

/// How a text writes numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notation {
    /// `1234.56`; no thousands separators, since a comma might be either.
    #[default]
    Plain,
    /// `1,234.56`: the point is stated to be the decimal sign, commas group by three.
    Point,
    /// `1.234,56`: the comma is the decimal sign; points, blanks and apostrophes group by three.
    Comma,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal { mantissa: 0, scale: 0 };

    /// Reads `-12.50`, `.5`, `+3` or `1.5e3`. Surrounding blanks are not accepted: trim first.
    pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
        let parts = Parts::of(text).ok_or(DecimalError::Grammar)?;
        let mut mantissa: i128 = 0;
        for digit in parts.digits() {
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or(DecimalError::Size)?;
        }
        if parts.negative {
            mantissa = -mantissa;
        }
        if parts.point >= 0 {
            return Ok(Decimal {
                mantissa,
                scale: u32::try_from(parts.point).map_err(|_| DecimalError::Size)?,
            }
            .reduced());
        }
        if mantissa == 0 {
            return Ok(Decimal::ZERO);
        }
        let power = u32::try_from(-parts.point).ok().and_then(|n| 10i128.checked_pow(n));
        let mantissa = power.and_then(|p| mantissa.checked_mul(p)).ok_or(DecimalError::Size)?;
        Ok(Decimal { mantissa, scale: 0 })
    }

    /// An amount given in a currency's smallest unit: `1999` with two digits is `19.99`.
    pub fn from_minor_units(units: i64, digits: u32) -> Decimal {
        Decimal { mantissa: i128::from(units), scale: digits }.reduced()
    }

    /// The sum, or none where it has more than 38 digits.
    #[must_use]
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        let (a, b, scale) = self.aligned(other)?;
        Some(Decimal { mantissa: a.checked_add(b)?, scale }.reduced())
    }

    /// The difference, or none where it has more than 38 digits.
    #[must_use]
    pub fn checked_sub(self, other: Decimal) -> Option<Decimal> {
        self.checked_add(other.negated())
    }

    /// The product, or none where it has more than 38 digits.
    #[must_use]
    pub fn checked_mul(self, other: Decimal) -> Option<Decimal> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Decimal { mantissa, scale: self.scale.checked_add(other.scale)? }.reduced())
    }

    /// The same with the other sign.
    #[must_use]
    pub fn negated(self) -> Decimal {
        // The grammar and the checked operations never give i128::MIN: it has 39 digits.
        Decimal { mantissa: self.mantissa.saturating_neg(), scale: self.scale }
    }

    /// The same without its sign.
    #[must_use]
    pub fn abs(self) -> Decimal {
        if self.is_negative() { self.negated() } else { self }
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The whole number it is, or none where it has a fraction or is beyond 64 bits.
    pub fn to_integer(self) -> Option<i64> {
        let reduced = self.reduced();
        if reduced.scale == 0 { i64::try_from(reduced.mantissa).ok() } else { None }
    }

    /// The whole number at or below it.
    pub fn floor(self) -> i128 {
        let reduced = self.reduced();
        // A power too large for 128 bits divides every mantissa down to 0 or -1.
        match 10i128.checked_pow(reduced.scale) {
            Some(power) => reduced.mantissa.div_euclid(power),
            None => {
                if reduced.is_negative() {
                    -1
                } else {
                    0
                }
            }
        }
    }

    /// The same number with the smallest scale.
    fn reduced(mut self) -> Decimal {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Both mantissas at one scale.
    fn aligned(self, other: Decimal) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let raise =
            |value: Decimal| value.mantissa.checked_mul(10i128.checked_pow(scale - value.scale)?);
        Some((raise(self)?, raise(other)?, scale))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal { mantissa, scale } = self.reduced();
        if mantissa < 0 {
            f.write_str("-")?;
        }
        let digits = mantissa.unsigned_abs().to_string();
        let scale = scale as usize;
        if scale == 0 {
            return f.write_str(&digits);
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{whole}.{fraction}")
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        let (a, b) = (self.reduced(), other.reduced());
        a.mantissa == b.mantissa && a.scale == b.scale
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        match self.aligned(*other) {
            Some((a, b, _)) => a.cmp(&b),
            // Only numbers of very different size can not be brought to one scale: the one with
            // the smaller scale is the larger in size.
            None if self.is_negative() != other.is_negative() => self.mantissa.cmp(&other.mantissa),
            None if self.is_negative() => self.scale.cmp(&other.scale),
            None => other.scale.cmp(&self.scale),
        }
    }
}

/// How many digits of a currency stand behind the point (ISO 4217); 2 for codes it does not list.
pub fn currency_digits(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// Brings a text in some notation into the plain one; none where it does not fit the notation.
///
/// Signs, points and exponents are left to whoever parses the result. `(12.00)` is not a number
/// here: whether that is a negative amount is for the mapping to say.
pub fn plain(text: &str, notation: Notation) -> Option<String> {
    let (point, groups): (char, &[char]) = match notation {
        Notation::Plain => return Some(text.to_owned()),
        Notation::Point => ('.', &[',']),
        Notation::Comma => (',', &['.', ' ', '\u{a0}', '\u{202f}', '\'']),
    };
    let (whole, fraction) = match text.split_once(point) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(groups);
    let mut out = parts.next()?.to_owned();
    let first = out.trim_start_matches(['-', '+']).len();
    for part in parts {
        if part.len() != 3 || first == 0 || first > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        out.push_str(part);
    }
    if let Some(fraction) = fraction {
        if fraction.contains(groups) || fraction.contains(point) {
            return None;
        }
        out.push('.');
        out.push_str(fraction);
    }
    Some(out)
}

/// Appends a number's shortest exact form; false, and nothing written, where the text is no number
/// or would take more than [`MAX_DIGITS`] digits.
pub fn write_canonical(out: &mut String, text: &str) -> bool {
    if is_short_and_canonical(text.as_bytes()) {
        out.push_str(text);
        return true;
    }
    let Some(parts) = Parts::of(text) else { return false };
    parts.write(out)
}

/// Whether nearly all numbers' form is at hand: `[1-9][0-9]*(\.[0-9]*[1-9])?`, short.
fn is_short_and_canonical(bytes: &[u8]) -> bool {
    let whole = digits(bytes);
    if whole == 0 || bytes.len() > MAX_DIGITS || bytes.first() == Some(&b'0') {
        return false;
    }
    match bytes.split_at(whole).1 {
        [] => true,
        [b'.', fraction @ .., last] => {
            matches!(last, b'1'..=b'9') && fraction.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Whether a text is a number, and a whole one (`17850.0` and `1e3` are).
pub fn is_whole(text: &str) -> Option<bool> {
    let parts = Parts::of(text)?;
    let digits = parts.digits().count();
    let fraction = usize::try_from(parts.point).unwrap_or(0);
    Some(parts.digits().skip(digits.saturating_sub(fraction)).all(|digit| digit == b'0'))
}

/// A number's text taken apart. The digits are those before and after the point in one row.
struct Parts<'a> {
    /// Whether a minus stands before it.
    negative: bool,
    /// The digits before the point.
    whole: &'a [u8],
    /// The digits after the point.
    fraction: &'a [u8],
    /// How many of all the digits stand behind the point once the exponent is applied; negative
    /// where zeros are missing.
    point: i64,
}

impl<'a> Parts<'a> {
    /// Takes `[+-]? digits? (. digits)? ([eE] [+-]? digits)?` apart; at least one digit.
    fn of(text: &'a str) -> Option<Parts<'a>> {
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => {
                let (fraction, rest) = rest.split_at(digits(rest));
                if fraction.is_empty() {
                    return None;
                }
                (fraction, rest)
            }
            rest => (&[][..], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => {
                let exponent = std::str::from_utf8(exponent).ok()?;
                // Bounded far above what any limit lets through, far below an overflow.
                exponent.parse::<i64>().ok().filter(|n| n.unsigned_abs() < 1_000_000)?
            }
            _ => return None,
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let point = i64::try_from(fraction.len()).ok()? - exponent;
        Some(Parts { negative, whole, fraction, point })
    }

    /// All digits in order.
    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).copied()
    }

    /// Appends the shortest exact form, if it is short enough.
    fn write(&self, out: &mut String) -> bool {
        let total = i64::try_from(self.whole.len() + self.fraction.len()).unwrap_or(i64::MAX);
        let leading = self.digits().take_while(|digit| *digit == b'0').count();
        let trailing = {
            let reversed = self.fraction.iter().rev().chain(self.whole.iter().rev());
            reversed.take_while(|digit| **digit == b'0').count()
        };
        let (leading, trailing) = (
            i64::try_from(leading).unwrap_or(i64::MAX),
            i64::try_from(trailing).unwrap_or(i64::MAX),
        );
        if leading == total {
            out.push('0');
            return true;
        }
        // Places are counted from the point: the first digit that counts, the last that counts.
        let whole_places = total - self.point;
        let first = leading.min(whole_places.saturating_sub(1));
        let last = (total - trailing).max(whole_places);
        if last - first > i64::try_from(MAX_DIGITS).unwrap_or(i64::MAX) {
            return false;
        }
        if self.negative {
            out.push('-');
        }
        for place in first..last {
            if place == whole_places {
                out.push('.');
            }
            let digit = usize::try_from(place).ok().and_then(|place| self.digit(place));
            out.push(char::from(digit.unwrap_or(b'0')));
        }
        true
    }

    /// The digit at a place, none beyond the digits given.
    fn digit(&self, place: usize) -> Option<u8> {
        self.whole
            .get(place)
            .or_else(|| self.fraction.get(place.checked_sub(self.whole.len())?))
            .copied()
    }
}

/// How many digits a row of bytes begins with.
fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn money_is_exact() {
        assert_eq!(decimal("0.1").checked_add(decimal("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(decimal("19.99").checked_mul(decimal("3")).unwrap().to_string(), "59.97");
        assert_eq!(decimal("5").checked_sub(decimal("7.25")).unwrap().to_string(), "-2.25");
        assert_eq!(Decimal::from_minor_units(1999, currency_digits("EUR")).to_string(), "19.99");
        assert_eq!(Decimal::from_minor_units(1999, currency_digits("JPY")).to_string(), "1999");
        assert_eq!(Decimal::from_minor_units(-5, currency_digits("KWD")).to_string(), "-0.005");
    }

    #[test]
    fn texts_that_are_no_numbers_are_refused() {
        for text in
            ["", "-", ".", "1.", "1,5", " 1", "0x10", "1e", "e3", "NaN", "--1", "1.2.3", "(12.00)"]
        {
            assert_eq!(Decimal::parse(text), Err(DecimalError::Grammar), "{text}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(40)), Err(DecimalError::Size));
        assert_eq!(Decimal::parse("1e40"), Err(DecimalError::Size));
    }

    #[test]
    fn notations() {
        let read = |text, notation| plain(text, notation);
        assert_eq!(read("1.234,56", Notation::Comma).as_deref(), Some("1234.56"));
        assert_eq!(read("-1 234 567,5", Notation::Comma).as_deref(), Some("-1234567.5"));
        assert_eq!(read("12,00", Notation::Comma).as_deref(), Some("12.00"));
        assert_eq!(read("1.23", Notation::Comma), None);
        assert_eq!(read("1,234.56", Notation::Point).as_deref(), Some("1234.56"));
        assert_eq!(read("1,23", Notation::Point), None);
        assert_eq!(read("1234,567.0", Notation::Point), None);
        assert_eq!(read("1,2,3", Notation::Comma), None);
    }

    #[test]
    fn whole_numbers() {
        for (text, expected) in [
            ("17850.0", Some(true)),
            ("17850.5", Some(false)),
            ("1e3", Some(true)),
            ("1.5e1", Some(true)),
            ("1.55e1", Some(false)),
            ("5e-1", Some(false)),
            ("50e-1", Some(true)),
            ("x", None),
        ] {
            if text == "50e-1" {
                assert_eq!(decimal(text).to_integer(), Some(5));
            }
            assert_eq!(is_whole(text), expected, "{text}");
        }
    }

    #[test]
    fn order() {
        let mut values = ["1e-30", "-1e30", "1e30", "-1e-30", "0", "2", "1.5"].map(decimal);
        values.sort();
        let texts = values.map(|value| value.to_string());
        assert_eq!(texts[0], "-1000000000000000000000000000000");
        assert_eq!(&texts[2..5], ["0", "0.000000000000000000000000000001", "1.5"]);
    }

    proptest! {
        /// The canonical form is the same number, and is its own canonical form.
        #[test]
        fn canonical_is_exact(text in r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?([eE][+-]?[0-9])?") {
            let mut out = String::new();
            prop_assert!(write_canonical(&mut out, &text));
            prop_assert_eq!(decimal(&out), decimal(&text));
            prop_assert_eq!(decimal(&text).to_string(), out.clone());
            let mut again = String::new();
            prop_assert!(write_canonical(&mut again, &out));
            prop_assert_eq!(again, out);
        }

        /// Sums of cents agree with integer arithmetic.
        #[test]
        fn sums_agree_with_cents(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
            let sum = Decimal::from_minor_units(a, 2).checked_add(Decimal::from_minor_units(b, 2)).unwrap();
            prop_assert_eq!(sum, Decimal::from_minor_units(a + b, 2));
            prop_assert_eq!(Decimal::from_minor_units(a, 2).cmp(&Decimal::from_minor_units(b, 2)), a.cmp(&b));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,80}") {
            let mut out = String::new();
            let _written = write_canonical(&mut out, &text);
            let _read = Decimal::parse(&text);
            for notation in [Notation::Plain, Notation::Point, Notation::Comma] {
                let _plain = plain(&text, notation);
            }
        }
    }
}
