//! POSLog XML of the OMG/NRF (formerly ARTS) family to `ExperienceEvent`s.
//!
//! A document holds many transactions. A completed retail transaction gives one
//! `commerce.purchases`; what it takes back gives one `commerce.backofficeCreditMemoIssued`; one
//! that was cancelled or voids another gives one `commerce.backofficeOrderCancelled`. All others
//! (sign-on, till counts, training, suspended sales) are no sales.

pub(crate) mod left_out;
mod lines;
mod loyalty;
mod money;
mod receipt;
mod sale;

use std::collections::BTreeMap;

use xylem_kit::Event;
use xylem_mapping::document::Node;

use crate::context::{Context, Stop};

/// Transactions of the register's own business, known to hold no sale.
const NOT_SALES: [&str; 4] = [
    "ControlTransaction",
    "TenderControlTransaction",
    "InventoryControlTransaction",
    "ForeCourtTransaction",
];

/// The words for a transaction that was not, or not yet, completed.
const UNFINISHED: [&str; 6] =
    ["suspended", "suspendeddeleted", "suspendedretrieved", "inprocess", "failed", "totaled"];

/// The words for a transaction that was given up.
const CANCELLED: [&str; 5] = ["canceled", "cancelled", "voided", "postvoided", "void"];

/// What a transaction is.
enum Meaning<'n> {
    /// No sale, with the word for the reason.
    Nothing(&'n str),
    /// A retail transaction with goods or payments.
    Sale(&'n Node),
    /// A retail transaction that was cancelled, or that voids the one whose link is given.
    Cancellation(&'n Node, Option<&'n Node>),
}

/// The events of a document.
///
/// # Errors
/// Why there are none: the first transaction that can not be mapped, or that none is a sale.
pub(crate) fn events(root: &Node, context: &Context) -> Result<Vec<Event>, Stop> {
    let mut events = Vec::new();
    let mut nothing: BTreeMap<&str, usize> = BTreeMap::new();
    let single = (root.name() == "Transaction").then_some(root);
    for (index, transaction) in single.into_iter().chain(root.all("Transaction")).enumerate() {
        let path = format!("Transaction[{index}]");
        match meaning(transaction) {
            Meaning::Nothing(what) => *nothing.entry(what).or_default() += 1,
            Meaning::Sale(retail) => {
                let receipt = receipt::read(transaction, retail, context, path)?;
                let of_receipt = sale::events(&receipt)?;
                if of_receipt.is_empty() {
                    transaction.leave_out();
                    *nothing.entry("transaction without goods").or_default() += 1;
                }
                events.extend(of_receipt);
            }
            Meaning::Cancellation(retail, voided) => {
                let receipt = receipt::read(transaction, retail, context, path)?;
                events.push(sale::cancellation(&receipt, voided)?);
                transaction.leave_out();
            }
        }
    }
    if events.is_empty() {
        let list: Vec<String> =
            nothing.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let list = if list.is_empty() { "it is empty".to_owned() } else { list.join(", ") };
        return Err(Stop::Filter(format!("no sale in the POSLog document: {list}")));
    }
    Ok(events)
}

/// What a transaction is. What is no sale is left out, unless its kind is not known.
fn meaning(transaction: &Node) -> Meaning<'_> {
    let Some(retail) = transaction.child("RetailTransaction") else {
        let known = NOT_SALES.iter().find(|name| transaction.child(name).is_some());
        if let Some(name) = known {
            transaction.leave_out();
            return Meaning::Nothing(name);
        }
        return Meaning::Nothing("transaction of another kind");
    };
    let flag = |node: &Node, name: &str| node.is_at(name, "true");
    if flag(transaction, "@TrainingModeFlag") {
        transaction.leave_out();
        return Meaning::Nothing("training transaction");
    }
    let status = retail.at("@TransactionStatus").or_else(|| retail.at("TransactionStatus"));
    let word = status.and_then(Node::peek).unwrap_or_default().to_ascii_lowercase();
    if UNFINISHED.contains(&word.as_str()) {
        transaction.leave_out();
        return Meaning::Nothing("unfinished transaction");
    }
    if CANCELLED.contains(&word.as_str()) || flag(transaction, "@CancelFlag") {
        return Meaning::Cancellation(retail, None);
    }
    let void = retail.all("TransactionLink").find(|link| {
        let reason = link.at("@ReasonCode").or_else(|| link.at("ReasonCode"));
        let reason = reason.and_then(Node::peek).unwrap_or_default().to_ascii_lowercase();
        matches!(reason.as_str(), "void" | "voided" | "postvoid" | "postvoided")
    });
    match void {
        Some(link) => Meaning::Cancellation(retail, Some(link)),
        None => Meaning::Sale(retail),
    }
}
