//! Discounts that stand on lines of their own: loyalty rewards and discounts on the whole receipt.

use xylem_mapping::{Decimal, Entity, document::Node};

use super::{lines::Line, receipt::Receipt};
use crate::context::{Stop, decimal, sum};

/// The discounts of a receipt.
pub(crate) struct Rewards<'n>(Vec<Reward<'n>>);

/// One discount.
struct Reward<'n> {
    /// The `LoyaltyReward` or `Discount`.
    node: &'n Node,
    /// What it takes off; negative where a discount is taken back.
    taken: Decimal,
    /// The goods it is for, by the register's own number of the line.
    item: Option<&'n Node>,
    /// The article of those goods.
    sku: Option<&'n str>,
}

impl<'n> Rewards<'n> {
    /// Reads the discounts and finds the lines they are for. Rewards that are not money (messages
    /// on the receipt, offers) and summaries of detailed ones are left out.
    pub(crate) fn collect(receipt: &Receipt<'n>, lines: &[Line<'n>]) -> Result<Self, Stop> {
        let mut rewards = Vec::new();
        for (index, line) in receipt.retail.all("LineItem").enumerate() {
            let path = format!("{}.RetailTransaction.LineItem[{index}]", receipt.path);
            if let Some(node) = line.child("LoyaltyReward") {
                rewards.extend(Reward::loyalty(node, lines, &path)?);
            }
            if let Some(node) = line.child("Discount") {
                let taken = decimal(node.child("Amount"), &format!("{path}.Discount.Amount"))?;
                if let Some(taken) = taken {
                    rewards.push(Reward { node, taken: taken.abs(), item: None, sku: None });
                }
            }
        }
        Ok(Self(rewards))
    }

    /// What the discounts take off one line.
    pub(crate) fn of_line(&self, line: &Line<'_>, path: &str) -> Result<Decimal, Stop> {
        let own =
            |reward: &&Reward<'_>| reward.item.is_some_and(|item| std::ptr::eq(item, line.item));
        sum(self.0.iter().filter(own).map(|reward| reward.taken), path)
    }

    /// What the discounts take off the receipt as a whole.
    pub(crate) fn of_order(&self, path: &str) -> Result<Decimal, Stop> {
        let whole = |reward: &&Reward<'_>| reward.item.is_none();
        sum(self.0.iter().filter(whole).map(|reward| reward.taken), path)
    }

    /// The entries of `loyalty.discounts`.
    pub(crate) fn write(&self, event: &mut Entity<'n>) {
        for reward in &self.0 {
            let mut entry = Entity::new();
            entry.set("value", reward.taken);
            entry.set("source", reward.node.text_at("RewardType"));
            entry.set("scope", reward.node.text_at("RewardLevel"));
            entry.set("promotionId", reward.node.text_at("PromotionID"));
            entry.set("triggeredForItem", reward.sku);
            event.push("loyalty.discounts", entry);
        }
    }
}

impl<'n> Reward<'n> {
    /// A reward, if it is money and detailed.
    fn loyalty(node: &'n Node, lines: &[Line<'n>], path: &str) -> Result<Option<Self>, Stop> {
        let money = node.peek_at("RewardCategory") == Some("Monetary");
        if !(money && node.peek_at("@detailedData") == Some("true")) {
            node.leave_out();
            return Ok(None);
        }
        node.text_at("RewardCategory");
        node.text_at("@detailedData");
        let amount = node.child("ExtendedRewardAmount");
        let amount = decimal(amount, &format!("{path}.LoyaltyReward.ExtendedRewardAmount"))?;
        let Some(amount) = amount else { return Ok(None) };
        let reference = node.child("OperatorSequenceReference");
        let line = reference.and_then(Node::peek).and_then(|reference| {
            let number =
                |line: &&Line<'_>| line.item.peek_at("OperatorSequence") == Some(reference);
            lines.iter().find(number)
        });
        if let Some(line) = line {
            reference.and_then(Node::text);
            line.item.text_at("OperatorSequence");
        }
        let sku = line.map(Line::sku).transpose()?;
        Ok(Some(Self { node, taken: amount.negated(), item: line.map(|line| line.item), sku }))
    }
}
