//! The events of a receipt.

use xylem_kit::Event;
use xylem_mapping::{Decimal, Entity, document::Node};

use super::{
    lines::{self, Item, Line},
    loyalty::Rewards,
    money::{self, Flow, Taxes},
    receipt::{self, Receipt},
};
use crate::context::{Stop, minus, sum};

/// A receipt, read.
struct Parts<'n> {
    /// The goods, sold and taken back.
    lines: Vec<Line<'n>>,
    /// Discounts with lines of their own.
    rewards: Rewards<'n>,
    /// Taxes.
    taxes: Taxes,
    /// Payments and payouts.
    flows: Vec<Flow<'n>>,
    /// The currency of all amounts.
    currency: String,
    /// What the receipt says it came to.
    grand: Option<Decimal>,
}

/// The amounts of what was sold and of what was taken back.
struct Amounts {
    /// The goods sold, after their discounts.
    sold: Decimal,
    /// The goods taken back, without sign.
    returned: Decimal,
    /// The discount on the whole receipt.
    discount: Decimal,
    /// Whether the tax is part of the prices.
    inclusive: bool,
}

/// The events of a completed receipt: the sale, and what was taken back. None where no goods and no
/// money changed hands.
pub(crate) fn events(receipt: &Receipt<'_>) -> Result<Vec<Event>, Stop> {
    let parts = Parts::read(receipt)?;
    let sells = parts.lines.iter().any(|line| !line.returned);
    let returns = parts.lines.iter().any(|line| line.returned);
    if parts.lines.is_empty() && parts.flows.is_empty() {
        return Ok(Vec::new());
    }
    let mut sold = Vec::new();
    let mut taken_back = Vec::new();
    for line in &parts.lines {
        let mut item = line.item(receipt, &parts.rewards, &parts.currency)?;
        if receipt.context.has_tenant() {
            item.entity.set("_tenant.originalPurchaseID", line_original(receipt, line)?);
        }
        if line.returned { taken_back.push(item) } else { sold.push(item) }
    }
    let amounts = parts.amounts(receipt, &sold, &taken_back)?;
    let tax = |tax: Option<Decimal>| tax.filter(|_| !amounts.inclusive).unwrap_or(Decimal::ZERO);
    let refund = sum([amounts.returned, tax(parts.taxes.returned)], &receipt.path)?;
    let mut events = Vec::new();
    if sells || !returns {
        let total = match parts.grand {
            Some(grand) => sum([grand, refund], &receipt.path)?,
            None => sum(
                [amounts.sold, amounts.discount.negated(), tax(parts.taxes.sold)],
                &receipt.path,
            )?,
        };
        events.push(purchase(receipt, &parts, &amounts, total, sold)?);
    }
    if returns {
        let total = if sells { refund } else { parts.grand.map_or(refund, Decimal::abs) };
        events.push(credit(receipt, &parts, total, sells, taken_back)?);
    }
    Ok(events)
}

/// The event of a receipt that was cancelled, or that voids another.
pub(crate) fn cancellation(receipt: &Receipt<'_>, voided: Option<&Node>) -> Result<Event, Stop> {
    let (mut event, known) = receipt.event("cancellation", "commerce.backofficeOrderCancelled");
    let key = match voided {
        Some(link) => {
            link.text_at("@ReasonCode").or_else(|| link.text_at("ReasonCode"));
            let path = format!("{}.RetailTransaction.TransactionLink", receipt.path);
            receipt::key(link, Some(receipt.store), &path)?
        }
        None => receipt.key.clone(),
    };
    receipt.retail.at("@TransactionStatus").map(Node::text);
    receipt.retail.at("TransactionStatus").map(Node::text);
    event.set("commerce.order.purchaseID", key);
    event.set("commerce.order.cancelDate", receipt.time.to_string());
    Ok(receipt.context.event(event, receipt.context.settings.routes.cancellations.as_ref(), known))
}

impl<'n> Parts<'n> {
    /// Reads a receipt.
    fn read(receipt: &Receipt<'n>) -> Result<Self, Stop> {
        let code = receipt.transaction.child("CurrencyCode");
        let stated = receipt.retail.all("Total").find_map(|total| total.child("@Currency"));
        let currency =
            receipt.context.currency(code.or(stated), &format!("{}.CurrencyCode", receipt.path))?;
        let lines = lines::collect(receipt)?;
        let rewards = Rewards::collect(receipt, &lines)?;
        let taxes = Taxes::read(receipt, &lines)?;
        let returns_only = !lines.is_empty() && lines.iter().all(|line| line.returned);
        let flows = money::flows(receipt, returns_only)?;
        let grand = money::total(receipt, "TransactionGrandAmount")?;
        Ok(Self { lines, rewards, taxes, flows, currency, grand })
    }

    /// Adds the amounts up and compares them with what the receipt says.
    fn amounts(
        &self,
        receipt: &Receipt<'_>,
        sold: &[Item<'_>],
        taken_back: &[Item<'_>],
    ) -> Result<Amounts, Stop> {
        let path = &receipt.path;
        let all = |items: &[Item<'_>]| sum(items.iter().map(|item| item.amount), path);
        let (sold, returned) = (all(sold)?, all(taken_back)?);
        let discount = self.rewards.of_order(path)?;
        let goods = sum([sold, returned.negated(), discount.negated()], path)?;
        let or_zero = |tax: Option<Decimal>| tax.unwrap_or(Decimal::ZERO);
        let tax = minus(or_zero(self.taxes.sold), or_zero(self.taxes.returned), path)?;
        let with_tax = sum([goods, tax], path)?;
        // Without a flag the sum tells.
        let by_sum = self.grand.is_some_and(|grand| grand == goods && !tax.is_zero());
        let inclusive = self.flagged().unwrap_or(by_sum);
        if let Some(grand) = self.grand {
            if grand != if inclusive { goods } else { with_tax } {
                let what = "goods, discounts and taxes do not add up to `TransactionGrandAmount`";
                receipt.context.mismatch(what, path)?;
            }
            let paid = sum(self.flows.iter().map(|flow| flow.amount), path)?;
            if !self.flows.is_empty() && paid != grand {
                let what = "the payments do not add up to `TransactionGrandAmount`";
                receipt.context.mismatch(what, path)?;
            }
        }
        Ok(Amounts { sold, returned, discount, inclusive })
    }

    /// Whether the lines of goods say that their prices include the tax: all of them, or none does.
    /// None where no line says anything.
    fn flagged(&self) -> Option<bool> {
        let flag = |line: &Line<'_>| {
            let names = ["TaxIncludedInPriceFlag", "@TaxIncludedInPriceFlag"];
            names.iter().any(|name| line.item.is_at(name, "true"))
        };
        let flags = self.lines.iter().filter(|line| flag(line)).count();
        (flags > 0).then_some(flags == self.lines.len())
    }
}

/// The event of what was sold.
fn purchase(
    receipt: &Receipt<'_>,
    parts: &Parts<'_>,
    amounts: &Amounts,
    total: Decimal,
    items: Vec<Item<'_>>,
) -> Result<Event, Stop> {
    let context = receipt.context;
    let (mut event, known) = receipt.event("sale", "commerce.purchases");
    event.set("commerce.purchases.value", 1);
    event.set("commerce.inStorePurchase.value", 1);
    event.set("commerce.order.purchaseID", receipt.key.clone());
    event.set("commerce.order.createdDate", receipt.began()?.to_string());
    event.set("commerce.order.priceTotal", total);
    event.set("commerce.order.taxAmount", parts.taxes.sold);
    if !amounts.discount.is_zero() {
        event.set("commerce.order.discountAmount", amounts.discount);
    }
    event.set("commerce.order.currencyCode", parts.currency.clone());
    let received = sum(
        parts.flows.iter().map(|flow| flow.amount).filter(|a| !a.is_negative()),
        &receipt.path,
    )?;
    let returns = parts.lines.iter().any(|line| line.returned);
    for flow in parts.flows.iter().filter(|flow| !returns || !flow.amount.is_negative()) {
        event.push("commerce.order.payments", flow.payment(receipt, &parts.currency));
    }
    let missing = minus(total, received, &receipt.path)?;
    if returns && !missing.is_negative() && !missing.is_zero() {
        let exchange = Flow::exchange(missing);
        event.push("commerce.order.payments", exchange.payment(receipt, &parts.currency));
    }
    parts.rewards.write(&mut event);
    if context.has_tenant() {
        let cashback = money::cashback(receipt)?;
        if !cashback.is_zero() {
            event.set("_tenant.pos.cashback", cashback);
        }
        if amounts.inclusive {
            event.set("_tenant.pos.pricesIncludeTax", true);
        }
    }
    push_items(&mut event, items);
    Ok(context.event(event, None, known))
}

/// The event of what was taken back.
fn credit(
    receipt: &Receipt<'_>,
    parts: &Parts<'_>,
    total: Decimal,
    exchange: bool,
    items: Vec<Item<'_>>,
) -> Result<Event, Stop> {
    let context = receipt.context;
    let (mut event, known) = receipt.event("return", "commerce.backofficeCreditMemoIssued");
    let original = original(receipt, &parts.lines)?;
    event.set("commerce.order.purchaseID", original.clone().unwrap_or_else(|| receipt.key.clone()));
    event.set("commerce.order.returns.returnID", receipt.key.clone());
    event.set("commerce.order.returns.purchaseID", original);
    event.set("commerce.order.refundTotal", total);
    event.set("commerce.order.currencyCode", parts.currency.clone());
    event.set("commerce.order.taxAmount", parts.taxes.returned);
    let mut left = total;
    for flow in &parts.flows {
        // On a receipt with returns only, a register may sign what it pays out either way.
        if flow.amount.is_negative() || !exchange {
            left = minus(left, flow.amount.abs(), &receipt.path)?;
            event.push("commerce.order.refunds", flow.refund(receipt, &parts.currency));
        }
    }
    if exchange && !left.is_negative() && !left.is_zero() {
        let entry = Flow::exchange(left).refund(receipt, &parts.currency);
        event.push("commerce.order.refunds", entry);
    }
    push_items(&mut event, items);
    Ok(context.event(event, context.settings.routes.refunds.as_ref(), known))
}

/// The key of the receipt on which the goods taken back were sold, where all of them link to one.
fn original(receipt: &Receipt<'_>, lines: &[Line<'_>]) -> Result<Option<String>, Stop> {
    let returned: Vec<&Line<'_>> = lines.iter().filter(|line| line.returned).collect();
    let mut keys = Vec::new();
    for line in &returned {
        keys.extend(line_original(receipt, line)?);
    }
    if keys.is_empty() {
        let link = receipt.retail.all("TransactionLink").find(|link| {
            let reason = link.at("@ReasonCode").or_else(|| link.at("ReasonCode"));
            reason.is_some_and(|reason| reason.is("Return"))
        });
        if let Some(link) = link {
            let path = format!("{}.RetailTransaction.TransactionLink", receipt.path);
            return receipt::key(link, Some(receipt.store), &path).map(Some);
        }
    }
    let one = keys
        .first()
        .filter(|first| keys.len() == returned.len() && keys.iter().all(|key| key == *first));
    Ok(one.cloned())
}

/// The key of the receipt that a line links to.
fn line_original(receipt: &Receipt<'_>, line: &Line<'_>) -> Result<Option<String>, Stop> {
    let link = line.item.child("TransactionLink").filter(|_| line.returned);
    let path = format!("{}.TransactionLink", line.path);
    link.map(|link| receipt::key(link, Some(receipt.store), &path)).transpose()
}

/// Writes the lines of goods.
fn push_items<'n>(event: &mut Entity<'n>, items: Vec<Item<'n>>) {
    for item in items {
        event.push("productListItems", item.entity);
    }
}
