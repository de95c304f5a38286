//! An order's customer as an Individual Profile, and postal addresses.

use xylem_kit::Event;
use xylem_mapping::{Decimal, Entity, document::Node, format};

use super::{below, order::moment};
use crate::context::{Context, Ids, Stop};

/// The profile of an order's customer, if there is one whom the settings can identify.
pub(super) fn event(order: &Node, context: &Context, path: &str) -> Result<Option<Event>, Stop> {
    let Some(customer) = order.child("customer") else { return Ok(None) };
    let path = below(path, "customer");
    let mut profile = context.entity();
    let ids = Ids { loyalty: None, customer: customer.child("id"), email: customer.child("email") };
    if !context.identify(&mut profile, &ids) {
        return Ok(None);
    }
    profile.set("person.name.firstName", customer.text_at("first_name"));
    profile.set("person.name.lastName", customer.text_at("last_name"));
    let email = customer.child("email").filter(|email| email.peek().is_some_and(format::is_email));
    profile.set("personalEmail.address", email.and_then(Node::text));
    profile.set("mobilePhone.number", customer.text_at("phone"));
    if let Some(home) = customer.child("default_address") {
        profile.set("homeAddress", address(home));
    }
    profile.set("consents.marketing.email.val", consent(customer));
    profile.set("userAccount.ID", customer.text_at("id"));
    let created = moment(customer, "created_at", context, &path)?;
    profile.set("extSourceSystemAudit.createdDate", created);
    let updated = moment(customer, "updated_at", context, &path)?;
    profile.set("extSourceSystemAudit.lastUpdatedDate", updated);
    let route = context.settings.routes.profiles.clone();
    Ok(Some(Event { body: profile.into_json(), route, operation: None }))
}

/// Whether the customer agreed to e-mails, in XDM's words; none where the shop does not say.
fn consent(customer: &Node) -> Option<&'static str> {
    let state = customer.at("email_marketing_consent.state");
    match state.and_then(Node::text) {
        Some("subscribed") => Some("y"),
        Some("pending") => Some("p"),
        Some("unsubscribed" | "not_subscribed" | "invalid") => Some("n"),
        Some(_) => Some("u"),
        None => match customer.text_at("accepts_marketing") {
            Some("true") => Some("y"),
            Some("false") => Some("n"),
            _ => None,
        },
    }
}

/// A postal address. Names and telephone numbers on it are those of the recipient.
pub(super) fn address(node: &Node) -> Entity<'_> {
    let mut address = Entity::new();
    address.set("street1", node.text_at("address1"));
    address.set("street2", node.text_at("address2"));
    address.set("city", node.text_at("city"));
    address.set("postalCode", node.text_at("zip"));
    address.set("state", node.text_at("province"));
    address.set("country", node.text_at("country"));
    let capitals = |text: &str, most: usize| {
        (1..=most).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let country = node.child("country_code").filter(|code| {
        code.peek()
            .is_some_and(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()))
    });
    if let Some(country) = country.and_then(Node::text) {
        address.set("countryCode", country);
        let province =
            node.child("province_code").filter(|code| code.peek().is_some_and(|p| capitals(p, 3)));
        if let Some(province) = province.and_then(Node::text) {
            address.set("stateProvince", format!("{country}-{province}"));
        }
    }
    address.set("_schema.latitude", degrees(node.child("latitude"), 90));
    address.set("_schema.longitude", degrees(node.child("longitude"), 180));
    address
}

/// An angle within the limits that XDM sets.
fn degrees(node: Option<&Node>, limit: i64) -> Option<Decimal> {
    let node = node?;
    let angle = Decimal::parse(node.peek()?).ok()?;
    let angle = (angle.abs() <= Decimal::from_minor_units(limit, 0)).then_some(angle)?;
    node.text();
    Some(angle)
}
