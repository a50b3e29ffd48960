//! Secrets and certificates, read anew for each connection: what is rotated counts from the next one on.

use std::fmt;
use std::io;
use std::sync::Arc;

use lovage_core::{AccessError, AccessFiles, TransportError};
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
    pub(crate) files: Arc<AccessFiles>,
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
        self.client_of(
            info.set_redis_settings(user),
            self.files.read_username()?,
            self.files.read_password()?,
        )
    }

    /// A client for one connection to a sentinel that has users of its own.
    pub(crate) fn client_of_sentinel(&self, info: ConnectionInfo) -> Result<Client, ConnectError> {
        self.client_of(
            info,
            self.files.read_sentinel_username()?,
            self.files.read_sentinel_password()?,
        )
    }

    /// A client with these where they are given, and otherwise with the user and the password of `info`.
    fn client_of(
        &self,
        info: ConnectionInfo,
        username: Option<String>,
        password: Option<String>,
    ) -> Result<Client, ConnectError> {
        let mut user = info.redis_settings().clone();
        if let Some(name) = username {
            user = user.set_username(name);
        }
        if let Some(password) = password {
            user = user.set_password(password);
        }
        // The library would leave the user out, and the connection be that of another one, `default`.
        if user.username().is_some() && user.password().is_none() {
            return Err(refused(format!(
                "a user is named for {} without a password: name both, or neither and be the user `default`; a user with `nopass` takes any password",
                info.addr()
            )));
        }
        let info = info.set_redis_settings(user);
        // The first provider in a process stays; one that the user has installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = if self.files.first_for_tls().is_none() {
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
        let own = self.files.read_certificate()?;
        Ok(TlsCertificates {
            client_tls: own.map(|[client_cert, client_key]| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.files.read_ca()?,
        })
    }
}

impl From<AccessError> for ConnectError {
    fn from(error: AccessError) -> Self {
        Self::Misconfigured(TransportError::new(error))
    }
}

fn refused(reason: String) -> ConnectError {
    ConnectError::Misconfigured(TransportError::new(reason))
}
