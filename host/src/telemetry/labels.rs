//! The labels of metrics. Bounded by the configuration, the topics and our own codes: never a key,
//! an offset or anything that a record says.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

/// Labels with their names, for the manual.
#[cfg(test)]
pub(super) trait Named {
    /// The names in order.
    const NAMES: &'static [&'static str];
}

/// Declares sets of labels.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            #[cfg(test)]
            impl Named for $name {
                const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
            }
        )*
    };
}

labels! {
    /// Of a topic in its pipeline.
    TopicLabels {
        /// The pipeline.
        pipeline: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    }

    /// Of a partition.
    PartitionLabels {
        /// The pipeline.
        pipeline: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// The partition's number.
        partition: i32,
    }

    /// How records of a pipeline were settled.
    SettlementLabels {
        /// The pipeline.
        pipeline: Arc<str>,
        /// `delivered`, `filtered` or `dead-lettered`.
        settlement: &'static str,
    }

    /// A fault in a pipeline.
    PipelineCode {
        /// The pipeline.
        pipeline: Arc<str>,
        /// The fault's code.
        code: &'static str,
    }

    /// A plugin in a pipeline.
    PluginLabels {
        /// The pipeline.
        pipeline: Arc<str>,
        /// The plugin.
        plugin: Arc<str>,
    }

    /// Lines of a plugin.
    PluginLevel {
        /// The plugin.
        plugin: Arc<str>,
        /// `trace`, `debug`, `info`, `warn` or `error`.
        level: &'static str,
    }

    /// A destination of a pipeline.
    PipelineDestination {
        /// The pipeline.
        pipeline: Arc<str>,
        /// The destination.
        destination: Arc<str>,
    }

    /// A destination.
    DestinationLabels {
        /// The destination.
        destination: Arc<str>,
    }

    /// A code at a destination.
    DestinationCode {
        /// The destination.
        destination: Arc<str>,
        /// The code.
        code: &'static str,
    }

    /// A reload.
    ReloadLabels {
        /// `files`, `signal`, `asked` or `canary`.
        cause: &'static str,
        /// `swapped`, `unchanged`, `refused` or `restart-needed`.
        outcome: &'static str,
    }

    /// The generation.
    GenerationLabels {
        /// Its name.
        generation: Arc<str>,
    }

    /// A plugin's component.
    PluginDigest {
        /// The plugin.
        plugin: Arc<str>,
        /// The component's digest.
        digest: Arc<str>,
    }

    /// The program.
    VersionLabels {
        /// Its version.
        version: &'static str,
    }
}
