//! The state that all requests of a service share: connections, limits, and the secrets that messages must not show.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;

use super::address::Base;
use super::excerpt::Secrets;
use super::{Auth, HttpConfig, tls};
use crate::policy::RetryPolicy;
use crate::service::ServiceError;
use crate::settings::ByteSize;

/// Idle connections are closed after this time. Many servers close them after a minute, and a request that meets this
/// close is lost.
const IDLE: Duration = Duration::from_secs(30);

/// The state that all requests of a service share.
pub(super) struct Client {
    pub(super) base: Base,
    pub(super) http: reqwest::Client,
    pub(super) timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) max_response: ByteSize,
    pub(super) secrets: Arc<Secrets>,
    /// Whether requests carry credentials.
    pub(super) authenticates: bool,
}

impl Client {
    /// Makes the client without connecting.
    ///
    /// # Errors
    /// The value that can never work, by its key.
    pub(super) fn new(config: &HttpConfig) -> Result<Self, ServiceError> {
        let base = Base::read(&config.base_url)?;
        config.retry.check().map_err(|problem| ServiceError::new(format!("`retry`: {problem}")))?;
        if config.retry.timeout.is_some() {
            return Err(ServiceError::new("`retry.timeout` is set")
                .with_hint("`timeout`, outside of `retry`, says how long an attempt may take"));
        }
        let headers = headers(config)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&config.tls, base.is_encrypted())?)
            .default_headers(headers)
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE)
            // The service follows redirects itself, because the rules depend on the method, which reqwest's policy does
            // not see.
            .redirect(Policy::none())
            .referer(false)
            .build()
            .map_err(|error| {
                ServiceError::new("no HTTP client can be made").with_source(error.without_url())
            })?;
        let (timeout, retry, max_response) = (config.timeout, config.retry, config.max_response);
        let secrets = Arc::new(Secrets::of(config));
        let authenticates = !matches!(config.auth, Auth::None);
        Ok(Self { base, http, timeout, retry, max_response, secrets, authenticates })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in &config.headers {
        let place = format!("headers.{name}");
        headers.insert(header_name(&place, name)?, secret(&place, value.expose_secret())?);
    }
    if let Some((name, value)) = auth(&config.auth)? {
        headers.insert(name, value);
    }
    Ok(headers)
}

fn auth(auth: &Auth) -> Result<Option<(HeaderName, HeaderValue)>, ServiceError> {
    Ok(Some(match auth {
        Auth::None => return Ok(None),
        Auth::Bearer(token) => {
            (AUTHORIZATION, secret("auth.bearer", &format!("Bearer {}", token.expose_secret()))?)
        }
        Auth::Basic { username, password } => {
            if username.contains(':') {
                return Err(ServiceError::new("`auth.basic.username`: a colon stands in it"));
            }
            let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
            (AUTHORIZATION, secret("auth.basic", &format!("Basic {pair}"))?)
        }
        Auth::Header { name, value } => {
            (header_name("auth.header.name", name)?, secret("auth.header.value", value.expose_secret())?)
        }
    }))
}

fn header_name(place: &str, name: &str) -> Result<HeaderName, ServiceError> {
    name.parse().map_err(|_| ServiceError::new(format!("`{place}`: `{name}` is no name of a header")))
}

/// Makes the value of a header, marked as sensitive so that `Debug` does not show it.
fn secret(place: &str, value: &str) -> Result<HeaderValue, ServiceError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        ServiceError::new(format!("`{place}`: it has characters that a header cannot have"))
            .with_hint("see whether a line break stands at its end")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
