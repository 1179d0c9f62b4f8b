//! The TLS config of the client. It always verifies the server's certificate, against the authorities of the system and
//! of the settings. No setting switches that off.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::Tls;
use crate::service::ServiceError;
use crate::settings::FilePath;

/// Makes the TLS config. `needed` is false for plain HTTP, which works on a system without certificates.
///
/// The provider of the cryptography is explicit, because rustls has no default in a program whose libraries bring
/// several.
///
/// # Errors
/// A file that cannot be read, or that is not a PEM file.
pub(super) fn client_config(tls: &Tls, needed: bool) -> Result<ClientConfig, ServiceError> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error| ServiceError::new("TLS cannot be set up").with_source(error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = if needed {
        let verifier = Arc::new(verifier(tls, provider)?);
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    let mut config = with_identity(builder, tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Verifier, ServiceError> {
    let verifier = match &tls.ca_file {
        Some(path) => Verifier::new_with_extra_roots(certificates("ca_file", path)?, provider),
        None => Verifier::new(provider),
    };
    verifier.map_err(|error| {
        ServiceError::new("the certificates that the system trusts cannot be loaded")
            .with_source(error)
            .with_hint("install the system's certificates (`ca-certificates`), or name `tls.ca_file`")
    })
}

/// Adds our own certificate, if the settings name one.
fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    tls: &Tls,
) -> Result<ClientConfig, ServiceError> {
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates("cert_file", cert)?;
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("key_file", key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                ServiceError::new("`tls.cert_file` and `tls.key_file` do not fit together").with_source(error)
            })
        }
        _ => Err(ServiceError::new("one of `tls.cert_file` and `tls.key_file` is not set")
            .with_hint("set both, because a certificate needs its key")),
    }
}

fn certificates(key: &str, path: &FilePath) -> Result<Vec<CertificateDer<'static>>, ServiceError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unreadable(key, path, error))?;
    if certificates.is_empty() {
        return Err(unreadable(key, path, PemError::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(key: &str, path: &FilePath, error: PemError) -> ServiceError {
    ServiceError::new(format!("`tls.{key}`: {path} cannot be read as a PEM file")).with_source(error)
}
