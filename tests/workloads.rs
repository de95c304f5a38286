//! The benchmarks' events are XDM as Adobe publishes it.

use xylem_bench_order::{map, workload};
use xylem_tests::samples;

#[test]
fn benchmark_events_are_valid_under_the_composed_bundle() {
    let Some(samples) = samples() else { return };
    let bundle = samples.join("xdm-bundles/experienceevent-closed.schema.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(bundle).unwrap()).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    for number in 0..100 {
        for order in [workload::order(number), workload::order1k(number)] {
            let event = serde_json::from_str(&map(&order).unwrap().unwrap()).unwrap();
            let errors: Vec<_> = validator.iter_errors(&event).map(|e| e.to_string()).collect();
            assert_eq!(errors, [""; 0], "{event}");
        }
    }
}
