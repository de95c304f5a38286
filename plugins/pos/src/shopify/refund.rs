//! A refund: its own webhook, or an entry of an order's `refunds`.

use xylem_kit::Event;
use xylem_mapping::{Decimal, Entity, document::Node};

use super::{below, gateway, order, place, required};
use crate::context::{Context, Ids, Stop, decimal, key_part, minus, peek_decimal, sum};

/// The event of a refund. `order` is the order around it, where it stands in one.
pub(super) fn event(
    refund: &Node,
    context: &Context,
    order: Option<&Node>,
    path: &str,
) -> Result<Event, Stop> {
    let id = required(refund, "id", path)?;
    let mut event = context.entity();
    event.set("_id", format!("shopify~refund~{}", key_part(id)));
    event.set("eventType", "commerce.backofficeCreditMemoIssued");
    let created = order::moment(refund, "created_at", context, path)?;
    event.set(
        "timestamp",
        created.ok_or_else(|| {
            Stop::reject(
                "incomplete-document",
                "`created_at` is missing",
                below(path, "created_at"),
            )
        })?,
    );
    let purchase = match refund.text_at("order_id") {
        Some(purchase) => purchase,
        None => match order {
            Some(order) => required(order, "id", path)?,
            None => required(refund, "order_id", path)?,
        },
    };
    event.set("commerce.order.purchaseID", purchase);
    event.set("commerce.order.returns.returnID", id);
    event.set("commerce.order.returns.purchaseID", purchase);
    let ids = order.map_or_else(Ids::default, order::ids);
    let known = context.identify(&mut event, &ids);
    if let Some(order) = order {
        place(context, &mut event, order);
    }
    let stated = refund.items("transactions").find_map(|t| t.child("currency"));
    let stated = stated.or_else(|| order.and_then(|order| order.child("currency")));
    let currency = context.currency(stated, &below(path, "transactions[].currency"))?;
    event.set("commerce.order.currencyCode", currency.clone());
    money(refund, &mut event, &currency, path)?;
    for (index, line) in refund.items("refund_line_items").enumerate() {
        let path = below(path, &format!("refund_line_items[{index}]"));
        event.push("productListItems", item(refund, line, context, &currency, &path)?);
    }
    context.own(&mut event, "_tenant.pos.operatorID", refund.child("user_id"));
    Ok(context.event(event, context.settings.routes.refunds.as_ref(), known))
}

/// The money that was given back: the successful transactions of that kind.
fn money<'n>(
    refund: &'n Node,
    event: &mut Entity<'n>,
    currency: &str,
    path: &str,
) -> Result<(), Stop> {
    let mut total = Vec::new();
    for (index, transaction) in refund.items("transactions").enumerate() {
        let path = below(path, &format!("transactions[{index}]"));
        let status = transaction.peek_at("status");
        let paid = transaction.peek_at("kind") == Some("refund")
            && matches!(status, Some("success") | None);
        if !paid {
            transaction.leave_out();
            continue;
        }
        transaction.text_at("kind");
        transaction.text_at("status");
        let Some(amount) = decimal(transaction.child("amount"), &below(&path, "amount"))? else {
            continue;
        };
        let mut entry = Entity::new();
        entry.set("transactionID", transaction.text_at("id"));
        entry.set("refundAmount", amount.abs());
        entry.set("refundPaymentType", gateway(transaction));
        entry.set("currencyCode", currency.to_owned());
        event.push("commerce.order.refunds", entry);
        total.push(amount.abs());
    }
    if !total.is_empty() {
        event.set("commerce.order.refundTotal", sum(total, path)?);
    }
    Ok(())
}

/// A line of goods that was refunded.
fn item<'n>(
    refund: &'n Node,
    line: &'n Node,
    context: &'n Context,
    currency: &str,
    path: &str,
) -> Result<Entity<'n>, Stop> {
    let goods = line.child("line_item").ok_or_else(|| {
        Stop::reject("incomplete-document", "`line_item` is missing", below(path, "line_item"))
    })?;
    let mut item = order::goods(goods, context, currency, &below(path, "line_item"))?;
    let pieces = decimal(line.child("quantity"), &below(path, "quantity"))?;
    let pieces = pieces.unwrap_or_else(|| Decimal::from_minor_units(1, 0)).abs();
    let count = pieces.to_integer().ok_or_else(|| {
        Stop::reject("bad-number", "the quantity is no whole number", below(path, "quantity"))
    })?;
    item.set("quantity", count);
    let amount = match decimal(line.child("subtotal"), &below(path, "subtotal"))? {
        Some(subtotal) => Some(subtotal.abs()),
        None => by_price(goods, pieces, path)?,
    };
    item.set("refundAmount", amount);
    // `restock_type` says whether the goods came back; before 2018 `restock` said it for all.
    let kind = line.child("restock_type").or_else(|| refund.child("restock"));
    if kind.is_some_and(|kind| kind.is("return") || kind.is("true")) {
        item.set("returnItem.returnQuantityReceived", count);
    }
    Ok(item)
}

/// What the goods cost: price times pieces, less the share of the line's own discount.
fn by_price(goods: &Node, pieces: Decimal, path: &str) -> Result<Option<Decimal>, Stop> {
    let Some(price) = decimal(goods.child("price"), &below(path, "line_item.price"))? else {
        return Ok(None);
    };
    let whole = price
        .checked_mul(pieces)
        .ok_or_else(|| Stop::reject("bad-number", "an amount has more than 38 digits", path))?;
    let discount = goods.child("total_discount");
    let taken = peek_decimal(discount, &below(path, "line_item.total_discount"))?;
    let all = peek_decimal(goods.child("quantity"), &below(path, "line_item.quantity"))?;
    // A part of the line has a part of the discount, which is not stated: the price stands.
    match taken.filter(|taken| !taken.is_zero() && all == Some(pieces)) {
        Some(taken) => {
            discount.and_then(Node::text);
            goods.text_at("quantity");
            minus(whole, taken, path).map(Some)
        }
        None => Ok(Some(whole)),
    }
}
