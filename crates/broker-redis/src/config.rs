//! Where Redis is and how long to wait for it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{AccessFiles, Clock, TransportError, secs};

use crate::access::{Access, Credentials};
use crate::acl::{Acl, Missing};
use crate::site::Site;

pub(crate) const NAMESPACE_DEFAULT: &str = "lovage";
/// The longest namespace, in bytes.
const NAMESPACE_BYTES_MAX: usize = 64;

/// How to reach Redis. Made from a URL; everything else has a default.
///
/// ```
/// use std::time::Duration;
/// use lovage_broker_redis::RedisConfig;
///
/// let config = RedisConfig::new("redis://localhost:6379/0")
///     .namespace("shop")
///     .response_timeout(Duration::from_secs(3));
/// ```
#[derive(Clone)]
#[must_use = "nothing connects until a broker is given it"]
pub struct RedisConfig {
    url: String,
    pub(crate) namespace: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) acl: Option<Acl>,
}

impl RedisConfig {
    /// A Redis at `url`: `redis://`, `rediss://` (TLS) or `unix:` and the path of a socket.
    ///
    /// `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE[/DB]` asks the sentinels for the primary of
    /// `SERVICE`, at the start and for each new connection. User and password are for Redis and the sentinels, unless
    /// `?sentinel_password=` and `?sentinel_username=`, or [files](AccessFiles::sentinel_password), name others for these.
    /// With `rediss` both are spoken to by TLS.
    ///
    /// `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT` is a cluster, of which some nodes are named. The others are
    /// reached at the addresses that nodes announce, with the same user, password and TLS.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: NAMESPACE_DEFAULT.to_owned(),
            connect_timeout: secs(2),
            response_timeout: secs(5),
            clock: Clock::System,
            access: Access::default(),
            acl: None,
        }
    }

    /// Sets what all keys begin with: 1 to 64 ASCII letters, digits and `- _ . / @`. The default is `lovage`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Bounds the making of a connection, name look-up and handshakes included. The default is two seconds.
    pub fn connect_timeout(mut self, span: Duration) -> Self {
        self.connect_timeout = span;
        self
    }

    /// Bounds the wait for each answer; a connection that lets it pass is replaced. The default is five seconds.
    pub fn response_timeout(mut self, span: Duration) -> Self {
        self.response_timeout = span;
        self
    }

    /// Names files with the user, the password and the certificates, which are read anew for each connection.
    ///
    /// One that cannot be read, or makes no sense, is [`ConnectError::Misconfigured`] at the start; later it is told in
    /// the log, and tried again. With Sentinel they are for the sentinels as well, but for user and password where others
    /// are named for these, here or in the URL. Those of sentinels are refused with a URL without sentinels.
    pub fn files(mut self, files: AccessFiles) -> Self {
        self.access.files = Arc::new(files);
        self
    }

    /// Asks `provider` for user and password, for each connection that is made. It is called on the runtime and must not
    /// block: one that asks a service for them does so by itself, before, and hands out what it was given last. With
    /// Sentinel they are for the sentinels as well, unless others are named for these, in files or in the URL.
    pub fn credentials(
        mut self,
        provider: impl Fn() -> io::Result<Credentials> + Send + Sync + 'static,
    ) -> Self {
        self.access.provider = Some(Arc::new(provider));
        self
    }

    /// Says what the user of the connections is for, in this namespace: [`RedisBroker::connect`](crate::RedisBroker::connect)
    /// asks, once, whether it may do that, and an error of Redis that refuses it later names what is missing.
    ///
    /// Redis before 7 cannot be asked; there nothing is found missing before it is needed.
    pub fn acting_as(mut self, acl: Acl) -> Self {
        self.acl = Some(acl);
        self
    }

    /// Sets the clock that the scripts go by. For tests: with a manual clock they read it instead of Redis's own.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn site(&self) -> Result<Site, ConnectError> {
        self.check_namespace()?;
        let mut site = Site::parse(&self.url)?;
        if let Some(file) = self.access.files.first_for_sentinels() {
            let Site::Sentinel(sentinels) = &mut site else {
                return Err(ConnectError::Misconfigured(TransportError::new(format!(
                    "the {file} is named, and the URL names no sentinels: use redis+sentinel or rediss+sentinel"
                ))));
            };
            sentinels.have_users();
        }
        Ok(site)
    }

    fn check_namespace(&self) -> Result<(), ConnectError> {
        // A colon would let `a` with queue `b:c` meet `a:b` with queue `c`; braces would end the hash tag.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
        let size = self.namespace.len();
        if (1..=NAMESPACE_BYTES_MAX).contains(&size) && self.namespace.chars().all(allowed) {
            Ok(())
        } else {
            Err(ConnectError::Namespace {
                namespace: self.namespace.chars().take(NAMESPACE_BYTES_MAX).collect(),
            })
        }
    }
}

impl fmt::Debug for RedisConfig {
    /// Leaves the URL out: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("namespace", &self.namespace)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection to start with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error(
        "the Redis URL cannot be read: {reason}; use redis://HOST:PORT, rediss://HOST:PORT, unix:PATH, \
         redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT"
    )]
    Url {
        /// What was wrong.
        reason: String,
    },
    /// The namespace is not one.
    #[error(
        "namespace {namespace:?} is not allowed; use 1 to {NAMESPACE_BYTES_MAX} ASCII letters, digits and any of - _ . / @"
    )]
    Namespace {
        /// The refused namespace.
        namespace: String,
    },
    /// The server is too old.
    #[error("the server is Redis {found}; Lovage needs Redis 6.2 or later, or Valkey: upgrade it")]
    Version {
        /// Its version.
        found: String,
    },
    /// Nobody answers, or the server is not ready yet.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(TransportError),
    /// The user may not do all that the program does, by [`RedisConfig::acting_as`].
    #[error("{0}")]
    Permissions(Missing),
    /// Somebody must act: password, permission, certificate.
    #[error("Redis refuses the connection until somebody acts: {0}")]
    Misconfigured(TransportError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_would_meet_another_are_refused() {
        for namespace in ["", "a:b", "a{b}", "a b", "größe", &"x".repeat(65)] {
            let config = RedisConfig::new("redis://localhost").namespace(namespace);
            assert!(
                matches!(config.site(), Err(ConnectError::Namespace { .. })),
                "{namespace:?}"
            );
        }
    }

    #[test]
    fn files_for_sentinels_are_refused_where_there_are_none() {
        let files = AccessFiles {
            sentinel_password: Some("/run/secrets/sentinels".into()),
            ..AccessFiles::default()
        };
        for (url, fits) in [
            ("redis://a", false),
            ("rediss+cluster://a", false),
            ("redis+sentinel://a/shop", true),
        ] {
            let site = RedisConfig::new(url).files(files.clone()).site();
            assert_eq!(site.is_ok(), fits, "{url}");
            if let Err(error) = site {
                let error = error.to_string();
                for part in ["password file of the sentinels", "use redis+sentinel"] {
                    assert!(error.contains(part), "{url}: {error}");
                }
            }
        }
    }

    #[test]
    fn an_unreadable_url_is_an_error_without_the_url() {
        let error = RedisConfig::new("http://user:secret@host")
            .site()
            .map(|_| ())
            .unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{:?}", RedisConfig::new("redis://:secret@host")).contains("secret"));
    }
}
