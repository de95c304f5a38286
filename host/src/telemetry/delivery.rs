//! What destinations and the token say when somebody scrapes.

use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::deliver::{BOUNDS_MS, DeliverMetrics, Destination, DestinationState};
use crate::http::TokenStatus;

use super::scrape::{Described, Labels, Value, number, write};

/// The metrics of destinations and of the token, in the order of the manual.
pub(super) const SCRAPED: &[Described] = &[
    Described {
        name: "requests",
        kind: "counter",
        unit: None,
        labels: &["destination", "status"],
        help: "Requests to AEP, by HTTP status, or by what kept an answer away.",
    },
    counter("events_accepted", "Events that AEP took."),
    counter("events_refused", "Events that AEP refused for good; their records are dead letters."),
    counter("events_repeated", "Events sent again."),
    counter(
        "events_overtaken",
        "Events taken after a later one of their request: AEP refused them for a while.",
    ),
    counter(
        "events_witnessed",
        "Events sent once more to tell a refused event from a refused header.",
    ),
    counter("requests_unknown", "Requests whose answer does not say what became of each event."),
    counter("requests_split", "Requests sent in parts because they were too large."),
    counter("requests_isolated", "Requests halved to find the event at fault."),
    counter("requests_delayed", "Requests that waited because AEP was away or wanted less."),
    Described {
        name: "request_delay",
        kind: "counter",
        unit: Some("seconds"),
        labels: &["destination"],
        help: "How long requests waited before they were sent.",
    },
    Described {
        name: "request_body",
        kind: "counter",
        unit: Some("bytes"),
        labels: &["destination"],
        help: "Bytes of request bodies.",
    },
    Described {
        name: "request",
        kind: "histogram",
        unit: Some("seconds"),
        labels: &["destination"],
        help: "How long AEP took to answer.",
    },
    Described {
        name: "requests_in_flight",
        kind: "gauge",
        unit: None,
        labels: &["destination"],
        help: "Requests on their way.",
    },
    Described {
        name: "destination_open",
        kind: "gauge",
        unit: None,
        labels: &["destination"],
        help: "1 where requests pass, 0 where they wait; `/status` says why.",
    },
    token("token_ready", None, "1 where there is a token that is still good."),
    token("token_age", Some("seconds"), "The age of the present token."),
    token("token_expires_in", Some("seconds"), "How long the present token lives on."),
    Described {
        name: "token_fetches",
        kind: "counter",
        unit: None,
        labels: &["result"],
        help: "Fetches of a token, `done` or `failed`.",
    },
];

const fn counter(name: &'static str, help: &'static str) -> Described {
    Described { name, kind: "counter", unit: None, labels: &["destination"], help }
}

const fn token(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Described {
    Described { name, kind: "gauge", unit, labels: &[], help }
}

/// What one destination said.
#[derive(Clone, Debug)]
pub struct DestinationReading {
    name: String,
    statuses: Vec<(String, u64)>,
    /// In the order of [`SCRAPED`], without labels of their own.
    counts: [u64; 9],
    delay_seconds: f64,
    body_bytes: u64,
    times: (f64, Vec<(f64, u64)>),
    in_flight: usize,
    open: bool,
}

impl From<&Destination> for DestinationReading {
    fn from(destination: &Destination) -> Self {
        let status = destination.status();
        let open = status.state == DestinationState::Open;
        Self::new(destination.name(), destination.metrics(), status.in_flight, open)
    }
}

impl DestinationReading {
    fn new(name: &str, metrics: &DeliverMetrics, in_flight: usize, open: bool) -> Self {
        let answered = metrics.statuses().map(|(status, n)| (status.to_string(), n));
        let unanswered = metrics.transports().filter(|&(_, n)| n > 0);
        let unanswered = unanswered.map(|(kind, n)| (kind.as_str().to_owned(), n));
        let bounds = BOUNDS_MS.into_iter().map(seconds).chain([f64::INFINITY]);
        let buckets = bounds.zip(metrics.times.buckets()).collect();
        Self {
            name: name.to_owned(),
            statuses: answered.chain(unanswered).collect(),
            counts: [
                metrics.accepted.get(),
                metrics.refused.get(),
                metrics.repeated.get(),
                metrics.overtaken.get(),
                metrics.witnesses.get(),
                metrics.unknown.get(),
                metrics.split.get(),
                metrics.isolated.get(),
                metrics.waits.get(),
            ],
            delay_seconds: seconds(metrics.waited_ms.get()),
            body_bytes: metrics.bytes.get(),
            times: (metrics.times.sum().as_secs_f64(), buckets),
            in_flight,
            open,
        }
    }

    /// The values of the metric at a place of [`SCRAPED`].
    fn values(&self, place: usize) -> Vec<(Labels, Value)> {
        let destination = ("destination", self.name.clone());
        let one = |value| vec![(vec![destination.clone()], value)];
        match place {
            0 => {
                let each = self.statuses.iter();
                each.map(|(status, n)| {
                    (vec![destination.clone(), ("status", status.clone())], number(*n))
                })
                .collect()
            }
            1..=9 => self.counts.get(place - 1).map_or_else(Vec::new, |n| one(number(*n))),
            10 => one(Value::Number(self.delay_seconds)),
            11 => one(number(self.body_bytes)),
            12 => one(Value::Buckets(self.times.0, self.times.1.clone())),
            13 => one(number(self.in_flight as u64)),
            14 => one(number(u64::from(self.open))),
            _ => Vec::new(),
        }
    }
}

/// The values of the token's metric at a place of [`SCRAPED`].
fn token_values(token: &TokenStatus, place: usize) -> Vec<(Labels, Value)> {
    let seconds = |duration: Option<std::time::Duration>| {
        duration.map(|duration| (Vec::new(), Value::Number(duration.as_secs_f64())))
    };
    match place {
        15 => vec![(Vec::new(), number(u64::from(token.ready)))],
        16 => seconds(token.age).into_iter().collect(),
        17 => seconds(token.expires_in).into_iter().collect(),
        18 => [("done", token.fetched), ("failed", token.failed)]
            .map(|(result, n)| (vec![("result", result.to_owned())], number(n)))
            .into(),
        _ => Vec::new(),
    }
}

/// What was read last; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    destinations: Vec<DestinationReading>,
    token: Option<TokenStatus>,
}

impl Delivery {
    /// Replaces what was read.
    pub(super) fn set(&self, destinations: Vec<DestinationReading>, token: Option<TokenStatus>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading { destinations, token };
    }
}

impl Collector for Delivery {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, metric) in SCRAPED.iter().enumerate() {
            let destinations = reading.destinations.iter().flat_map(|d| d.values(place));
            let token = reading.token.iter().flat_map(|token| token_values(token, place));
            write(&mut encoder, metric, destinations.chain(token))?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a process fit 2^53")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn what_a_destination_counted_is_shown() {
        let counted = DeliverMetrics::default();
        counted.accepted.add(500);
        counted.waited_ms.add(1_500);
        let metrics = Metrics::new();
        let token = TokenStatus {
            ready: true,
            age: Some(Duration::from_secs(61)),
            expires_in: None,
            fault: None,
            fetched: 2,
            failed: 1,
        };
        let reading = DestinationReading::new("orders", &counted, 3, true);
        metrics.set_delivery(vec![reading], Some(token));
        let page = metrics.encode().unwrap();
        for line in [
            "xylem_events_accepted_total{destination=\"orders\"} 500.0",
            "xylem_request_delay_seconds_total{destination=\"orders\"} 1.5",
            "xylem_request_seconds_count{destination=\"orders\"} 0",
            "xylem_request_seconds_bucket{le=\"0.005\",destination=\"orders\"} 0",
            "xylem_request_seconds_bucket{le=\"+Inf\",destination=\"orders\"} 0",
            "xylem_requests_in_flight{destination=\"orders\"} 3.0",
            "xylem_destination_open{destination=\"orders\"} 1.0",
            "xylem_token_age_seconds 61.0",
            "xylem_token_fetches_total{result=\"failed\"} 1.0",
            "# TYPE xylem_request_seconds histogram",
        ] {
            assert!(page.lines().any(|there| there == line), "{line}\n{page}");
        }
        assert!(!page.contains("xylem_token_expires_in"), "{page}");
    }
}
