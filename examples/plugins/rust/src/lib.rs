//! A sign-up, as a web shop's account service writes it, becomes an XDM Individual Profile.
//!
//! The TypeScript twin in `examples/plugins/typescript` gives the same outcomes, byte for byte.

mod xdm;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use xylem_kit::{Header, Outcome, Payload, Plugin, Record, Rejection, Source, event, reject};

use self::xdm::{Address, Consent, Consents, Email, Identity, Marketing, Name, Person, Profile};

/// The plugin with its settings.
pub struct SignUps {
    /// The identity namespace of the record's key.
    key_namespace: String,
}

impl Plugin for SignUps {
    /// `keyNamespace` names the identity namespace of the record's key; `CRMID` where absent.
    fn init(configuration: &str) -> Result<Self, String> {
        let settings: Value = serde_json::from_str(configuration).map_err(|e| e.to_string())?;
        let namespace = settings.get("keyNamespace").filter(|value| !value.is_null());
        match namespace.map_or(Some("CRMID"), Value::as_str) {
            None | Some("" | "Email") => Err("`keyNamespace` must be the name of an identity \
                                              namespace other than `Email`"
                .to_owned()),
            Some(name) => Ok(Self { key_namespace: name.to_owned() }),
        }
    }

    fn transform(&self, _source: &Source, record: &Record) -> Outcome {
        let Some(payload) = &record.payload else {
            return Outcome::Filter("tombstone".to_owned());
        };
        match self.profile(payload, record) {
            Ok(body) => Outcome::Emit(vec![event(body)]),
            Err(rejection) => rejection,
        }
    }
}

xylem_kit::export!(SignUps);

impl SignUps {
    /// The profile as JSON text, or the rejection.
    fn profile(&self, payload: &Payload, record: &Record) -> Result<String, Outcome> {
        let sign_up = parse(text(payload, "the payload")?)?;
        let Some(email) = field(&sign_up, "email")? else {
            return Err(reject_at("no-email", "the sign-up has no `email`", "email"));
        };
        let mut identity_map = BTreeMap::from([("Email", [Identity { id: email, primary: true }])]);
        if let Some(key) = &record.key {
            let identity = Identity { id: text(key, "the key")?, primary: false };
            identity_map.insert(&self.key_namespace, [identity]);
        }
        let name = Name {
            first_name: field(&sign_up, "firstName")?,
            last_name: field(&sign_up, "lastName")?,
        };
        let country = field(&sign_up, "country")?;
        let profile = Profile {
            identity_map,
            person: Person { name },
            personal_email: Email { address: email },
            home_address: country.map(|country_code| Address { country_code }),
            consents: consents(&sign_up, &record.headers)?,
        };
        serde_json::to_string(&profile).map_err(|error| reject("not-written", error.to_string()))
    }
}

/// Whether the newsletter was ordered, when, and through which campaign.
fn consents<'a>(
    sign_up: &'a Map<String, Value>,
    headers: &'a [Header],
) -> Result<Option<Consents<'a>>, Outcome> {
    let val = match sign_up.get("newsletter") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Bool(true)) => "y",
        Some(Value::Bool(false)) => "n",
        Some(_) => {
            let message = "`newsletter` is neither true nor false";
            return Err(reject_at("bad-field", message, "newsletter"));
        }
    };
    let campaign = headers.iter().find(|header| header.key == "campaign");
    let campaign = campaign.and_then(|header| header.value.as_deref());
    let time = field(sign_up, "signedUpAt")?;
    let reason = campaign.map(|bytes| utf8(bytes, "the header `campaign`")).transpose()?;
    Ok(Some(Consents { marketing: Marketing { email: Consent { val, time, reason } } }))
}

/// The sign-up, which is a JSON object.
fn parse(json: &str) -> Result<Map<String, Value>, Outcome> {
    match serde_json::from_str(json) {
        Ok(Value::Object(sign_up)) => Ok(sign_up),
        _ => Err(reject("not-json", "the payload is not a JSON object")),
    }
}

/// A text of the sign-up; none where it is absent or null.
fn field<'a>(sign_up: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Outcome> {
    match sign_up.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(reject_at("bad-field", &format!("`{name}` is not text"), name)),
    }
}

/// A payload or key as text, in whichever form it came.
fn text<'a>(payload: &'a Payload, what: &str) -> Result<&'a str, Outcome> {
    match payload {
        Payload::Text(text) => Ok(text),
        Payload::Bytes(bytes) => utf8(bytes, what),
    }
}

/// Bytes as text; `what` says in the rejection where they stood.
fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Outcome> {
    std::str::from_utf8(bytes).map_err(|_| reject("not-utf8", format!("{what} is not UTF-8")))
}

/// A rejection that points at a field.
fn reject_at(code: &str, message: &str, name: &str) -> Outcome {
    Outcome::Reject(Rejection {
        code: code.to_owned(),
        message: message.to_owned(),
        path: Some(format!("/{name}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"email":"ana@example.com","firstName":"Ana","lastName":"Sousa",
        "country":"PT","signedUpAt":"2026-03-01T10:15:00Z","newsletter":true}"#;

    fn outcome(payload: Option<Payload>, key: Option<Payload>, headers: Vec<Header>) -> Outcome {
        let plugin = SignUps::init("{}").unwrap();
        let source = Source { pipeline: "p".into(), topic: "sign-ups".into(), partition: 0 };
        let record = Record { offset: 7, timestamp_ms: Some(1), key, payload, headers };
        plugin.transform(&source, &record)
    }

    fn body(outcome: Outcome) -> String {
        let Outcome::Emit(mut events) = outcome else { panic!("{outcome:?}") };
        events.remove(0).body
    }

    #[test]
    fn a_sign_up_becomes_a_profile() {
        let expected = r#"{"identityMap":{"Email":[{"id":"ana@example.com","primary":true}]},"#
            .to_owned()
            + r#""person":{"name":{"firstName":"Ana","lastName":"Sousa"}},"#
            + r#""personalEmail":{"address":"ana@example.com"},"#
            + r#""homeAddress":{"countryCode":"PT"},"#
            + r#""consents":{"marketing":{"email":{"val":"y","time":"2026-03-01T10:15:00Z"}}}}"#;
        assert_eq!(body(outcome(Some(Payload::Text(FULL.into())), None, vec![])), expected);
        assert_eq!(body(outcome(Some(Payload::Bytes(FULL.into())), None, vec![])), expected);
    }

    #[test]
    fn key_and_header_are_used() {
        let payload = r#"{"email":"a@b.example","newsletter":false}"#;
        let campaign = Header { key: "campaign".into(), value: Some(b"spring".to_vec()) };
        let key = Payload::Bytes(b"C-1".to_vec());
        let expected = r#"{"identityMap":{"CRMID":[{"id":"C-1"}],"#.to_owned()
            + r#""Email":[{"id":"a@b.example","primary":true}]},"#
            + r#""personalEmail":{"address":"a@b.example"},"#
            + r#""consents":{"marketing":{"email":{"val":"n","reason":"spring"}}}}"#;
        let outcome = outcome(Some(Payload::Text(payload.into())), Some(key), vec![campaign]);
        assert_eq!(body(outcome), expected);
    }

    #[test]
    fn what_cannot_be_mapped_is_rejected_with_its_place() {
        for (payload, code, path) in [
            (r#"{"firstName":"Ana"}"#, "no-email", Some("/email")),
            (r#"{"email":"a@b.example","country":351}"#, "bad-field", Some("/country")),
            (r#"{"email":"a@b.example","newsletter":"yes"}"#, "bad-field", Some("/newsletter")),
            ("[1]", "not-json", None),
            ("", "not-json", None),
        ] {
            let outcome = outcome(Some(Payload::Text(payload.into())), None, vec![]);
            let Outcome::Reject(rejection) = outcome else { panic!("{payload}: {outcome:?}") };
            assert_eq!((rejection.code.as_str(), rejection.path.as_deref()), (code, path));
        }
        let outcome = outcome(Some(Payload::Bytes(vec![0xff])), None, vec![]);
        assert!(matches!(outcome, Outcome::Reject(Rejection { code, .. }) if code == "not-utf8"));
    }

    #[test]
    fn a_tombstone_is_filtered() {
        assert!(
            matches!(outcome(None, None, vec![]), Outcome::Filter(reason) if reason == "tombstone")
        );
    }

    #[test]
    fn a_namespace_that_is_taken_is_refused() {
        assert!(SignUps::init(r#"{"keyNamespace":"Email"}"#).is_err());
        assert!(SignUps::init(r#"{"keyNamespace":"LoyaltyId"}"#).is_ok());
    }
}
