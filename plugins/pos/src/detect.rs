//! What a document is that is none of the formats we map.

use xylem_mapping::document::{Kind, Node};

use crate::context::Stop;

/// A rejection that names what a JSON document seems to be.
pub(crate) fn unknown(root: &Node) -> Stop {
    let what = seems(root).unwrap_or("a document of a kind that is not known");
    Stop::reject(
        "unknown-format",
        format!("this is {what}, not an order or refund of Shopify; map it with the json plugin"),
        "",
    )
}

/// What a JSON document seems to be, told by fields that only it has.
fn seems(root: &Node) -> Option<&'static str> {
    let has = |name: &str| root.at(name).is_some();
    let first = root.children().first().filter(|_| root.kind() == Kind::Array);
    let item_has = |name: &str| first.is_some_and(|item| item.child(name).is_some());
    let known = [
        (has("variant_id") && has("sku"), "one line of an order of Shopify"),
        (has("merchant_id") && has("data.type"), "a webhook of Square"),
        (has("order.location_id") && has("order.net_amounts"), "an order of Square"),
        (has("order.location_id") && has("order.total_money"), "an order of Square"),
        (has("storeOrderId") && has("storeNumber"), "a restaurant order in several steps"),
        (has("checkouts"), "a list of checkouts of Shopify: sales that are not finished"),
        (has("checkout"), "a checkout of Shopify: a sale that is not finished"),
        (has("fulfillment") || has("fulfillments"), "a delivery of Shopify"),
        (has("gift_card"), "a gift card of Shopify"),
        (has("tender_transactions"), "a list of payments of Shopify"),
        (has("transaction") || has("transactions"), "a list of transactions of Shopify"),
        (item_has("gateway") && item_has("kind"), "a list of transactions of Shopify"),
    ];
    known.into_iter().find_map(|(is, what)| is.then_some(what))
}
