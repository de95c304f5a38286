//! An order: the purchase or its cancellation, the refunds in it, and its customer.

use xylem_kit::Event;
use xylem_mapping::{Decimal, Entity, document::Node};

use super::{below, customer, gateway, place, refund, required};
use crate::context::{Context, Ids, Stop, decimal, key_part, minus, peek_decimal, sum};

/// The events of an order.
pub(super) fn events(order: &Node, context: &Context, path: &str) -> Result<Vec<Event>, Stop> {
    if order.is_at("test", "true") {
        order.leave_out();
        return Err(Stop::Filter("a test order of the shop".to_owned()));
    }
    let mut events = Vec::new();
    let cancelled = order.peek_at("cancelled_at").is_some();
    if cancelled || order.peek_at("financial_status") == Some("voided") {
        events.push(cancellation(order, context, path)?);
    } else {
        events.push(purchase(order, context, path)?);
    }
    for (index, refund) in order.items("refunds").enumerate() {
        let path = below(path, &format!("refunds[{index}]"));
        events.push(refund::event(refund, context, Some(order), &path)?);
    }
    if context.settings.routes.profiles.is_some() {
        events.extend(customer::event(order, context, path)?);
    }
    Ok(events)
}

/// An event with what all events of an order share; the second value is whether the customer is
/// known.
fn event<'n>(
    order: &'n Node,
    context: &'n Context,
    part: &str,
    event_type: &'static str,
    path: &str,
) -> Result<(Entity<'n>, bool), Stop> {
    let id = required(order, "id", path)?;
    let mut event = context.entity();
    event.set("_id", format!("shopify~{}~{part}", key_part(id)));
    event.set("eventType", event_type);
    event.set("commerce.order.purchaseID", id);
    place(context, &mut event, order);
    let known = context.identify(&mut event, &ids(order));
    context.own(&mut event, "_tenant.pos.receiptID", order.child("name"));
    context.own(&mut event, "_tenant.pos.financialStatus", order.child("financial_status"));
    context.own(&mut event, "_tenant.pos.operatorID", order.child("user_id"));
    Ok((event, known))
}

/// The ids of an order's customer.
pub(super) fn ids(order: &Node) -> Ids<'_> {
    let present = |node: Option<&'_ Node>| node.is_some_and(|node| node.peek().is_some());
    let email = order.child("email").filter(|email| present(Some(email)));
    Ids {
        loyalty: None,
        customer: order.at("customer.id"),
        email: email.or_else(|| order.child("contact_email")),
    }
}

/// A moment, with the offset that Shopify writes.
pub(super) fn moment(
    node: &Node,
    name: &str,
    context: &Context,
    path: &str,
) -> Result<Option<String>, Stop> {
    match node.child(name) {
        Some(time) => {
            let moment = context.moment(time, None, &below(path, name))?;
            Ok(moment.map(|moment| moment.to_string()))
        }
        None => Ok(None),
    }
}

/// The event of an order that was placed.
fn purchase(order: &Node, context: &Context, path: &str) -> Result<Event, Stop> {
    let (mut event, known) = event(order, context, "sale", "commerce.purchases", path)?;
    let created = moment(order, "created_at", context, path)?;
    let created = created.ok_or_else(|| {
        Stop::reject("incomplete-document", "`created_at` is missing", below(path, "created_at"))
    })?;
    let processed = moment(order, "processed_at", context, path)?;
    event.set("timestamp", processed.unwrap_or_else(|| created.clone()));
    event.set("commerce.purchases.value", 1);
    if order.is_at("source_name", "pos") {
        event.set("commerce.inStorePurchase.value", 1);
    }
    let currency = context.currency(order.child("currency"), &below(path, "currency"))?;
    event.set("commerce.order.createdDate", created);
    event.set("commerce.order.lastUpdatedDate", moment(order, "updated_at", context, path)?);
    event.set("commerce.order.currencyCode", currency.clone());
    event.set("commerce.cart.cartID", order.text_at("cart_token"));
    event.set("commerce.order.purchaseOrderNumber", order.text_at("po_number"));
    let money = Money::read(order, path)?;
    let items = items(order, context, &currency, path)?;
    money.write(&mut event, &items, context, path)?;
    payments(order, &mut event, &money, &currency, path)?;
    shipping(order, &mut event, &currency, path)?;
    for code in order.items("discount_codes") {
        let mut entry = Entity::new();
        entry.set("id", code.text_at("code"));
        event.push("loyalty.couponRedemption", entry);
    }
    if context.has_tenant() {
        if order.is_at("taxes_included", "true") {
            event.set("_tenant.pos.pricesIncludeTax", true);
        }
        if !money.tip.is_zero() {
            event.set("_tenant.pos.tip", decimal(order.child("total_tip_received"), path)?);
        }
    }
    for (item, _, _) in items {
        event.push("productListItems", item);
    }
    Ok(context.event(event, None, known))
}

/// The event of an order that was cancelled, or whose payment was voided.
fn cancellation(order: &Node, context: &Context, path: &str) -> Result<Event, Stop> {
    let (mut event, known) =
        event(order, context, "cancellation", "commerce.backofficeOrderCancelled", path)?;
    order.text_at("financial_status");
    let mut when = None;
    for name in ["cancelled_at", "updated_at", "created_at"] {
        when = moment(order, name, context, path)?;
        if when.is_some() {
            break;
        }
    }
    let when = when.ok_or_else(|| {
        Stop::reject(
            "incomplete-document",
            "`cancelled_at` is missing",
            below(path, "cancelled_at"),
        )
    })?;
    event.set("timestamp", when.clone());
    event.set("commerce.order.cancelDate", when);
    for child in order.children() {
        if !matches!(child.name(), "refunds" | "customer") {
            child.leave_out();
        }
    }
    Ok(context.event(event, context.settings.routes.cancellations.as_ref(), known))
}

/// A line's entry, what it adds to the total, and its own discount.
type Line<'n> = (Entity<'n>, Decimal, Decimal);

/// The lines of an order.
fn items<'n>(
    order: &'n Node,
    context: &'n Context,
    currency: &str,
    path: &str,
) -> Result<Vec<Line<'n>>, Stop> {
    let mut items = Vec::new();
    for (index, line) in order.items("line_items").enumerate() {
        let path = below(path, &format!("line_items[{index}]"));
        let mut item = goods(line, context, currency, &path)?;
        let (price, pieces) = price(line, &path)?;
        item.set("quantity", pieces.to_integer());
        let discount = decimal(line.child("total_discount"), &below(&path, "total_discount"))?;
        let discount = discount.unwrap_or(Decimal::ZERO);
        let whole = price.checked_mul(pieces).ok_or_else(|| too_big(&path))?;
        let total = minus(whole, discount, &path)?;
        item.set("priceTotal", total);
        if !discount.is_zero() {
            item.set("discountAmount", discount);
        }
        items.push((item, total, discount));
    }
    Ok(items)
}

/// What a line of an order and a line of a refund say of the goods.
pub(super) fn goods<'n>(
    line: &'n Node,
    context: &'n Context,
    currency: &str,
    path: &str,
) -> Result<Entity<'n>, Stop> {
    let mut item = context.entity();
    // Goods without a number of their own have one from the shop.
    let sku =
        ["sku", "variant_id", "product_id", "id"].into_iter().find_map(|name| line.text_at(name));
    let sku = sku.ok_or_else(|| {
        Stop::reject("no-item-id", "the line names no article: `SKU` is required in XDM", path)
    })?;
    item.set("SKU", sku);
    item.set("_id", line.text_at("id").map(key_part));
    item.set("name", line.text_at("name").or_else(|| line.text_at("title")));
    item.set("currencyCode", currency.to_owned());
    for option in line.items("properties") {
        let (Some(name), Some(value)) = (option.child("name"), option.child("value")) else {
            continue;
        };
        if name.peek().is_some() && value.peek().is_some() {
            let mut entry = Entity::new();
            entry.set("attribute", name.text());
            entry.set("value", value.text());
            item.push("selectedOptions", entry);
        }
    }
    Ok(item)
}

/// A line's price for one piece and its number of pieces.
fn price(line: &Node, path: &str) -> Result<(Decimal, Decimal), Stop> {
    let price = decimal(line.child("price"), &below(path, "price"))?;
    let price = price.ok_or_else(|| Stop::reject("no-amount", "the line has no `price`", path))?;
    let pieces = decimal(line.child("quantity"), &below(path, "quantity"))?;
    let pieces = pieces.unwrap_or_else(|| Decimal::from_minor_units(1, 0));
    if pieces.to_integer().is_none() {
        return Err(Stop::reject(
            "bad-number",
            "the quantity is no whole number",
            below(path, "quantity"),
        ));
    }
    Ok((price, pieces))
}

/// A product has more digits than a [`Decimal`].
fn too_big(path: &str) -> Stop {
    Stop::reject("bad-number", "an amount has more than 38 digits", path)
}

/// The amounts of an order as it states them.
struct Money {
    /// After discounts, with tax and shipping.
    total: Decimal,
    /// The tax.
    tax: Decimal,
    /// All discounts, those of the lines included.
    discounts: Decimal,
    /// Shipping.
    shipping: Decimal,
    /// A tip.
    tip: Decimal,
    /// Whether the tax is part of the prices.
    inclusive: bool,
}

impl Money {
    /// Reads the amounts.
    fn read(order: &Node, path: &str) -> Result<Self, Stop> {
        let read = |name: &str| decimal(order.child(name), &below(path, name));
        let total = read("total_price")?.ok_or_else(|| {
            Stop::reject(
                "incomplete-document",
                "`total_price` is missing",
                below(path, "total_price"),
            )
        })?;
        let mut shipping = Vec::new();
        for line in order.items("shipping_lines") {
            shipping.extend(decimal(line.child("price"), &below(path, "shipping_lines[].price"))?);
        }
        Ok(Self {
            total,
            tax: read("total_tax")?.unwrap_or(Decimal::ZERO),
            discounts: read("total_discounts")?.unwrap_or(Decimal::ZERO),
            shipping: sum(shipping, path)?,
            tip: peek_decimal(
                order.child("total_tip_received"),
                &below(path, "total_tip_received"),
            )?
            .unwrap_or(Decimal::ZERO),
            inclusive: order.peek_at("taxes_included") == Some("true"),
        })
    }

    /// Writes the amounts and compares them with the lines. XDM's discount of an order is the one on
    /// the whole order, so that of the lines is taken out of Shopify's sum.
    fn write(
        &self,
        event: &mut Entity<'_>,
        items: &[Line<'_>],
        context: &Context,
        path: &str,
    ) -> Result<(), Stop> {
        event.set("commerce.order.priceTotal", self.total);
        event.set("commerce.order.taxAmount", self.tax);
        let of_lines = sum(items.iter().map(|(_, _, discount)| *discount), path)?;
        let discount = minus(self.discounts, of_lines, path)?;
        if !discount.is_zero() && !discount.is_negative() {
            event.set("commerce.order.discountAmount", discount);
        }
        let tax = if self.inclusive { Decimal::ZERO } else { self.tax };
        let goods = sum(items.iter().map(|(_, total, _)| *total), path)?;
        let expected = sum([goods, discount.negated(), tax, self.shipping, self.tip], path)?;
        if expected != self.total {
            let what = "lines, discounts, taxes, shipping and tip do not add up to `total_price`";
            context.mismatch(what, &below(path, "total_price"))?;
        }
        Ok(())
    }
}

/// The payments of an order: its successful transactions, where the document holds them; else, of a
/// paid order, its total.
fn payments<'n>(
    order: &'n Node,
    event: &mut Entity<'n>,
    money: &Money,
    currency: &str,
    path: &str,
) -> Result<(), Stop> {
    let mut any = false;
    for (index, transaction) in order.items("transactions").enumerate() {
        let path = below(path, &format!("transactions[{index}]"));
        let paid = matches!(transaction.peek_at("kind"), Some("sale" | "capture"))
            && transaction.peek_at("status") == Some("success");
        if !paid {
            transaction.leave_out();
            continue;
        }
        transaction.text_at("kind");
        transaction.text_at("status");
        let mut entry = Entity::new();
        entry.set("transactionID", transaction.text_at("id"));
        entry.set("paymentAmount", decimal(transaction.child("amount"), &below(&path, "amount"))?);
        entry.set("paymentType", gateway(transaction));
        entry.set("currencyCode", currency.to_owned());
        event.push("commerce.order.payments", entry);
        any = true;
    }
    let status = order.child("financial_status");
    if !any
        && matches!(status.and_then(Node::peek), Some("paid" | "partially_refunded" | "refunded"))
    {
        status.and_then(Node::text);
        let mut entry = Entity::new();
        entry.set("paymentAmount", money.total);
        entry.set("paymentType", gateway(order));
        entry.set("currencyCode", currency.to_owned());
        event.push("commerce.order.payments", entry);
    }
    Ok(())
}

/// Shipping: its price, its way, where to and where the bill goes.
fn shipping<'n>(
    order: &'n Node,
    event: &mut Entity<'n>,
    currency: &str,
    path: &str,
) -> Result<(), Stop> {
    let mut prices = Vec::new();
    for line in order.items("shipping_lines") {
        if event.get("commerce.shipping.shippingMethod").is_none() {
            event.set("commerce.shipping.shippingMethod", line.text_at("title"));
        }
        prices.extend(decimal(line.child("price"), &below(path, "shipping_lines[].price"))?);
    }
    if !prices.is_empty() {
        event.set("commerce.shipping.shippingAmount", sum(prices, path)?);
        event.set("commerce.shipping.currencyCode", currency.to_owned());
    }
    if let Some(address) = order.child("shipping_address") {
        event.set("commerce.shipping.address", customer::address(address));
    }
    if let Some(address) = order.child("billing_address") {
        event.set("commerce.billing.address", customer::address(address));
    }
    Ok(())
}
