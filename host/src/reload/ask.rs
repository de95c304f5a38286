//! What a shadow and a canary are asked for, as it comes over the wire.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::canary::{CanarySettings, Rule};
use super::compare::Show;
use super::shadow::ShadowSettings;
use crate::config;

/// The most values for each path: a report is read by a person.
const MAX_EXAMPLES: usize = 20;

/// The longest that a shadow or a canary may take, in seconds: a week.
const MAX_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What a shadow is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowAsk {
    /// The candidate's configuration; absent means what the running one's file holds now.
    pub candidate: Option<PathBuf>,
    /// The pipelines; none means all that both have.
    pub pipelines: Vec<String>,
    /// The share of calls that it sees, above 0 and up to 1; 0.1 by default.
    pub share: Option<f64>,
    /// It ends after this time, in seconds; 600 by default.
    pub seconds: Option<u64>,
    /// It ends after so many records; 100,000 by default.
    pub records: Option<u64>,
    /// Values shown for each path, up to 20. They are contents of records: none by default.
    pub examples: usize,
    /// JSON pointers of values that are never shown; `*` stands for any key or item.
    pub redact: Vec<String>,
}

/// What a canary is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CanaryAsk {
    /// The candidate's configuration; absent means what the running one's file holds now.
    pub candidate: Option<PathBuf>,
    /// The share of keys that it has, above 0 and below 1; 0.05 by default.
    pub share: Option<f64>,
    /// How long it may take to decide, in seconds; 600 by default.
    pub seconds: Option<u64>,
    /// Records of each side whose fate has to be known, in each pipeline that differs; 1,000 by default.
    pub min_records: Option<u64>,
    /// How many percentage points more dead letters are tolerated; 1 by default.
    pub tolerance_percent: Option<f64>,
}

fn share(asked: Option<f64>, default: f64) -> Result<f64, String> {
    match asked {
        None => Ok(default),
        Some(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Some(share) => {
            Err(format!("`share` is {share}; it has to be above 0 and at most 1, such as 0.05"))
        }
    }
}

fn time(asked: Option<u64>, default: Duration) -> Result<Duration, String> {
    match asked {
        None => Ok(default),
        Some(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => {
            Err(format!("`seconds` is {seconds}; it has to be from 1 to {MAX_SECONDS}, a week"))
        }
    }
}

/// A pointer into `_tenant`, as mappings write it, goes to the tenant's own key.
fn with_tenant(path: &str, tenant: Option<&str>) -> String {
    match (path.strip_prefix("/_tenant"), tenant) {
        (Some(rest), Some(tenant)) if rest.is_empty() || rest.starts_with('/') => {
            format!("/{tenant}{rest}")
        }
        _ => path.to_owned(),
    }
}

/// A JSON pointer that hides something.
fn is_pointer(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !part.is_empty()))
}

impl ShadowAsk {
    pub(super) fn settings(&self, tenant: Option<&str>) -> Result<ShadowSettings, String> {
        let default = ShadowSettings::default();
        if let Some(path) = self.redact.iter().find(|path| !is_pointer(path)) {
            return Err(format!("`redact` has `{path}`; a JSON pointer is like `/person/name`"));
        }
        if self.records == Some(0) {
            return Err("`records` is 0; it has to be 1 or more".to_owned());
        }
        let redact = self.redact.iter().map(|path| with_tenant(path, tenant)).collect();
        Ok(ShadowSettings {
            pipelines: self.pipelines.clone(),
            share: share(self.share, default.share)?,
            records: self.records.unwrap_or(default.records),
            time: time(self.seconds, default.time)?,
            show: Show { examples: self.examples.min(MAX_EXAMPLES), redact },
        })
    }
}

impl CanaryAsk {
    pub(super) fn settings(&self, reload: &config::Reload) -> Result<CanarySettings, String> {
        let default = CanarySettings::default();
        let tolerance =
            self.tolerance_percent.map_or(default.rule.tolerance, |percent| percent / 100.0);
        if !(0.0..=1.0).contains(&tolerance) {
            return Err("`tolerance_percent` has to be from 0 to 100".to_owned());
        }
        if self.share == Some(1.0) {
            return Err("`share` is 1; a canary needs keys on both sides to compare".to_owned());
        }
        Ok(CanarySettings {
            share: share(self.share, default.share)?,
            rule: Rule {
                min_records: self.min_records.unwrap_or(default.rule.min_records).max(1),
                time: time(self.seconds, default.rule.time)?,
                tolerance,
                max_cpu_ratio: f64::from(reload.max_cpu_ratio),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_held_to_its_range() {
        let shadow = |ask: ShadowAsk| ask.settings(Some("_acme")).map(|settings| settings.share);
        assert_eq!(shadow(ShadowAsk::default()), Ok(0.1));
        assert_eq!(shadow(ShadowAsk { share: Some(1.0), ..ShadowAsk::default() }), Ok(1.0));
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(shadow(ShadowAsk { share: Some(share), ..ShadowAsk::default() }).is_err());
        }
        for path in ["person", "/", "/person/", "/a//b"] {
            let redact = vec![path.to_owned()];
            assert!(shadow(ShadowAsk { redact, ..ShadowAsk::default() }).is_err(), "{path}");
        }
        for seconds in [0, MAX_SECONDS + 1, u64::MAX] {
            let seconds = Some(seconds);
            assert!(shadow(ShadowAsk { seconds, ..ShadowAsk::default() }).is_err());
        }
        assert!(shadow(ShadowAsk { records: Some(0), ..ShadowAsk::default() }).is_err());
        let redact = vec!["/_tenant/card".to_owned(), "/_tenants".to_owned()];
        let settings =
            ShadowAsk { redact, ..ShadowAsk::default() }.settings(Some("_acme")).unwrap();
        assert_eq!(settings.show.redact, ["/_acme/card", "/_tenants"]);

        let rule = |ask: CanaryAsk| ask.settings(&config::Reload::default()).map(|s| s.rule);
        let given =
            CanaryAsk { tolerance_percent: Some(2.0), seconds: Some(5), ..CanaryAsk::default() };
        let expected = Rule { tolerance: 0.02, time: Duration::from_secs(5), ..Rule::default() };
        assert_eq!(rule(given), Ok(expected));
        assert!(rule(CanaryAsk { share: Some(1.0), ..CanaryAsk::default() }).is_err());
        assert!(
            rule(CanaryAsk { tolerance_percent: Some(101.0), ..CanaryAsk::default() }).is_err()
        );
    }
}
