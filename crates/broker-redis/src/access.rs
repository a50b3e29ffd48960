//! Secrets and certificates, read anew for each connection: what is rotated counts from the next one on.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lovage_core::{AccessFiles, TransportError};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};

use crate::config::ConnectError;

/// A user and its password. Neither is ever shown.
#[derive(Clone)]
pub struct Credentials {
    username: Option<String>,
    password: String,
}

impl Credentials {
    /// The password of the user that the URL names, which is `default` if it names none.
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: password.into(),
        }
    }

    /// Of this user, whatever the URL says.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

type Provider = Arc<dyn Fn() -> io::Result<Credentials> + Send + Sync>;

/// What is read for each connection.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) files: AccessFiles,
    pub(crate) provider: Option<Provider>,
}

impl Access {
    /// A client for one connection, or for as many as may share what the files hold now.
    pub(crate) fn client(&self, info: ConnectionInfo) -> Result<Client, ConnectError> {
        let mut user = info.redis_settings().clone();
        if let Some(provider) = &self.provider {
            let given = provider()
                .map_err(|error| refused(format!("no password could be had: {error}")))?;
            user = user.set_password(given.password);
            if let Some(name) = given.username {
                user = user.set_username(name);
            }
        }
        if let Some(path) = &self.files.username {
            let text = read_text(path, "user name")?;
            user = user.set_username(text.trim());
        }
        if let Some(path) = &self.files.password {
            let text = read_text(path, "password")?;
            user = user.set_password(text.trim_end_matches(['\r', '\n']));
        }
        self.client_of_the_url(info.set_redis_settings(user))
    }

    /// A client with the user and the password that the URL names.
    pub(crate) fn client_of_the_url(&self, info: ConnectionInfo) -> Result<Client, ConnectError> {
        // The first provider in a process stays; one that the user has installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = if !self.files.has_tls() {
            Client::open(info)
        } else if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            Client::build_with_tls(info, self.certificates()?)
        } else {
            return Err(refused(
                "certificates are named, and the URL is one without TLS: use rediss".to_owned(),
            ));
        };
        client.map_err(|error| refused(format!("the certificates cannot be used: {error}")))
    }

    fn certificates(&self) -> Result<TlsCertificates, ConnectError> {
        let client_tls = match (&self.files.cert, &self.files.key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read_pem(cert, "client certificate")?,
                client_key: read_pem(key, "key of the client certificate")?,
            }),
            (None, None) => None,
            _ => {
                return Err(refused(
                    "a client certificate needs its key, and a key its certificate".to_owned(),
                ));
            }
        };
        let ca = self.files.ca.as_ref();
        Ok(TlsCertificates {
            client_tls,
            root_cert: ca
                .map(|path| read_pem(path, "file of authorities"))
                .transpose()?,
        })
    }
}

/// Small files, read at once: there is a connection to be made, and nothing to be done meanwhile.
fn read(path: &Path, what: &str) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|error| {
        refused(format!(
            "the {what} {} cannot be read: {error}",
            path.display()
        ))
    })
}

fn read_text(path: &Path, what: &str) -> Result<String, ConnectError> {
    let text = String::from_utf8(read(path, what)?);
    match text {
        Ok(text) if text.trim().is_empty() => Err(refused(format!(
            "the {what} in {} is empty",
            path.display()
        ))),
        Ok(text) => Ok(text),
        Err(_) => Err(refused(format!(
            "the {what} in {} is no UTF-8",
            path.display()
        ))),
    }
}

fn read_pem(path: &Path, what: &str) -> Result<Vec<u8>, ConnectError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let bytes = read(path, what)?;
    if bytes.windows(BEGIN.len()).any(|part| part == BEGIN) {
        Ok(bytes)
    } else {
        Err(refused(format!("the {what} {} is no PEM", path.display())))
    }
}

fn refused(reason: String) -> ConnectError {
    ConnectError::Misconfigured(TransportError::new(reason))
}
