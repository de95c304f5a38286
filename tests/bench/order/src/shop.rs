//! The document, as the shop writes it. Text is borrowed where it has no escapes.

#![cfg_attr(not(test), expect(clippy::missing_docs_in_private_items, reason = "the names say it"))]

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cart<'a> {
    #[serde(borrow)]
    pub(crate) order_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) placed_at: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) customer: Customer<'a>,
    #[serde(borrow)]
    pub(crate) store: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) currency: Cow<'a, str>,
    pub(crate) total: f64,
    #[serde(borrow)]
    pub(crate) lines: Vec<Line<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct Customer<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) email: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    #[serde(borrow)]
    pub(crate) sku: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    pub(crate) quantity: u32,
    pub(crate) unit_price: f64,
}
