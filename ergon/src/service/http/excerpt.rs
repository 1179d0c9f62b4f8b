//! The beginning of a body, for error messages. A server may repeat a secret in its answer, so the excerpt replaces
//! secrets.

use std::cmp::Reverse;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;

use super::{Auth, HttpConfig};

/// Limit of an excerpt, in characters.
const SHOWN: usize = 300;

/// A shorter value is not treated as a secret, because replacing each `2` would make the text unreadable.
const SHORTEST: usize = 4;

/// The texts that messages must not show, even if a server repeats them in its answer, in every encoding that the
/// server may use. Sorted by length, the longest first, because a secret may contain another.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// The secrets that every request of a service carries.
    pub(super) fn of(config: &HttpConfig) -> Self {
        let auth = match &config.auth {
            Auth::None => Vec::new(),
            Auth::Bearer(secret) | Auth::Header { value: secret, .. } => vec![secret.clone()],
            Auth::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                vec![password.clone(), SecretString::from(pair)]
            }
        };
        let auth = auth.iter().map(ExposeSecret::expose_secret);
        Self::default()
            .and(auth)
            .and(config.headers.values().map(ExposeSecret::expose_secret).filter(is_long))
    }

    /// Returns the secrets of the service together with those of one request: the values of its query and its headers.
    pub(super) fn of_request(self: &Arc<Self>, url: &Url, headers: &HeaderMap) -> Arc<Self> {
        let own = headers.iter().filter(|(name, _)| !PLAIN.contains(name));
        let own: Vec<_> = own.filter_map(|(_, value)| value.to_str().ok()).filter(is_long).collect();
        let query: Vec<_> =
            url.query_pairs().map(|(_, value)| value).filter(|value| is_long(&&**value)).collect();
        if own.is_empty() && query.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self::clone(self).and(own).and(query.iter().map(AsRef::as_ref)))
    }

    fn and<'s>(mut self, secrets: impl IntoIterator<Item = &'s str>) -> Self {
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            let json = serde_json::Value::from(secret).to_string();
            let encoded: String = byte_serialize(secret.as_bytes()).collect();
            let percent = encoded.replace('+', "%20");
            self.0.extend([secret, json.trim_matches('"'), &encoded, &percent].map(SecretString::from));
        }
        self.0.sort_by_key(|secret| Reverse(secret.expose_secret().len()));
        self.0.dedup_by(|one, other| one.expose_secret() == other.expose_secret());
        self
    }

    /// Replaces all secrets in a text.
    pub(super) fn strike(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "[secret]"))
    }
}

/// Headers that describe a request, and are not secret.
const PLAIN: [HeaderName; 2] = [CONTENT_TYPE, HeaderName::from_static("idempotency-key")];

fn is_long(value: &&str) -> bool {
    value.chars().count() >= SHORTEST
}

/// Renders the beginning of a body on one line, without control characters and secrets.
pub(super) fn excerpt(body: &[u8], secrets: &Secrets) -> String {
    let text = secrets.strike(&String::from_utf8_lossy(body));
    let mut shown = String::new();
    let mut characters = text.trim().chars();
    for character in characters.by_ref().take(SHOWN) {
        match character {
            '\u{20}'..='\u{7e}' => shown.push(character),
            _ if character.is_alphanumeric() => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        let secrets = Secrets::default();
        assert_eq!(excerpt(b" {\n\t\"a\": \"\x1b[31m\"}\xff ", &secrets), r#"{\n\t"a": "\u{1b}[31m"}�"#);
        assert_eq!(excerpt("ü".repeat(301).as_bytes(), &secrets), format!("{}…", "ü".repeat(300)));
    }

    #[test]
    fn what_the_server_repeats_of_our_credentials_is_struck_out() {
        let of = |auth: Auth| Secrets::of(&HttpConfig { auth, ..HttpConfig::new("http://localhost") });
        let basic = of(Auth::basic("me", "pass word"));
        let shown = excerpt(b"no user me/pass word (bWU6cGFzcyB3b3Jk)", &basic);
        assert_eq!(shown, "no user me/[secret] ([secret])");
        assert_eq!(excerpt(b"a", &of(Auth::bearer(""))), "a");
        let bearer = of(Auth::bearer("a\"b/c d"));
        assert_eq!(
            excerpt(br#"a\"b/c d, a%22b%2Fc%20d, a%22b%2Fc+d"#, &bearer),
            "[secret], [secret], [secret]"
        );
    }

    #[test]
    fn what_the_server_repeats_of_a_request_is_struck_out() {
        let mut config = HttpConfig::new("http://localhost");
        config.headers.insert("X-Api-Key".to_owned(), SecretString::from("of-the-config"));
        let url = "http://localhost/a?token=of-the-query&page=2".parse().unwrap();
        let own =
            [("x-own", "of-the-request"), ("content-type", "text/plain"), ("idempotency-key", "order-1")];
        let own = own.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let secrets = Arc::new(Secrets::of(&config)).of_request(&url, &HeaderMap::from_iter(own));
        let said = b"of-the-config, of-the-query, of-the-request, text/plain, order-1, 2";
        assert_eq!(excerpt(said, &secrets), "[secret], [secret], [secret], text/plain, order-1, 2");
    }
}
