//! What the process tells of itself: `/status` and the metrics that are read, not counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::drain::{Drain, Sample};
use super::live::Live;
use crate::admin::{
    BacklogStatus, BegunStatus, DeadLetterStatus, DestinationState, DestinationStatus, FaultStatus,
    InFlightStatus, PartitionStatus, PipelineStatus, PluginStatus, QuotaStatus, Status,
    StatusSource, TokenStatus,
};
use crate::batch::Outbox;
use crate::consume::{Assigned, PartitionState, expiry_warnings};
use crate::deliver::{self, Quota};
use crate::fault::Code;
use crate::generation::Pipeline;
use crate::http::TokenStatus as Held;
use crate::plugin::Level;
use crate::telemetry::{
    DestinationLabels, DestinationReading, Faults, Metrics, PartitionLabels, PartitionReading,
};
use crate::transform::{Begun, Current, Shared};

/// Everything that is asked.
pub(super) struct Source {
    started: Instant,
    pub(super) shared: Arc<Shared>,
    live: Arc<Live>,
    assigned: Arc<Assigned>,
    quota: Arc<Quota>,
    drain: Mutex<Drain>,
    faults: Faults,
    pub(super) metrics: Metrics,
}

impl StatusSource for Source {
    fn status(&self) -> Status {
        let states = self.assigned.states();
        let current = self.shared.current();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: Some(current.generation.name.to_string()),
            pipelines: self.pipelines(&current),
            destinations: current.outboxes.values().map(|o| destination(o)).collect(),
            token: self
                .live
                .running()
                .access
                .token
                .as_ref()
                .map(|token| token_status(&token.status())),
            in_flight: InFlightStatus {
                records: states.iter().map(|state| state.in_flight).sum(),
                bytes: self.shared.budget.used(),
                budget_bytes: self.shared.budget.limit(),
            },
            backlog: self.backlog(&states),
            quota: quota_status(&self.quota),
            warnings: self.warnings(&states),
            partitions: states.into_iter().map(partition).collect(),
            dead_letters: DeadLetterStatus {
                waiting: self.shared.dead_letters.waiting(),
                refusals: self.shared.dead_letters.refusals(),
                refusal: self.shared.dead_letters.refusal(),
            },
            faults: self.faults(),
            ..Status::default()
        }
    }

    fn refresh(&self, metrics: &Metrics) {
        let states = self.assigned.states();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.in_flight_records.set(number(states.iter().map(|state| state.in_flight).sum()));
        metrics.in_flight_bytes.set(number(self.shared.budget.used()));
        metrics.in_flight_budget_bytes.set(number(self.shared.budget.limit()));
        metrics.partitions_ready.set(number(self.shared.ready.waiting()));
        metrics.dead_letters_waiting.set(number(self.shared.dead_letters.waiting()));
        let current = self.shared.current();
        // Of a destination that is gone nothing is told.
        metrics.events_queued.clear();
        for (name, outbox) in &current.outboxes {
            let labels = DestinationLabels { destination: Arc::clone(name) };
            metrics.events_queued.get_or_create(&labels).set(number(outbox.waiting()));
        }
        metrics.quota_messages_per_second.set(self.quota.status().messages_per_second);
        let drain = self.backlog(&states).drain_seconds;
        metrics.backlog_drain_seconds.set(drain.unwrap_or(f64::INFINITY));
        let readings: Vec<PartitionReading> = states.into_iter().map(reading).collect();
        metrics.set_partitions(&readings);
        let destinations = current.outboxes.values();
        metrics.set_delivery(
            destinations.map(|outbox| DestinationReading::from(outbox.destination())).collect(),
            self.live.running().access.token.as_ref().map(|token| token.status()),
        );
    }
}

impl Source {
    /// Of a process that starts now.
    pub(super) fn new(
        shared: &Arc<Shared>,
        live: &Arc<Live>,
        assigned: &Arc<Assigned>,
        quota: Arc<Quota>,
        faults: Faults,
    ) -> Self {
        Self {
            started: Instant::now(),
            metrics: shared.metrics.clone(),
            shared: Arc::clone(shared),
            live: Arc::clone(live),
            assigned: Arc::clone(assigned),
            quota,
            drain: Mutex::default(),
            faults,
        }
    }

    /// What is due every second.
    pub(super) fn each_second(&self) {
        self.shared.dead_letters.retry();
        self.note();
    }

    /// Notes how things stand, about once a second: the share of the quota follows the assignment,
    /// and how fast a backlog drains shows over time.
    fn note(&self) {
        let states = self.assigned.states();
        self.quota.set_partitions(states.len(), self.assigned.all_partitions());
        let (backlog, arriving) = total(&states);
        let current = self.shared.current();
        let destinations = || current.outboxes.values().map(|outbox| outbox.destination());
        let sample = Sample {
            at: Instant::now(),
            settled: self.settled(),
            accepted: destinations().map(|each| each.metrics().accepted.get()).sum(),
            backlog,
            arriving,
            quota: self.quota.status().messages_per_second,
            open: destinations().all(|each| each.status().state == deliver::DestinationState::Open),
        };
        self.drain().note(sample);
    }

    /// How many records were settled.
    pub(super) fn settled(&self) -> u64 {
        self.shared.generation().pipelines.keys().map(|name| self.metrics.settled(name)).sum()
    }

    fn backlog(&self, states: &[PartitionState]) -> BacklogStatus {
        let (records, arriving_per_second) = total(states);
        let drain_seconds = self.drain().estimate().map(|drain| drain.as_secs_f64());
        BacklogStatus { records, arriving_per_second, drain_seconds }
    }

    fn drain(&self) -> MutexGuard<'_, Drain> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipelines(&self, current: &Current) -> Vec<PipelineStatus> {
        current.generation.pipelines.values().map(|each| pipeline(each, &self.metrics)).collect()
    }

    fn warnings(&self, states: &[PartitionState]) -> Vec<String> {
        let expiring = expiry_warnings(states, now_ms(), self.drain().estimate());
        let running = self.live.running();
        let warnings = running.warnings.iter().cloned().chain(self.missing_topics());
        warnings.chain(self.blocked_pipelines()).chain(expiring).collect()
    }

    fn blocked_pipelines(&self) -> impl Iterator<Item = String> {
        let blocked = self.shared.dead_letters.refusals_by_pipeline().into_iter();
        blocked.map(|(pipeline, words)| {
            format!("the pipeline `{pipeline}` pauses: its dead letters are not taken: {words}")
        })
    }

    fn missing_topics(&self) -> impl Iterator<Item = String> {
        let code = Code::TopicRefused;
        let say = move |topic| format!("{}: `{topic}`. {}", code.as_str(), code.advice());
        self.assigned.missing().into_iter().map(say)
    }

    fn faults(&self) -> Vec<FaultStatus> {
        let seen = self.faults.seen().into_iter();
        seen.map(|(pipeline, code, seen)| FaultStatus {
            pipeline: pipeline.to_string(),
            code: code.as_str().to_owned(),
            domain: code.domain().as_str().to_owned(),
            count: seen.count,
            last_position: format!("{}@{}", seen.partition, seen.offset),
            last_seconds_ago: seen.at.elapsed().as_secs_f64(),
            advice: code.advice().to_owned(),
        })
        .collect()
    }
}

/// Records that wait, and that come in a second, of all partitions that are not halted.
fn total(states: &[PartitionState]) -> (u64, f64) {
    let going = || states.iter().filter(|state| state.halted.is_none());
    let waiting = going().filter_map(|state| u64::try_from(state.lag?).ok()).sum();
    (waiting, going().filter_map(|state| state.arrival_per_second).sum())
}

fn quota_status(quota: &Quota) -> QuotaStatus {
    let status = quota.status();
    QuotaStatus {
        share: status.share,
        messages_per_second: status.messages_per_second,
        requests_waiting: status.waiting,
    }
}

fn pipeline(pipeline: &Pipeline, metrics: &Metrics) -> PipelineStatus {
    let chain = pipeline.chain.plugins.iter().map(|plugin| PluginStatus {
        name: plugin.name.clone(),
        digest: plugin.component.digest().to_owned(),
        max_memory_bytes: plugin.limits.max_memory_bytes,
        max_cpu_ms: u64::try_from(plugin.limits.max_cpu.as_millis()).unwrap_or(u64::MAX),
        warn_lines: metrics.lines(&plugin.name, Level::Warn.as_str()),
        error_lines: metrics.lines(&plugin.name, Level::Error.as_str()),
    });
    PipelineStatus {
        name: pipeline.name.to_string(),
        topics: pipeline.topics.clone(),
        chain: chain.collect(),
        destinations: pipeline.routes.iter().map(|route| route.name.to_string()).collect(),
        dead_letter_topic: pipeline.origin.topic.to_string(),
    }
}

fn partition(state: PartitionState) -> PartitionStatus {
    PartitionStatus {
        topic: state.id.topic.to_string(),
        partition: state.id.partition,
        pipeline: state.pipeline.to_string(),
        position: state.position,
        lag: state.lag,
        arrival_per_second: state.arrival_per_second,
        in_flight_records: state.in_flight,
        in_flight_bytes: state.bytes,
        paused: state.paused,
        halted: state.halted,
        generations: state.begun.iter().map(begun).collect(),
    }
}

fn begun(begun: &Begun) -> BegunStatus {
    BegunStatus { generation: begun.generation.to_string(), from_offset: begun.offset }
}

fn reading(state: PartitionState) -> PartitionReading {
    PartitionReading {
        labels: PartitionLabels {
            pipeline: state.pipeline,
            topic: state.id.topic,
            partition: state.id.partition,
        },
        lag: state.lag,
        position: state.position,
        expires_seconds: state.expiry.map(|expiry| (expiry.at_ms - now_ms()).max(0) / 1_000),
        in_flight: state.in_flight,
        paused: state.paused,
        halted: state.halted.is_some(),
    }
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn destination(outbox: &Outbox) -> DestinationStatus {
    let status = outbox.destination().status();
    let seconds = |duration: Duration| Some(duration.as_secs_f64());
    let (state, code, since, retry_in) = match status.state {
        deliver::DestinationState::Open => (DestinationState::Open, None, None, None),
        deliver::DestinationState::BackingOff { code, since, retry_in } => {
            (DestinationState::BackingOff, Some(code), seconds(since), seconds(retry_in))
        }
        deliver::DestinationState::Paused { code, since, retry_in } => {
            (DestinationState::Paused, Some(code), seconds(since), seconds(retry_in))
        }
    };
    DestinationStatus {
        name: status.name,
        state,
        code: code.map(|code| code.as_str().to_owned()),
        since_seconds: since,
        retry_in_seconds: retry_in,
        requests_in_flight: status.in_flight,
        requests: status.requests,
        accepted: status.accepted,
        refused: status.refused,
        last_fault: status.last_fault.map(|(last, _)| last.as_str().to_owned()),
        last_fault_seconds_ago: status.last_fault.map(|(_, ago)| ago.as_secs_f64()),
        last_xaction_id: status.last_xaction_id,
    }
}

fn token_status(held: &Held) -> TokenStatus {
    let seconds = |duration: Option<Duration>| duration.map(|d| d.as_secs_f64());
    TokenStatus {
        ready: held.ready,
        age_seconds: seconds(held.age),
        expires_in_seconds: seconds(held.expires_in),
        fault: held.fault.as_ref().map(|fault| fault.code.as_str().to_owned()),
        retry_in_seconds: held.fault.as_ref().map(|fault| fault.retry_in.as_secs_f64()),
    }
}
