//! The head of a retail transaction: its key, store, time and customer.

use xylem_mapping::{Entity, Moment, date, document::Node};

use crate::context::{Context, Ids, Stop, key_part};

/// `channel._type` of sales in a store (XDM's list of channel types).
const IN_STORE: &str = "https://ns.adobe.com/xdm/channel-types/instore";

/// `channel._id` of such sales where the settings give none.
const DEFAULT_CHANNEL: &str = "in-store";

/// Where the time of a transaction stands, best first. `true`: below `RetailTransaction`.
const TIMES: [(&str, bool); 4] = [
    ("EndDateTime", false),
    ("ReceiptDateTime", true),
    ("POSLogDateTime", false),
    ("BeginDateTime", false),
];

/// A retail transaction with what all its events need.
pub(crate) struct Receipt<'n> {
    /// The settings.
    pub(crate) context: &'n Context,
    /// The whole transaction.
    pub(crate) transaction: &'n Node,
    /// Its retail part.
    pub(crate) retail: &'n Node,
    /// Where it stands in the document, for messages.
    pub(crate) path: String,
    /// Its key: see [`key`].
    pub(crate) key: String,
    /// The store.
    pub(crate) store: &'n str,
    /// When it ended, at the store's offset.
    pub(crate) time: Moment,
}

/// Reads the head of a transaction.
pub(crate) fn read<'n>(
    transaction: &'n Node,
    retail: &'n Node,
    context: &'n Context,
    path: String,
) -> Result<Receipt<'n>, Stop> {
    let store =
        store(transaction).and_then(Node::text).ok_or_else(|| missing("RetailStoreID", &path))?;
    let key = key(transaction, Some(store), &path)?;
    let mut time = None;
    for (name, below) in TIMES {
        let node = if below { retail.child(name) } else { transaction.child(name) };
        if let Some(node) = node.filter(|node| node.peek().is_some()) {
            time = context.moment(node, Some(store), &format!("{path}.{name}"))?;
            break;
        }
    }
    let time = time.ok_or_else(|| missing("EndDateTime", &path))?;
    Ok(Receipt { context, transaction, retail, path, key, store, time })
}

impl<'n> Receipt<'n> {
    /// An event with what all events of the receipt share. `part` makes its `_id` different from
    /// those of the other events of the same receipt. The second value is whether the customer is
    /// known.
    pub(crate) fn event(&self, part: &str, event_type: &'static str) -> (Entity<'n>, bool) {
        let context = self.context;
        let mut event = context.entity();
        // Invariant 9: the id is made of the receipt's own key, so that a repeat has the same.
        event.set("_id", format!("poslog~{}~{part}", self.key));
        event.set("timestamp", self.time.to_string());
        event.set("eventType", event_type);
        let channel = context.settings.channel.as_deref().unwrap_or(DEFAULT_CHANNEL);
        event.set("channel._id", channel);
        event.set("channel._type", IN_STORE);
        event.set("store.storeID", self.store);
        event.set("commerce.commerceScope.storeCode", self.store);
        let known = self.customer(&mut event);
        if context.has_tenant() {
            event.set("_tenant.pos.storeID", self.store);
            context.own(
                &mut event,
                "_tenant.pos.registerID",
                self.transaction.child("WorkstationID"),
            );
            context.own(
                &mut event,
                "_tenant.pos.receiptID",
                self.transaction.child("SequenceNumber"),
            );
            let day = self.transaction.peek_at("BusinessDayDate");
            event.set("_tenant.pos.businessDate", day.and_then(|day| date::date(day, None).ok()));
            context.own(&mut event, "_tenant.pos.operatorID", self.transaction.child("OperatorID"));
        }
        (event, known)
    }

    /// When it began; when it ended, where the document says no more.
    pub(crate) fn began(&self) -> Result<Moment, Stop> {
        let Some(node) = self.transaction.child("BeginDateTime") else { return Ok(self.time) };
        let path = format!("{}.BeginDateTime", self.path);
        Ok(self.context.moment(node, Some(self.store), &path)?.unwrap_or(self.time))
    }

    /// Writes the customer's ids.
    fn customer(&self, event: &mut Entity<'n>) -> bool {
        let retail = self.retail;
        let membership = retail.all("LineItem").find_map(|line| line.child("LoyaltyMembership"));
        let ids = Ids {
            loyalty: membership
                .and_then(|membership| membership.child("LoyaltyID"))
                .or_else(|| retail.at("LoyaltyAccount.LoyaltyAccountID"))
                .or_else(|| retail.at("LoyaltyAccount.CustomerLoyaltyAccountID")),
            customer: retail.at("Customer.CustomerID").or_else(|| retail.child("CustomerID")),
            email: None,
        };
        let known = self.context.identify(event, &ids);
        if let Some(membership) = membership {
            // The two ids are one in all documents seen; if not, the second is reported as lost.
            if membership.peek_at("MembershipID") == membership.peek_at("LoyaltyID") {
                membership
                    .children()
                    .iter()
                    .filter(|n| n.name() == "MembershipID")
                    .for_each(Node::leave_out);
            }
            if let Some(household) = membership.child("HouseholdID") {
                match household.peek().and_then(xylem_mapping::identity::usable) {
                    Some(_) => self.context.own(event, "_tenant.pos.householdID", Some(household)),
                    None => household.leave_out(),
                }
            }
        }
        known
    }
}

/// The store's number: `RetailStoreID`, in POSLog 6 `BusinessUnit/UnitID`.
fn store(node: &Node) -> Option<&Node> {
    node.child("RetailStoreID").or_else(|| node.at("BusinessUnit.UnitID"))
}

/// The key of a receipt: store, workstation, business day and sequence number. The number alone
/// repeats. `node` is a transaction or a link to one; a link without a store means its own.
pub(crate) fn key(node: &Node, own_store: Option<&str>, path: &str) -> Result<String, Stop> {
    let store = store(node).and_then(Node::text).or(own_store);
    let store = store.ok_or_else(|| missing("RetailStoreID", path))?;
    let read = |name: &str| node.text_at(name).ok_or_else(|| missing(name, path));
    let day = date::date(read("BusinessDayDate")?, None).map_err(|error| {
        Stop::reject("bad-date", format!("the text {error}"), format!("{path}.BusinessDayDate"))
    })?;
    let parts = [store, read("WorkstationID")?, &day, read("SequenceNumber")?];
    Ok(parts.map(key_part).join("~"))
}

/// A part of the head is not there.
fn missing(name: &str, path: &str) -> Stop {
    Stop::reject(
        "incomplete-receipt",
        format!(
            "`{name}` is missing: store, workstation, business day, number and time make a receipt"
        ),
        format!("{path}.{name}"),
    )
}
