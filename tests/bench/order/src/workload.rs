//! The records of the benchmarks, each made from its number alone. Numbers have up to ten digits.

use std::fmt::Write as _;

/// An order of two lines: 326 bytes of JSON, whatever its number.
pub fn order(number: u64) -> String {
    document(number, 2, "placed")
}

/// An order of fourteen lines: 1.1 KB of JSON.
pub fn order1k(number: u64) -> String {
    document(number, 14, "placed")
}

/// An order of two lines, 326 bytes; 97 of a hundred are parked, which the plugin filters.
pub fn filter(number: u64) -> String {
    document(number, 2, if number % 100 < 97 { "parked" } else { "placed" })
}

/// The columns of [`csv`].
pub const CSV_COLUMNS: &str = "number,loyaltyId,email,firstName,lastName,city,tier,points,joined";

/// A row of a loyalty programme: 100 bytes, without a line end.
pub fn csv(number: u64) -> String {
    let tier = match number % 3 {
        0 => "bronze",
        1 => "silver",
        _ => "golden",
    };
    let city = match number % 4 {
        0 => "Lisbon",
        1 => "Bergen",
        2 => "Zagreb",
        _ => "Naples",
    };
    let points = 1000 + number % 9000;
    let day = 1 + number % 28;
    let member = number % 1_000_000;
    format!(
        "{number:010},L-{member:06},member{member:06}@shop.example,\
         Anna Clara,\"Sousa, Reis\",{city},{tier},{points},2019-04-{day:02}"
    )
}

/// Prices and quantities are such that a total of two lines has always three digits before the
/// point, and so each order the same length.
fn document(number: u64, lines: u64, status: &str) -> String {
    let customer = number % 10_000_000;
    let milliseconds = number % 86_400_000;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, second) = (seconds / 60, seconds % 60);
    let (hour, minute) = (minutes / 60, minutes % 60);
    let mut total = 0;
    let mut rows = String::with_capacity(1024);
    for line in 0..lines {
        let article = (number * 31 + line * 17) % 1000;
        let quantity = 2 + (number + line) % 4;
        let price = 2501 + (number * 7 + line * 1009) % 7499;
        total += quantity * price;
        let comma = if line == 0 { "" } else { "," };
        let (whole, cents) = (price / 100, price % 100);
        // Writing to a string does not fail.
        write!(
            rows,
            "{comma}{{\"sku\":\"A{article:03}\",\"name\":\"Item {article:03}\",\
             \"quantity\":{quantity},\"unitPrice\":{whole}.{cents:02}}}"
        )
        .unwrap_or_default();
    }
    let (whole, cents) = (total / 100, total % 100);
    format!(
        "{{\"orderId\":\"O-{number:010}\",\"status\":\"{status}\",\
         \"placedAt\":\"2026-03-01T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z\",\
         \"customer\":{{\"id\":\"C-{customer:07}\",\"email\":\"c{customer:07}@a.example\"}},\
         \"store\":\"S-{store:02}\",\"currency\":\"EUR\",\"total\":{whole}.{cents:02},\
         \"lines\":[{rows}]}}",
        store = number % 100,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_sizes() {
        for number in (0..10_000).chain([9_999_999_999, 8_640_000_123]) {
            assert_eq!(order(number).len(), 326, "{}", order(number));
            assert_eq!(filter(number).len(), 326);
            assert_eq!(csv(number).len(), 100, "{}", csv(number));
            assert!((1090..1110).contains(&order1k(number).len()), "{}", order1k(number).len());
        }
    }

    #[test]
    fn events_are_close_to_688_bytes() {
        let sizes = (0..1000).map(|n| crate::map(&order(n)).unwrap().unwrap().len());
        let mean = sizes.sum::<usize>() / 1000;
        assert!((681..=695).contains(&mean), "{mean}");
    }

    #[test]
    fn three_of_a_hundred_are_placed() {
        let placed = (0..1000).filter(|&n| crate::map(&filter(n)).unwrap().is_some()).count();
        assert_eq!(placed, 30);
    }

    #[test]
    fn a_total_is_the_sum_of_its_lines() {
        let order: serde_json::Value = serde_json::from_str(&order1k(77)).unwrap();
        let lines = order["lines"].as_array().unwrap();
        let cents = |value: &serde_json::Value| (value.as_f64().unwrap() * 100.0).round();
        let sum: f64 =
            lines.iter().map(|l| l["quantity"].as_f64().unwrap() * cents(&l["unitPrice"])).sum();
        assert_eq!(lines.len(), 14);
        assert!((sum - cents(&order["total"])).abs() < 0.5, "{sum}");
    }
}
