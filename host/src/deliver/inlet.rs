//! The address of an inlet.

use crate::config::{has_user, without_user};
use crate::http::Url;

/// Why an inlet's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{address}` is not an inlet's URL ({reason}); expected `https://dcs.adobedc.net/collection/ID`, \
     with or without `batch/` before the id"
)]
pub struct InletError {
    /// The address as it stands in the configuration, without user and password.
    address: String,
    /// What is wrong.
    reason: &'static str,
}

/// The batch endpoint of the inlet at `address`, which may name the single or the batch endpoint.
/// What stands before `collection/`, and a query, are kept.
pub(super) fn batch_endpoint(address: &str) -> Result<Url, InletError> {
    let address = address.trim();
    // Invariant 10: the address is shown, so it may hold no password; one is not repeated.
    let refuse = |reason| InletError { address: without_user(address).into_owned(), reason };
    let mut url = Url::parse(address).map_err(|_| refuse("it is no URL"))?;
    if has_user(&url) {
        return Err(refuse("it holds a user or password"));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("it is neither `http` nor `https`"));
    }
    if url.fragment().is_some() {
        return Err(refuse("it has a fragment"));
    }
    let segments: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let (before, id) = match segments.as_slice() {
        [.., "collection", "batch"] => return Err(refuse("the id is missing")),
        [before @ .., "collection", "batch", id] | [before @ .., "collection", id] => (before, id),
        _ => return Err(refuse("its path is not `/collection/ID`")),
    };
    let mut path = String::new();
    for part in before.iter().chain(&["collection", "batch", *id]) {
        path.push('/');
        path.push_str(part);
    }
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_endpoints_lead_to_the_batch_endpoint() {
        for (address, expected) in [
            (
                "https://dcs.adobedc.net/collection/66ab",
                "https://dcs.adobedc.net/collection/batch/66ab",
            ),
            (
                "https://dcs.adobedc.net/collection/batch/66ab",
                "https://dcs.adobedc.net/collection/batch/66ab",
            ),
            (
                " http://127.0.0.1:8080/collection/66ab/ ",
                "http://127.0.0.1:8080/collection/batch/66ab",
            ),
            (
                "https://gw.example/aep//collection/66ab?x-adobe-flow-id=f",
                "https://gw.example/aep/collection/batch/66ab?x-adobe-flow-id=f",
            ),
        ] {
            assert_eq!(batch_endpoint(address).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_expected_form() {
        for (address, reason) in [
            ("dcs.adobedc.net/collection/66ab", "it is no URL"),
            ("ftp://dcs.adobedc.net/collection/66ab", "neither"),
            ("https://dcs.adobedc.net/collection/", "its path"),
            ("https://dcs.adobedc.net/collection/batch/", "the id is missing"),
            ("https://dcs.adobedc.net/66ab", "its path"),
            ("https://dcs.adobedc.net/collection/66ab/extra", "its path"),
            ("https://dcs.adobedc.net/collection/66ab#a", "fragment"),
        ] {
            let words = batch_endpoint(address).unwrap_err().to_string();
            assert!(words.contains(reason) && words.contains("/collection/ID`"), "{words}");
        }
    }

    #[test]
    fn invariant_10_a_password_is_not_repeated() {
        for address in ["https://me:geheim@h/collection/66ab", "https://me:geheim@h h/collection/a"]
        {
            let words = batch_endpoint(address).unwrap_err().to_string();
            assert!(!words.contains("geheim"), "{words}");
        }
    }
}
