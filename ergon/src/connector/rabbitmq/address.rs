//! Where the broker is, read once; what is shown of it never holds the password.

use std::fmt;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::RabbitMqConfig;
use crate::connector::ConnectorError;

/// The broker's address, with the password.
#[derive(Clone)]
pub(super) struct Address(AMQPUri);

impl Address {
    /// Reads the address of a config.
    ///
    /// # Errors
    /// What is wrong with it; parts of the address that could hold a password are not shown.
    pub(super) fn of(config: &RabbitMqConfig) -> Result<Self, ConnectorError> {
        let uri = match &config.url {
            Some(url) => {
                alone(config)?;
                from_url(url.expose_secret())?
            }
            None => from_parts(config),
        };
        let mut address = Self(uri);
        let encrypted = address.0.scheme == AMQPScheme::AMQPS;
        if config.tls.is_some() && !encrypted {
            return Err(ConnectorError::permanent("`tls` is set, but the URL says `amqp://`")
                .with_hint("write `amqps://`, or remove `tls`"));
        }
        let seconds = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX);
        if seconds == 0 {
            return Err(ConnectorError::permanent("`heartbeat` is less than a second")
                .with_hint("without it a lost broker is not noticed; 10s is a good value"));
        }
        address.0.query.heartbeat = Some(seconds);
        Ok(address)
    }

    pub(super) fn uri(&self) -> &AMQPUri {
        &self.0
    }

    pub(super) fn host(&self) -> &str {
        &self.0.authority.host
    }

    pub(super) fn port(&self) -> u16 {
        self.0.authority.port
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn username(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.0.vhost
    }
}

/// A URL says everything: nothing else may say it too.
fn alone(config: &RabbitMqConfig) -> Result<(), ConnectorError> {
    let beside = [
        ("host", config.host.is_some()),
        ("port", config.port.is_some()),
        ("username", config.username.is_some()),
        ("password", config.password.is_some()),
        ("vhost", config.vhost.is_some()),
    ];
    match beside.iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(ConnectorError::permanent(format!("`url` and `{key}` are both set"))
            .with_hint(format!("`{key}` is a part of the URL: set one of them"))),
        None => Ok(()),
    }
}

fn from_parts(config: &RabbitMqConfig) -> AMQPUri {
    let scheme = if config.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let text = |part: &Option<String>, default: &str| part.clone().unwrap_or_else(|| default.to_owned());
    let password = config.password.as_ref().map_or("guest", |password| password.expose_secret());
    AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: text(&config.username, "guest"),
                password: password.to_owned(),
            },
            host: text(&config.host, "localhost"),
            port: config.port.unwrap_or_else(|| scheme.default_port()),
        },
        scheme,
        vhost: text(&config.vhost, "/"),
        query: AMQPQueryString::default(),
    }
}

/// The parts of a URL; where lapin's own reading takes a default for a host it cannot read, this says so.
fn from_url(text: &str) -> Result<AMQPUri, ConnectorError> {
    let wrong = |why: String| {
        ConnectorError::permanent(format!("`url` is no address of a broker: {why}"))
            .with_hint("expected `amqp://user:password@host:port/vhost`, special characters percent-encoded")
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "amqp" | "amqps") || url.cannot_be_a_base() {
        return Err(wrong("it does not begin with `amqp://` or `amqps://`".to_owned()));
    }
    // The client's own words repeat the address, password and all.
    let unreadable = |_: String| wrong("a value behind its `?` cannot be read".to_owned());
    let mut uri: AMQPUri = text.parse().map_err(unreadable)?;
    uri.authority.host = match url.host() {
        Some(Host::Domain("")) | None => return Err(wrong("it names no host".to_owned())),
        Some(Host::Domain(_)) => uri.authority.host,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    Ok(uri)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.0;
        let (open, close) = if authority.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", authority.host, authority.port)?;
        if vhost == "/" { Ok(()) } else { write!(f, "/{vhost}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Address, ConnectorError> {
        Address::of(&RabbitMqConfig::new(url, "q"))
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let address = of("amqps://us%40er:p%2Fa%3Ass%25@broker.example:5679/v%2Fhost").unwrap();
        assert_eq!(address.username(), "us@er");
        assert_eq!(address.uri().authority.userinfo.password, "p/a:ss%");
        assert_eq!((address.host(), address.port()), ("broker.example", 5679));
        assert_eq!((address.vhost(), address.is_encrypted()), ("v/host", true));
    }

    #[test]
    fn a_host_is_never_replaced_by_another() {
        assert_eq!(of("amqp://[::1]:5672").unwrap().host(), "::1");
        assert_eq!(of("amqp://127.0.0.1").unwrap().host(), "127.0.0.1");
        let error = of("amqp://").unwrap_err();
        assert!(error.is_permanent() && error.message().contains("no"), "{error}");
    }

    #[test]
    fn the_password_is_never_shown() {
        for url in [
            "amqp://me:s3cret@host:port",
            "me:s3cret@host:5672",
            "s3cret:me@host",
            "amqp:me:s3cret@host",
            "http://me:s3cret@host",
            "amqp://me:s3cret@",
            "amqp://me:s3cret@host?heartbeat=s3cret",
            "s3cret",
        ] {
            let config = RabbitMqConfig::new(url, "q");
            let error = Address::of(&config).expect_err(url);
            let shown = format!("{config:?} {error} {error:?} {:?}", error.hint());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let address = of("amqp://me:s3cret@host").unwrap();
        assert!(!format!("{address} {address:?}").contains("s3cret"));
    }

    #[test]
    fn url_and_parts_exclude_each_other() {
        let config = RabbitMqConfig { vhost: Some("a".into()), ..RabbitMqConfig::new("amqp://host", "q") };
        assert_eq!(Address::of(&config).unwrap_err().message(), "`url` and `vhost` are both set");
    }

    #[test]
    fn parts_make_an_address_with_any_password() {
        let password = Some("p@:/%ß".into());
        let config =
            RabbitMqConfig { password, tls: Some(super::super::Tls::default()), ..Default::default() };
        let address = Address::of(&config).unwrap();
        assert_eq!(address.uri().authority.userinfo.password, "p@:/%ß");
        assert_eq!(address.to_string(), "amqps://localhost:5671");
    }
}
