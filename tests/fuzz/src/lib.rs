//! What foreign bytes must never do: one function per parser, which panics where a promise about any
//! input is broken. `cargo xtask fuzz` looks for such input; `corpus/` holds what is worth keeping,
//! and the test below runs it each time.

mod component;
mod configuration;
mod response;

/// A promise about any input: panics where it does not hold.
pub type Target = fn(&[u8]);

/// The targets by name, which is also the name of their folder in `corpus/`.
pub const TARGETS: [(&str, Target); 3] = [
    ("response", response::run),
    ("component", component::run),
    ("configuration", configuration::run),
];

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    /// What libFuzzer allows an input in `cargo xtask fuzz`, too.
    const AT_MOST: Duration = Duration::from_secs(10);

    /// Runs what is kept for a target.
    fn replay(name: &str) {
        let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let begin = Instant::now();
            let done = std::panic::catch_unwind(|| target(&bytes));
            assert!(done.is_ok(), "`{}` breaks a promise, see above", path.display());
            assert!(begin.elapsed() < AT_MOST, "`{}`: {:?}", path.display(), begin.elapsed());
            inputs += 1;
        }
        assert!(inputs >= 10, "`{}` is empty", folder.display());
    }

    #[test]
    fn any_answer_of_aep_is_read_without_a_guess() {
        replay("response");
    }

    #[test]
    fn any_component_is_taken_or_refused() {
        replay("component");
    }

    #[test]
    fn any_configuration_loads_or_has_its_problems_in_place() {
        replay("configuration");
    }
}
