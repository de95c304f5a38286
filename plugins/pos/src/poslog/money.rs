//! Taxes, payments and totals of a receipt.

use xylem_mapping::{Decimal, Entity, document::Node};

use super::{lines::Line, receipt::Receipt};
use crate::context::{Stop, decimal, minus, payment_type, peek_decimal, sum};

/// A payment (positive) or a payout (negative).
pub(crate) struct Flow<'n> {
    /// The `Tender`; none for the value of goods taken back in an exchange.
    tender: Option<&'n Node>,
    /// The amount, change taken off.
    pub(crate) amount: Decimal,
    /// How much of it was handed out again as cash on the customer's wish.
    cashback: Option<Decimal>,
    /// Whether it is change, or takes back a payment, rather than a payment or payout of its own.
    handed_back: bool,
}

/// What tax was charged and what was given back; none where the receipt says nothing of it.
pub(crate) struct Taxes {
    /// On the goods sold.
    pub(crate) sold: Option<Decimal>,
    /// On the goods taken back, without sign.
    pub(crate) returned: Option<Decimal>,
}

/// One of the totals that the receipt states.
pub(crate) fn total(receipt: &Receipt<'_>, kind: &str) -> Result<Option<Decimal>, Stop> {
    let path = format!("{}.RetailTransaction.Total", receipt.path);
    for total in receipt.retail.all("Total") {
        if total.peek_at("@TotalType") == Some(kind) {
            return decimal(Some(total), &path);
        }
    }
    Ok(None)
}

impl Taxes {
    /// Reads the taxes: from the lines where goods were both sold and taken back, else the stated
    /// total, else what the tax lines or the goods' own lines say.
    pub(crate) fn read(receipt: &Receipt<'_>, lines: &[Line<'_>]) -> Result<Self, Stop> {
        let path = format!("{}.RetailTransaction", receipt.path);
        let any = |returned: bool| lines.iter().any(|line| line.returned == returned);
        let (sells, returns) = (any(false), any(true));
        let has_line_taxes = lines.iter().any(|line| line.item.child("Tax").is_some());
        if sells && returns && has_line_taxes {
            let sold = on_goods(lines, false, &path)?;
            return Ok(Self { sold, returned: on_goods(lines, true, &path)?.map(Decimal::abs) });
        }
        let amount = match total(receipt, "TransactionTaxAmount")? {
            Some(amount) => Some(amount),
            None => match own_lines(receipt, &path)? {
                Some(amount) => Some(amount),
                None => on_goods(lines, !sells && returns, &path)?,
            },
        };
        Ok(if sells || !returns {
            Self { sold: amount, returned: None }
        } else {
            Self { sold: None, returned: amount.map(Decimal::abs) }
        })
    }
}

/// The sum of the taxes below the lines of goods sold, or taken back, if there are any.
fn on_goods(lines: &[Line<'_>], returned: bool, path: &str) -> Result<Option<Decimal>, Stop> {
    let mut amounts = Vec::new();
    for line in lines.iter().filter(|line| line.returned == returned) {
        for tax in line.item.all("Tax") {
            amounts.extend(decimal(tax.child("Amount"), &format!("{}.Tax.Amount", line.path))?);
        }
    }
    if amounts.is_empty() { Ok(None) } else { sum(amounts, path).map(Some) }
}

/// The sum of the tax lines, if there are any.
fn own_lines(receipt: &Receipt<'_>, path: &str) -> Result<Option<Decimal>, Stop> {
    let mut amounts = Vec::new();
    for tax in receipt.retail.all("LineItem").filter_map(|line| line.child("Tax")) {
        amounts.extend(decimal(tax.child("Amount"), &format!("{path}.LineItem.Tax.Amount"))?);
    }
    if amounts.is_empty() { Ok(None) } else { sum(amounts, path).map(Some) }
}

/// The payments and payouts of a receipt: change is taken off the payment it belongs to.
///
/// On a receipt with returns only a register may sign what it pays out either way: there the word
/// for it decides nothing and is not noted as used.
pub(crate) fn flows<'n>(receipt: &Receipt<'n>, returns_only: bool) -> Result<Vec<Flow<'n>>, Stop> {
    let mut flows: Vec<Flow<'n>> = Vec::new();
    let mut changes: Vec<Flow<'n>> = Vec::new();
    for (index, line) in receipt.retail.all("LineItem").enumerate() {
        let Some(tender) = line.child("Tender") else { continue };
        let path = format!("{}.RetailTransaction.LineItem[{index}].Tender", receipt.path);
        let amount = peek_decimal(tender.child("Amount"), &format!("{path}.Amount"))?;
        let Some(amount) = amount else {
            return Err(Stop::reject("no-amount", "the payment has no `Amount`", path));
        };
        let voided = line.is_at("@VoidFlag", "true");
        if voided && !amount.is_negative() {
            tender.leave_out();
            continue;
        }
        tender.text_at("Amount");
        let flow = Flow::read(tender, (amount, voided), returns_only, &path)?;
        if flow.handed_back { changes.push(flow) } else { flows.push(flow) }
    }
    for change in changes {
        take_off(&mut flows, change, &receipt.path)?;
    }
    // What was handed back as a whole was not paid.
    for flow in flows.iter().filter(|flow| flow.amount.is_zero()) {
        flow.tender.map(Node::leave_out);
    }
    flows.retain(|flow| !flow.amount.is_zero());
    Ok(flows)
}

/// What was handed out as cash on the customer's wish, all payments together.
pub(crate) fn cashback(receipt: &Receipt<'_>) -> Result<Decimal, Stop> {
    let path = format!("{}.RetailTransaction.LineItem.Tender.Cashback", receipt.path);
    let tenders = receipt.retail.all("LineItem").filter_map(|line| line.child("Tender"));
    let mut amounts = Vec::new();
    for tender in tenders {
        amounts.extend(decimal(tender.child("Cashback"), &path)?);
    }
    sum(amounts, &path)
}

/// Takes change off the payment it was given for: the one that says so as cashback, else one of the
/// same kind, else the largest. If none is large enough it stays a payout.
fn take_off<'n>(flows: &mut Vec<Flow<'n>>, change: Flow<'n>, path: &str) -> Result<(), Stop> {
    let given = change.amount.abs();
    let kind = |flow: &Flow<'n>| {
        flow.tender.and_then(|tender| tender.peek_at("@TenderType")).map(str::to_owned)
    };
    let place = flows
        .iter()
        .position(|flow| flow.cashback == Some(given) && flow.amount >= given)
        .or_else(|| {
            flows.iter().position(|flow| kind(flow) == kind(&change) && flow.amount >= given)
        })
        .or_else(|| {
            let large = flows.iter().enumerate().filter(|(_, flow)| flow.amount >= given);
            large.max_by_key(|(_, flow)| flow.amount).map(|(place, _)| place)
        });
    match place.and_then(|place| flows.get_mut(place)) {
        Some(flow) => {
            flow.amount = minus(flow.amount, given, path)?;
            change.tender.map(Node::leave_out);
        }
        None => flows.push(change),
    }
    Ok(())
}

impl<'n> Flow<'n> {
    /// Reads what a `Tender` with this amount, voided or not, does.
    fn read(
        tender: &'n Node,
        (amount, voided): (Decimal, bool),
        returns_only: bool,
        path: &str,
    ) -> Result<Self, Stop> {
        let change = peek_decimal(tender.at("TenderChange.Amount"), path)?;
        let word = tender.peek_at("@TypeCode").unwrap_or_default().to_ascii_lowercase();
        let out = matches!(word.as_str(), "refund" | "change");
        if word == "change" || (out && !amount.is_negative() && !returns_only) {
            tender.text_at("@TypeCode");
        }
        let mut flow = Self {
            tender: Some(tender),
            amount: if out { amount.abs().negated() } else { amount },
            cashback: peek_decimal(tender.child("Cashback"), path)?,
            handed_back: voided || word == "change" || tender.is_at("@ChangeFlag", "true"),
        };
        if let Some(change) = change {
            tender.text_at("TenderChange.Amount");
            if change == amount {
                // A line of its own for the change, as NCR writes it.
                flow.handed_back = true;
            } else {
                // The amount handed over and, within the same tender, what came back.
                flow.amount = minus(amount, change.abs(), path)?;
            }
        }
        Ok(flow)
    }

    /// The value of goods taken back, which pays for goods sold on the same receipt.
    pub(crate) fn exchange(amount: Decimal) -> Self {
        Self { tender: None, amount, cashback: None, handed_back: false }
    }

    /// The entry of `commerce.order.payments`.
    pub(crate) fn payment(&self, receipt: &Receipt<'n>, currency: &str) -> Entity<'n> {
        let mut entry = receipt.context.entity();
        entry.set("transactionID", self.reference());
        entry.set("paymentAmount", self.amount);
        self.kind(receipt, "paymentType", &mut entry);
        entry.set("currencyCode", currency.to_owned());
        entry
    }

    /// The entry of `commerce.order.refunds`.
    pub(crate) fn refund(&self, receipt: &Receipt<'n>, currency: &str) -> Entity<'n> {
        let mut entry = receipt.context.entity();
        entry.set("transactionID", self.reference());
        entry.set("refundAmount", self.amount.abs());
        self.kind(receipt, "refundPaymentType", &mut entry);
        entry.set("currencyCode", currency.to_owned());
        entry
    }

    /// The number under which the payment was authorised.
    fn reference(&self) -> Option<&'n str> {
        self.tender?.text_at("Authorization.ReferenceNumber")
    }

    /// Writes how it was paid: in XDM's words, and in the register's own where XDM has none.
    fn kind(&self, receipt: &Receipt<'n>, path: &'static str, entry: &mut Entity<'n>) {
        let Some(tender) = self.tender else {
            entry.set(path, "other");
            return;
        };
        let Some(words) = tender.text_at("@TenderType") else { return };
        let kind = if words == "CreditDebit" {
            let debit = tender.is_at("CreditDebit.@CardType", "Debit");
            Some(if debit { "debit_card" } else { "credit_card" })
        } else {
            payment_type(words)
        };
        entry.set(path, kind.unwrap_or("other"));
        if kind.is_none() && receipt.context.has_tenant() {
            entry.set("_tenant.tenderType", words);
        }
    }
}
