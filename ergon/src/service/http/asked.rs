//! The request that an error is about: its method and its URL, without secrets. An error keeps this and not the request
//! itself, whose headers hold credentials.

use std::fmt;
use std::sync::Arc;

use reqwest::Method;
use url::Url;

use super::address::shown_url;
use super::excerpt::Secrets;

/// The request that an error is about.
#[derive(Clone)]
pub(super) struct Asked {
    method: Method,
    /// Without credentials and without the values of the query.
    url: Arc<str>,
    /// The secrets to remove from the part of the answer that an error quotes.
    pub(super) secrets: Arc<Secrets>,
}

impl Asked {
    pub(super) fn new(method: Method, url: &Url, secrets: Arc<Secrets>) -> Self {
        Self { method, url: shown_url(url).into(), secrets }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}
