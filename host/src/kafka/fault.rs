//! Kafka's errors as faults. Whatever stands in no row is the brokers' or the network's, and is waited
//! out.

use rdkafka::error::{KafkaError as Error, RDKafkaErrorCode as Kind};

use crate::fault::Code;

/// What the client says while it consumes.
const CONSUMING: &[(Code, &[Kind])] = &[
    (
        Code::KafkaUnauthorized,
        &[
            Kind::Authentication,
            Kind::SSL,
            Kind::ClusterAuthorizationFailed,
            Kind::UnsupportedSASLMechanism,
            Kind::IllegalSASLState,
            Kind::SecurityDisabled,
            Kind::SaslAuthenticationFailed,
            Kind::DelegationTokenAuthDisabled,
            Kind::DelegationTokenNotFound,
            Kind::DelegationTokenOwnerMismatch,
            Kind::DelegationTokenRequestNotAllowed,
            Kind::DelegationTokenAuthorizationFailed,
            Kind::DelegationTokenExpired,
            Kind::InvalidPrincipalType,
            Kind::UnacceptableCredential,
            Kind::PrincipalDeserializationFailure,
        ],
    ),
    (Code::TopicRefused, NO_TOPIC),
    (
        Code::GroupRefused,
        &[
            Kind::GroupAuthorizationFailed,
            Kind::InvalidGroupId,
            Kind::InconsistentGroupProtocol,
            Kind::InvalidSessionTimeout,
            Kind::GroupMaxSizeReached,
            Kind::Fenced,
            Kind::FencedInstanceId,
            Kind::UnreleasedInstanceId,
            Kind::UnsupportedAssignor,
        ],
    ),
    (Code::OutOfRange, &[Kind::AutoOffsetReset, Kind::OffsetOutOfRange, Kind::LogTruncation]),
];

/// No such topic, or none for us.
const NO_TOPIC: &[Kind] = &[
    Kind::UnknownTopic,
    Kind::UnknownPartition,
    Kind::UnknownTopicOrPartition,
    Kind::UnknownTopicId,
    Kind::InvalidTopic,
    Kind::TopicAuthorizationFailed,
];

/// A letter, or the batch that it was in, is too large for its topic.
const TOO_LARGE: &[Kind] =
    &[Kind::MessageSizeTooLarge, Kind::InvalidMessageSize, Kind::MessageBatchTooLarge];

/// What only an operator changes about a dead-letter topic, and how. What is too large is apart.
const REMEDIES: &[(&[Kind], &str)] = &[
    (
        &[Kind::UnknownTopic, Kind::UnknownTopicOrPartition, Kind::UnknownTopicId],
        "create the topic",
    ),
    (&[Kind::TopicAuthorizationFailed], "allow this user to write to the topic (ACL `Write`)"),
    (
        &[Kind::ClusterAuthorizationFailed],
        "allow this user to write to the topic, and `IdempotentWrite` on the cluster",
    ),
    (&[Kind::InvalidTopic], "give it a name that Kafka takes"),
    (
        &[Kind::InvalidRecord],
        "set the topic's `cleanup.policy` to `delete`: a compacted topic takes no record without a key",
    ),
    (&[Kind::PolicyViolation], "look at the brokers' policies for the topic"),
];

/// The fault that an error is while records are consumed.
pub(super) fn consuming(error: Kind) -> Code {
    let row = CONSUMING.iter().find(|(_, kinds)| kinds.contains(&error));
    row.map_or(Code::KafkaUnreachable, |(code, _)| *code)
}

/// Why a broker, or the client, did not take a letter.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What it is.
    pub code: Code,
    /// The letter, or the batch that it was in, is larger than the topic takes.
    pub too_large: bool,
    /// Kafka's words.
    pub reason: String,
    /// What an operator can do; none where it passes by itself.
    pub remedy: Option<&'static str>,
}

impl Refusal {
    /// By an error with a code.
    pub(super) fn of(kind: Kind) -> Self {
        let too_large = TOO_LARGE.contains(&kind);
        let remedy = if too_large {
            Some("raise `max.message.bytes` of the topic")
        } else {
            REMEDIES.iter().find(|(kinds, _)| kinds.contains(&kind)).map(|(_, remedy)| *remedy)
        };
        let code = remedy.map_or(Code::DeadLetterUnwritable, |_| Code::DeadLetterRefused);
        Self { code, too_large, reason: kind.to_string(), remedy }
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let unknown = || Self {
            code: Code::DeadLetterUnwritable,
            too_large: false,
            reason: error.to_string(),
            remedy: None,
        };
        error.rdkafka_error_code().map_or_else(unknown, Self::of)
    }
}

#[cfg(test)]
pub(crate) mod manual {
    use std::collections::BTreeMap;
    use std::fmt::Write;

    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    const HEAD: &str = "
## What Kafka says

Every error of librdkafka 2.12 that is none of these is `kafka.unreachable` while records are consumed, and
`dead-letter.unwritable` where a dead letter is written: it is waited out.

| while | error | fault | what is done |
| --- | --- | --- | --- |
";

    /// Every error that librdkafka knows.
    fn all() -> impl Iterator<Item = Kind> {
        (-300..=300).filter_map(|n| RDKafkaRespErr::try_from(n).ok()).map(Kind::from)
    }

    fn of_consuming(code: Code) -> &'static str {
        match code {
            Code::OutOfRange => {
                "the brokers are asked what is there; `kafka.out_of_range` decides, and what is gone is counted"
            }
            Code::GroupRefused => {
                "asked again; where the client cannot go on, the process ends and says why"
            }
            _ => "asked again until it passes",
        }
    }

    /// The page's section on Kafka.
    pub(crate) fn section() -> String {
        let (mut consuming, mut letters) = (BTreeMap::new(), BTreeMap::new());
        for kind in all() {
            let code = super::consuming(kind);
            if code != Code::KafkaUnreachable {
                consuming.entry(code).or_insert_with(Vec::new).push(format!("{kind:?}"));
            }
            let refusal = Refusal::of(kind);
            if let Some(remedy) = refusal.remedy {
                let key = (refusal.code, refusal.too_large, remedy);
                letters.entry(key).or_insert_with(Vec::new).push(format!("{kind:?}"));
            }
        }
        let mut page = HEAD.to_owned();
        for (code, kinds) in consuming {
            let (kinds, done) = (kinds.join(", "), of_consuming(code));
            writeln!(page, "| consuming | {kinds} | `{}` | {done} |", code.as_str()).unwrap();
        }
        for ((code, too_large, remedy), kinds) in letters {
            let first = if too_large {
                "written alone, then without message and backtrace; then "
            } else {
                ""
            };
            let (kinds, code) = (kinds.join(", "), code.as_str());
            writeln!(
                page,
                "| writing a dead letter | {kinds} | `{code}` | {first}the pipeline pauses, the letter is written \
                 again every second; {remedy} |"
            )
            .unwrap();
        }
        page
    }

    #[test]
    fn every_error_is_known_and_none_is_a_records_fault() {
        assert!(all().count() > 150);
        for kind in all() {
            for code in [super::consuming(kind), Refusal::of(kind).code] {
                assert!(!code.domain().is_dead_lettered(), "{kind:?}: {}", code.as_str());
            }
        }
    }
}
