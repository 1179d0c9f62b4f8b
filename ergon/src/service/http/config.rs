//! The config of the HTTP service: where the other side is, who asks, how long and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::client::Client;
use super::{HttpService, address};
use crate::policy::duration;
use crate::policy::{RetryLayer, RetryPolicy};
use crate::service::{ServiceConfig, ServiceError};
use crate::settings::ByteSize;
use crate::settings::FilePath;

/// Makes an [`HttpService`].
///
/// ```
/// use ergon::prelude::*;
///
/// let config: HttpConfig = serde_json::from_str(
///     r#"{
///         "base_url": "https://crm.example/api/v2",
///         "auth": { "bearer": "a token" },
///         "timeout": "5s",
///         "retry": { "max_attempts": 5 }
///     }"#,
/// )?;
/// assert_eq!(config.retry.max_attempts, 5);
/// assert!(!format!("{config:?}").contains("a token"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// What all paths are below: `https://crm.example/api/v2`. Without credentials, query and fragment.
    pub base_url: String,
    /// Who asks: `{ bearer = "…" }`, `{ basic = { username = "…", password = "…" } }`,
    /// `{ header = { name = "X-Api-Key", value = "…" } }` or `"none"`. Default: none.
    #[serde(default)]
    pub auth: Auth,
    /// Headers of every request. Default: `Accept: application/json`, which stands until you name another.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// What the client calls itself. Default: `ergon/` and the version.
    #[serde(default = "user_agent")]
    pub user_agent: String,
    /// How long one attempt may take, from its begin to the last byte of the answer. Default: 30s.
    #[serde(default = "timeout", deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// How long connecting may take, TLS included. Default: 10s.
    #[serde(default = "connect_timeout", deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// How failed attempts are retried: the keys of a step, but for `timeout`. What is not given is as by default: 3
    /// attempts, 250ms before the second, doubled for each further, at most 30s, 20 % more or less at random. A
    /// `Retry-After` of the other side replaces the wait; one that is longer than `backoff_cap` ends the attempts.
    #[serde(default = "retry", deserialize_with = "retry_over_default")]
    pub retry: RetryPolicy,
    /// An answer of more bytes is an error, and is not read to its end. Default: 16MiB.
    #[serde(default = "max_response")]
    pub max_response: ByteSize,
    /// What TLS needs beside the certificates that the system trusts.
    #[serde(default)]
    pub tls: Tls,
}

/// The config of a field of type [`HttpService`], by the name that `#[derive(Service)]` and `#[derive(Connector)]` give it.
pub type HttpServiceConfig = HttpConfig;

/// Who asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    None,
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
    /// `Authorization: Basic …`.
    Basic {
        /// The name; without a colon.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A header of the other side's own.
    Header {
        /// Its name: `X-Api-Key`.
        name: String,
        /// Its value.
        value: SecretString,
    },
}

/// What TLS needs beside the certificates that the system trusts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the authorities that may have signed the server's certificate, beside those of the system.
    #[serde(default)]
    pub ca_file: Option<FilePath>,
    /// PEM file with our certificate, where the server asks for one.
    #[serde(default)]
    pub cert_file: Option<FilePath>,
    /// PEM file with its private key.
    #[serde(default)]
    pub key_file: Option<FilePath>,
}

impl HttpConfig {
    /// Names the base URL; everything else is as by default.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            auth: Auth::None,
            headers: BTreeMap::new(),
            user_agent: user_agent(),
            timeout: timeout(),
            connect_timeout: connect_timeout(),
            retry: retry(),
            max_response: max_response(),
            tls: Tls::default(),
        }
    }

    /// Sets who asks.
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }
}

impl Auth {
    /// `Authorization: Bearer …`.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self::Bearer(SecretString::from(token.into()))
    }

    /// `Authorization: Basic …`.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic { username: username.into(), password: SecretString::from(password.into()) }
    }

    /// A header of the other side's own.
    pub fn header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Header { name: name.into(), value: SecretString::from(value.into()) }
    }
}

impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("base_url", &address::shown(&self.base_url))
            .field("auth", &self.auth)
            .field("headers", &self.headers.keys())
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("max_response", &self.max_response)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl ServiceConfig for HttpConfig {
    type Service = HttpService;

    fn build(&self) -> Result<HttpService, ServiceError> {
        Ok(HttpService::of(Client::new(self)?))
    }
}

fn user_agent() -> String {
    concat!("ergon/", env!("CARGO_PKG_VERSION")).to_owned()
}

const fn timeout() -> Duration {
    Duration::from_secs(30)
}

const fn connect_timeout() -> Duration {
    Duration::from_secs(10)
}

const fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        backoff: Duration::from_millis(250),
        backoff_cap: Some(Duration::from_secs(30)),
        jitter: 0.2,
        ..RetryPolicy::DEFAULT
    }
}

const fn max_response() -> ByteSize {
    ByteSize::mib(16)
}

fn retry_over_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RetryPolicy, D::Error> {
    let mut policy = retry();
    RetryLayer::deserialize(deserializer)?.apply(&mut policy);
    Ok(policy)
}
