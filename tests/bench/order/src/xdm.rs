//! What the plugin writes of XDM `ExperienceEvent`, its fields in the order in which they are
//! written.

#![cfg_attr(
    not(test),
    expect(clippy::missing_docs_in_private_items, reason = "names and meanings are XDM's")
)]

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    #[serde(rename = "_id")]
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    #[serde(rename = "eventType")]
    pub(crate) kind: &'static str,
    pub(crate) identity_map: IdentityMap<'a>,
    pub(crate) product_list_items: Vec<ProductListItem<'a>>,
    pub(crate) commerce: Commerce<'a>,
    pub(crate) store: Store<'a>,
}

#[derive(Serialize)]
pub(crate) struct IdentityMap<'a> {
    #[serde(rename = "CRMID")]
    pub(crate) crm_id: [Identity<'a>; 1],
    #[serde(rename = "Email")]
    pub(crate) email: [Identity<'a>; 1],
}

#[derive(Serialize)]
pub(crate) struct Identity<'a> {
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) primary: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProductListItem<'a> {
    #[serde(rename = "SKU")]
    pub(crate) sku: &'a str,
    pub(crate) name: &'a str,
    pub(crate) quantity: u32,
    pub(crate) price_total: f64,
    pub(crate) currency_code: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Commerce<'a> {
    pub(crate) order: Order<'a>,
    pub(crate) purchases: Measure,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order<'a> {
    #[serde(rename = "purchaseID")]
    pub(crate) purchase_id: &'a str,
    pub(crate) created_date: &'a str,
    #[serde(rename = "orderType")]
    pub(crate) kind: &'static str,
    pub(crate) currency_code: &'a str,
    pub(crate) price_total: f64,
    pub(crate) payments: [Payment<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payment<'a> {
    #[serde(rename = "transactionID")]
    pub(crate) transaction_id: &'a str,
    #[serde(rename = "paymentAmount")]
    pub(crate) amount: f64,
    pub(crate) currency_code: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Measure {
    pub(crate) value: u32,
}

#[derive(Serialize)]
pub(crate) struct Store<'a> {
    #[serde(rename = "storeID")]
    pub(crate) store_id: &'a str,
}
