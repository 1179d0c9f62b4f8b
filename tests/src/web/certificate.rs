//! A self-signed certificate, which no client trusts unless it is configured to.

use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate that a server signed itself.
#[derive(Debug)]
pub struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    /// Makes a certificate for a host.
    pub fn of(host: &str) -> Self {
        let made = generate_simple_self_signed([host.to_owned()]).expect("the name is valid");
        Self { pem: made.cert.pem(), der: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.clone()).expect("it is a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![self.der.clone()], key));
        TlsAcceptor::from(Arc::new(config.expect("certificate and key belong together")))
    }
}
