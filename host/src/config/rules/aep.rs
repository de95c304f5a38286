//! Rules of the section `aep`.

use url::Url;

use crate::config::Auth;
use crate::config::path::KeyPath;
use crate::config::reference::has_user;

use super::Rules;

impl Rules<'_> {
    pub(super) fn aep(&mut self) {
        let config = self.config;
        let aep = &config.aep;
        let at = KeyPath::root().key("aep");
        let organisation = aep.organisation.as_str();
        if organisation.strip_suffix("@AdobeOrg").is_none_or(str::is_empty) {
            let message = format!("the organisation `{organisation}` does not end in `@AdobeOrg`");
            let draft = self.problems.at(&at.key("organisation"), message);
            self.problems.push(draft.hint("the Developer Console shows it as *Organization ID*"));
        }
        if let Some(sandbox) = &aep.sandbox {
            self.not_empty(sandbox, &at.key("sandbox"));
        }
        if let Some(tenant) = &aep.tenant {
            let name = tenant.strip_prefix('_').unwrap_or_default();
            let good =
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if name.is_empty() || !good {
                let message = format!("`{tenant}` is no tenant namespace");
                let draft = self.problems.at(&at.key("tenant"), message);
                self.problems
                    .push(draft.hint("an underscore, then lower-case letters and digits: `_acme`"));
            }
        }
        if let Some(auth) = &aep.auth {
            self.auth(auth, &at.key("auth"));
        }
        if let Some(proxy) = &aep.proxy {
            let known = |url: &Url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
            let good = Url::parse(proxy.expose()).is_ok_and(|url| known(&url) && url.has_host());
            if !good {
                let draft = self.problems.at(&at.key("proxy"), "`aep.proxy` is no URL of a proxy");
                self.problems
                    .push(draft.hint("`http://HOST:PORT`, with `USER:PASSWORD@` where needed"));
            }
        }
        self.pem_file(aep.ca_file.as_deref(), &at.key("ca_file"));
    }

    fn auth(&mut self, auth: &Auth, at: &KeyPath) {
        self.not_empty(auth.client_id.as_str(), &at.key("client_id"));
        self.not_empty(auth.client_secret.expose(), &at.key("client_secret"));
        let url = auth.token_url.as_str();
        let token_url = at.key("token_url");
        match Url::parse(url) {
            Ok(parsed) if has_user(&parsed) => {
                self.has_user("`aep.auth.token_url`", &token_url);
            }
            Ok(parsed) if parsed.scheme() == "https" || is_loopback(&parsed) => {}
            Ok(parsed) if parsed.scheme() == "http" => {
                let message =
                    "`aep.auth.token_url` is not https: the client secret travels in the clear";
                self.problems.warn(&token_url, message);
            }
            _ => {
                let message = format!("`{}` is no https URL", self.shown(url, &token_url));
                self.problems.error(&token_url, message);
            }
        }
        let scopes = at.key("scopes");
        if auth.scopes.is_empty() {
            let draft = self.problems.at(&scopes, "`aep.auth.scopes` is empty");
            self.problems.push(draft.hint("the Developer Console shows the credential's scopes"));
        }
        for (i, scope) in auth.scopes.iter().enumerate() {
            let good = !scope.is_empty() && !scope.contains([',', ' ']);
            if !good {
                let draft =
                    self.problems.at(&scopes.index(i), format!("`{scope}` is not one scope"));
                self.problems
                    .push(draft.hint("each scope is an item of its own: `[openid, AdobeID]`"));
            }
        }
    }
}

/// Whether a URL leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
