//! The ceiling: our pipeline with the mapping compiled in, in place of the plugin.

use std::path::Path;

use xylem::app::App;
use xylem::commands::CacheArgs;
use xylem::config;
use xylem::generation::Generation;
use xylem::plugin::Outcome;
use xylem::record::{Event, Record};
use xylem::reload::Candidate;

/// Runs until killed.
pub(crate) fn run(file: &Path) -> anyhow::Result<()> {
    let loaded = config::load(file)?;
    let loader = CacheArgs::default().loader()?;
    let mut generation = Generation::build(&loaded, &loader, None)
        .map_err(|problems| anyhow::anyhow!("{}", problems[0].problem))?;
    generation.stand_in(|_, records| records.iter().map(outcome).collect());
    let (loaded, generation) = (loaded.into(), generation.into());
    let app = App::start_candidate(&Candidate { loaded, generation, elsewhere: None })?;
    app.runtime().block_on(std::future::pending::<()>());
    Ok(())
}

fn outcome(record: &Record) -> Outcome {
    let payload = record.payload.as_deref().unwrap_or_default();
    let text = std::str::from_utf8(payload).unwrap();
    match xylem_bench_order::map(text).unwrap() {
        Some(body) => Outcome::Emit(vec![Event { body, route: None, operation: None }]),
        None => Outcome::Filter("parked".to_owned()),
    }
}
