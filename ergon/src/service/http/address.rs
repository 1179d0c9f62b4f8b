//! The URLs of requests: joins a path below `base_url`, so that data in a path cannot lead to another server, and shows
//! URLs without secrets.

use url::Url;

use crate::service::ServiceError;

/// The `base_url` of a service. Every request stays below it.
#[derive(Debug, Clone)]
pub(super) struct Base {
    url: Url,
    /// The URL without a slash at its end.
    text: String,
}

impl Base {
    /// Reads `base_url`.
    ///
    /// # Errors
    /// The problem, without the part of the URL that could be a secret.
    pub(super) fn read(text: &str) -> Result<Self, ServiceError> {
        let wrong = |why: &str| {
            ServiceError::new(format!("`base_url`: {why}")).with_hint("expected `https://host/path`")
        };
        let url = Url::parse(text).map_err(|error| wrong(&format!("no URL, {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            // Without a scheme, the parser takes a name or a password for the scheme, so the message does not repeat
            // it.
            return Err(wrong("it is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                wrong("credentials stand in it").with_hint("set `auth`: a URL is shown in logs and errors")
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, text })
    }

    /// Joins a path, which may contain a query, to the base.
    ///
    /// # Errors
    /// The reason why the result is no URL below the base.
    pub(super) fn join(&self, path: &str) -> Result<Url, String> {
        let path = path.trim_start_matches('/');
        let slash = if path.is_empty() || path.starts_with('?') { "" } else { "/" };
        let url = Url::parse(&format!("{}{slash}{path}", self.text)).map_err(|error| error.to_string())?;
        let below = url.path().strip_prefix(self.url.path().trim_end_matches('/'));
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if url.origin() != self.url.origin() || !is_below {
            return Err("it leads out of `base_url`".to_owned());
        }
        if url.fragment().is_some() {
            return Err("a `#` stands in it".to_owned());
        }
        Ok(url)
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }
}

/// Adds a segment to the path of a URL. Characters that a path cannot have are percent-encoded.
///
/// # Errors
/// The reason why the text cannot be a segment.
pub(super) fn push(url: &mut Url, segment: &str) -> Result<(), String> {
    if matches!(segment, "" | "." | "..") {
        return Err(format!("`{segment}` cannot be a segment of a path"));
    }
    // A URL of http or https always has a path, so this cannot fail.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(segment);
    }
    Ok(())
}

/// Renders a URL for messages: without credentials, and without the values of its query.
pub(super) fn shown(url: &str) -> String {
    // Without a host, the parser takes a login for a path.
    let url = Url::parse(url).ok().filter(Url::has_host);
    url.map_or_else(|| "(no URL)".to_owned(), |url| shown_url(&url))
}

pub(super) fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    conceal(&mut shown);
    let keys: Vec<String> = url.query_pairs().map(|(key, _)| format!("{}=…", key.escape_debug())).collect();
    if keys.is_empty() { shown.into() } else { format!("{shown}?{}", keys.join("&")) }
}

/// Removes the possible secrets of a URL: credentials, query and fragment.
pub(super) fn conceal(url: &mut Url) {
    // Setting name and password cannot fail for a URL of http or https.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_fragment(None);
    url.set_query(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(base: &str, path: &str) -> Result<String, String> {
        Base::read(base).unwrap().join(path).map(String::from)
    }

    #[test]
    fn every_path_is_below_the_base() {
        for base in ["https://crm.example/api", "https://crm.example/api/"] {
            assert_eq!(join(base, "orders/7?full=1").unwrap(), "https://crm.example/api/orders/7?full=1");
            assert_eq!(join(base, "/orders").unwrap(), "https://crm.example/api/orders");
            assert_eq!(join(base, "").unwrap(), "https://crm.example/api");
            assert_eq!(join(base, "?page=2").unwrap(), "https://crm.example/api?page=2");
            assert_eq!(join(base, "//evil.example/x").unwrap(), "https://crm.example/api/evil.example/x");
            assert_eq!(join(base, "..").unwrap_err(), "it leads out of `base_url`");
            assert_eq!(join(base, "../apiary").unwrap_err(), "it leads out of `base_url`");
            assert_eq!(join(base, "%2e%2e/admin").unwrap_err(), "it leads out of `base_url`");
            assert_eq!(join(base, "a#b").unwrap_err(), "a `#` stands in it");
        }
        assert_eq!(join("http://crm.example", "orders").unwrap(), "http://crm.example/orders");
    }

    #[test]
    fn a_segment_stays_one_segment() {
        let mut url = Url::parse("https://crm.example/customers/").unwrap();
        push(&mut url, "a/b?c#d e%2f").unwrap();
        assert_eq!(url.as_str(), "https://crm.example/customers/a%2Fb%3Fc%23d%20e%252f");
        for segment in ["", ".", ".."] {
            assert!(push(&mut url, segment).is_err());
        }
    }

    #[test]
    fn what_is_shown_has_no_credentials_and_no_values() {
        assert_eq!(
            shown("https://me:s3cret@crm.example/a?token=s3cret&page=2#s3cret"),
            "https://crm.example/a?token=…&page=…"
        );
        for login in ["s3cret", "me:s3cret@host", "s3cret:me"] {
            assert_eq!(shown(login), "(no URL)");
        }
    }

    #[test]
    fn a_base_url_that_cannot_be_one_is_refused_without_its_credentials() {
        for (text, why) in [
            ("crm.example", "no URL"),
            ("ftp://crm.example", "neither http nor https"),
            ("https://me:s3cret@crm.example", "credentials stand in it"),
            ("https://crm.example?key=s3cret", "a query or a fragment"),
            ("me:s3cret@crm.example", "neither http nor https"),
            ("s3cret:me@crm.example", "neither http nor https"),
        ] {
            let error = Base::read(text).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("s3cret"));
        }
    }
}
