//! Writing metrics whose values are read when somebody scrapes.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A metric as the manual shows it.
#[derive(Clone, Copy)]
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) unit: Option<&'static str>,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test writes the manual"))]
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// The labels of one value.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One value.
pub(super) enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram: its sum, and how many fell up to each bound and above the one before.
    Buckets(f64, Vec<(f64, u64)>),
}

/// Writes one metric with its values; nothing where there are none.
pub(super) fn write(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Described,
    values: impl IntoIterator<Item = (Labels, Value)>,
) -> Result<(), Error> {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let unit = metric.unit.map(|unit| match unit {
        "bytes" => Unit::Bytes,
        _ => Unit::Seconds,
    });
    let kind = match metric.kind {
        "counter" => MetricType::Counter,
        "histogram" => MetricType::Histogram,
        _ => MetricType::Gauge,
    };
    let help = metric.help.trim_end_matches('.');
    let help = format!("{help}.");
    let mut lines = encoder.encode_descriptor(metric.name, &help, unit.as_ref(), kind)?;
    for (labels, value) in values {
        if labels.is_empty() {
            // A metric without labels has one value.
            return write_value(lines, metric, value);
        }
        write_value(lines.encode_family(&labels)?, metric, value)?;
    }
    Ok(())
}

fn write_value(
    mut encoder: MetricEncoder<'_>,
    metric: &Described,
    value: Value,
) -> Result<(), Error> {
    match value {
        Value::Number(number) if metric.kind == "counter" => {
            ConstCounter::new(number).encode(encoder)
        }
        Value::Number(number) => ConstGauge::new(number).encode(encoder),
        Value::Buckets(sum, buckets) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<Labels>(sum, count, &buckets, None)
        }
    }
}

/// A count as a metric has it. Counts beyond 2^53 lose their last digits.
#[expect(clippy::cast_precision_loss, reason = "a metric is a floating-point number")]
pub(super) fn number(count: u64) -> Value {
    Value::Number(count as f64)
}
