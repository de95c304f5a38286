//! Fields that the mapping leaves out, with the reason. What is neither used nor here is reported.

use xylem_mapping::conserve::LeftOut;

/// Shortens the table below.
const fn out(path: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { path, reason }
}

/// The fields left out where the mapping does not use them.
pub(crate) const LEFT_OUT: &[LeftOut] = &[
    out("channel", "the name of the entity again"),
    out("**.schema", "the version of the event's form"),
    out("**.schemaId", "the version of the event's form"),
    out("**.replayId", "a position in Salesforce's own log"),
    out("**.replay_id", "a position in Salesforce's own log"),
    out("**.ChangeEventHeader.changedFields[]", "the fields themselves say it"),
    out("**.ChangeEventHeader.changeOrigin", "which client of Salesforce made the change"),
    out("**.ChangeEventHeader.transactionKey", "groups the changes of one transaction"),
    out("**.ChangeEventHeader.sequenceNumber", "the place within the transaction"),
    out("**.ChangeEventHeader.commitTimestamp", "`LastModifiedDate` says it"),
    out("**.ChangeEventHeader.commitUser", "`LastModifiedById` says it"),
];
