//! Delivers events to AEP: one request's whole life, from the encoded event to its verdict.
//!
//! A [`Destination`] encodes events, and [`Destination::deliver`] sends them until AEP has said of
//! each that it took it or refuses it. What happens in between stands in one table
//! (`classify`, written out in `docs/faults.md`): faults of network, token, quota and
//! configuration are waited out at the destination's gate, for as long as it takes. What passes
//! the gate waits for its turn in the process's share of the organisation's [`Quota`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::{self, Mode};
use crate::fault::{Code, Fault};
use crate::http::{Answer, Bearer, Client, HeaderMap, HeaderName, SendError, Token, Url};
use crate::record::Operation;

mod call;
mod classify;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod inlet;
mod metrics;
mod quota;
mod response;
mod setup;
mod status;
mod verdicts;
mod witness;
mod work;

#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;

use classify::Action;
use envelope::Envelope;
use gate::{Gate, GateStatus, Permit, Timing};
pub use inlet::InletError;
pub use metrics::{BOUNDS_MS, Counter, DeliverMetrics, Histogram};
pub use quota::{Quota, QuotaStatus};
pub use setup::DestinationError;
use setup::request_headers;
pub use status::{DestinationState, DestinationStatus};

/// How old a refused token must be before one more is fetched for a destination that refused the
/// one before, too: IMS throttles those who ask too often.
const TOKEN_MIN_AGE: Duration = Duration::from_mins(1);

/// One event ready to be sent: the whole message as AEP takes it, JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Envelope and entity in `xdm` mode; in `raw` mode the bare entity, or header and entity for
    /// an update or delete. Cloning is cheap.
    pub bytes: Bytes,
}

/// What AEP said of an event, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took it.
    Accepted,
    /// It refuses it, and the record is at fault. The fault's message holds AEP's own words, and its
    /// `xactionId` where it gave one.
    Refused(Fault),
}

/// A schema, dataset, flow and inlet in AEP, and all that is on its way there.
pub struct Destination {
    name: String,
    endpoint: Url,
    headers: HeaderMap,
    envelope: Envelope,
    client: Client,
    token: Option<Arc<Token>>,
    /// A new token was fetched for a refusal, and nothing was accepted since.
    reauthorised: AtomicBool,
    gate: Gate,
    quota: Arc<Quota>,
    slots: Semaphore,
    max_in_flight: u32,
    /// The largest request that is not refused for its size, as far as we know.
    max_bytes: usize,
    learned_bytes: AtomicUsize,
    seen: Mutex<Seen>,
    metrics: Arc<DeliverMetrics>,
}

/// What all destinations of a process share.
#[derive(Clone)]
pub struct Access {
    /// The HTTP client.
    pub client: Client,
    /// The token of `aep.auth`.
    pub token: Option<Arc<Token>>,
    /// The share of the organisation's quota.
    pub quota: Arc<Quota>,
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    /// The event that was accepted last. Sent once more where it must be known whether AEP refuses
    /// an event or whatever stands in the header: the same id again, and nothing newer was accepted
    /// since, so nothing is turned back.
    witness: Option<Bytes>,
    fault: Option<(Code, Instant)>,
    xaction_id: Option<String>,
}

impl Destination {
    /// A destination. A token is sent unless the destination says `authenticate: false`.
    pub fn new(
        name: &str,
        destination: &config::Destination,
        aep: &config::Aep,
        Access { client, token, quota }: Access,
    ) -> Result<Self, DestinationError> {
        let endpoint = inlet::batch_endpoint(destination.inlet.as_str())
            .map_err(|source| DestinationError::Inlet { name: name.to_owned(), source })?;
        if destination.mode == Mode::Raw && destination.flow.is_none() {
            return Err(DestinationError::Flow(name.to_owned()));
        }
        let token = match (destination.authenticate, token) {
            (Some(true), None) => return Err(DestinationError::NoToken(name.to_owned())),
            (Some(false), _) => None,
            (_, token) => token,
        };
        let max_in_flight = u32::try_from(destination.batch.max_in_flight.clamp(1, 1_024));
        let max_in_flight = max_in_flight.unwrap_or(1);
        Ok(Self {
            name: name.to_owned(),
            endpoint,
            headers: request_headers(name, destination, aep)?,
            envelope: Envelope::new(destination, aep),
            client,
            token,
            reauthorised: AtomicBool::new(false),
            gate: Gate::new(name, Timing::default()),
            quota,
            slots: Semaphore::new(max_in_flight as usize),
            max_in_flight,
            max_bytes: destination.batch.max_bytes,
            learned_bytes: AtomicUsize::new(usize::MAX),
            seen: Mutex::default(),
            metrics: Arc::default(),
        })
    }

    /// The same, counting on from where the destination before it under this name got.
    #[must_use]
    pub fn counting_on(mut self, before: &Self) -> Self {
        self.metrics = Arc::clone(&before.metrics);
        self
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encodes one event: `entity` is a JSON object as text, `msg_id` the host's id of the event.
    /// Fails with [`Code::PluginOperation`] for an update or delete in `xdm` mode, and with
    /// [`Code::TooLarge`] where no request holds the message.
    pub fn encode(
        &self,
        msg_id: &str,
        entity: &str,
        operation: Operation,
    ) -> Result<Message, Box<Fault>> {
        self.envelope.encode(msg_id, entity, operation)
    }

    /// The most bytes that a request may have, envelope of the batch included: the configuration's,
    /// or less where AEP refused such a size.
    pub fn max_request_bytes(&self) -> usize {
        self.max_bytes.min(self.learned_bytes())
    }

    /// How many bytes a request of these messages has.
    pub fn request_bytes(messages: &[Message]) -> usize {
        envelope::request_length(messages.iter())
    }

    /// Sends messages until each has its verdict, and gives the verdicts in the messages' order.
    ///
    /// Infrastructure, auth, quota and configuration faults are waited out (Invariant 11): the call
    /// then takes as long as they last. It ends early by being dropped; what was on its way may
    /// have been accepted, and is sent again under the same ids by whoever delivers it next.
    pub async fn deliver(&self, messages: &[Message]) -> Vec<Verdict> {
        call::Call::new(self, messages).run().await
    }

    /// Asks the inlet with a batch of no messages, so nothing is written: whether requests would be
    /// taken, or the code that says why not. For `check`.
    pub async fn probe(&self) -> Result<(), Code> {
        let reply = self.send(Bytes::from_static(br#"{"messages":[]}"#)).await;
        match reply.action {
            // It may say that the batch is empty: then it read it.
            Action::Read | Action::Isolate | Action::Split => Ok(()),
            Action::Retry(code) | Action::Suspect(code) | Action::Pause(code) => Err(code),
            Action::Reauthorise => Err(Code::Unauthorized),
            Action::Unknown => Err(Code::UnknownOutcome),
        }
    }

    /// Counters.
    pub fn metrics(&self) -> &DeliverMetrics {
        &self.metrics
    }

    /// Waits until a request of so many events may be sent, `alone` or beside others: the gate, its
    /// turn in the quota, a slot.
    async fn enter(&self, events: usize, alone: bool) -> (Permit<'_>, Option<SemaphorePermit<'_>>) {
        let begun = Instant::now();
        if self.gate.status() != GateStatus::Open {
            self.metrics.waits.add(1);
        }
        loop {
            let permit = self.gate.enter().await;
            let events = if permit.one_event() { 1 } else { events };
            let turn = self.quota.turn(&self.name, events).await;
            let slots = if alone { self.max_in_flight } else { 1 };
            // The semaphore is never closed, so there always is a slot in the end.
            let slot = self.slots.acquire_many(slots).await.ok();
            if permit.holds() {
                let waited = begun.elapsed().as_millis();
                self.metrics.waited_ms.add(usize::try_from(waited).unwrap_or(usize::MAX));
                turn.used();
                return (permit, slot);
            }
        }
    }

    /// Sends one request and says what to do about what came of it.
    async fn send(&self, body: Bytes) -> Reply {
        let bearer = match &self.token {
            None => None,
            Some(token) => match token.bearer().await {
                Ok(bearer) => Some(bearer),
                // The endpoint is not asked earlier, so neither is the destination probed earlier.
                Err(fault) => {
                    let mut reply = Reply::of(Action::Retry(fault.code));
                    reply.floor = Some(fault.retry_in);
                    return reply;
                }
            },
        };
        let mut headers = self.headers.clone();
        if let Some(bearer) = &bearer {
            headers.insert(AUTHORIZATION, bearer.header.clone());
        }
        self.metrics.bytes.add(body.len());
        let begun = Instant::now();
        let result = self.client.post(&self.endpoint, &headers, body).await;
        self.metrics.times.observe(begun.elapsed());
        self.note_transport(&result);
        let mut reply = match result {
            Ok(answer) => Reply {
                action: classify::status(answer.status),
                floor: answer.retry_after,
                status: Some(answer.status),
                body: answer.body,
                bearer: None,
            },
            Err(error) => Reply::of(classify::transport(error.kind)),
        };
        reply.bearer = bearer;
        reply
    }

    /// Counts what came of a request.
    fn note_transport(&self, result: &Result<Answer, SendError>) {
        match result {
            Ok(answer) => self.metrics.answered(answer.status),
            Err(error) => {
                self.metrics.unanswered(error.kind);
                tracing::debug!(destination = self.name, cause = %error, "request without an answer");
            }
        }
    }

    /// Shuts the gate for what came of a request without verdicts.
    fn hold(&self, permit: Permit<'_>, reply: &Reply, one_event: bool) {
        let code = match reply.action {
            Action::Retry(code) | Action::Suspect(code) | Action::Pause(code) => code,
            Action::Reauthorise => return self.reauthorise(permit, reply),
            Action::Unknown => Code::UnknownOutcome,
            Action::Read | Action::Split | Action::Isolate => return permit.passed(),
        };
        self.note_fault(code);
        // A probe that is throttled, too, tells nothing new.
        if code == Code::Throttled && permit.probe().is_none() {
            self.quota.lower();
        }
        permit.failed(gate::Setback { code, floor: reply.floor, one_event });
    }

    /// The token was refused: once, a new one is fetched and the request sent again at once; where
    /// that does not help, the destination pauses.
    fn reauthorise(&self, permit: Permit<'_>, reply: &Reply) {
        if let (Some(token), Some(bearer)) = (&self.token, &reply.bearer) {
            let superseded = token.generation() != Some(bearer.generation);
            let once = || !self.reauthorised.swap(true, Ordering::Relaxed);
            if superseded || once() || bearer.fetched.elapsed() >= TOKEN_MIN_AGE {
                token.refused(bearer.generation);
                return drop(permit);
            }
        }
        self.note_fault(Code::Unauthorized);
        permit.failed(gate::Setback {
            code: Code::Unauthorized,
            floor: reply.floor,
            one_event: false,
        });
    }

    /// AEP refused a request of this size.
    fn learn(&self, length: usize) {
        // A quarter less: three refusals halve the size, and less of what is possible is given away
        // than by halving it at once.
        let learned = length - length / 4;
        if self.learned_bytes.fetch_min(learned, Ordering::Relaxed) > learned {
            tracing::warn!(
                destination = self.name,
                refused_bytes = length,
                max_bytes = learned,
                "AEP refused a request for its size; requests are smaller from now on"
            );
        }
    }

    /// The largest request that AEP has not refused for its size.
    fn learned_bytes(&self) -> usize {
        self.learned_bytes.load(Ordering::Relaxed)
    }

    /// The event that AEP took last.
    fn witness(&self) -> Option<Bytes> {
        self.seen().witness.clone()
    }

    fn has_witness(&self) -> bool {
        self.seen().witness.is_some()
    }

    fn note_fault(&self, code: Code) {
        self.seen().fault = Some((code, Instant::now()));
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a request.
struct Reply {
    action: Action,
    /// The shortest wait, as the server wished.
    floor: Option<Duration>,
    /// The HTTP status, where there is an answer.
    status: Option<u16>,
    /// The answer's body; empty where there is none.
    body: Bytes,
    /// The token that was sent.
    bearer: Option<Arc<Bearer>>,
}

impl Reply {
    fn of(action: Action) -> Self {
        Self { action, floor: None, status: None, body: Bytes::new(), bearer: None }
    }
}

/// The header that carries the token.
const AUTHORIZATION: HeaderName = HeaderName::from_static("authorization");
