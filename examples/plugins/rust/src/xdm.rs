//! What the plugin writes of XDM Individual Profile, its fields in the order in which they are
//! written.

#![cfg_attr(
    not(test),
    expect(clippy::missing_docs_in_private_items, reason = "names and meanings are XDM's")
)]

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile<'a> {
    pub(crate) identity_map: BTreeMap<&'a str, [Identity<'a>; 1]>,
    #[serde(skip_serializing_if = "Person::is_empty")]
    pub(crate) person: Person<'a>,
    pub(crate) personal_email: Email<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) home_address: Option<Address<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consents: Option<Consents<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Identity<'a> {
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) primary: bool,
}

#[derive(Serialize)]
pub(crate) struct Person<'a> {
    pub(crate) name: Name<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Name<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_name: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct Email<'a> {
    pub(crate) address: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address<'a> {
    pub(crate) country_code: &'a str,
}

#[derive(Serialize)]
pub(crate) struct Consents<'a> {
    pub(crate) marketing: Marketing<'a>,
}

#[derive(Serialize)]
pub(crate) struct Marketing<'a> {
    pub(crate) email: Consent<'a>,
}

#[derive(Serialize)]
pub(crate) struct Consent<'a> {
    pub(crate) val: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

impl Person<'_> {
    fn is_empty(&self) -> bool {
        self.name.first_name.is_none() && self.name.last_name.is_none()
    }
}
