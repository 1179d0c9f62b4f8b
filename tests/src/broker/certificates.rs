//! Makes a certificate authority for one test, and certificates that the authority signs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The files that a server needs to answer over TLS.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The certificate of the authority, also for clients.
    pub(super) authority: PathBuf,
    /// The server's certificate for `localhost` and `127.0.0.1`.
    pub(super) certificate: PathBuf,
    /// The server's key.
    pub(super) key: PathBuf,
    /// A client's certificate, and its key.
    pub(super) client: (PathBuf, PathBuf),
}

impl Certificates {
    /// Makes an authority and a server certificate that it signed, and writes them into `folder`.
    pub(super) fn write(folder: &Path) -> Self {
        let authority = authority();
        let (certificate, key) = signed(&["localhost", "127.0.0.1"], &authority);
        let (client, client_key) = signed(&["client"], &authority);
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written to");
            path
        };
        Self {
            authority: write("ca.pem", authority.pem()),
            certificate: write("server.pem", certificate),
            key: write("server.key", key),
            client: (write("client.pem", client), write("client.key", client_key)),
        }
    }
}

/// A certificate for these names that the authority signed, and its key.
fn signed(names: &[&str], authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().expect("a key can be made");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let subject = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params.distinguished_name.push(DnType::CommonName, subject);
    let certificate = params.signed_by(&key, authority).expect("the authority can sign");
    (certificate.pem(), key.serialize_pem())
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
    // A certificate with the name of its issuer would count as self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be made");
    CertifiedIssuer::self_signed(params, key).expect("the authority can sign itself")
}
