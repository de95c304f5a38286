//! Shopify's orders and refunds to `ExperienceEvent`s, and an order's customer to a profile.
//!
//! A webhook's body is the bare order or refund; exports and fixtures wrap it (`{"order": …}`).
//! Which of them it is, is told from its fields, since the webhook's topic stands in an HTTP header
//! that may be lost on the way to Kafka.

mod customer;
pub(crate) mod left_out;
mod order;
mod refund;

use xylem_kit::Event;
use xylem_mapping::{
    Entity,
    document::{Kind, Node},
};

use crate::{
    context::{Context, Stop},
    detect,
};

/// The events of a document.
///
/// # Errors
/// Why there are none.
pub(crate) fn events(root: &Node, context: &Context) -> Result<Vec<Event>, Stop> {
    if let Some(order) = root.child("order").filter(|order| is_order(order)) {
        return order::events(order, context, "order");
    }
    if let Some(refund) = root.child("refund").filter(|refund| is_refund(refund)) {
        return refund::event(refund, context, None, "refund").map(|event| vec![event]);
    }
    if let Some(orders) = root.child("orders").filter(|orders| orders.kind() == Kind::Array) {
        let mut events = Vec::new();
        for (index, order) in orders.children().iter().enumerate() {
            let path = format!("orders[{index}]");
            if !is_order(order) {
                return Err(Stop::reject(
                    "unknown-format",
                    "an entry of `orders` is no order",
                    path,
                ));
            }
            match order::events(order, context, &path) {
                Ok(more) => events.extend(more),
                Err(Stop::Filter(_)) => order.leave_out(),
                Err(reject) => return Err(reject),
            }
        }
        return if events.is_empty() {
            Err(Stop::Filter("no order to send".to_owned()))
        } else {
            Ok(events)
        };
    }
    if is_order(root) {
        return order::events(root, context, "");
    }
    if is_refund(root) {
        return refund::event(root, context, None, "").map(|event| vec![event]);
    }
    Err(detect::unknown(root))
}

/// Whether an object is an order of Shopify: an id, lines, and a financial status or number that
/// other shops' orders do not have.
fn is_order(node: &Node) -> bool {
    let has = |name| node.child(name).is_some();
    has("id") && has("line_items") && (has("financial_status") || has("order_number"))
}

/// Whether an object is a refund of Shopify.
fn is_refund(node: &Node) -> bool {
    let has = |name| node.child(name).is_some();
    has("id") && has("order_id") && has("refund_line_items")
}

/// What all events of an order share: its channel and its store.
fn place<'e>(context: &'e Context, event: &mut Entity<'e>, order: &'e Node) {
    let source = order.child("source_name");
    match source.and_then(Node::peek) {
        Some("pos") => {
            source.and_then(Node::text);
            let channel = context.settings.channel.as_deref().unwrap_or("in-store");
            event.set("channel._id", channel);
            event.set("channel._type", "https://ns.adobe.com/xdm/channel-types/instore");
        }
        Some("web") => {
            source.and_then(Node::text);
            event.set("channel._id", "https://ns.adobe.com/xdm/channels/web");
            event.set("channel._type", "https://ns.adobe.com/xdm/channel-types/web");
        }
        _ => context.own(event, "_tenant.pos.sourceName", source),
    }
    if let Some(location) = order.text_at("location_id") {
        event.set("store.storeID", location);
        event.set("commerce.commerceScope.storeCode", location);
    }
}

/// The text of a required field.
fn required<'n>(node: &'n Node, name: &str, path: &str) -> Result<&'n str, Stop> {
    node.text_at(name).ok_or_else(|| {
        Stop::reject("incomplete-document", format!("`{name}` is missing"), below(path, name))
    })
}

/// A path and a name below it.
fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// XDM's word for a payment through a gateway.
fn gateway(transaction: &Node) -> &'static str {
    let details = transaction.child("payment_details");
    let card = details.and_then(|details| details.child("credit_card_company"));
    if card.is_some_and(|card| card.peek().is_some()) {
        return "credit_card";
    }
    let words = transaction.child("gateway");
    let known = words.and_then(Node::peek).and_then(crate::context::payment_type);
    if known.is_some() {
        words.and_then(Node::text);
    }
    known.unwrap_or("other")
}
