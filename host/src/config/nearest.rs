//! The name that somebody may have meant.

/// The candidate nearest to a misspelt name, if one is near.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = simplify(name);
    // A third of the letters may differ: `topicz` is `topics`, `grupo` is `group`.
    let tolerance = (plain.chars().count() + 1) / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &simplify(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the signs between words are no difference: `maxMessages` is `max_messages`.
fn simplify(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let keys = ["topics", "payload", "max_messages"];
        assert_eq!(nearest("topicz", keys), Some("topics"));
        assert_eq!(nearest("maxMessages", keys), Some("max_messages"));
        assert_eq!(nearest("paylaod", keys), Some("payload"));
        assert_eq!(nearest("colour", keys), None);
    }
}
