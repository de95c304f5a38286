//! Records through a pipeline without Kafka and AEP, with the functions of the data path: what `try`
//! shows, `check` and a reload compare with samples, and `replay` counts and sends.

mod attempt;
mod layout;
pub(crate) mod samples;
mod show;
mod split;

pub(crate) use attempt::{Attempt, Attempted, attempt, attempt_first};
pub(crate) use show::Shown;
pub(crate) use split::{Cut, split};
