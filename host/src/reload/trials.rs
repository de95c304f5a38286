//! The thread's part in shadows and canaries.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use super::ask::{CanaryAsk, ShadowAsk};
use super::beside::Beside;
use super::canary::{Canary, Verdict};
use super::gate::Entry;
use super::report::{Cause, Decision, Outcome, StepReport};
use super::shadow::Shadow;
use super::{Candidate, Seen, Thread};
use crate::settle::Budget;

/// Where something may run beside what runs.
pub(super) struct Place {
    pub(super) beside: Arc<Beside>,
    pub(super) budget: Arc<Budget>,
}

/// A canary and what it tries.
pub(super) struct Contender {
    canary: Arc<Canary>,
    candidate: Candidate,
}

impl Seen {
    pub(super) fn shadow(&self) -> MutexGuard<'_, Option<Arc<Shadow>>> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn canary(&self) -> MutexGuard<'_, Option<Arc<Canary>>> {
        self.canary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(reason: &impl ToString) -> Decision {
    Decision::new(Outcome::Refused, reason.to_string())
}

impl Thread {
    /// Whether a canary is to be judged now and then.
    pub(super) fn has_canary(&self) -> bool {
        self.contender.is_some()
    }

    pub(super) fn start_shadow(&mut self, ask: &ShadowAsk) -> (Decision, Vec<StepReport>) {
        let settings = match ask.settings(self.running.loaded.config.aep.tenant.as_deref()) {
            Ok(settings) => settings,
            Err(wrong) => return (refused(&wrong), Vec::new()),
        };
        // What could not be swapped in may be compared all the same, and what records say of it is what
        // somebody wants to know.
        let entry =
            Entry { file: ask.candidate.as_deref(), running: Some(&self.running), proves: false };
        let passage = self.gate.pass_as(entry, |_| Vec::new());
        let candidate = match passage.candidate {
            Ok(candidate) => candidate.generation,
            Err(decision) => return (decision, passage.steps),
        };
        let Place { beside, budget } = &self.place;
        let running = &self.running.generation;
        let decision = match Shadow::start(beside, running, &candidate, &settings, budget) {
            Err(error) => refused(&error),
            Ok(shadow) => {
                *self.seen.shadow() = Some(Arc::new(shadow));
                let reason = format!("a shadow runs beside generation {}", running.name);
                let candidate = Some(candidate.name.to_string());
                Decision { candidate, ..Decision::new(Outcome::Unchanged, reason) }
            }
        };
        (decision, passage.steps)
    }

    pub(super) fn stop_shadow(&mut self) -> Decision {
        // The lock is not held while the thread ends.
        let shadow = self.seen.shadow().clone();
        match shadow.filter(|shadow| shadow.is_running()) {
            None => refused(&"no shadow runs"),
            Some(shadow) => {
                shadow.stop();
                Decision::new(Outcome::Unchanged, "the shadow has ended")
            }
        }
    }

    pub(super) fn start_canary(&mut self, ask: &CanaryAsk) -> (Decision, Vec<StepReport>) {
        let settings = match ask.settings(&self.running.loaded.config.reload) {
            Ok(settings) => settings,
            Err(wrong) => return (refused(&wrong), Vec::new()),
        };
        let file = ask.candidate.as_deref();
        let entry = Entry { file, running: Some(&self.running), proves: true };
        let passage = self.gate.pass_as(entry, |loaded| self.live.refuses(loaded));
        let candidate = match passage.candidate {
            Ok(candidate) => candidate,
            Err(decision) => return (decision, passage.steps),
        };
        if !candidate.has_same_aep(&self.running) {
            let words = "a canary needs the same section `aep` on both sides; reload instead";
            return (refused(&words), passage.steps);
        }
        let (running, next) = (&self.running.generation, Arc::clone(&candidate.generation));
        let decision = match Canary::start(&self.place.beside, running, &next, &settings) {
            Err(error) => refused(&error),
            Ok(canary) => {
                let canary = Arc::new(canary);
                *self.seen.canary() = Some(Arc::clone(&canary));
                self.contender = Some(Contender { canary, candidate });
                let share = settings.share * 100.0;
                let reason = format!("{share} % of the keys go to a canary");
                let name = Some(next.name.to_string());
                Decision { candidate: name, ..Decision::new(Outcome::Unchanged, reason) }
            }
        };
        (decision, passage.steps)
    }

    pub(super) fn stop_canary(&mut self) -> Decision {
        match self.contender.take() {
            None => refused(&"no canary runs"),
            Some(Contender { canary, .. }) => {
                self.end_canary(&canary, "it was stopped");
                let affected = canary.report().affected_records;
                let reason =
                    format!("the canary was stopped; {affected} of its records are dead letters");
                Decision::new(Outcome::Unchanged, reason)
            }
        }
    }

    pub(super) fn promote_canary(&mut self) -> Decision {
        match self.contender.take() {
            None => refused(&"no canary runs"),
            Some(contender) => self.promote(contender, "somebody asked for it"),
        }
    }

    /// Lets the canary's rule speak.
    pub(super) fn judge_canary(&mut self) -> Option<Decision> {
        let verdict = self.contender.as_ref()?.canary.judge(Instant::now())?;
        let contender = self.contender.take()?;
        Some(match verdict {
            Verdict::Promote(why) => self.promote(contender, &why),
            Verdict::RollBack(why) => {
                self.end_canary(&contender.canary, &why);
                let report = contender.canary.report();
                let (mapped, affected) = (report.mapped_records, report.affected_records);
                let candidate = Some(report.candidate);
                let reason = format!(
                    "the canary was rolled back: {why}. It had {mapped} records, {affected} of them are dead letters"
                );
                Decision { candidate, ..Decision::new(Outcome::Refused, reason) }
            }
        })
    }

    fn promote(&mut self, Contender { canary, candidate }: Contender, why: &str) -> Decision {
        if candidate.elsewhere.is_none() {
            self.follow(candidate.fingerprint());
        }
        let elsewhere = candidate.elsewhere.clone();
        let mut decision = self.swap(candidate, &format!("the canary was promoted: {why}"));
        if decision.outcome != Outcome::Swapped {
            let words =
                format!("it was good ({why}), and could not be swapped in: {}", decision.reason);
            self.end_canary(&canary, &words);
            return decision;
        }
        let Some(file) = elsewhere else {
            canary.promoted(why);
            return decision;
        };
        let words = format!(
            "what runs comes from `{}`: a restart and the next reload read the file that xylem was started with, so \
             put it there",
            file.display()
        );
        canary.promoted(&format!("{why}; {words}"));
        decision.effects.push(words);
        decision
    }

    /// Takes the keys back, and leaves nothing of the candidate but the report.
    fn end_canary(&self, canary: &Canary, why: &str) {
        canary.roll_back(why);
        self.live.look();
    }

    /// Ends what runs beside a generation that has gone.
    pub(super) fn end_trials(&mut self) {
        let why = "another generation took the place of the one that ran, which says nothing of the candidate";
        let shadow = self.seen.shadow().clone();
        if let Some(shadow) = shadow.filter(|shadow| shadow.is_running()) {
            shadow.stop_because(why);
        }
        if let Some(Contender { canary, .. }) = self.contender.take() {
            self.end_canary(&canary, why);
        }
    }

    /// The cause of what nobody asked for.
    pub(super) const BY_ITSELF: Cause = Cause::Canary;
}
