//! Sends what was repaired: through the destinations of the data path, at a rate, and marked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batcher, Entry};
use crate::commands::clients;
use crate::config::{self, Loaded, Order};
use crate::dead_letter::Accepted;
use crate::deliver::{Access, Destination, Message, Quota, Verdict};
use crate::fault::{Code, Fault};
use crate::generation::Pipeline;
use crate::stop;
use crate::trial::Attempted;

/// The request header that tells a replay from the first delivery; its value is the generation.
const MARK: &str = "x-xylem-replay";

/// The pipeline's destinations, and the pace.
pub(super) struct Courier {
    destinations: BTreeMap<Arc<str>, (Destination, config::Batch)>,
    runtime: Runtime,
    cancelled: CancellationToken,
}

/// One event that is to be sent.
pub(super) struct Parcel {
    pub(super) message: Message,
    /// Whose it is.
    pub(super) letter: usize,
}

impl Entry for Parcel {
    fn bytes(&self) -> usize {
        self.message.bytes.len()
    }
}

impl Courier {
    /// Makes the destinations; nothing is asked yet.
    pub(super) fn new(
        pipeline: &Pipeline,
        loaded: &Loaded,
        rate: u32,
        (runtime, cancelled): (Runtime, CancellationToken),
    ) -> Result<Self, String> {
        let config = &loaded.config;
        let aep = &config.aep;
        let (client, token) = clients(loaded, 1)?;
        // The rate is all that a replay may take, retries included.
        let all = config::Quota { messages_per_second: rate, share: Some(1.0), ..config.quota };
        let access = Access { client, token, quota: Arc::new(Quota::new(&all)) };
        let mut destinations = BTreeMap::new();
        for route in &pipeline.routes {
            let (name, settings) =
                (&route.name, marked(&route.settings, &pipeline.origin.generation));
            let made = Destination::new(name, &settings, aep, access.clone());
            let destination = made.map_err(|error| error.to_string())?;
            let max_messages = settings.batch.max_messages.min(rate as usize).max(1);
            let batch = config::Batch { max_messages, ..settings.batch };
            destinations.insert(Arc::clone(name), (destination, batch));
        }
        Ok(Self { destinations, runtime, cancelled })
    }

    /// The messages of a record's events that AEP does not have, each with its destination. None is sent
    /// where one of all is at fault (Invariant 2).
    pub(super) fn encode(
        &self,
        accepted: &Accepted,
        events: Vec<Attempted>,
    ) -> Result<Vec<(Arc<str>, Message)>, Code> {
        let mut messages = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            event.verdict.map_err(|refusal| Fault::from(refusal).code)?;
            let found = self.destinations.get_key_value(&*event.destination);
            let (name, (destination, _)) = found.ok_or(Code::PluginRoute)?;
            let message = destination.encode(&event.id, &event.body, event.operation);
            let message = message.map_err(|fault| fault.code)?;
            if !accepted.contains(index) {
                messages.push((Arc::clone(name), message));
            }
        }
        Ok(messages)
    }

    /// Cuts parcels for one destination into requests.
    pub(super) fn cut(&self, destination: &str, parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
        let Some((_, settings)) = self.destinations.get(destination) else { return Vec::new() };
        let now = std::time::Instant::now();
        let mut batcher = Batcher::new(settings, Order::None);
        batcher.drain();
        for parcel in parcels {
            batcher.push(0, parcel, now);
        }
        let mut requests = Vec::new();
        while let crate::batch::Next::Send(request) = batcher.next(now) {
            requests.push(request.entries);
        }
        requests
    }

    /// Waits for its turn, then for all verdicts, however long that takes (Invariant 11). None where it was
    /// told to stop.
    pub(super) fn send(&self, destination: &str, messages: &[Message]) -> Option<Vec<Verdict>> {
        let (to, _) = self.destinations.get(destination)?;
        let sending = async {
            stop::point("before-request");
            let verdicts = to.deliver(messages).await;
            stop::point("after-request");
            verdicts
        };
        let verdicts = self.runtime.block_on(self.cancelled.run_until_cancelled(sending))?;
        tracing::info!(destination, events = messages.len(), "replayed");
        Some(verdicts)
    }

    /// Waits, unless it is told to stop.
    pub(super) fn rest(&self, time: Duration) {
        self.runtime.block_on(async {
            self.cancelled.run_until_cancelled(tokio::time::sleep(time)).await;
        });
    }

    /// Whether it was told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

/// The same destination, whose requests say that they are a replay's.
fn marked(settings: &config::Destination, generation: &str) -> config::Destination {
    let mut settings = settings.clone();
    settings.headers.insert(MARK.to_owned(), generation.to_owned());
    settings
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{from_value, json};

    use super::*;
    use crate::http::Client;

    fn settings() -> config::Destination {
        let settings = json!({
            "inlet": "http://127.0.0.1:9/collection/a",
            "dataset": "d",
            "schema": {"id": "https://ns.adobe.com/acme/schemas/a", "file": "a.json"},
            "batch": {"max_messages": 4, "max_bytes": 1000},
            "headers": {"x-of-theirs": "kept"},
        });
        from_value(settings).unwrap()
    }

    #[test]
    fn a_replays_requests_say_so() {
        let headers = marked(&settings(), "abc").headers;
        assert_eq!(headers[MARK], "abc");
        assert_eq!(headers["x-of-theirs"], "kept");
    }

    #[test]
    fn requests_keep_to_the_destinations_limits_and_the_order() {
        let aep: config::Aep = from_value(json!({"organisation": "0@AdobeOrg"})).unwrap();
        let client = Client::new(&aep, None, 1).unwrap();
        let quota = Arc::new(Quota::new(&config::Quota::default()));
        let access = Access { client, token: None, quota };
        let destination = Destination::new("a", &settings(), &aep, access).unwrap();
        let courier = Courier {
            destinations: BTreeMap::from([("a".into(), (destination, settings().batch))]),
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap(),
            cancelled: CancellationToken::new(),
        };
        let parcel = |(letter, bytes): (usize, usize)| Parcel {
            message: Message { bytes: Bytes::from(vec![b' '; bytes]) },
            letter,
        };
        let parcels = [10, 10, 10, 10, 10, 600, 600].into_iter().enumerate().map(parcel);
        let requests = courier.cut("a", parcels.collect());
        let letters = requests.iter().map(|request| request.iter().map(|p| p.letter).collect());
        assert_eq!(letters.collect::<Vec<Vec<_>>>(), [vec![0, 1, 2, 3], vec![4, 5], vec![6]]);
    }
}
