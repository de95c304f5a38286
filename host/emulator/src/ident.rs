//! Ids in the forms that AEP uses. They need to be unique, not secret.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `<epoch ms>:<4 digits>:<counter>`.
pub(crate) fn xaction() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}:{:04}:{count}", now_ms(), noise() % 10_000)
}

/// A random UUID, version 4.
pub(crate) fn uuid() -> String {
    let high = (noise() & 0xffff_ffff_ffff_0fff) | 0x4000;
    let low = (noise() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    hyphens(&format!("{high:016x}{low:016x}"))
}

/// A ULID, which sorts by time: 10 characters of milliseconds, 16 of noise.
pub(crate) fn ulid() -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let noise = (u128::from(noise()) << 64) | u128::from(noise());
    let number = (u128::from(now_ms()) << 80) | (noise >> 48);
    (0..26)
        .rev()
        .filter_map(|place| {
            let digit = usize::try_from((number >> (place * 5)) & 31).ok()?;
            DIGITS.get(digit).copied().map(char::from)
        })
        .collect()
}

/// An inlet id, 64 hex digits, made from a name: the same in every run.
pub(crate) fn inlet(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex().to_string()
}

/// Hex digits made from a text: the same for the same text.
pub(crate) fn hex_of(text: &str, digits: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(digits).collect()
}

/// A UUID made from a text: the same for the same text.
pub(crate) fn uuid_of(name: &str) -> String {
    hyphens(&hex_of(name, 32))
}

/// Text with the shape of an IMS access token: a JWT whose signature is noise.
pub(crate) fn token(client: &str, scope: &str, ttl_ms: u64) -> String {
    let head = json!({"alg": "RS256", "typ": "at+jwt"});
    let body = json!({
        "type": "access_token", "client_id": client, "scope": scope, "as": "ims-na1",
        "created_at": now_ms().to_string(), "expires_in": ttl_ms.to_string(), "id": uuid(),
    });
    let parts = [head.to_string(), body.to_string(), uuid()];
    parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".")
}

fn hyphens(digits: &str) -> String {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn noise() -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.get_or_init(RandomState::new).hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_aeps_shapes() {
        let xaction = xaction();
        let parts: Vec<&str> = xaction.split(':').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!((parts[0].len(), parts[1].len()), (13, 4), "{xaction}");
        let uuid = uuid();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert_eq!(ulid().len(), 26);
        assert!(ulid().starts_with('0'), "milliseconds of this millennium start with 0");
        assert_eq!(inlet("orders"), inlet("orders"));
        assert_eq!(inlet("orders").len(), 64);
        assert_eq!(hex_of("a", 32).len(), 32);
        assert_eq!(uuid_of("prod").len(), 36);
        assert_eq!(token("c", "s", 1).split('.').count(), 3);
    }
}
