//! Faults: why something failed, as a stable code, a domain, and what to do next.

use std::fmt;

/// Who has to act, and so what the host does (promise 11: only `record` faults, and a plugin's on
/// that record, are dead-lettered; the other domains pause and retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// The record itself: dead-lettered.
    Record,
    /// The plugin, on this record: dead-lettered.
    Plugin,
    /// Network, AEP or Kafka are away: retried for as long as it takes.
    Infrastructure,
    /// The token is refused: a new one is fetched, then retried.
    Auth,
    /// Too much for now: slowed down, retried.
    Quota,
    /// The configuration is wrong: paused, tried again once a minute.
    Configuration,
}

impl Domain {
    /// The domain's name in labels, headers and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Plugin => "plugin",
            Self::Infrastructure => "infrastructure",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Configuration => "configuration",
        }
    }

    /// Whether a record with a fault of this domain goes to the dead-letter topic.
    pub fn is_dead_lettered(self) -> bool {
        matches!(self, Self::Record | Self::Plugin)
    }
}

/// Declares [`Code`] with its text, domain, meaning and advice in one place.
macro_rules! codes {
    ($($variant:ident $text:literal $domain:ident $meaning:literal $advice:literal;)*) => {
        /// A stable code; never reused for anything else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code's name in labels, headers and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Who has to act.
            pub fn domain(self) -> Domain {
                match self { $(Self::$variant => Domain::$domain,)* }
            }

            /// What the code means, as a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    NotUtf8 "record.not-utf8" Record
        "The payload or key of a text pipeline is not UTF-8."
        "Set `payload: bytes` and let the plugin decode, or mend the producer.";
    Tombstone "record.tombstone" Record
        "A record without a value reached a pipeline with `tombstones: reject`."
        "Set `tombstones: filter` or `plugin`, or stop producing null values.";
    Rejected "record.rejected" Record
        "A plugin rejected the record."
        "Read the plugin's own code and message; mend the source or the mapping, then send the record again.";
    TooLarge "record.too-large" Record
        "One event with its header is larger than a request may be."
        "Split the event in the plugin, or drop the part that is too large.";
    Oversize "record.oversize" Record
        "AEP's Profile drops an event of this size after accepting it (10 KB for events, 100 KB for records)."
        "Make the event smaller, set `profile: false` for a dataset outside Profile, or `oversize: warn`.";
    SchemaInvalid "schema.invalid" Record
        "An event is not valid under the destination's XDM schema."
        "Read the pointers and messages; mend the mapping or the schema file, then send the record again.";
    Refused "aep.refused" Record
        "AEP refused one message and took others."
        "Read AEP's own words; mend the mapping, then send the record again.";

    PluginTrap "plugin.trap" Plugin
        "The plugin stopped with a trap or a panic on this record."
        "Read the guest's message and backtrace; mend the plugin, then send the record again.";
    PluginDeadline "plugin.deadline" Plugin
        "The plugin used more CPU time on this record alone than `max_cpu_ms` allows."
        "Look for a loop; or raise `plugins.NAME.max_cpu_ms`.";
    PluginMemory "plugin.memory" Plugin
        "The plugin asked for more memory than `max_memory_bytes` allows."
        "Raise `plugins.NAME.max_memory_bytes`, or make the plugin use less.";
    PluginBlocked "plugin.blocked" Plugin
        "The plugin waited for something that never comes: a timer, input or a socket."
        "Remove the wait: plugins have no network, no input and a clock that stands still.";
    PluginCount "plugin.count" Plugin
        "The plugin answered with another number of outcomes than it was given records."
        "Return exactly one outcome for each record, in the same order.";
    PluginEmptyEmit "plugin.empty-emit" Plugin
        "The plugin emitted an empty list."
        "Return `filter` with a reason when there is nothing to send.";
    PluginRoute "plugin.route" Plugin
        "The plugin named a route that is not among the pipeline's destinations."
        "List the destination in the pipeline, or mend the route.";
    PluginOperation "plugin.operation" Plugin
        "The plugin asked for an update or delete at a destination in `xdm` mode."
        "Use a destination with `mode: raw`, or emit without an operation.";
    PluginOutput "plugin.output" Plugin
        "The plugin emitted something that is not a JSON object."
        "Emit one JSON object per event.";
    PluginOutputSize "plugin.output-size" Plugin
        "The plugin's answer is larger than the host takes from one call."
        "Emit less per record.";

    Unreachable "aep.unreachable" Infrastructure
        "AEP cannot be reached: name, route, TLS or proxy."
        "Nothing is lost; delivery goes on when AEP answers. Check network, proxy and the inlet's host.";
    Unavailable "aep.unavailable" Infrastructure
        "AEP answered with a server error (500, 502 and above) or a timeout (408)."
        "Nothing is lost; delivery goes on when AEP recovers.";
    UnknownOutcome "aep.unknown-outcome" Infrastructure
        "Nobody knows what AEP took: the answer does not say, or broke off, or did not come in time."
        "Nothing is lost; the same ids are sent again, in the end one at a time. If it lasts, look at what stands between xylem and AEP.";
    KafkaUnreachable "kafka.unreachable" Infrastructure
        "No broker can be reached, or none can answer for the moment."
        "Nothing is lost; consumption goes on when a broker answers.";
    DeadLetterUnwritable "dead-letter.unwritable" Infrastructure
        "The dead-letter topic takes nothing for the moment."
        "Nothing is lost; the pipeline pauses and the letter is written again every second.";
    KafkaUnauthorized "kafka.unauthorized" Auth
        "The brokers refuse the credential or the certificate."
        "Check `kafka.sasl` and `kafka.tls`; consumption starts by itself once the brokers agree.";
    Unauthorized "aep.unauthorized" Auth
        "AEP refuses the token (401 or 403)."
        "Check that the credential may publish to the inlet; look at the allowlist of addresses.";
    TokenUnreachable "token.unreachable" Auth
        "The token endpoint cannot be reached or fails."
        "Nothing is lost; the present token is used until it expires.";
    Throttled "aep.throttled" Quota
        "AEP answered 429: too many requests."
        "Nothing is lost; xylem waits as long as AEP asks for. If it lasts, ask Adobe for more.";
    TokenThrottled "token.throttled" Quota
        "The token endpoint answered 408 or 429."
        "Nothing is lost; asked again later.";
    NotFound "aep.not-found" Configuration
        "The address does not lead to an inlet that takes requests (a redirect, 404, 405, 407, 415, 501 and the like)."
        "Check `destinations.NAME.inlet` and `aep.proxy`.";
    HeaderRefused "aep.header-refused" Configuration
        "AEP refuses every message: header, organisation, schema or flow are wrong as far as can be told."
        "Check organisation, schema id and version, dataset and flow of the destination.";
    TokenRefused "token.refused" Configuration
        "The token endpoint refuses the credential or its scopes."
        "Check `aep.auth`: client id, client secret and scopes.";
    DeadLetterRefused "dead-letter.refused" Configuration
        "The dead-letter topic does not exist, may not be written, or does not take a letter of this size, even without message and backtrace."
        "The warning in `/status` names what to set, mostly `max.message.bytes` of the topic. The pipeline pauses and goes on by itself then.";
    GroupRefused "kafka.group" Configuration
        "The group refuses this process, or does not know it any more."
        "Check `kafka.group`, `kafka.instance_id` (unique to each process), `kafka.session_timeout_ms`, `kafka.protocol` and what the user may do.";
    OutOfRange "kafka.out-of-range" Configuration
        "The record that is next for the group is not in the log: retention passed it, or the topic was made again."
        "`kafka.out_of_range` says how it goes on; give the topic a longer retention than the longest outage.";
    TopicRefused "kafka.topic" Configuration
        "A topic does not exist or may not be read."
        "Create the topic or grant access; consumption starts by itself then.";
}

/// The plugin that a fault came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRef {
    /// The plugin's name in the configuration.
    pub name: String,
    /// The digest of its component: the first 16 hex digits of its BLAKE3 hash.
    pub digest: String,
}

/// Why one thing failed.
///
/// `message` and `trace` may quote the record or AEP, so they go to the dead letter and to `try`
/// only. Invariant 10: what is displayed (and so may reach a log or the admin API) is the code and
/// the plugin's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// What happened, for the person who reads the dead letter.
    pub message: String,
    /// Where: a JSON pointer into the event, or the plugin's own notation into its source.
    pub path: Option<String>,
    /// The plugin's own code, where a plugin rejected.
    pub reason: Option<String>,
    /// The plugin, where one was at work.
    pub plugin: Option<PluginRef>,
    /// The guest's backtrace, where it gave one.
    pub trace: Option<String>,
}

impl Fault {
    /// A fault with a message alone.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None, reason: None, plugin: None, trace: None }
    }

    /// The same fault, at a place.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The same fault, of a plugin.
    #[must_use]
    pub fn of(mut self, plugin: PluginRef) -> Self {
        self.plugin = Some(plugin);
        self
    }

    /// Who has to act.
    pub fn domain(&self) -> Domain {
        self.code.domain()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        match &self.plugin {
            Some(plugin) => write!(f, " (plugin `{}`)", plugin.name),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(Code::ALL.iter().all(|code| seen.insert(code.as_str())));
    }

    #[test]
    fn invariant_10_a_displayed_fault_shows_no_message() {
        let fault = Fault::new(Code::SchemaInvalid, "string [secret] does not match").at("/a");
        assert_eq!(format!("{fault} {fault:?}").matches("secret").count(), 0);
    }
}
