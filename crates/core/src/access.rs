//! The files with which a broker is reached.

use std::path::PathBuf;

/// Files with the secrets and certificates for reaching a broker. They are read anew for each connection: what is
/// rotated in them counts from the next connection on, without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// The user, in place of that of the URL. White space around it does not count.
    pub username: Option<PathBuf>,
    /// The password, in place of that of the URL. Line ends behind it do not count.
    pub password: Option<PathBuf>,
    /// The authorities, in PEM, one of which must have signed the server's certificate; otherwise those that the
    /// operating system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate to show to the server, in PEM, those of authorities in between behind it.
    pub cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    pub key: Option<PathBuf>,
}

impl AccessFiles {
    /// Whether there is something about TLS among them.
    pub fn has_tls(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}
