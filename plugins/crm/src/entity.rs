//! Salesforce's objects: which fields of Individual Profile theirs become.
//!
//! The tables of contacts and leads follow Adobe's documentation of its own Salesforce source. It has
//! no rows for the opt-outs, the parts of compound names beside the first and last, and the users who
//! changed a record; those are ours.

use serde::Deserialize;

/// The objects that are mapped.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A company. It is no person: its profile has the company's key and name, nothing of a person's.
    Account,
    /// A person at a company.
    Contact,
    /// A person who may become a contact.
    Lead,
    /// A sale in the making. Its profile has the account's key.
    Opportunity,
}

/// How a field's text becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Text,
    /// A record's id, in its form of 18 characters.
    Id,
    /// A day.
    Date,
    /// A moment.
    DateTime,
    /// A truth value.
    Bool,
    /// A truth value that is no consent where it is true.
    OptOut,
    /// An angle of at most so many degrees.
    Degrees(i64),
    /// An e-mail address.
    Email,
    /// Two capital letters.
    CountryCode,
    /// One item of a list.
    Item,
    /// The key of the record's account.
    AccountKey,
    /// The key of the contact that a lead became.
    ContactKey,
}

/// A field of Salesforce: its name, its form, where it goes, and where below the first entry of
/// `personComponents` it goes as well.
pub(crate) struct Field {
    /// Salesforce's name.
    pub(crate) name: &'static str,
    /// How its text becomes a value.
    pub(crate) form: Form,
    /// The path in the profile; not used for keys.
    pub(crate) path: &'static str,
    /// The path below `personComponents[0]`.
    pub(crate) component: Option<&'static str>,
}

/// Shortens the tables below.
const fn to(name: &'static str, form: Form, path: &'static str) -> Field {
    Field { name, form, path, component: None }
}

/// The same, with a copy in `personComponents`.
const fn both(
    name: &'static str,
    form: Form,
    path: &'static str,
    component: &'static str,
) -> Field {
    Field { name, form, path, component: Some(component) }
}

/// What every object has: when and by whom it was made and changed.
const AUDIT: &[Field] = &[
    to("CreatedDate", Form::DateTime, "extSourceSystemAudit.createdDate"),
    to("CreatedById", Form::Id, "extSourceSystemAudit.createdBy"),
    to("LastModifiedDate", Form::DateTime, "extSourceSystemAudit.lastUpdatedDate"),
    to("LastModifiedById", Form::Id, "extSourceSystemAudit.lastUpdatedBy"),
    to("LastActivityDate", Form::DateTime, "extSourceSystemAudit.lastActivityDate"),
    to("LastReferencedDate", Form::DateTime, "extSourceSystemAudit.lastReferencedDate"),
    to("LastViewedDate", Form::DateTime, "extSourceSystemAudit.lastViewedDate"),
];

/// What contacts and leads share.
const PERSON: &[Field] = &[
    to("Salutation", Form::Text, "person.name.courtesyTitle"),
    to("FirstName", Form::Text, "person.name.firstName"),
    to("MiddleName", Form::Text, "person.name.middleName"),
    to("LastName", Form::Text, "person.name.lastName"),
    to("Suffix", Form::Text, "person.name.suffix"),
    to("Name", Form::Text, "person.name.fullName"),
    to("Title", Form::Text, "extendedWorkDetails.jobTitle"),
    both("Email", Form::Email, "workEmail.address", "workEmail.address"),
    to("Phone", Form::Text, "workPhone.number"),
    to("MobilePhone", Form::Text, "mobilePhone.number"),
    to("Fax", Form::Text, "faxPhone.number"),
    both("LeadSource", Form::Text, "b2b.personSource", "personSource"),
    to("HasOptedOutOfEmail", Form::OptOut, "consents.marketing.email.val"),
    to("HasOptedOutOfFax", Form::OptOut, "consents.marketing.fax.val"),
    to("DoNotCall", Form::OptOut, "consents.marketing.call.val"),
    to("IsDeleted", Form::Bool, "isDeleted"),
];

/// What only contacts have.
const CONTACT: &[Field] = &[
    to("AccountId", Form::AccountKey, ""),
    to("Birthdate", Form::Date, "person.birthDate"),
    to("Department", Form::Item, "extendedWorkDetails.departments"),
    to("ReportsToId", Form::Id, "extendedWorkDetails.reportsToID"),
    to("AssistantName", Form::Text, "extendedWorkDetails.assistantDetails.name.fullName"),
    to("AssistantPhone", Form::Text, "extendedWorkDetails.assistantDetails.phone.number"),
    to("HomePhone", Form::Text, "homePhone.number"),
    to("OtherPhone", Form::Text, "otherPhone.number"),
    to("MailingStreet", Form::Text, "workAddress.street1"),
    to("MailingCity", Form::Text, "workAddress.city"),
    to("MailingState", Form::Text, "workAddress.state"),
    to("MailingPostalCode", Form::Text, "workAddress.postalCode"),
    to("MailingCountry", Form::Text, "workAddress.country"),
    to("MailingCountryCode", Form::CountryCode, "workAddress.countryCode"),
    to("MailingLatitude", Form::Degrees(90), "workAddress._schema.latitude"),
    to("MailingLongitude", Form::Degrees(180), "workAddress._schema.longitude"),
    to("OtherStreet", Form::Text, "otherAddress.street1"),
    to("OtherCity", Form::Text, "otherAddress.city"),
    to("OtherState", Form::Text, "otherAddress.state"),
    to("OtherPostalCode", Form::Text, "otherAddress.postalCode"),
    to("OtherCountry", Form::Text, "otherAddress.country"),
    to("OtherCountryCode", Form::CountryCode, "otherAddress.countryCode"),
    to("OtherLatitude", Form::Degrees(90), "otherAddress._schema.latitude"),
    to("OtherLongitude", Form::Degrees(180), "otherAddress._schema.longitude"),
];

/// What only leads have.
const LEAD: &[Field] = &[
    both("Status", Form::Text, "b2b.personStatus", "personStatus"),
    to("IsConverted", Form::Bool, "b2b.isConverted"),
    to("ConvertedDate", Form::DateTime, "b2b.convertedDate"),
    to("ConvertedContactId", Form::ContactKey, ""),
    to("Company", Form::Text, "b2b.companyName"),
    to("Website", Form::Text, "b2b.companyWebsite"),
    to("Street", Form::Text, "workAddress.street1"),
    to("City", Form::Text, "workAddress.city"),
    to("State", Form::Text, "workAddress.state"),
    to("PostalCode", Form::Text, "workAddress.postalCode"),
    to("Country", Form::Text, "workAddress.country"),
    to("CountryCode", Form::CountryCode, "workAddress.countryCode"),
    to("Latitude", Form::Degrees(90), "workAddress._schema.latitude"),
    to("Longitude", Form::Degrees(180), "workAddress._schema.longitude"),
];

/// What of a company fits into a profile.
const ACCOUNT: &[Field] =
    &[to("Name", Form::Text, "b2b.companyName"), to("Website", Form::Text, "b2b.companyWebsite")];

/// What of a sale in the making fits into a profile.
const OPPORTUNITY: &[Field] = &[to("AccountId", Form::AccountKey, "")];

impl Kind {
    /// The object of a name; none for the objects that are not mapped.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Account, Self::Contact, Self::Lead, Self::Opportunity]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The object that a record's id belongs to, by the three characters it begins with.
    pub(crate) fn of_id(id: &str) -> Option<Self> {
        if !matches!(id.len(), 15 | 18) {
            return None;
        }
        Some(match id.get(..3)? {
            "001" => Self::Account,
            "003" => Self::Contact,
            "00Q" => Self::Lead,
            "006" => Self::Opportunity,
            _ => return None,
        })
    }

    /// The object that rows with these columns can only be.
    pub(crate) fn of_columns<'c>(columns: impl Iterator<Item = &'c str>) -> Option<Self> {
        let columns: Vec<String> = columns.map(str::to_ascii_lowercase).collect();
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("stagename") && has("closedate") {
            Some(Self::Opportunity)
        } else if has("lastname") && (has("company") || has("isconverted")) {
            Some(Self::Lead)
        } else if has("lastname") && (has("accountid") || has("mailingcity") || has("birthdate")) {
            Some(Self::Contact)
        } else if has("accountnumber") || has("numberofemployees") {
            Some(Self::Account)
        } else {
            None
        }
    }

    /// Salesforce's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Contact => "Contact",
            Self::Lead => "Lead",
            Self::Opportunity => "Opportunity",
        }
    }

    /// Whether it is a person.
    pub(crate) fn is_person(self) -> bool {
        matches!(self, Self::Contact | Self::Lead)
    }

    /// The field of a name, in any case of its letters.
    pub(crate) fn field(self, name: &str) -> Option<&'static Field> {
        let tables: [&[Field]; 3] = match self {
            Self::Contact => [CONTACT, PERSON, AUDIT],
            Self::Lead => [LEAD, PERSON, AUDIT],
            Self::Account => [ACCOUNT, &[], AUDIT],
            Self::Opportunity => [OPPORTUNITY, &[], AUDIT],
        };
        tables.into_iter().flatten().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

/// An id of 15 characters in its form of 18, which survives systems that do not tell capital letters
/// from small ones: for each five characters one that says which of them are capitals. Other ids are
/// left as they are.
pub(crate) fn id18(id: &str) -> String {
    const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut out = id.to_owned();
    if id.len() != 15 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return out;
    }
    for five in id.as_bytes().chunks(5) {
        let bits = five
            .iter()
            .enumerate()
            .filter(|(_, byte)| byte.is_ascii_uppercase())
            .fold(0usize, |bits, (place, _)| bits | 1 << place);
        out.extend(SIGNS.get(bits).map(|sign| char::from(*sign)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_fifteen_become_eighteen() {
        // Ids of published documents: their last three characters follow from the first fifteen.
        for id in ["0051X000006rkObQAI", "0011X00000mzMB4QAM", "006x0000001YuG5AAK"] {
            assert_eq!(id18(id.get(..15).unwrap()), id);
            assert_eq!(id18(id), id);
        }
        assert_eq!(id18("external-7"), "external-7");
    }

    #[test]
    fn objects_are_told_from_ids_and_columns() {
        assert_eq!(Kind::of_id("0031X000006rkOb"), Some(Kind::Contact));
        assert_eq!(Kind::of_id("003"), None);
        assert_eq!(Kind::of_id("5001X000006rkObQAI"), None);
        assert_eq!(Kind::of_columns(["LASTNAME", "Company"].into_iter()), Some(Kind::Lead));
        assert_eq!(Kind::of_columns(["column1"].into_iter()), None);
    }
}
