//! The access token: fetched once for all who ask, renewed before it expires, never shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::{Backoff, Dice, spread};
use super::client::{Answer, Client, SendError};
use crate::config::{Auth, Secret, has_user, without_user};
use crate::fault::{Code, Domain};

/// When the endpoint is asked again after a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenTiming {
    /// After it failed, or said that it is too much.
    pub(crate) backoff: Backoff,
    /// After it refused the credential.
    pub(crate) refused: Duration,
}

impl Default for TokenTiming {
    fn default() -> Self {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        Self { backoff: Backoff { base, cap }, refused: Duration::from_mins(1) }
    }
}

/// A lifetime above this is in milliseconds, as IMS answers for older kinds of credentials: a
/// million seconds are eleven days, and no token lives that long.
const SECONDS_AT_MOST: u64 = 1_000_000;
/// The lifetime of a token whose answer does not say.
const LIFETIME_UNSAID: Duration = Duration::from_mins(5);

/// The token of one credential, shared by all destinations.
pub struct Token {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    /// The form, secret included. Never shown: `Token` has no `Debug`.
    form: Bytes,
    state: Mutex<State>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
    /// Told when the state changes.
    changed: watch::Sender<()>,
    dice: Dice,
    timing: TokenTiming,
}

/// What is known.
#[derive(Default)]
struct State {
    bearer: Option<Arc<Bearer>>,
    /// Counts tokens.
    generation: u64,
    /// The last fetch failed.
    trouble: Option<Trouble>,
    /// Fetches that brought a token.
    fetched: u64,
    /// Fetches that did not.
    failed: u64,
}

/// A token that can be sent.
pub struct Bearer {
    /// `Bearer …`, marked sensitive, so that its `Debug` shows nothing.
    pub header: HeaderValue,
    /// Which token this is, counted from 1.
    pub generation: u64,
    /// When it was asked for.
    pub fetched: Instant,
    /// When it is renewed, used meanwhile.
    renew: Instant,
    /// When it is no longer used.
    expires: Instant,
}

/// The token endpoint's last failure.
#[derive(Clone, Copy)]
struct Trouble {
    code: Code,
    attempt: u32,
    /// When it may be asked again.
    retry: Instant,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFault {
    /// One of the `token.` codes.
    pub code: Code,
    /// How long until the endpoint is asked again; asking earlier gives the same fault.
    pub retry_in: Duration,
}

/// What `/status` shows of the token.
#[derive(Clone, Debug)]
pub struct TokenStatus {
    /// Whether requests can be sent.
    pub ready: bool,
    /// The age of the present token.
    pub age: Option<Duration>,
    /// How long the present token lives on.
    pub expires_in: Option<Duration>,
    /// What the last fetch failed with, and when it is tried again.
    pub fault: Option<TokenFault>,
    /// Fetches that brought a token.
    pub fetched: u64,
    /// Fetches that did not.
    pub failed: u64,
}

/// Why the credential's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The endpoint's address is not an `http` or `https` URL.
    #[error("`aep.auth.token_url` `{0}` is not a URL of the form `https://host/ims/token/v3`")]
    Endpoint(String),
}

impl Token {
    /// The token of a credential; nothing is fetched yet.
    pub fn new(auth: &Auth, client: Client) -> Result<Self, TokenError> {
        let address = auth.token_url.as_str();
        let endpoint = Url::parse(address).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user(url)
        });
        // Invariant 10: what stands here by mistake is not repeated.
        let refused = || TokenError::Endpoint(without_user(address).into_owned());
        let endpoint = endpoint.ok_or_else(refused)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        Ok(Self {
            client,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, form)]),
            form: encode_form(&endpoint, auth),
            endpoint,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
            dice: Dice::new(),
            timing: TokenTiming::default(),
        })
    }

    /// The same with other waits.
    #[cfg(test)]
    pub(crate) fn with_timing(mut self, timing: TokenTiming) -> Self {
        self.timing = timing;
        self
    }

    /// A token that is still good, fetched if there is none. Whoever asks while one is being
    /// fetched waits for that one.
    pub async fn bearer(&self) -> Result<Arc<Bearer>, TokenFault> {
        let seen = {
            let state = self.lock();
            match usable(&state, Instant::now()) {
                Some(bearer) => return Ok(bearer),
                None => state.generation,
            }
        };
        self.fetch(seen).await
    }

    /// AEP refuses this token: it is not used again. Without effect where there is a newer one.
    pub fn refused(&self, generation: u64) {
        let mut state = self.lock();
        if state.bearer.as_ref().is_some_and(|bearer| bearer.generation == generation) {
            state.bearer = None;
            drop(state);
            self.changed.send_replace(());
        }
    }

    /// Which token is in use, counted from 1; none where there is none.
    pub fn generation(&self) -> Option<u64> {
        self.lock().bearer.as_ref().map(|bearer| bearer.generation)
    }

    /// Whether there is a token that is still good.
    pub fn ready(&self) -> bool {
        usable(&self.lock(), Instant::now()).is_some()
    }

    /// Fetches the first token and renews it in time, for ever; ends by being dropped. Without it
    /// tokens are fetched when they are needed, and requests wait for them.
    pub async fn keep_fresh(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let (seen, due) = {
                let state = self.lock();
                (state.generation, due(&state))
            };
            if let Some(due) = due
                && tokio::time::timeout_at(due, changed.changed()).await.is_ok()
            {
                continue;
            }
            drop(self.fetch(seen).await);
        }
    }

    /// What `/status` shows.
    pub fn status(&self) -> TokenStatus {
        let now = Instant::now();
        let state = self.lock();
        let bearer = usable(&state, now);
        TokenStatus {
            ready: bearer.is_some(),
            age: bearer.as_ref().map(|bearer| now.duration_since(bearer.fetched)),
            expires_in: bearer.as_ref().map(|bearer| bearer.expires.duration_since(now)),
            fault: state.trouble.map(|trouble| trouble.fault(now)),
            fetched: state.fetched,
            failed: state.failed,
        }
    }

    /// Asks the endpoint, unless a token newer than `seen` came meanwhile or it is too early.
    async fn fetch(&self, seen: u64) -> Result<Arc<Bearer>, TokenFault> {
        let turn = self.turn.lock().await;
        let now = Instant::now();
        {
            let state = self.lock();
            let newer = usable(&state, now).filter(|bearer| bearer.generation != seen);
            if let Some(bearer) = newer {
                return Ok(bearer);
            }
            if let Some(trouble) = state.trouble.filter(|trouble| trouble.retry > now) {
                return Err(trouble.fault(now));
            }
        }
        let answer = self.client.post(&self.endpoint, &self.headers, self.form.clone()).await;
        let result = self.note(&answer, now);
        drop(turn);
        self.changed.send_replace(());
        result
    }

    /// Notes what the endpoint said to a request begun at `asked`.
    fn note(
        &self,
        answer: &Result<Answer, SendError>,
        asked: Instant,
    ) -> Result<Arc<Bearer>, TokenFault> {
        let now = Instant::now();
        let mut state = self.lock();
        match read(answer) {
            Ok((header, lifetime)) => {
                if state.trouble.take().is_some() {
                    tracing::info!("token endpoint answers again");
                }
                state.fetched += 1;
                state.generation += 1;
                let bearer = Arc::new(Bearer {
                    header,
                    generation: state.generation,
                    fetched: asked,
                    renew: asked + renew_after(lifetime, self.dice.roll()),
                    expires: asked + lifetime - slack(lifetime),
                });
                state.bearer = Some(Arc::clone(&bearer));
                Ok(bearer)
            }
            Err(code) => {
                state.failed += 1;
                let before = state.trouble;
                let attempt = before.map_or(0, |trouble| trouble.attempt).saturating_add(1);
                let floor = answer.as_ref().ok().and_then(|answer| answer.retry_after);
                let wait = match code.domain() {
                    Domain::Configuration => self.timing.refused,
                    _ => self.timing.backoff.delay(attempt, floor, self.dice.roll()),
                };
                let trouble = Trouble { code, attempt, retry: now + wait };
                state.trouble = Some(trouble);
                if before.is_none_or(|before| before.code != code) {
                    report(code, answer);
                }
                Err(trouble.fault(now))
            }
        }
    }

    /// The state; a panic elsewhere cannot leave it half written.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn fault(self, now: Instant) -> TokenFault {
        TokenFault { code: self.code, retry_in: self.retry.saturating_duration_since(now) }
    }
}

/// What the endpoint answers; everything else is ignored.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// The token to use at `now`, which may be due for renewal.
fn usable(state: &State, now: Instant) -> Option<Arc<Bearer>> {
    state.bearer.as_ref().filter(|bearer| now < bearer.expires).map(Arc::clone)
}

/// When the endpoint is to be asked next; none is at once.
fn due(state: &State) -> Option<Instant> {
    let renew = state.bearer.as_ref().map(|bearer| bearer.renew);
    let retry = state.trouble.map(|trouble| trouble.retry);
    renew.max(retry)
}

/// The header and lifetime that an answer grants, or the code of what it refuses.
///
/// Invariant 10: the body of a refusal is not kept, for it may repeat what was sent.
pub(crate) fn read(answer: &Result<Answer, SendError>) -> Result<(HeaderValue, Duration), Code> {
    let answer = answer.as_ref().map_err(|_| Code::TokenUnreachable)?;
    if let Some(code) = refusal(answer.status) {
        return Err(code);
    }
    // A list would be read as the members in their order.
    let is_object = answer.body.trim_ascii_start().starts_with(b"{");
    let granted = serde_json::from_slice::<Granted>(&answer.body).ok().filter(|_| is_object);
    let granted = granted.ok_or(Code::TokenUnreachable)?;
    let header = format!("Bearer {}", granted.access_token.expose());
    let mut header = HeaderValue::try_from(header).map_err(|_| Code::TokenUnreachable)?;
    header.set_sensitive(true);
    Ok((header, lifetime(&granted.expires_in)))
}

/// What a status of the token endpoint means; none where it grants.
pub(crate) fn refusal(status: u16) -> Option<Code> {
    match status {
        200..=299 => None,
        408 | 429 => Some(Code::TokenThrottled),
        300..=499 => Some(Code::TokenRefused),
        _ => Some(Code::TokenUnreachable),
    }
}

/// The lifetime in `expires_in`: a number or its text, in seconds, or in milliseconds above a million.
fn lifetime(expires_in: &serde_json::Value) -> Duration {
    let number = match expires_in {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let lifetime = match number {
        None => LIFETIME_UNSAID,
        Some(milliseconds) if milliseconds > SECONDS_AT_MOST => Duration::from_millis(milliseconds),
        Some(seconds) => Duration::from_secs(seconds),
    };
    lifetime.clamp(Duration::from_secs(1), Duration::from_secs(SECONDS_AT_MOST))
}

/// When a token is renewed, counted from its beginning: a margin of 60 s or 5 % before its end,
/// whichever is more, and up to half as much earlier, so that processes started together do not ask
/// together. A token too short for that lives half its time.
fn renew_after(lifetime: Duration, dice: u64) -> Duration {
    let margin = Duration::from_mins(1).max(lifetime / 20);
    let early = margin + spread(margin / 2, dice);
    lifetime.checked_sub(early).unwrap_or_default().max(lifetime / 2)
}

/// How long before its end a token is no longer sent: it must outlive the way to AEP.
fn slack(lifetime: Duration) -> Duration {
    Duration::from_secs(5).min(lifetime / 10)
}

/// Says once that there is no token, without the endpoint's words.
fn report(code: Code, answer: &Result<Answer, SendError>) {
    let (status, cause) = match answer {
        Ok(answer) => (Some(answer.status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    tracing::warn!(code = code.as_str(), status, cause, "no token: {}", code.advice());
}

/// The form of a client-credentials grant, URL-encoded: secrets hold `+`, `&` and `%`.
fn encode_form(endpoint: &Url, auth: &Auth) -> Bytes {
    let mut carrier = endpoint.clone();
    carrier
        .query_pairs_mut()
        .clear()
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", auth.client_id.as_str())
        .append_pair("client_secret", auth.client_secret.expose())
        .append_pair("scope", &auth.scopes.join(","));
    carrier.query().unwrap_or_default().to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;

    #[test]
    fn a_lifetime_is_seconds_or_milliseconds() {
        let seconds = |value: serde_json::Value| lifetime(&value).as_secs();
        assert_eq!(seconds(86_399.into()), 86_399);
        assert_eq!(seconds("86399".into()), 86_399);
        assert_eq!(seconds(86_399_992.into()), 86_399);
        assert_eq!(seconds(serde_json::Value::Null), 300);
    }

    #[test]
    fn a_token_is_renewed_before_its_end() {
        let after = |seconds, dice| renew_after(Duration::from_secs(seconds), dice).as_secs();
        // 5 % of a day are 4,320 s, with jitter up to 6,480 s.
        assert_eq!((after(86_400, 0), after(86_400, 1 << 32)), (82_080, 79_920));
        // 60 s, with jitter up to 90 s.
        assert_eq!((after(600, 0), after(600, 1 << 32)), (540, 510));
        assert_eq!((after(60, 0), after(0, 0)), (30, 0));
    }

    #[test]
    fn a_form_survives_any_secret() {
        let auth = Auth {
            token_url: Address::literal("https://ims.example/token"),
            client_id: Address::literal("id"),
            client_secret: Secret::literal("p8e-+&%= é"),
            scopes: vec!["openid".into(), "AdobeID".into()],
        };
        let form = encode_form(&Url::parse("https://ims.example/token").unwrap(), &auth);
        assert_eq!(
            std::str::from_utf8(&form).unwrap(),
            "grant_type=client_credentials&client_id=id&client_secret=p8e-%2B%26%25%3D+%C3%A9\
             &scope=openid%2CAdobeID"
        );
    }

    #[test]
    fn invariant_10_a_token_is_not_shown() {
        let body = Bytes::from_static(br#"{"access_token":"eyJ0","expires_in":86399}"#);
        let answer = Answer { status: 200, retry_after: None, body };
        let (header, _) = read(&Ok(answer)).unwrap();
        assert_eq!(header, "Bearer eyJ0");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
