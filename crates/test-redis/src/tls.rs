//! Certificates for servers and clients, made on the spot.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority of one's own, with the files of its certificate and of those that it signs; gone when dropped.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// Where its files cannot be written.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("lovage-tls-").expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        let own = params.self_signed(&key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), own.pem()).expect("the folder can be written to");
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder of all its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Signs a certificate for a host, with `127.0.0.1` beside it where the host is `localhost`.
    ///
    /// # Panics
    /// Where its files cannot be written.
    pub fn sign(&self, host: &str) -> Certificate {
        self.write(host, &Self::params(host))
    }

    /// Signs one that has expired long ago.
    ///
    /// # Panics
    /// Where its files cannot be written.
    pub fn sign_expired(&self, host: &str) -> Certificate {
        let mut params = Self::params(host);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.write(&format!("{host}-expired"), &params)
    }

    fn params(host: &str) -> CertificateParams {
        let mut hosts = vec![host.to_owned()];
        if host == "localhost" {
            hosts.push("127.0.0.1".to_owned());
        }
        let mut params = CertificateParams::new(hosts).expect("a host name");
        // Otherwise it has the name of its authority, and counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, host);
        params
    }

    fn write(&self, name: &str, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = Certificate {
            cert: self.folder.path().join(format!("{name}.pem")),
            key: self.folder.path().join(format!("{name}.key")),
        };
        fs::write(&files.cert, signed.pem()).expect("the folder can be written to");
        fs::write(&files.key, key.serialize_pem()).expect("the folder can be written to");
        files
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
