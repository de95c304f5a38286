//! A record of Salesforce as an entity of the Individual Profile class.

use xylem_kit::{Event, Operation};
use xylem_mapping::{Entity, Value, document::Node, identity};

use crate::{
    Context, Stop,
    entity::{Form, Kind},
    settings::Partial,
    source::Fields,
    value::convert,
};

/// The name of the source in keys.
const SALESFORCE: &str = "Salesforce";

/// The paths of the four parts of a key.
struct KeyPaths {
    /// The id within the organisation.
    id: &'static str,
    /// The kind of system.
    kind: &'static str,
    /// The organisation.
    instance: &'static str,
    /// All of it in one text.
    key: &'static str,
}

/// Writes the paths of a key out.
macro_rules! key_paths {
    ($path:literal) => {
        KeyPaths {
            id: concat!($path, ".sourceID"),
            kind: concat!($path, ".sourceType"),
            instance: concat!($path, ".sourceInstanceID"),
            key: concat!($path, ".sourceKey"),
        }
    };
}

/// The key of a contact or lead.
const PERSON_KEY: KeyPaths = key_paths!("b2b.personKey");
/// The key of an account.
const ACCOUNT_KEY: KeyPaths = key_paths!("b2b.accountKey");
/// The key of the contact that a lead became.
const CONTACT_KEY: KeyPaths = key_paths!("b2b.convertedContactKey");
/// The key of the record, whatever it is.
const RECORD_KEY: KeyPaths = key_paths!("extSourceSystemAudit.externalKey");
/// The keys within an entry of `personComponents`.
const COMPONENT_PERSON: KeyPaths = key_paths!("sourcePersonKey");
/// The account's.
const COMPONENT_ACCOUNT: KeyPaths = key_paths!("sourceAccountKey");
/// The contact's.
const COMPONENT_CONTACT: KeyPaths = key_paths!("sourceConvertedContactKey");

/// A profile under construction.
pub(crate) struct Profile<'n> {
    /// The settings.
    context: &'n Context,
    /// What the record is.
    kind: Kind,
    /// The entity.
    pub(crate) entity: Entity<'n>,
    /// The entry of `personComponents`.
    component: Entity<'n>,
    /// The e-mail address, for the identity.
    email: Option<String>,
    /// The key of the person.
    key: Option<String>,
}

impl<'n> Profile<'n> {
    /// An empty profile.
    pub(crate) fn new(context: &'n Context, kind: Kind) -> Self {
        let entity = context.entity();
        Self { context, kind, entity, component: Entity::new(), email: None, key: None }
    }

    /// Whether the record is a person.
    pub(crate) fn is_person(&self) -> bool {
        self.kind.is_person()
    }

    /// Writes the record's own id, in its form of 18 characters.
    pub(crate) fn id(&mut self, id: &str) {
        self.entity_key(&RECORD_KEY, id);
        match self.kind {
            Kind::Contact | Kind::Lead => {
                self.entity_key(&PERSON_KEY, id);
                self.component_key(&COMPONENT_PERSON, id);
                self.key = Some(self.source_key(id));
            }
            Kind::Account => self.entity_key(&ACCOUNT_KEY, id),
            Kind::Opportunity => {}
        }
    }

    /// Writes the fields that the profile has a place for; the others go below the tenant's namespace,
    /// or are not read and so reported.
    pub(crate) fn fields(&mut self, fields: &Fields<'n>, path: &str) -> Result<(), Stop> {
        for (name, node) in fields {
            if node.peek().is_none() {
                continue;
            }
            let value = match self.kind.field(name) {
                Some(field) => {
                    let path = format!("{path}.{name}");
                    let value = convert(field.form, node, self.context, &path)?;
                    value.map(|value| (field, value))
                }
                None => None,
            };
            match value {
                Some((field, value)) => self.field(field, value),
                None => self.other(name, node),
            }
        }
        Ok(())
    }

    /// Writes a field that the profile has a place for.
    fn field(&mut self, field: &'static crate::entity::Field, value: Value<'n>) {
        match field.form {
            Form::AccountKey => {
                let id = value.as_str().unwrap_or_default().to_owned();
                self.entity_key(&ACCOUNT_KEY, &id);
                if self.kind.is_person() {
                    self.component_key(&COMPONENT_ACCOUNT, &id);
                }
            }
            Form::ContactKey => {
                let id = value.as_str().unwrap_or_default().to_owned();
                self.entity_key(&CONTACT_KEY, &id);
                self.component_key(&COMPONENT_CONTACT, &id);
                self.component.set("sourceConvertedContactID", id.clone());
                self.entity.set("b2b.convertedContactID", id);
            }
            Form::Item => self.entity.push(field.path, value),
            form => {
                if form == Form::Email {
                    self.email = value.as_str().map(str::to_owned);
                }
                if let Some(component) = field.component {
                    self.component.set(component, value.clone());
                }
                self.entity.set(field.path, value);
            }
        }
    }

    /// Keeps a field that the profile has no place for, where a tenant's namespace takes it in.
    fn other(&mut self, name: &str, node: &'n Node) {
        if !self.context.has_tenant() {
            return;
        }
        let mut item = Entity::new();
        item.set("name", name.to_owned());
        item.set("value", node.text());
        self.entity.push("_tenant.crm.fields", item);
    }

    /// The profile as an event. `partial` says whether the record may have fields that it does not
    /// mention.
    pub(crate) fn event(mut self, partial: bool) -> Event {
        self.entity.push("personComponents", self.component);
        if self.context.has_tenant() {
            self.entity.set("_tenant.crm.entity", self.kind.name());
        }
        let names = &self.context.settings.identity;
        let key = self.key.map(|key| (names.person.as_deref(), key));
        let email = self.email.as_deref().and_then(|email| identity::email(email).ok().flatten());
        let email = email.map(|email| (names.email.as_deref(), email));
        let mut map: Vec<(std::borrow::Cow<'n, str>, Value<'n>)> = Vec::new();
        for (namespace, id) in [key, email].into_iter().flatten() {
            let Some(namespace) = namespace else { continue };
            let mut item = Entity::new();
            item.set("id", id);
            item.set("primary", map.is_empty());
            map.push((namespace.into(), Value::Array(vec![item.into()])));
        }
        self.entity.set("identityMap", Value::Object(map));
        let settings = &self.context.settings;
        let route = match self.kind {
            Kind::Account => &settings.routes.accounts,
            Kind::Contact => &settings.routes.contacts,
            Kind::Lead => &settings.routes.leads,
            Kind::Opportunity => &settings.routes.opportunities,
        };
        let update = partial && settings.partial == Partial::Update;
        Event {
            body: self.entity.into_json(),
            route: route.clone(),
            operation: update.then_some(Operation::Update),
        }
    }

    /// A record's key in one text, as Adobe's source writes it.
    fn source_key(&self, id: &str) -> String {
        format!("{id}@{}.{SALESFORCE}", self.context.settings.org)
    }

    /// Writes a key into the profile.
    fn entity_key(&mut self, paths: &KeyPaths, id: &str) {
        let key = self.source_key(id);
        write_key(&mut self.entity, paths, id, &self.context.settings.org, key);
    }

    /// Writes a key into the entry of `personComponents`.
    fn component_key(&mut self, paths: &KeyPaths, id: &str) {
        let key = self.source_key(id);
        write_key(&mut self.component, paths, id, &self.context.settings.org, key);
    }
}

/// Writes the four parts of a key.
fn write_key<'n>(entity: &mut Entity<'n>, paths: &KeyPaths, id: &str, org: &'n str, key: String) {
    entity.set(paths.id, id.to_owned());
    entity.set(paths.kind, SALESFORCE);
    entity.set(paths.instance, org);
    entity.set(paths.key, key);
}
