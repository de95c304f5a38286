//! The readers of AEP's answers, for the fuzz target `response` of `tests/fuzz`. No part of the
//! interface.

use std::time::Duration;

use bytes::Bytes;

use super::response;
use super::verdicts::read_verdicts;
use super::work::{History, Piece};
use crate::http::{Answer, read_grant};

/// What an answer says of a batch's messages, by position.
#[derive(Debug)]
pub struct Said {
    /// Delivered.
    pub accepted: Vec<usize>,
    /// Refused, with what a dead letter would quote.
    pub refused: Vec<(usize, String)>,
    /// Sent again.
    pub left: Vec<usize>,
}

/// What an answer says of `count` messages; none where nothing is known of any.
pub fn verdicts(body: &[u8], count: usize) -> Option<Said> {
    let events = (0..count).collect();
    let piece = Piece { events, history: History::default(), not_before: None };
    let verdicts = read_verdicts(&piece, body)?;
    let refused = verdicts.refused.into_iter().map(|(event, fault)| (event, fault.message));
    Some(Said { accepted: verdicts.accepted, refused: refused.collect(), left: verdicts.left })
}

/// AEP's words in a refused request, and whether they name the header.
pub fn words(body: &[u8]) -> (String, bool) {
    let words = response::read_words(body);
    let names_header = response::names_header(&words);
    (words, names_header)
}

/// The lifetime of the token that an answer of the token endpoint grants.
pub fn granted(status: u16, body: &[u8]) -> Option<Duration> {
    let body = Bytes::copy_from_slice(body);
    read_grant(&Ok(Answer { status, retry_after: None, body })).ok().map(|(_, lifetime)| lifetime)
}
