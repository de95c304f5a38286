//! The IMS token endpoint: the three grants that AEP clients use, their errors, and the tokens given out.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ident, settings::Client};

/// `expires_in` of an authorization code's answer, in milliseconds, as IMS gives it.
const CODE_TTL_MS: u64 = 82_399_996;
/// `expires_in` of a JWT exchange, in milliseconds, as IMS gives it.
const JWT_TTL_MS: u64 = 86_399_992;
/// Tokens remembered before expired ones are thrown out.
const SWEEP_ABOVE: usize = 1_000;

/// The tokens given out and how they may be had.
#[derive(Debug)]
pub(crate) struct Tokens {
    open: bool,
    clients: Vec<Client>,
    /// Seconds.
    ttl: AtomicU64,
    /// Whether the life of tokens was changed: then it holds for all grants.
    default_ttl: u64,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    tokens: HashMap<String, Token>,
    counts: TokenCounts,
}

#[derive(Debug)]
struct Token {
    ends_ms: u64,
    revoked: bool,
}

/// What the token endpoint and the doors of authenticated inlets counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCounts {
    /// Requests at the token endpoint that were looked at (faults apart).
    pub requests: u64,
    /// Tokens given.
    pub issued: u64,
    /// Requests refused with an OAuth error.
    pub refused: u64,
    /// Tokens revoked by order.
    pub revoked: u64,
    /// Inlet requests that came with a revoked token: how often a revocation took effect.
    pub revoked_used: u64,
    /// Inlet requests that came with an expired token.
    pub expired_used: u64,
}

/// How good the token of a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// None came.
    Missing,
    /// Unknown, expired or revoked.
    Invalid,
    /// Valid.
    Valid,
}

/// The three paths of the token endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Path {
    /// `/ims/token/v1` and its successors.
    Token,
    /// `/ims/exchange/jwt`.
    Exchange,
}

/// An OAuth error: code and description; the status is 400.
type Refusal = (&'static str, String);

impl Tokens {
    /// A store that accepts these clients, or any when open and none is listed.
    pub(crate) fn new(open: bool, clients: Vec<Client>, ttl: u64) -> Self {
        let given = Mutex::new(Given::default());
        Self { open, clients, ttl: AtomicU64::new(ttl), default_ttl: ttl, given }
    }

    /// Answers a token request: status and JSON body. `parameters` come from query and form.
    pub(crate) fn answer(&self, path: Path, parameters: &HashMap<String, String>) -> (u16, Value) {
        let result = self.grant(path, parameters);
        let counts = &mut self.lock().counts;
        counts.requests += 1;
        match result {
            Ok(body) => {
                counts.issued += 1;
                (200, body)
            }
            Err((error, description)) => {
                counts.refused += 1;
                (400, json!({"error": error, "error_description": description}))
            }
        }
    }

    /// Looks at the value of `Authorization`, with or without `Bearer`.
    pub(crate) fn standing(&self, authorization: Option<&str>) -> Standing {
        let token =
            authorization.map(|value| value.strip_prefix("Bearer ").unwrap_or(value).trim());
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Standing::Missing;
        };
        let mut given = self.lock();
        match given.tokens.get(token) {
            Some(known) if known.revoked => given.counts.revoked_used += 1,
            Some(known) if known.ends_ms <= ident::now_ms() => given.counts.expired_used += 1,
            Some(_) => return Standing::Valid,
            None => {}
        }
        Standing::Invalid
    }

    /// From now on tokens live so many seconds.
    pub(crate) fn set_ttl(&self, seconds: u64) {
        self.ttl.store(seconds, Ordering::Release);
    }

    /// Makes every token given so far worthless; says how many were still good.
    pub(crate) fn revoke_all(&self) -> u64 {
        let mut given = self.lock();
        let now = ident::now_ms();
        let mut revoked = 0;
        for token in given.tokens.values_mut().filter(|token| !token.revoked) {
            token.revoked = true;
            revoked += u64::from(token.ends_ms > now);
        }
        given.counts.revoked += revoked;
        revoked
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> TokenCounts {
        self.lock().counts
    }

    fn grant(&self, path: Path, form: &HashMap<String, String>) -> Result<Value, Refusal> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let grant = if path == Path::Exchange { "jwt" } else { field("grant_type") };
        if !matches!(grant, "jwt" | "client_credentials" | "authorization_code") {
            let description = format!("unsupported grant_type `{grant}`");
            return Err(("unsupported_grant_type", description));
        }
        let client = self.client(field("client_id"), field("client_secret"))?;
        let (id, scope) = (field("client_id"), field("scope"));
        match grant {
            "client_credentials" => {
                check_scope(client, scope)?;
                let seconds = self.ttl.load(Ordering::Acquire);
                let token = self.issue(id, scope, seconds.saturating_mul(1_000));
                Ok(json!({"access_token": token, "token_type": "bearer", "expires_in": seconds}))
            }
            "authorization_code" if field("code").is_empty() => {
                Err(("invalid_grant", "missing code parameter".to_owned()))
            }
            "authorization_code" => {
                let ttl = self.ttl_ms(CODE_TTL_MS);
                Ok(json!({
                    "access_token": self.issue(id, scope, ttl), "refresh_token": ident::uuid(),
                    "token_type": "bearer", "expires_in": ttl,
                }))
            }
            _ if field("jwt_token").split('.').count() != 3 => Err((
                "invalid_token",
                "Could not match JWT signature to any of the bindings".to_owned(),
            )),
            _ => {
                let ttl = self.ttl_ms(JWT_TTL_MS);
                let token = self.issue(id, scope, ttl);
                Ok(json!({"token_type": "bearer", "access_token": token, "expires_in": ttl}))
            }
        }
    }

    fn client(&self, id: &str, secret: &str) -> Result<Option<&Client>, Refusal> {
        let refused = |what: &str| ("invalid_client", format!("invalid {what} parameter"));
        if id.is_empty() {
            return Err(refused("client_id"));
        }
        if self.open && self.clients.is_empty() {
            return if secret.is_empty() { Err(refused("client_secret")) } else { Ok(None) };
        }
        let client = self.clients.iter().find(|client| client.id == id);
        let client = client.ok_or_else(|| refused("client_id"))?;
        if client.secrets.iter().any(|known| known.0 == secret) {
            Ok(Some(client))
        } else {
            Err(refused("client_secret"))
        }
    }

    /// Milliseconds for the old grants: IMS's own figure unless the life was changed.
    fn ttl_ms(&self, usual: u64) -> u64 {
        let ttl = self.ttl.load(Ordering::Acquire);
        if ttl == self.default_ttl { usual } else { ttl.saturating_mul(1_000) }
    }

    fn issue(&self, client: &str, scope: &str, ttl_ms: u64) -> String {
        let token = ident::token(client, scope, ttl_ms);
        let now = ident::now_ms();
        let mut given = self.lock();
        if given.tokens.len() >= SWEEP_ABOVE {
            given.tokens.retain(|_, known| known.ends_ms > now && !known.revoked);
        }
        let ends_ms = now.saturating_add(ttl_ms);
        given.tokens.insert(token.clone(), Token { ends_ms, revoked: false });
        token
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads parameters of a form, urlencoded or multipart. What cannot be read is left out, as if it
/// had not been sent.
pub(crate) fn form(content_type: &str, body: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let boundary = content_type
        .strip_prefix("multipart/form-data")
        .and_then(|rest| rest.split("boundary=").nth(1))
        .map(|rest| rest.split(';').next().unwrap_or(rest).trim().trim_matches('"'));
    match boundary {
        Some(boundary) => multipart(&text, boundary),
        None => urlencoded(&text),
    }
}

/// Reads `a=b&c=d` with percent escapes and `+` for blanks.
pub(crate) fn urlencoded(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        })
        .collect()
}

fn multipart(text: &str, boundary: &str) -> HashMap<String, String> {
    let delimiter = format!("--{boundary}");
    let parts = text.split(delimiter.as_str()).filter_map(|part| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        let value = value.strip_suffix("\r\n").unwrap_or(value);
        Some((name.to_owned(), value.to_owned()))
    });
    parts.collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let digits = [ahead.next().unwrap_or(b'-'), ahead.next().unwrap_or(b'-')];
                let digits = str::from_utf8(&digits).unwrap_or("-");
                if let Ok(escaped) = u8::from_str_radix(digits, 16) {
                    bytes.push(escaped);
                    rest = ahead;
                } else {
                    bytes.push(b'%');
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_scope(client: Option<&Client>, scope: &str) -> Result<(), Refusal> {
    let mut asked = scope.split([',', ' ']).filter(|scope| !scope.is_empty()).peekable();
    if asked.peek().is_none() {
        return Err(("invalid_scope", "missing scope parameter".to_owned()));
    }
    let allowed = client.map(|client| &client.scopes).filter(|scopes| !scopes.is_empty());
    let foreign =
        allowed.and_then(|allowed| asked.find(|one| !allowed.iter().any(|known| known == one)));
    match foreign {
        Some(foreign) => Err(("invalid_scope", format!("invalid scope `{foreign}`"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn parameters(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn strict() -> Tokens {
        let client = Client {
            id: "id".to_owned(),
            secrets: vec![Secret("old".to_owned()), Secret("new".to_owned())],
            scopes: vec!["openid".to_owned(), "session".to_owned()],
        };
        Tokens::new(false, vec![client], 86_399)
    }

    fn credentials<'a>(id: &'a str, secret: &'a str, scope: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
            ("scope", scope),
        ]
    }

    #[test]
    fn both_secrets_give_a_token_in_seconds() {
        let tokens = strict();
        for secret in ["old", "new"] {
            let (status, body) = tokens
                .answer(Path::Token, &parameters(&credentials("id", secret, "openid,session")));
            assert_eq!(
                (status, &body["expires_in"], &body["token_type"]),
                (200, &json!(86_399), &json!("bearer"))
            );
            let token = body["access_token"].as_str().expect("text");
            assert_eq!(tokens.standing(Some(&format!("Bearer {token}"))), Standing::Valid);
            assert_eq!(tokens.standing(Some(token)), Standing::Valid, "the bare token is accepted");
        }
        assert_eq!(tokens.standing(None), Standing::Missing);
        assert_eq!(tokens.standing(Some("Bearer x")), Standing::Invalid);
        assert_eq!(tokens.revoke_all(), 2);
        assert_eq!(tokens.counts().issued, 2);
    }

    #[test]
    fn errors_are_those_of_ims() {
        let tokens = strict();
        let refused = |pairs: &[(&str, &str)]| {
            let (status, body) = tokens.answer(Path::Token, &parameters(pairs));
            assert_eq!(status, 400);
            (
                body["error"].as_str().map(str::to_owned),
                body["error_description"].as_str().map(str::to_owned),
            )
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            refused(&credentials("id", "wrong", "openid")),
            (text("invalid_client"), text("invalid client_secret parameter"))
        );
        assert_eq!(
            refused(&credentials("who", "old", "openid")),
            (text("invalid_client"), text("invalid client_id parameter"))
        );
        assert_eq!(refused(&credentials("id", "old", "openid,root")).0, text("invalid_scope"));
        assert_eq!(refused(&credentials("id", "old", "")).0, text("invalid_scope"));
        assert_eq!(refused(&[("client_id", "id")]).0, text("unsupported_grant_type"));
    }

    #[test]
    fn old_grants_answer_milliseconds() {
        let tokens = strict();
        let code = [
            ("grant_type", "authorization_code"),
            ("client_id", "id"),
            ("client_secret", "old"),
            ("code", "c"),
        ];
        let (_, of_code) = tokens.answer(Path::Token, &parameters(&code));
        assert_eq!(of_code["expires_in"], 82_399_996);
        assert!(of_code["refresh_token"].is_string());
        let jwt = [("client_id", "id"), ("client_secret", "old"), ("jwt_token", "a.b.c")];
        let (_, of_jwt) = tokens.answer(Path::Exchange, &parameters(&jwt));
        assert_eq!(of_jwt["expires_in"], 86_399_992);
        tokens.set_ttl(5);
        let (_, shorter) = tokens.answer(Path::Exchange, &parameters(&jwt));
        assert_eq!(shorter["expires_in"], 5_000);
    }

    #[test]
    fn forms_are_read_in_both_encodings() {
        let fields = form(
            "application/x-www-form-urlencoded",
            b"client_secret=a%2Bb%26c+d&scope=x%2Cy%zz&empty",
        );
        assert_eq!(fields["client_secret"], "a+b&c d");
        assert_eq!(fields["scope"], "x,y%zz");
        assert_eq!(fields["empty"], "");
        let body =
            "--B\r\nContent-Disposition: form-data; name=\"client_id\"\r\n\r\nid\r\n--B--\r\n";
        assert_eq!(form("multipart/form-data; boundary=B", body.as_bytes())["client_id"], "id");
    }
}
