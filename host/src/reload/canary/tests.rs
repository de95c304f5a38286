use serde_json::json;

use super::*;
use crate::fault::Code;
use crate::plugin::StandIn;
use crate::rig;

const NONE: StandIn = |_, _| Vec::new();

fn pipeline(generation: &str) -> Pipeline {
    rig::pipeline(generation, &json!({"type": "object", "properties": {}}), NONE)
}

fn generation(name: &str, pipelines: Vec<Pipeline>) -> Generation {
    let pipelines =
        pipelines.into_iter().map(|one| (Arc::clone(&one.name), Arc::new(one))).collect();
    Generation { name: name.into(), pipelines }
}

fn generations() -> [Generation; 2] {
    ["g1", "g2"].map(|name| generation(name, vec![pipeline(name)]))
}

fn start(settings: &CanarySettings) -> (Arc<Beside>, [Generation; 2], Canary) {
    let (beside, [running, candidate]) = (Arc::default(), generations());
    let canary = Canary::start(&beside, &running, &candidate, settings).unwrap();
    (beside, [running, candidate], canary)
}

fn keyed(key: &str) -> Record {
    Record { key: Some(key.to_owned().into()), ..rig::record(0) }
}

#[test]
fn a_key_stays_with_its_side_and_the_share_is_kept() {
    let (beside, [running, _], _canary) =
        start(&CanarySettings { share: 0.1, ..CanarySettings::default() });
    let pair = beside.canary(&running.pipelines["orders"]).unwrap();
    let partition = rig::partition_id();
    let taken = |key: &str, offset| pair.takes(&partition, &Record { offset, ..keyed(key) });
    let keys: Vec<String> = (0..10_000).map(|key| format!("customer-{key}")).collect();
    let share = keys.iter().filter(|key| taken(key, 0)).count();
    assert!((900..1_100).contains(&share), "{share}");
    assert!(keys.iter().all(|key| taken(key, 0) == taken(key, 77)));
    let without =
        (0..10_000).filter(|offset| pair.takes(&partition, &rig::record(*offset))).count();
    assert!((900..1_100).contains(&without), "{without}");
}

#[test]
fn only_the_running_generations_own_pipeline_is_divided_and_only_while_it_stands() {
    let (beside, [running, candidate], canary) = start(&CanarySettings::default());
    let (ours, theirs) = (&running.pipelines["orders"], &candidate.pipelines["orders"]);
    assert!(beside.canary(ours).is_some() && beside.canary(theirs).is_none());
    let second = Canary::start(&beside, &running, &candidate, &CanarySettings::default());
    assert!(second.err().unwrap().to_string().starts_with("a canary runs already"));
    drop(canary);
    assert!(beside.canary(ours).is_none() && beside.get().is_none());
}

fn filter(word: &str) -> Outcome {
    Outcome::Filter(word.to_owned())
}

#[test]
fn invariant_3_outcomes_are_merged_in_the_order_of_the_records() {
    let sides = [false, true, true, false, true];
    let outcomes = |running: &[&str], candidate: &[&str]| -> Vec<String> {
        let [running, candidate] =
            [running, candidate].map(|words| words.iter().map(|word| filter(word)).collect());
        let words = merge(&sides, running, candidate).into_iter().map(|outcome| match outcome {
            Outcome::Filter(word) => word,
            _ => String::new(),
        });
        words.collect()
    };
    assert_eq!(outcomes(&["0", "3"], &["1", "2", "4"]), ["0", "1", "2", "3", "4"]);
    assert_eq!(outcomes(&["0", "3"], &["1"]), ["0", "1"], "the third has none yet");
    assert_eq!(outcomes(&["0"], &["1", "2", "4"]), ["0", "1", "2"]);
    assert_eq!(outcomes(&[], &["1"]), [""; 0]);
}

#[test]
fn it_is_rolled_back_by_itself_and_says_how_many_records_are_affected() {
    let rule = Rule { min_records: 100, ..Rule::default() };
    let (beside, [running, _], canary) = start(&CanarySettings { share: 0.5, rule });
    let pair = beside.canary(&running.pipelines["orders"]).unwrap();
    let counts = |side: &Arc<Pipeline>| Arc::clone(side.origin.counts.as_ref().unwrap());
    let (old, new) = (counts(pair.running()), counts(pair.candidate()));
    for offset in 0..100 {
        assert_eq!(canary.judge(Instant::now()), None);
        old.mapped(1);
        old.delivered();
        new.mapped(1);
        match offset % 30 {
            7 => new.dead_lettered(Code::Rejected, &rig::partition_id(), offset),
            8 => new.filtered(),
            _ => new.delivered(),
        }
    }
    let Some(Verdict::RollBack(why)) = canary.judge(Instant::now()) else { panic!("it goes on") };
    assert!(why.starts_with("pipeline `orders`: 4 of 100 records of the candidate"), "{why}");
    canary.roll_back(&why);
    assert_eq!(canary.judge(Instant::now()), None, "it has ended");
    assert!(beside.get().is_none());
    let report = canary.report();
    assert_eq!((report.state, report.affected_records), (CanaryState::RolledBack, 4));
    assert_eq!(report.pipelines["orders"].candidate.first_dead_letters[0].offset, 7);
    // A verdict that comes late.
    new.dead_lettered(Code::Refused, &rig::partition_id(), 200);
    let page = canary.report().to_string();
    assert!(
        page.contains("100 records were mapped by the candidate, 5 of them are dead letters"),
        "{page}"
    );
}

#[test]
fn a_candidate_that_fails_on_everything_has_no_more_keys_before_anybody_asks_the_rule() {
    let (beside, [running, _], canary) = start(&CanarySettings::default());
    let ours = &running.pipelines["orders"];
    let pair = beside.canary(ours).unwrap();
    let new = Arc::clone(pair.candidate().origin.counts.as_ref().unwrap());
    for offset in 0..10 {
        assert!(beside.canary(ours).is_some(), "{offset}");
        new.mapped(1);
        new.dead_lettered(Code::PluginTrap, &rig::partition_id(), offset);
    }
    assert!(beside.canary(ours).is_none());
    // What was on its way ends well, and changes nothing.
    (0..1_000).for_each(|_| new.delivered());
    let Some(Verdict::RollBack(why)) = canary.judge(Instant::now()) else { panic!("it goes on") };
    assert!(why.starts_with("pipeline `orders`: 10 of 10 records"), "{why}");
}

#[test]
fn a_candidate_without_an_instance_is_rolled_back() {
    let (beside, [running, _], canary) = start(&CanarySettings::default());
    let ours = &running.pipelines["orders"];
    beside.canary(ours).unwrap().give_up(&RunError::Stopped);
    assert!(beside.canary(ours).is_none(), "its keys are the running generation's at once");
    let Some(Verdict::RollBack(why)) = canary.judge(Instant::now()) else { panic!("it goes on") };
    assert!(why.contains("has no instance"), "{why}");
}

#[test]
fn a_canary_needs_the_same_around_its_chains() {
    let refused = |change: fn(&mut Pipeline)| {
        let mut other = pipeline("g2");
        change(&mut other);
        let (running, candidate) =
            (generation("g1", vec![pipeline("g1")]), generation("g2", vec![other]));
        let started =
            Canary::start(&Arc::default(), &running, &candidate, &CanarySettings::default());
        started.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(|_| ()), "");
    assert_eq!(
        refused(|other| other.topics.push("more".to_owned())),
        "a canary needs the same topics on both sides, and pipeline `orders` has others; reload instead"
    );
    assert!(refused(|other| other.id_epoch.push('2')).contains("same `id_epoch`"));
    assert!(
        refused(|other| other.routes[0].schema_hash = blake3::hash(b"x")).contains("same schemas")
    );
    assert!(refused(|other| other.routes[0].name = "x".into()).contains("same destinations"));
    assert!(refused(|other| other.name = "x".into()).contains("same pipelines"));
    let one = pipeline("g1");
    let same = Pipeline { origin: rig::origin(), ..one.clone() };
    let (running, candidate) = (generation("g1", vec![one]), generation("g2", vec![same]));
    let started = Canary::start(&Arc::default(), &running, &candidate, &CanarySettings::default());
    assert!(started.err().unwrap().to_string().contains("nothing to try"));
}
