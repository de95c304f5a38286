//! HTTP to Adobe: the client and the token; and to a xylem that runs on this machine. The one user of reqwest.

mod backoff;
mod client;
mod local;
mod token;

pub use backoff::{Backoff, Dice, RETRY_AFTER_CAP, retry_after, spread};
pub use client::{Answer, Client, ClientError, SendError, Transport, client};
pub use local::{Local, Said};
pub use reqwest::Url;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub(crate) use token::read as read_grant;
pub use token::{Bearer, Token, TokenError, TokenFault, TokenStatus};
#[cfg(test)]
pub(crate) use token::{TokenTiming, refusal};
