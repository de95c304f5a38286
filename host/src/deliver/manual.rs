//! Writes `docs/faults.md` from the codes and the table, and holds it current.

use std::fmt::Write;

use super::classify::{self, Action, MessageAction};
use super::response::Said;
use crate::fault::Code;
use crate::http::{Transport, refusal};
use crate::manual::current;

const HEAD: &str = "\
# Faults: what can go wrong, and what xylem does about it

A fault has a stable code. The code's domain says who has to act, and so what becomes of the record:

| domain | what is done |
| --- | --- |
| `record`, `plugin` | the record goes to the dead-letter topic, with its bytes and the cause; where there are too many, their pipeline halts (`dead_letter.storm`, `quarantine`) |
| `infrastructure` | all requests of the destination wait; one is tried at a time; nothing is lost |
| `auth`, `quota` | the same |
| `configuration` | the destination pauses and tries once a minute until the configuration is mended |

An outage is never a dead letter, however long it lasts.

This page is written from `host/src/fault.rs`, `host/src/deliver/classify.rs` and `host/src/kafka/fault.rs`
by a test.

## Codes

| code | domain | meaning | what to do |
| --- | --- | --- | --- |
";

const REQUESTS: &str = "
## What AEP answers to a request

A request that AEP cannot take yet is sent again, unchanged and under the same ids, after a wait
between nothing and a ceiling that doubles from 250 ms to 30 s; `Retry-After`, in seconds or as a
date, is the least that is waited, up to five minutes. Meanwhile every other request of the
destination waits as well, and when one gets through they all go on at once.

| status | what is done |
| --- | --- |
";

const TRANSPORT: &str = "
## When no answer comes

A connection that breaks before an answer is tried once more at once: servers close idle connections
just when they are used.

| what happened | what is done |
| --- | --- |
";

const MESSAGES: &str = "
## What AEP says of one message

A batch is answered with 207 and one entry per message. The entry's status stands under `status` or
`statusCode`, as a number or as text.

| entry | what is done |
| --- | --- |
";

const TOKEN: &str = "
## What the token endpoint answers

The present token is used until it expires, whatever the endpoint answers to its renewal.

| answer | what is done |
| --- | --- |
";

const WITNESS: &str = "
## Whose fault a refusal is

Where AEP refuses all that is in a request, the record may be at fault or the header that xylem
writes around every event. To find out, xylem sends the event that AEP took last once more, under
its own id and with nothing else on its way: if AEP takes it again, the header is sound and the
refused record goes to the dead-letter topic; if not, it is the configuration. For no other reason
does xylem send again what it knows to be taken.
";

/// Rows of equal meaning as one row, its statuses as ranges.
fn rows(meanings: impl Iterator<Item = (u16, String)>, page: &mut String) {
    let mut rows: Vec<(String, Vec<(u16, u16)>)> = Vec::new();
    for (status, meaning) in meanings {
        let known = rows.iter().position(|(other, _)| *other == meaning);
        let row = known.unwrap_or_else(|| {
            rows.push((meaning, Vec::new()));
            rows.len() - 1
        });
        match rows[row].1.last_mut() {
            Some((_, end)) if *end + 1 == status => *end = status,
            _ => rows[row].1.push((status, status)),
        }
    }
    for (meaning, ranges) in rows {
        let ranges: Vec<String> = ranges
            .into_iter()
            .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
            .collect();
        writeln!(page, "| {} | {meaning} |", ranges.join(", ")).unwrap();
    }
}

fn of_request(action: Action) -> String {
    match action {
        Action::Read => "each message has its own verdict, by position; a short, missing or \
                         unreadable `responses` is `aep.unknown-outcome`"
            .to_owned(),
        Action::Retry(code) => format!("`{}`: wait, then the same again", code.as_str()),
        Action::Suspect(code) => format!(
            "`{}`: wait, then the same again; a batch that fails five times is halved until the \
             message is alone, and that message is `{}` once it failed alone five times, AEP taking \
             another event after each",
            code.as_str(),
            Code::Refused.as_str()
        ),
        Action::Unknown => format!(
            "`{}`: the same again three times, then the destination pauses and probes with one event \
             at a time",
            Code::UnknownOutcome.as_str()
        ),
        Action::Reauthorise => format!(
            "a new token is fetched once and the same sent again; then `{}`: the destination pauses \
             and probes",
            Code::Unauthorized.as_str()
        ),
        Action::Split => format!(
            "sent in two parts, and smaller requests from then on; a message alone is `{}`",
            Code::TooLarge.as_str()
        ),
        Action::Isolate => format!(
            "halved until the message is alone, which is `{}` where AEP takes another event \
             afterwards; where it takes none, or its words name header, organisation, schema or flow \
             and it takes none, `{}`",
            Code::Refused.as_str(),
            Code::HeaderRefused.as_str()
        ),
        Action::Pause(code) => format!("`{}`: once a minute", code.as_str()),
    }
}

fn of_message(action: MessageAction) -> String {
    match action {
        MessageAction::Accept => "delivered".to_owned(),
        MessageAction::Refuse => format!(
            "`{}`; but where no message of the request was taken, and the words name header, \
             organisation, schema or flow, and AEP takes no other event afterwards, `{}`",
            Code::Refused.as_str(),
            Code::HeaderRefused.as_str()
        ),
        MessageAction::Retry(code) => format!("`{}`: this message is sent again", code.as_str()),
        MessageAction::Suspect(code) => format!(
            "`{}`: this message is sent again; `{}` once it failed alone five times, AEP taking \
             another event after each",
            code.as_str(),
            Code::Refused.as_str()
        ),
        MessageAction::Reauthorise => format!(
            "a new token is fetched once and this message sent again; then `{}`",
            Code::Unauthorized.as_str()
        ),
        MessageAction::Unknown => {
            format!("`{}`: as for a request, this message alone", Code::UnknownOutcome.as_str())
        }
    }
}

fn of_transport(kind: Transport) -> &'static str {
    match kind {
        Transport::Unreachable => "no connection: name, route, TLS or proxy",
        Transport::Broken => "the connection broke before the whole answer",
        Transport::Unanswered => "no whole answer within `aep.timeout_ms`",
    }
}

#[test]
fn the_page_of_faults_is_current() {
    let mut page = HEAD.to_owned();
    for code in Code::ALL {
        let (name, domain) = (code.as_str(), code.domain().as_str());
        writeln!(page, "| `{name}` | {domain} | {} | {} |", code.meaning(), code.advice()).unwrap();
    }
    page.push_str(REQUESTS);
    rows((100..=599).map(|n| (n, of_request(classify::status(n)))), &mut page);
    page.push_str(TRANSPORT);
    for kind in Transport::ALL {
        let action = of_request(classify::transport(kind));
        writeln!(page, "| {} | {action} |", of_transport(kind)).unwrap();
    }
    page.push_str(MESSAGES);
    let taken = of_message(classify::message(Said::Nothing));
    writeln!(page, "| no status | {taken} |").unwrap();
    let unreadable = of_message(classify::message(Said::Unreadable));
    writeln!(page, "| something that is no status | {unreadable} |").unwrap();
    rows((100..=599).map(|n| (n, of_message(classify::message(Said::Status(n))))), &mut page);
    page.push_str(TOKEN);
    rows((200..=599).map(|n| (n, of_token(refusal(n)))), &mut page);
    let none = of_token(Some(Code::TokenUnreachable));
    writeln!(page, "| none, or one without `access_token` | {none} |").unwrap();
    page.push_str(WITNESS);
    page.push_str(&crate::kafka::fault::manual::section());
    current("faults.md", &page);
}

fn of_token(code: Option<Code>) -> String {
    match code {
        None => "the token is used".to_owned(),
        Some(code) if code == Code::TokenRefused => format!("`{}`: once a minute", code.as_str()),
        Some(code) => format!("`{}`: wait, then ask again", code.as_str()),
    }
}
