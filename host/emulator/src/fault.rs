//! Faults on order: what the emulator does wrong, where, how often; and how often it really did.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};

/// A fault: what, where, from which occasion on, how many times.
///
/// An *occasion* is a request in scope, or, for [`Kind::Refuse`] and [`Kind::FailRequestWith`], a
/// message that is selected.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub fault: Kind,
    /// Only at this inlet, by name or id; none is every inlet.
    #[serde(default)]
    pub inlet: Option<String>,
    /// Inlets or token endpoint.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// Occasions to let pass first: 6 means from the seventh on.
    #[serde(default)]
    pub skip: u64,
    /// Times to take effect; none is until it is cleared.
    #[serde(default)]
    pub times: Option<u64>,
}

/// What goes wrong.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Waits before anything else.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// TCP reset; nothing was accepted.
    ResetBefore,
    /// TCP reset in place of the answer; everything was accepted.
    ResetAfter,
    /// TCP reset in the middle of the answer; everything was accepted.
    ResetWithin {
        /// Bytes of the answer, its head included, that leave before the reset.
        bytes: u32,
    },
    /// The whole request is answered with this status; nothing is accepted.
    Status {
        /// The HTTP status.
        status: u16,
        /// The text of `Retry-After`: seconds or an HTTP date.
        #[serde(default)]
        retry_after: Option<String>,
        /// The form of the body.
        #[serde(default)]
        body: Body,
    },
    /// Accepted, and the answer has its status and no body.
    EmptyBody,
    /// Accepted, and the answer's body is a page of HTML.
    HtmlBody,
    /// Accepted, and the last entries of `responses` are missing.
    ShortResponses {
        /// How many are missing.
        missing: usize,
    },
    /// Accepted, and the answer has no `responses` at all.
    NoResponses,
    /// Accepted, and the answer arrives one byte at a time.
    SlowAnswer {
        /// Milliseconds between bytes.
        interval_ms: u64,
    },
    /// 413 above this many bytes, in place of the limit in the settings.
    BodyLimit {
        /// Bytes.
        bytes: usize,
    },
    /// The selected messages are refused, their neighbours are not.
    Refuse {
        /// Which.
        message: Select,
        /// The entry's status; the HTTP status at the single endpoint.
        #[serde(default = "bad_request")]
        status: u16,
        /// The entry's text.
        #[serde(default = "refused_text")]
        text: String,
    },
    /// A request that holds a selected message is answered with this status; nothing is accepted.
    FailRequestWith {
        /// Which.
        message: Select,
        /// The HTTP status.
        #[serde(default = "server_error")]
        status: u16,
    },
}

/// Which messages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The one with this `header.msgId`.
    MsgId(String),
    /// The one whose entity has this `_id`.
    EntityId(String),
    /// Those whose text, envelope included, contains this.
    Containing(String),
    /// Any. With `skip: n - 1` and `times: 1` it is the n-th message.
    Any,
}

/// The form of an error's body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A problem object with Adobe's text for the status.
    #[default]
    Problem,
    /// Nothing, as an allowlist's 403.
    Empty,
    /// A page of HTML, as a proxy's.
    Html,
}

/// The part of the emulator where a fault takes effect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The inlets.
    #[default]
    Inlet,
    /// The token endpoint.
    Token,
}

/// Names a fault for as long as the emulator lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct FaultId(pub u64);

/// What became of a fault so far.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultReport {
    /// Its name.
    pub id: FaultId,
    /// As ordered.
    pub order: Fault,
    /// Occasions in its scope while it was active.
    pub occasions: u64,
    /// Times it took effect.
    pub took_effect: u64,
    /// Neither cleared nor used up.
    pub active: bool,
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Inlets or token endpoint.
    pub(crate) endpoint: Endpoint,
    /// The inlet's name; empty at the token endpoint.
    pub(crate) name: &'a str,
    /// The inlet's id.
    pub(crate) id: &'a str,
}

/// What a selection looks at.
pub(crate) struct Traits<'a> {
    /// `header.msgId`.
    pub(crate) msg_id: Option<&'a str>,
    /// `_id` of the entity.
    pub(crate) entity_id: Option<&'a str>,
    /// The message as it came.
    pub(crate) text: &'a str,
}

/// All faults ever ordered.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: AtomicUsize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    reports: Vec<FaultReport>,
    /// Places of the active ones: a long run leaves many behind that are not.
    active: Vec<usize>,
}

impl Fault {
    /// This fault at every inlet, at every occasion, until cleared.
    pub fn new(fault: Kind) -> Self {
        Self { fault, inlet: None, endpoint: Endpoint::Inlet, skip: 0, times: None }
    }

    /// Answers with this status and the problem object.
    pub fn status(status: u16) -> Self {
        Self::new(Kind::Status { status, retry_after: None, body: Body::Problem })
    }

    /// Answers 503 with `Retry-After` until cleared.
    pub fn outage(retry_after_seconds: u64) -> Self {
        let retry_after = Some(retry_after_seconds.to_string());
        Self::new(Kind::Status { status: 503, retry_after, body: Body::Problem })
    }

    /// Refuses the message with this `msgId` at every attempt.
    pub fn refuse(msg_id: &str, status: u16, text: &str) -> Self {
        let message = Select::MsgId(msg_id.to_owned());
        Self::new(Kind::Refuse { message, status, text: text.to_owned() })
    }

    /// Only at this inlet.
    #[must_use]
    pub fn at(mut self, inlet: &str) -> Self {
        self.inlet = Some(inlet.to_owned());
        self
    }

    /// At the token endpoint.
    #[must_use]
    pub fn at_token(mut self) -> Self {
        self.endpoint = Endpoint::Token;
        self
    }

    /// Lets so many occasions pass first.
    #[must_use]
    pub fn after(mut self, occasions: u64) -> Self {
        self.skip = occasions;
        self
    }

    /// Takes effect so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn is_at(&self, place: Place<'_>) -> bool {
        self.endpoint == place.endpoint
            && self.inlet.as_deref().is_none_or(|inlet| inlet == place.name || inlet == place.id)
    }
}

impl Select {
    fn takes(&self, traits: &Traits<'_>) -> bool {
        match self {
            Self::MsgId(id) => traits.msg_id == Some(id),
            Self::EntityId(id) => traits.entity_id == Some(id),
            Self::Containing(text) => traits.text.contains(text.as_str()),
            Self::Any => true,
        }
    }
}

impl FaultReport {
    /// Counts an occasion and says whether the fault takes effect on it.
    fn strike(&mut self) -> bool {
        self.occasions += 1;
        if self.occasions <= self.order.skip {
            return false;
        }
        self.took_effect += 1;
        self.active = self.order.times.is_none_or(|times| self.took_effect < times);
        true
    }
}

impl Faults {
    /// Adds a fault, active at once.
    pub(crate) fn add(&self, order: Fault) -> FaultId {
        let mut book = self.lock();
        let id = FaultId(book.reports.len() as u64 + 1);
        let active = order.times != Some(0);
        book.reports.push(FaultReport { id, order, occasions: 0, took_effect: 0, active });
        self.recount(&mut book);
        id
    }

    /// Ends a fault, or all; says how many ended.
    pub(crate) fn clear(&self, id: Option<FaultId>) -> usize {
        let mut book = self.lock();
        let chosen = book
            .reports
            .iter_mut()
            .filter(|report| report.active && id.is_none_or(|id| id == report.id))
            .map(|report| report.active = false)
            .count();
        self.recount(&mut book);
        chosen
    }

    /// All faults ever ordered.
    pub(crate) fn reports(&self) -> Vec<FaultReport> {
        self.lock().reports.clone()
    }

    /// The first active fault of this place for which `choose` finds something takes effect, if it
    /// is its turn.
    pub(crate) fn take<R>(
        &self,
        place: Place<'_>,
        choose: impl Fn(&Kind) -> Option<R>,
    ) -> Option<R> {
        if !self.any() {
            return None;
        }
        let mut guard = self.lock();
        let book = &mut *guard;
        for index in &book.active {
            let Some(report) = book.reports.get_mut(*index) else { continue };
            if !report.order.is_at(place) {
                continue;
            }
            let Some(found) = choose(&report.order.fault) else { continue };
            if report.strike() {
                if !report.active {
                    self.recount(book);
                }
                return Some(found);
            }
        }
        None
    }

    /// Whether any fault is active.
    pub(crate) fn any(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }

    fn recount(&self, book: &mut Book) {
        let active = book.reports.iter().enumerate().filter(|(_, report)| report.active);
        book.active = active.map(|(index, _)| index).collect();
        self.active.store(book.active.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// Status and text with which this fault refuses the message.
    pub(crate) fn refuses(&self, traits: &Traits<'_>) -> Option<(u16, String)> {
        match self {
            Self::Refuse { message, status, text } if message.takes(traits) => {
                Some((*status, text.clone()))
            }
            _ => None,
        }
    }

    /// Status with which this fault fails a request that holds the message.
    pub(crate) fn fails_request(&self, traits: &Traits<'_>) -> Option<u16> {
        match self {
            Self::FailRequestWith { message, status } if message.takes(traits) => Some(*status),
            _ => None,
        }
    }
}

fn bad_request() -> u16 {
    400
}

fn server_error() -> u16 {
    500
}

fn refused_text() -> String {
    "The message is refused by order of the emulator's operator.".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: Place<'_> = Place { endpoint: Endpoint::Inlet, name: "orders", id: "0a" };
    const TOKEN: Place<'_> = Place { endpoint: Endpoint::Token, name: "", id: "" };

    fn resets(faults: &Faults, place: Place<'_>) -> bool {
        faults.take(place, |kind| matches!(kind, Kind::ResetBefore).then_some(())).is_some()
    }

    #[test]
    fn skips_then_takes_effect_then_is_used_up() {
        let faults = Faults::default();
        faults.add(Fault::new(Kind::ResetBefore).after(2).times(2));
        let seen: Vec<bool> = (0..6).map(|_| resets(&faults, ORDERS)).collect();
        assert_eq!(seen, [false, false, true, true, false, false]);
        let report = &faults.reports()[0];
        assert_eq!((report.occasions, report.took_effect, report.active), (4, 2, false));
    }

    #[test]
    fn keeps_to_its_scope() {
        let faults = Faults::default();
        faults.add(Fault::new(Kind::ResetBefore).at("other"));
        assert!(!resets(&faults, ORDERS));
        faults.add(Fault::new(Kind::ResetBefore).at("0a").times(1));
        assert!(!resets(&faults, TOKEN));
        assert!(resets(&faults, ORDERS), "an inlet's id names it too");
        faults.add(Fault::new(Kind::ResetBefore).at_token());
        assert!(resets(&faults, TOKEN));
        assert!(!resets(&faults, ORDERS));
    }

    #[test]
    fn cleared_faults_keep_their_count() {
        let faults = Faults::default();
        let id = faults.add(Fault::new(Kind::ResetBefore));
        assert!(resets(&faults, ORDERS));
        assert_eq!(faults.clear(Some(id)), 1);
        assert!(!resets(&faults, ORDERS));
        assert_eq!(faults.reports()[0].took_effect, 1);
        assert_eq!(faults.clear(None), 0);
    }

    #[test]
    fn orders_are_strict_json() {
        let good =
            r#"{"fault":{"status":{"status":503,"retry_after":"2"}},"inlet":"orders","times":5}"#;
        let fault: Fault = serde_json::from_str(good).expect("a fault");
        assert!(matches!(fault.fault, Kind::Status { status: 503, body: Body::Problem, .. }));
        assert_eq!(fault.times, Some(5));
        let unit: Fault = serde_json::from_str(r#"{"fault":"reset_after"}"#).expect("a fault");
        assert!(matches!(unit.fault, Kind::ResetAfter));
        for wrong in [
            r#"{"fault":"reset_after","tims":5}"#,
            r#"{"fault":{"latency":{"ms":5,"jitter":1}}}"#,
            r#"{"fault":"explode"}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(wrong).is_err(), "{wrong}");
        }
    }
}
