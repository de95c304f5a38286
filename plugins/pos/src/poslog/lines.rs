//! The goods of a receipt: which lines count, and what each becomes.

use xylem_mapping::{Decimal, Entity, document::Node};

use super::{loyalty::Rewards, receipt::Receipt};
use crate::{
    context::{Stop, decimal, minus, peek_decimal, sum},
    settings::ExtendedAmount,
};

/// A line of goods sold or taken back.
pub(crate) struct Line<'n> {
    /// The `LineItem`.
    pub(crate) whole: &'n Node,
    /// Its `Sale` or `Return`.
    pub(crate) item: &'n Node,
    /// Where it stands, for messages.
    pub(crate) path: String,
    /// Whether the goods were taken back.
    pub(crate) returned: bool,
    /// The quantity as the document signs it.
    quantity: Decimal,
    /// The amount before tax and after the line's own discount, as the document signs it.
    amount: Decimal,
}

/// A line as it stands in an event.
pub(crate) struct Item<'n> {
    /// The entry of `productListItems`.
    pub(crate) entity: Entity<'n>,
    /// What it adds to the order's total, or what is refunded for it.
    pub(crate) amount: Decimal,
}

/// The lines of goods that count, in document order: voided lines and the lines that void them are
/// left out.
pub(crate) fn collect<'n>(receipt: &Receipt<'n>) -> Result<Vec<Line<'n>>, Stop> {
    let mut lines: Vec<Line<'n>> = Vec::new();
    for (index, line) in receipt.retail.all("LineItem").enumerate() {
        let sale = line.child("Sale").map(|item| (item, false));
        let Some((item, is_return)) =
            sale.or_else(|| line.child("Return").map(|item| (item, true)))
        else {
            continue;
        };
        let path = format!("{}.RetailTransaction.LineItem[{index}].{}", receipt.path, item.name());
        let quantity = peek_decimal(item.child("Quantity"), &format!("{path}.Quantity"))?;
        let quantity = quantity.unwrap_or_else(|| Decimal::from_minor_units(1, 0));
        let amount = amount(item, quantity, receipt, &path)?;
        let returned = is_return || is_return_by_sign(item, quantity, amount);
        let read = Line { whole: line, item, path, returned, quantity, amount };
        if line.is_at("@VoidFlag", "true") || item.is_at("@VoidFlag", "true") {
            void(&mut lines, read);
        } else {
            lines.push(read);
        }
    }
    Ok(lines)
}

/// The amount of a line, not noted as used.
fn amount(
    item: &Node,
    quantity: Decimal,
    receipt: &Receipt<'_>,
    path: &str,
) -> Result<Decimal, Stop> {
    let peek = |name: &str| peek_decimal(item.child(name), &format!("{path}.{name}"));
    if let Some(extended) = peek("ExtendedAmount")? {
        if receipt.context.settings.extended_amount == ExtendedAmount::Net {
            return Ok(extended);
        }
        let discount = peek("ExtendedDiscountAmount")?.unwrap_or(Decimal::ZERO);
        return minus(extended, discount, path);
    }
    let price = peek("ActualSalesUnitPrice")?.ok_or_else(|| {
        Stop::reject(
            "no-amount",
            "the line has neither `ExtendedAmount` nor `ActualSalesUnitPrice`",
            path,
        )
    })?;
    price
        .checked_mul(quantity)
        .ok_or_else(|| Stop::reject("bad-number", "an amount has more than 38 digits", path))
}

/// POSLog 6 as Futura writes it: goods taken back are a `Sale` with a negative quantity and a
/// positive amount. With both negative it is a void or a negative item (a bottle deposit).
fn is_return_by_sign(item: &Node, quantity: Decimal, amount: Decimal) -> bool {
    let negative_item =
        item.peek_at("@ItemType").is_some_and(|kind| kind.ends_with("NegativeItem"));
    !negative_item && quantity.is_negative() && !amount.is_negative() && !amount.is_zero()
}

/// Takes a voided line out. Three forms are in use: an additional line that links to the voided
/// one (`ItemLink`), an additional line with the same item and opposite signs, and the flag on the
/// voided line itself.
fn void<'n>(lines: &mut Vec<Line<'n>>, voiding: Line<'n>) {
    let link = voiding.item.child("ItemLink").or_else(|| voiding.whole.child("ItemLink"));
    let target = match link.and_then(Node::peek) {
        Some(link) => {
            lines.iter().rposition(|line| line.whole.peek_at("SequenceNumber") == Some(link))
        }
        None => lines.iter().rposition(|line| line.opposite(&voiding)),
    };
    if let Some(target) = target {
        match link {
            Some(link) => drop(link.text()),
            None => voiding.mark(),
        }
        lines.remove(target).whole.leave_out();
        voiding.whole.leave_out();
    } else if voiding.quantity.is_negative() || voiding.amount.is_negative() {
        // It voids a part of a line, or one that is not here: only with it do the totals hold.
        lines.push(voiding);
    } else {
        voiding.whole.leave_out();
    }
}

impl<'n> Line<'n> {
    /// Whether the other line takes exactly this one back.
    fn opposite(&self, other: &Line<'_>) -> bool {
        let id = |line: &Line<'n>| line.id().and_then(Node::peek).map(str::to_owned);
        let other_id = other.id().and_then(Node::peek);
        (other.quantity.is_negative() || other.amount.is_negative())
            && id(self).as_deref() == other_id
            && self.quantity == other.quantity.negated()
            && self.amount == other.amount.negated()
    }

    /// Notes what [`Line::opposite`] compares as used.
    fn mark(&self) {
        for node in [self.id(), self.item.child("Quantity"), self.item.child("ExtendedAmount")] {
            node.and_then(Node::text);
        }
    }

    /// What says which article it is, best first.
    fn id(&self) -> Option<&'n Node> {
        let item = self.item;
        [item.child("ItemID"), item.at("POSIdentity.POSItemID"), item.child("MerchandiseHierarchy")]
            .into_iter()
            .flatten()
            .find(|node| node.peek().is_some())
    }

    /// The article's number.
    pub(crate) fn sku(&self) -> Result<&'n str, Stop> {
        self.id().and_then(Node::text).ok_or_else(|| {
            Stop::reject(
                "no-item-id",
                "the line names no article: `SKU` is required in XDM",
                &self.path,
            )
        })
    }

    /// The entry of `productListItems`.
    pub(crate) fn item(
        &self,
        receipt: &Receipt<'n>,
        rewards: &Rewards<'n>,
        currency: &str,
    ) -> Result<Item<'n>, Stop> {
        let (context, item) = (receipt.context, self.item);
        let mut entity = context.entity();
        let sku = self.sku()?;
        entity.set("SKU", sku);
        entity.set("_id", self.whole.text_at("SequenceNumber").map(crate::context::key_part));
        entity.set("name", item.text_at("Description"));
        entity.set("currencyCode", currency.to_owned());
        for category in item.all("MerchandiseHierarchy") {
            let mut entry = Entity::new();
            entry.set("categoryID", category.text());
            entry.set("categoryName", category.text_at("@DepartmentDescription"));
            entity.push("productCategories", entry);
        }
        self.quantity(receipt, &mut entity)?;
        let amount = self.amounts(rewards, &mut entity)?;
        self.own_fields(receipt, sku, &mut entity);
        Ok(Item { entity, amount })
    }

    /// Quantity, unit and weight. XDM's quantity is a whole number: weighed goods have quantity 1,
    /// and their weight is a field of the organisation's own.
    fn quantity(&self, receipt: &Receipt<'n>, entity: &mut Entity<'n>) -> Result<(), Stop> {
        let context = receipt.context;
        let node = self.item.child("Quantity");
        let units_node = self.item.at("Quantity.@Units");
        let units = peek_decimal(units_node, &format!("{}.Quantity.@Units", self.path))?;
        let whole = self.quantity.to_integer().map(i64::unsigned_abs);
        let units = units.filter(|units| units.to_integer().is_none()).map(Decimal::abs);
        let measured = match (whole, units) {
            (None, _) => Some((node, self.quantity.abs())),
            (Some(_), Some(units)) => Some((units_node, units)),
            (Some(_), None) if self.whole.is_at("@weightItem", "true") => {
                Some((node, self.quantity.abs()))
            }
            _ => None,
        };
        let unit = self.item.text_at("Quantity.@UnitOfMeasureCode");
        if let Some((measure, weight)) = measured {
            entity.set("quantity", 1);
            entity.set("unitOfMeasureCode", unit.or(context.settings.weight_unit.as_deref()));
            if context.has_tenant() {
                measure.and_then(Node::text);
                entity.set("_tenant.weight", weight);
            }
        } else {
            node.and_then(Node::text);
            let whole = whole.and_then(|whole| i64::try_from(whole).ok());
            entity.set("quantity", whole);
            entity.set("unitOfMeasureCode", unit);
        }
        if self.returned {
            let pieces = if measured.is_some() {
                Some(1)
            } else {
                whole.and_then(|n| i64::try_from(n).ok())
            };
            entity.set("returnItem.returnQuantityReceived", pieces);
        }
        Ok(())
    }

    /// Price and discounts; gives back what the line adds to the total.
    fn amounts(&self, rewards: &Rewards<'n>, entity: &mut Entity<'n>) -> Result<Decimal, Stop> {
        let path = &self.path;
        if self.item.peek_at("ExtendedAmount").is_some() {
            self.item.text_at("ExtendedAmount");
        } else {
            self.item.text_at("ActualSalesUnitPrice");
            self.item.text_at("Quantity");
        }
        let reward = rewards.of_line(self, path)?;
        let amount = minus(self.amount, reward, path)?;
        let own = decimal(self.item.child("ExtendedDiscountAmount"), path)?;
        let own = match own {
            Some(own) => own,
            None => self.modifiers()?,
        };
        let discount = sum([own.abs(), reward], path)?;
        if !discount.is_zero() {
            entity.set("discountAmount", discount);
        }
        let amount = if self.returned { amount.abs() } else { amount };
        entity.set(if self.returned { "refundAmount" } else { "priceTotal" }, amount);
        Ok(amount)
    }

    /// What price modifiers take off, where no `ExtendedDiscountAmount` says it.
    fn modifiers(&self) -> Result<Decimal, Stop> {
        let mut total = Decimal::ZERO;
        for modifier in self.item.all("RetailPriceModifier") {
            let Some(amount) = modifier.child("Amount") else { continue };
            if amount.is_at("@Action", "Subtract") {
                let path = format!("{}.RetailPriceModifier.Amount", self.path);
                let taken = decimal(Some(amount), &path)?.unwrap_or(Decimal::ZERO);
                total = sum([total, taken], &path)?;
            }
        }
        Ok(total)
    }

    /// Fields that XDM has no place for.
    fn own_fields(&self, receipt: &Receipt<'n>, sku: &str, entity: &mut Entity<'n>) {
        let (context, item) = (receipt.context, self.item);
        if context.has_tenant() {
            let path = format!("{}.RegularSalesUnitPrice", self.path);
            let price = decimal(item.child("RegularSalesUnitPrice"), &path).ok().flatten();
            entity.set("_tenant.unitPrice", price);
        }
        for identity in item.all("POSIdentity").filter_map(|identity| identity.child("POSItemID")) {
            if identity.peek() == Some(sku) {
                identity.leave_out();
            } else if entity.get("_tenant.posItemID").is_none() {
                context.own(entity, "_tenant.posItemID", Some(identity));
            }
        }
        let kind = item.child("@ItemType").filter(|kind| kind.peek() != Some("Stock"));
        context.own(entity, "_tenant.itemType", kind);
        if self.returned {
            let reason =
                [item.child("Reason"), item.child("@ReasonCode"), item.child("ReasonCode")];
            let reason = reason.into_iter().flatten().find_map(Node::text);
            entity.set("returnItem.returnReason", reason);
        }
    }
}
