//! A certificate authority of the test's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The files that a server needs to answer over TLS.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The authority, for clients as well.
    pub(super) authority: PathBuf,
    /// The server's certificate for `localhost` and `127.0.0.1`.
    pub(super) certificate: PathBuf,
    /// The server's key.
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Makes an authority and a server certificate that it signed, and writes them into `folder`.
    pub(super) fn write(folder: &Path) -> Self {
        let authority = authority();
        let key = KeyPair::generate().expect("a key can be made");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).expect("the names are valid");
        let server = server.signed_by(&key, &authority).expect("the authority can sign");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written to");
            path
        };
        Self {
            authority: write("ca.pem", authority.pem()),
            certificate: write("server.pem", server.pem()),
            key: write("server.key", key.serialize_pem()),
        }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be made");
    CertifiedIssuer::self_signed(params, key).expect("the authority can sign itself")
}
