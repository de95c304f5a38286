//! One call of [`Destination::deliver`]: sends piece after piece until every event has its verdict.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::classify::Action;
use super::envelope;
use super::gate::{Permit, Setback};
use super::response;
use super::verdicts::{Verdicts, read_verdicts};
use super::witness::{WITNESS_CAP, Witness};
use super::work::{Piece, Work};
use super::{Destination, Message, Reply, Verdict};
use crate::fault::{Code, Fault};

/// So many events refused alone, and none ever taken: it is not the events.
const ENOUGH_ACCUSED: usize = 2;

/// One call.
pub(super) struct Call<'a> {
    destination: &'a Destination,
    messages: &'a [Message],
    work: Work,
}

impl<'a> Call<'a> {
    pub(super) fn new(destination: &'a Destination, messages: &'a [Message]) -> Self {
        Self { destination, messages, work: Work::new(messages.len()) }
    }

    /// Sends until every message has its verdict.
    pub(super) async fn run(mut self) -> Vec<Verdict> {
        loop {
            if let Some(piece) = self.work.next() {
                self.attempt(piece).await;
            } else if self.work.accused() > 0 {
                self.judge().await;
            } else {
                return self.work.finish().unwrap_or_default();
            }
        }
    }

    /// Sends one piece once, and does what the table says.
    async fn attempt(&mut self, piece: Piece) {
        if !piece.is_single() && self.length(&piece) > self.destination.learned_bytes() {
            return self.work.halve(&piece);
        }
        if let Some(not_before) = piece.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        let (permit, slot) = self.destination.enter(piece.events.len(), false).await;
        if permit.probe() == Some(Code::HeaderRefused) && self.destination.has_witness() {
            // One event that AEP took before says more than any that it may refuse for itself.
            drop((permit, slot));
            self.work.put_back(piece);
            self.ask_witness().await;
            return;
        }
        let mut piece = if permit.one_event() { self.first_of(piece, &permit) } else { piece };
        if piece.history.sent {
            self.destination.metrics.repeated.add(piece.events.len());
        }
        piece.history.sent = true;
        let body = envelope::request_body(self.of(&piece));
        let reply = self.destination.send(body).await;
        drop(slot);
        self.react(permit, piece, reply).await;
    }

    /// The one event of a piece that a probe may carry.
    fn first_of(&mut self, piece: Piece, permit: &Permit<'_>) -> Piece {
        if piece.is_single() {
            return piece;
        }
        if permit.probe() == Some(Code::UnknownOutcome) {
            self.work.ramp(piece.clone());
            return self.work.next().unwrap_or(piece);
        }
        self.work.keep_first(piece)
    }

    /// Does what the table says of a whole request.
    async fn react(&mut self, permit: Permit<'_>, mut piece: Piece, reply: Reply) {
        match reply.action {
            Action::Read => self.read(permit, piece, reply).await,
            Action::Isolate => self.isolate(permit, piece, &reply).await,
            Action::Split => self.split(permit, &piece, &reply),
            Action::Unknown => self.unknown(permit, piece, &reply),
            Action::Suspect(_) => {
                let suspected = piece.note_failure();
                self.destination.hold(permit, &reply, false);
                if suspected {
                    let status = reply.status.unwrap_or_default();
                    let words = response::read_words(&reply.body);
                    self.suspect(piece, format!("{status}: {words}")).await;
                } else {
                    self.again(piece);
                }
            }
            // Invariant 11: nothing but a verdict ends a piece; here it only waits.
            Action::Retry(_) | Action::Pause(_) | Action::Reauthorise => {
                self.destination.hold(permit, &reply, false);
                self.again(piece);
            }
        }
    }

    /// Sends a piece again. One that comes back again and again waits by itself, so that it does not
    /// shut the gate for all others as soon as one of them opened it.
    fn again(&mut self, mut piece: Piece) {
        if let Some(attempt) = piece.note_setback() {
            piece.not_before = Some(Instant::now() + self.destination.gate.own_wait(attempt));
        }
        self.work.put_back(piece);
    }

    /// Nobody knows what arrived of this piece.
    fn unknown(&mut self, permit: Permit<'_>, mut piece: Piece, reply: &Reply) {
        self.destination.metrics.unknown.add(1);
        let exhausted = piece.note_unknown();
        let unknown = Reply { floor: reply.floor, ..Reply::of(Action::Unknown) };
        self.destination.hold(permit, &unknown, exhausted);
        if exhausted && !piece.is_single() {
            self.work.ramp(piece);
        } else {
            self.again(piece);
        }
    }

    /// The request is too large.
    fn split(&mut self, permit: Permit<'_>, piece: &Piece, reply: &Reply) {
        permit.passed();
        let length = self.length(piece);
        if piece.is_single() {
            let words = response::read_words(&reply.body);
            let fault = format!("AEP answered 413 to a request of {length} bytes: {words}");
            self.refuse_all(piece, &Fault::new(Code::TooLarge, fault));
        } else {
            self.destination.metrics.split.add(1);
            self.destination.learn(length);
            self.work.halve(piece);
        }
    }

    /// The request is refused as a whole for its content: the event at fault is found by halves, and
    /// it is at fault where another is taken.
    async fn isolate(&mut self, permit: Permit<'_>, piece: Piece, reply: &Reply) {
        let words = response::read_words(&reply.body);
        let witnessed = self.destination.has_witness();
        let mut sound = false;
        if response::names_header(&words) || piece.history.accused {
            if !witnessed {
                return self.pause_header(permit, piece);
            }
            permit.passed();
            sound = self.ask_witness().await == Witness::Taken;
            if !sound {
                return self.work.put_back(piece);
            }
        } else if permit.probe() == Some(Code::HeaderRefused)
            || (!witnessed && piece.is_single() && self.work.accused() >= ENOUGH_ACCUSED)
        {
            self.work.acquit();
            return self.pause_header(permit, piece);
        } else {
            permit.passed();
        }
        if !piece.is_single() {
            self.destination.metrics.isolated.add(1);
            return self.work.halve(&piece);
        }
        let status = reply.status.unwrap_or_default();
        let fault = Fault::new(Code::Refused, format!("AEP answered {status}: {words}"));
        if sound {
            self.refuse_all(&piece, &fault);
        } else {
            piece.events.iter().for_each(|&event| self.work.accuse(event, fault.clone()));
        }
    }

    /// AEP refuses this and has never taken anything: the configuration is at fault, as far as
    /// anybody can tell. Another event is tried next.
    fn pause_header(&mut self, permit: Permit<'_>, piece: Piece) {
        self.destination.note_fault(Code::HeaderRefused);
        permit.failed(Setback { code: Code::HeaderRefused, floor: None, one_event: true });
        self.work.defer(piece);
    }

    /// A piece meets server errors again and again: it is halved; one event alone is at fault where
    /// AEP takes another after each of its failures.
    async fn suspect(&mut self, mut piece: Piece, words: String) {
        if !piece.is_single() {
            self.destination.metrics.isolated.add(1);
            return self.work.halve_suspect(piece);
        }
        match self.ask_witness().await {
            Witness::Taken => {
                if piece.note_round() {
                    let fault =
                        format!("AEP took others, and answered to this event alone {words}");
                    return self.refuse_all(&piece, &Fault::new(Code::Refused, fault));
                }
            }
            // Others fail as well: it is AEP, not the event.
            Witness::Lost | Witness::Refused => piece.history.rounds = 0,
            Witness::Missing => {}
        }
        let wait = self.destination.gate.own_wait(u32::from(piece.history.rounds) + 1);
        piece.not_before = Some(Instant::now() + wait);
        self.work.defer(piece);
    }

    /// Events were refused alone and nothing was taken since: an event that AEP took before tells
    /// whose fault that is.
    async fn judge(&mut self) {
        match self.ask_witness().await {
            Witness::Refused | Witness::Missing => self.work.acquit(),
            // Taken has decided, and lost is asked again.
            Witness::Taken | Witness::Lost => {}
        }
    }

    /// Whether AEP still takes what it took before.
    async fn ask_witness(&mut self) -> Witness {
        let witness = self.destination.ask_witness().await;
        if witness == Witness::Taken {
            self.took_something();
        }
        witness
    }

    /// Reads the verdicts of an answer.
    async fn read(&mut self, permit: Permit<'_>, piece: Piece, reply: Reply) {
        let Some(verdicts) = read_verdicts(&piece, &reply.body) else {
            return self.unknown(permit, piece, &reply);
        };
        self.note_accepted(&verdicts);
        if verdicts.names_header && verdicts.accepted.is_empty() {
            if !self.destination.has_witness() {
                return self.pause_header(permit, piece);
            }
            permit.passed();
            if self.ask_witness().await != Witness::Taken {
                return self.work.put_back(piece);
            }
            let Verdicts { refused, left, .. } = verdicts;
            self.refuse_each(refused);
            return self.work.put_back(Piece { events: left, ..piece });
        }
        self.settle(permit, piece, reply, verdicts).await;
    }

    /// Decides what is decided, and keeps the rest.
    async fn settle(&mut self, permit: Permit<'_>, piece: Piece, reply: Reply, verdicts: Verdicts) {
        let Verdicts {
            accepted, refused, left, throttled, refused_token, suspect, unknown, ..
        } = verdicts;
        let took_none = accepted.is_empty() && refused.is_empty();
        self.refuse_each(refused);
        if left.is_empty() {
            return permit.passed();
        }
        let mut piece = Piece { events: left, ..piece };
        let exhausted = unknown && piece.note_unknown();
        let suspected = suspect.filter(|_| piece.note_failure());
        let action = if refused_token {
            Action::Reauthorise
        } else if throttled {
            Action::Retry(Code::Throttled)
        } else if exhausted || (unknown && took_none) {
            Action::Unknown
        } else if took_none {
            Action::Retry(Code::Unavailable)
        } else {
            // AEP takes events: the gate stays open, only these wait.
            piece.not_before = Some(Instant::now() + self.destination.gate.own_wait(1));
            Action::Read
        };
        self.destination.hold(permit, &Reply { action, ..reply }, exhausted);
        if exhausted && !piece.is_single() {
            self.work.ramp(piece);
        } else if let Some(words) = suspected {
            self.suspect(piece, words).await;
        } else {
            self.again(piece);
        }
    }

    /// Notes what AEP took.
    fn note_accepted(&mut self, verdicts: &Verdicts) {
        let Some(&last) = verdicts.accepted.last() else { return };
        let overtaken = verdicts.accepted.iter().filter(|&&event| self.work.accept(event)).count();
        self.destination.metrics.overtaken.add(overtaken);
        let destination = self.destination;
        destination.metrics.accepted.add(verdicts.accepted.len());
        let mut seen = destination.seen();
        if let Some(message) = self.messages.get(last).filter(|m| m.bytes.len() <= WITNESS_CAP) {
            seen.witness = Some(message.bytes.clone());
        }
        if verdicts.xaction_id.is_some() {
            seen.xaction_id.clone_from(&verdicts.xaction_id);
        }
        drop(seen);
        self.took_something();
    }

    /// AEP took an event: token and header are sound, and whatever was refused before is at fault
    /// itself.
    fn took_something(&mut self) {
        self.destination.reauthorised.store(false, Ordering::Relaxed);
        let convicted = self.work.convict();
        self.destination.metrics.refused.add(convicted);
    }

    /// Refuses events for good, each for its own reason.
    fn refuse_each(&mut self, refused: Vec<(usize, Fault)>) {
        self.destination.metrics.refused.add(refused.len());
        for (event, fault) in refused {
            self.work.refuse(event, fault);
        }
    }

    /// Refuses all of a piece for good.
    fn refuse_all(&mut self, piece: &Piece, fault: &Fault) {
        self.refuse_each(piece.events.iter().map(|&event| (event, fault.clone())).collect());
    }

    /// The messages of a piece.
    fn of<'b>(&self, piece: &'b Piece) -> impl Iterator<Item = &'a Message> + Clone + 'b
    where
        'a: 'b,
    {
        let messages = self.messages;
        piece.events.iter().filter_map(move |&event| messages.get(event))
    }

    /// How many bytes a request of a piece has.
    fn length(&self, piece: &Piece) -> usize {
        envelope::request_length(self.of(piece))
    }
}
