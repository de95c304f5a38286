//! What becomes of records and settlements while partitions come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assigned::{Assigned, Topic, Topics};
use super::follow::{Change, Followed};
use crate::batch::{Outbound, Outbox};
use crate::config;
use crate::deliver::Message;
use crate::id::Ids;
use crate::kafka::{Assignments as _, Beginning};
use crate::record::{PartitionId, Record};
use crate::rig;
use crate::settle::{Budget, Debt, Owed, Settlement};
use crate::telemetry::Metrics;
use crate::transform::{Lane, Ready, Turn};

/// The topics `orders` and `returns`, a pipeline each, and what is assigned of them.
struct World {
    assigned: Arc<Assigned>,
    ready: Arc<Ready>,
    budget: Arc<Budget>,
    outbox: Arc<Outbox>,
}

impl World {
    fn new() -> Self {
        let (ready, budget) = (Arc::<Ready>::default(), Arc::new(Budget::new(8 << 10)));
        let settings = rig::nowhere();
        let outbox = Outbox::new(rig::destination(&settings), &settings);
        let assigned = Assigned::new(&budget, &ready, &rig::dead_letters(), Metrics::new());
        let world = Self { assigned, ready, budget, outbox };
        world.follow(["orders", "returns"].map(topic).into(), &[]);
        world
    }

    /// Another generation is current, in which these pipelines are others.
    fn follow(&self, topics: Topics, changed: &[&str]) -> Followed {
        let changed = changed.iter().map(|name| (*name).into()).collect();
        let outboxes = vec![Arc::clone(&self.outbox)];
        self.assigned.follow(Change { topics, changed, outboxes }, || ())
    }

    fn assign(&self, id: &PartitionId) {
        let beginning = Beginning::At { offset: 0, fresh: true };
        self.assigned.assigned(&[(id.clone(), beginning)]);
    }

    /// A record of `orders` is fetched and begun.
    fn begin(&self, offset: i64) -> Debt {
        let (lane, record) = self.take(offset);
        Debt::new(Arc::clone(&lane.partition), record)
    }

    /// A record of `orders` is fetched; whether it is taken in.
    fn fetch(&self, offset: i64) -> bool {
        let in_flight =
            || self.assigned.states().iter().map(|state| state.in_flight).sum::<usize>();
        let before = in_flight();
        self.assigned.accept(&rig::partition_id(), rig::record(offset), false);
        in_flight() > before
    }

    fn take(&self, offset: i64) -> (Arc<Lane>, Record) {
        assert!(self.fetch(offset));
        let Turn::Lane(lane) = self.ready.take(false, &mut 0) else { unreachable!() };
        let limits = crate::plugin::CallLimits { records: 1, bytes: 1 };
        let record = lane.take(limits).remove(0);
        self.ready.give_back(&lane, usize::MAX);
        (lane, record)
    }

    /// Carries settlements to the trackers, and gives the positions that moved.
    fn moved(&self) -> Vec<(PartitionId, i64)> {
        let mut settled = Vec::new();
        self.assigned.take(&mut settled, Duration::ZERO);
        self.assigned.apply(&mut settled);
        self.assigned.moved()
    }

    fn halted(&self) -> BTreeMap<String, bool> {
        let states = self.assigned.states();
        states.iter().map(|state| (state.id.topic.to_string(), state.halted.is_some())).collect()
    }
}

fn topic(name: &str) -> (String, Topic) {
    let topic = Topic {
        pipeline: name.into(),
        ids: Ids::new("cluster", name, "", name),
        storm: config::Storm { percent: 50, records: 4 },
        quarantine: config::Quarantine::default(),
    };
    (name.to_owned(), topic)
}

fn returns() -> PartitionId {
    PartitionId { topic: "returns".into(), partition: 0 }
}

#[test]
fn invariant_1_only_what_is_settled_moves_the_position() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let (first, second) = (world.begin(0), world.begin(1));
    assert_eq!(world.moved(), []);
    second.settle(Settlement::Delivered);
    assert_eq!(world.moved(), []);
    first.settle(Settlement::Filtered);
    assert_eq!(world.moved(), [(rig::partition_id(), 2)]);
    assert_eq!(world.moved(), [], "told once");
}

#[test]
fn invariant_1_an_assignment_that_is_over_moves_nothing() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let old = world.begin(0);
    world.assigned.revoked(&[rig::partition_id()], true);
    world.assign(&rig::partition_id());
    let new = world.begin(0);
    old.settle(Settlement::Delivered);
    assert_eq!(world.moved(), []);
    new.settle(Settlement::Delivered);
    assert_eq!(world.moved(), [(rig::partition_id(), 1)]);
}

#[test]
fn invariant_1_a_lost_partition_commits_nothing() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.begin(0).settle(Settlement::Delivered);
    world.moved();
    assert_eq!(world.assigned.revoked(&[rig::partition_id()], true), []);
}

#[test]
fn invariant_8_a_revoked_partition_settles_what_was_begun_and_commits_it() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.begin(0).settle(Settlement::Delivered);
    let begun = world.begin(1);
    // Not begun: it comes again elsewhere.
    assert!(world.fetch(2));
    let partition = Arc::clone(begun.partition());
    let worker = std::thread::spawn(move || {
        while !partition.is_closed() {
            std::thread::yield_now();
        }
        begun.settle(Settlement::Delivered);
    });
    let positions = world.assigned.revoked(&[rig::partition_id()], false);
    worker.join().unwrap();
    assert_eq!(positions, [(rig::partition_id(), 2)]);
    assert_eq!(world.budget.used(), 0);
}

#[test]
fn invariant_3_events_of_a_partition_that_is_gone_are_not_sent() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let debt = world.begin(0);
    let partition = Arc::clone(debt.partition());
    let owed = Owed::new(debt, 1, &rig::origin(), &rig::dead_letters());
    let message = Message { bytes: bytes::Bytes::from_static(b"{}") };
    world.outbox.push(&partition, vec![Outbound { message, owed, index: 0 }]);
    assert_eq!(world.outbox.waiting(), 1);
    world.assigned.revoked(&[rig::partition_id()], true);
    assert_eq!(world.outbox.waiting(), 0);
}

#[test]
fn invariant_4_a_record_is_charged_when_it_is_fetched_and_where_it_is_crowded_shares_hold() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let debts: Vec<Debt> = (0..5).map(|offset| world.begin(offset)).collect();
    assert_eq!(world.budget.used(), 5 * rig::record(0).weight());
    assert_eq!(world.assigned.shares(false), (vec![], vec![]), "there is room");
    assert_eq!(world.assigned.shares(true), (vec![rig::partition_id()], vec![]));
    drop(debts);
    assert_eq!(world.assigned.shares(true), (vec![], vec![rig::partition_id()]));
    // Asked at every record, not only now and then.
    let id = rig::partition_id();
    let paused: Vec<bool> =
        (5..9).map(|offset| world.assigned.accept(&id, rig::record(offset), true)).collect();
    assert_eq!(paused, [false, false, true, false], "told once");
    assert_eq!(world.assigned.shares(false), (vec![], vec![id]), "there is room again");
}

#[test]
fn invariant_9_offsets_that_run_backwards_halt_their_pipeline_and_no_other() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.assign(&returns());
    assert!(world.fetch(5));
    assert!(!world.fetch(4));
    assert!(!world.fetch(6), "halted for good");
    assert_eq!(world.halted(), [("orders".to_owned(), true), ("returns".to_owned(), false)].into());
    let paused = vec![rig::partition_id()];
    assert_eq!(world.assigned.shares(false), (paused, vec![]));
    assert_eq!(world.assigned.shares(false), (vec![], vec![]), "and stays so");
}

#[test]
fn invariant_9_a_beginning_beyond_the_log_halts_and_stays_halted_over_a_rebalance() {
    let world = World::new();
    let halted = Beginning::Halted("beyond the end".to_owned());
    world.assigned.assigned(&[(rig::partition_id(), halted)]);
    assert!(!world.fetch(0));
    world.assigned.revoked(&[rig::partition_id()], false);
    world.assign(&rig::partition_id());
    assert!(!world.fetch(0));
}

#[test]
fn dead_letters_of_a_canary_halt_nothing() {
    let world = World::new();
    world.assign(&rig::partition_id());
    for offset in 0..20 {
        let mut debt = world.begin(offset);
        debt.excuse();
        debt.settle(Settlement::DeadLettered);
        world.moved();
    }
    assert_eq!(world.halted().get("orders"), Some(&false));
}

#[test]
fn a_storm_of_dead_letters_halts_its_pipeline() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.assign(&returns());
    for offset in 0..3 {
        assert_eq!(world.halted().get("orders"), Some(&false), "at {offset}");
        world.begin(offset).settle(Settlement::DeadLettered);
        world.moved();
    }
    assert_eq!(world.halted(), [("orders".to_owned(), true), ("returns".to_owned(), false)].into());
}

/// `orders` with another `id_epoch`, and `returns`.
fn another_epoch() -> Topics {
    let (name, orders) = topic("orders");
    let orders = Topic { ids: Ids::new("cluster", "orders", "2", "orders"), ..orders };
    [(name, orders), topic("returns")].into()
}

fn both() -> Topics {
    ["orders", "returns"].map(topic).into()
}

#[test]
fn invariant_5_what_stays_the_same_goes_on_in_its_term() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let begun = world.begin(0);
    assert!(world.fetch(1));
    assert_eq!(world.follow(both(), &["orders"]), Followed::default());
    assert!(world.fetch(2));
    begun.settle(Settlement::Delivered);
    assert_eq!(world.moved(), [(rig::partition_id(), 1)]);
    assert_eq!(world.assigned.begin_again(Instant::now()), []);
}

#[test]
fn invariant_5_other_ids_begin_when_all_that_began_under_the_old_ones_is_settled() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.assign(&returns());
    let (lane, record) = world.take(0);
    let old = Debt::new(Arc::clone(&lane.partition), record);
    assert!(world.fetch(1));
    let followed = world.follow(another_epoch(), &["orders"]);
    assert_eq!(followed.again, [rig::partition_id()]);
    assert!(!world.fetch(2), "it comes again");
    assert_eq!(world.assigned.begin_again(Instant::now()), []);
    old.settle(Settlement::Delivered);
    assert_eq!(world.moved(), [(rig::partition_id(), 1)]);
    let again = world.assigned.begin_again(Instant::now());
    assert_eq!(again, [(rig::partition_id(), Some(1))]);
    assert_eq!(world.budget.used(), 0);
    assert_eq!(world.moved(), [(rig::partition_id(), 1)], "stored once more, in the new term");
    // The old lane still stood in the queue.
    let Turn::Lane(stale) = world.ready.take(false, &mut 0) else { unreachable!() };
    assert!(Arc::ptr_eq(&stale, &lane));
    world.ready.give_back(&stale, usize::MAX);
    let (new, _) = world.take(1);
    assert_eq!(new.ids, another_epoch()["orders"].ids);
    assert!(new.partition.term > lane.partition.term);
    assert_eq!(world.assigned.begin_again(Instant::now()), []);
}

#[test]
fn invariant_8_what_is_given_up_comes_again_from_the_settled_prefix() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.begin(0).settle(Settlement::Delivered);
    world.moved();
    let debt = world.begin(1);
    let partition = Arc::clone(debt.partition());
    let owed = Owed::new(debt, 1, &rig::origin(), &rig::dead_letters());
    let message = Message { bytes: bytes::Bytes::from_static(b"{}") };
    world.outbox.push(&partition, vec![Outbound { message, owed: Arc::clone(&owed), index: 0 }]);
    assert_eq!(world.assigned.give_up(&[partition.term]), [rig::partition_id()]);
    assert_eq!(world.outbox.terms(), [0_u64; 0]);
    owed.answer(0, Ok(()));
    let again = world.assigned.begin_again(Instant::now());
    assert_eq!(again, [(rig::partition_id(), Some(1))]);
    assert_eq!(world.moved(), [(rig::partition_id(), 1)], "the old term moves nothing");
    assert!(world.fetch(1));
}

#[test]
fn a_halt_for_bad_records_is_lifted_with_its_pipeline_and_no_other() {
    let world = World::new();
    world.assign(&rig::partition_id());
    for offset in 0..3 {
        world.begin(offset).settle(Settlement::DeadLettered);
        world.moved();
    }
    assert_eq!(world.follow(both(), &["returns"]), Followed::default());
    assert!(!world.fetch(3));
    let followed = world.follow(both(), &["orders"]);
    assert_eq!(followed.lifted, ["orders".into()]);
    assert_eq!(followed.again, [rig::partition_id()]);
    assert_eq!(
        world.assigned.begin_again(Instant::now()),
        [(rig::partition_id(), Some(3))],
        "where it is settled"
    );
    assert!(world.fetch(3));
    // It is counted from nothing.
    world.begin(4).settle(Settlement::DeadLettered);
    world.moved();
    assert_eq!(world.halted().get("orders"), Some(&false));
}

#[test]
fn invariant_9_a_halt_for_offsets_that_ran_backwards_is_not_lifted() {
    let world = World::new();
    world.assign(&rig::partition_id());
    assert!(world.fetch(5));
    assert!(!world.fetch(4));
    assert_eq!(world.follow(both(), &["orders"]), Followed::default());
    assert_eq!(world.halted().get("orders"), Some(&true));
}

#[test]
fn a_topic_that_goes_takes_nothing_more_and_comes_back_where_it_is_settled() {
    let world = World::new();
    world.assign(&rig::partition_id());
    world.begin(0).settle(Settlement::Delivered);
    world.moved();
    assert!(world.fetch(1));
    assert_eq!(world.follow([topic("returns")].into(), &["orders"]), Followed::default());
    assert!(!world.fetch(2));
    assert_eq!(world.assigned.topics(), ["returns"]);
    assert_eq!(world.assigned.begin_again(Instant::now()), [], "the group takes it away");
    assert_eq!(world.budget.used(), 0);
    // Back before the group did.
    assert_eq!(world.follow(both(), &[]).again, [rig::partition_id()]);
    let again = world.assigned.begin_again(Instant::now());
    assert_eq!(again, [(rig::partition_id(), Some(1))]);
}

#[test]
fn a_partition_remembers_under_which_generations_its_records_began() {
    let world = World::new();
    world.assign(&rig::partition_id());
    let (lane, _) = world.take(0);
    let names: [Arc<str>; 2] = ["one".into(), "two".into()];
    lane.note(1, &names[0], 0);
    lane.note(1, &names[0], 5);
    lane.note(2, &names[1], 9);
    lane.note(3, &names[1], 12);
    let begun = || {
        let states = world.assigned.states();
        states[0].begun.iter().map(|b| (b.generation.to_string(), b.offset)).collect::<Vec<_>>()
    };
    assert_eq!(begun(), [("one".to_owned(), 0), ("two".to_owned(), 9)]);
    // Given again, they begin under another.
    lane.note(4, &names[0], 7);
    assert_eq!(begun(), [("one".to_owned(), 0)]);
    for (number, offset) in (5..30).zip(10..) {
        lane.note(number, &names[usize::try_from(number % 2).unwrap()], offset);
    }
    assert_eq!(begun().len(), 8);
    world.assigned.give_up(&[lane.partition.term]);
    world.assigned.begin_again(Instant::now());
    assert_eq!(begun(), [], "all of it begins again");
}
