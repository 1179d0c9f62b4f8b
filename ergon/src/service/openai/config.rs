//! The config of the OpenAI service.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::OpenaiService;
use crate::policy::duration;
use crate::policy::{RetryLayer, RetryPolicy};
use crate::service::http::{Auth, HttpConfig};
use crate::service::{ServiceConfig, ServiceError};
use crate::settings::ByteSize;

/// The config of an [`OpenaiService`]. Key and model are required.
///
/// ```
/// use ergon::prelude::*;
///
/// let config: OpenaiConfig = serde_json::from_str(r#"{ "api_key": "sk-…", "model": "gpt-4.1-mini" }"#)?;
/// assert_eq!(config.base_url, "https://api.openai.com/v1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenaiConfig {
    /// The provider's key.
    pub api_key: SecretString,
    /// The model that answers, unless a prompt names another.
    pub model: String,
    /// The model that makes embeddings. Default: `text-embedding-3-small`.
    #[serde(default = "embedding_model")]
    pub embedding_model: String,
    /// The provider's address, or that of another provider with the same protocol. Default:
    /// `https://api.openai.com/v1`.
    #[serde(default = "base_url")]
    pub base_url: String,
    /// The organization that pays, for a key of several organizations. Default: the key's own.
    #[serde(default)]
    pub organization: Option<String>,
    /// The project that pays. Default: the key's own.
    #[serde(default)]
    pub project: Option<String>,
    /// Time limit of one attempt, or of one piece of a streamed answer. Default: 2m.
    #[serde(default = "timeout", deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// The retries of failed attempts, as in [`HttpConfig::retry`]. Default: 5 attempts, 1s before the second, doubled
    /// for each further one, at most 60s, 20 % more or less at random.
    #[serde(default = "retry", deserialize_with = "retry_over_default")]
    pub retry: RetryPolicy,
    /// Limit of an answer in bytes. A longer answer is an error. Default: 16MiB.
    #[serde(default = "max_response")]
    pub max_response: ByteSize,
}

/// Shows the base URL without its possible secrets.
impl fmt::Debug for OpenaiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenaiConfig")
            .field("model", &self.model)
            .field("embedding_model", &self.embedding_model)
            .field("http", &self.http())
            .finish_non_exhaustive()
    }
}

/// The config of a field of type [`OpenaiService`], by the name that `#[derive(Service)]` uses.
pub type OpenaiServiceConfig = OpenaiConfig;

impl OpenaiConfig {
    /// Makes a config of a key and a model, with the defaults for everything else.
    pub fn new(api_key: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            api_key: SecretString::from(api_key.into()),
            model: model.into(),
            embedding_model: embedding_model(),
            base_url: base_url(),
            organization: None,
            project: None,
            timeout: timeout(),
            retry: retry(),
            max_response: max_response(),
        }
    }

    fn http(&self) -> HttpConfig {
        let mut http = HttpConfig::new(&*self.base_url).with_auth(Auth::Bearer(self.api_key.clone()));
        (http.timeout, http.retry, http.max_response) = (self.timeout, self.retry, self.max_response);
        let on_behalf = [("OpenAI-Organization", &self.organization), ("OpenAI-Project", &self.project)];
        for (name, value) in on_behalf {
            if let Some(value) = value {
                http.headers.insert(name.to_owned(), SecretString::from(&**value));
            }
        }
        http
    }
}

impl ServiceConfig for OpenaiConfig {
    type Service = OpenaiService;

    fn build(&self) -> Result<OpenaiService, ServiceError> {
        Ok(OpenaiService {
            http: self.http().build()?,
            model: self.model.clone(),
            embedding_model: self.embedding_model.clone(),
        })
    }
}

fn embedding_model() -> String {
    "text-embedding-3-small".to_owned()
}

fn base_url() -> String {
    "https://api.openai.com/v1".to_owned()
}

const fn timeout() -> Duration {
    Duration::from_secs(120)
}

const fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 5,
        backoff: Duration::from_secs(1),
        backoff_cap: Some(Duration::from_secs(60)),
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
