//! The config of the HTTP service: address, credentials, limits and retries.

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

/// The config of an [`HttpService`].
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
    /// The base of all paths: `https://crm.example/api/v2`. Without credentials, query and fragment.
    pub base_url: String,
    /// The credentials: `{ bearer = "…" }`, `{ basic = { username = "…", password = "…" } }`,
    /// `{ header = { name = "X-Api-Key", value = "…" } }` or `"none"`. Default: none.
    #[serde(default)]
    pub auth: Auth,
    /// Headers of every request. Default: `Accept: application/json`, unless you set another.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// The `User-Agent`. Default: `ergon/` and the version.
    #[serde(default = "user_agent")]
    pub user_agent: String,
    /// Time limit of one attempt, from its start to the last byte of the answer. Default: 30s.
    #[serde(default = "timeout", deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Time limit for connecting, TLS included. Default: 10s.
    #[serde(default = "connect_timeout", deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// The retries of failed attempts: the keys of a step, except `timeout`. Default: 3 attempts, 250ms before the
    /// second, doubled for each further one, at most 30s, 20 % more or less at random. `Retry-After` of the server
    /// replaces the wait. A longer `Retry-After` than `backoff_cap` ends the attempts.
    #[serde(default = "retry", deserialize_with = "retry_over_default")]
    pub retry: RetryPolicy,
    /// Limit of an answer in bytes. A longer answer is an error, and is not read to its end. Default: 16MiB.
    #[serde(default = "max_response")]
    pub max_response: ByteSize,
    /// TLS settings, in addition to the system's certificates. Default: none.
    #[serde(default)]
    pub tls: Tls,
}

/// The config of a field of type [`HttpService`], by the name that `#[derive(Service)]` and `#[derive(Connector)]` use.
pub type HttpServiceConfig = HttpConfig;

/// The credentials of every request.
///
/// ```
/// use ergon::service::http::{Auth, HttpConfig};
///
/// let config = HttpConfig::new("https://crm.example").with_auth(Auth::basic("shop", "a password"));
/// assert!(!format!("{config:?}").contains("a password"));
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// No credentials.
    #[default]
    None,
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
    /// `Authorization: Basic …`.
    Basic {
        /// The name, without a colon.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A header of the other side's own.
    Header {
        /// The header's name: `X-Api-Key`.
        name: String,
        /// The header's value.
        value: SecretString,
    },
}

/// TLS settings, in addition to the certificates that the system trusts.
///
/// ```
/// use ergon::prelude::*;
///
/// let mut config = HttpConfig::new("https://crm.internal");
/// config.tls.ca_file = Some("certificates/company.pem".into());
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with authorities that may have signed the server's certificate, in addition to those of the system.
    #[serde(default)]
    pub ca_file: Option<FilePath>,
    /// PEM file with our certificate, for servers that ask for one. Needs `key_file`.
    #[serde(default)]
    pub cert_file: Option<FilePath>,
    /// PEM file with the certificate's private key.
    #[serde(default)]
    pub key_file: Option<FilePath>,
}

impl HttpConfig {
    /// Makes a config of a base URL, with the defaults for everything else.
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

    /// Sets the credentials.
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
