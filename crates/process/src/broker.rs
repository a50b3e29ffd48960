//! The flags that say where the broker is and how it is reached.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use lovage_core::{AccessError, AccessFile, AccessFiles};
use serde::Deserialize;

/// Where the broker is unless told otherwise.
const URL_DEFAULT: &str = "redis://127.0.0.1:6379";
/// The prefix of all keys unless told otherwise.
const NAMESPACE_DEFAULT: &str = "lovage";

/// Where the broker is and how it is reached.
#[derive(Clone, Default, Args, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BrokerArgs {
    /// The broker's URL: `redis://HOST`, `redis+sentinel://HOST,HOST/SERVICE` or `redis+cluster://HOST,HOST`; `rediss` for
    /// TLS [default: `redis://127.0.0.1:6379`]
    #[arg(
        long = "broker",
        env = "LOVAGE_BROKER",
        value_name = "URL",
        hide_env_values = true
    )]
    #[serde(rename = "broker")]
    pub url: Option<String>,
    /// The prefix of all keys at the broker [default: lovage]
    #[arg(long, env = "LOVAGE_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// A file with the user name, which counts before that of the URL. This and the other files of the broker are read at
    /// the start and again for each new connection: what is replaced in them needs no restart
    #[arg(
        long = "broker-username-file",
        env = "LOVAGE_BROKER_USERNAME_FILE",
        value_name = "FILE"
    )]
    #[serde(rename = "broker-username-file")]
    pub username_file: Option<PathBuf>,
    /// A file with the password, which counts before that of the URL; line ends behind it do not belong to it
    #[arg(
        long = "broker-password-file",
        env = "LOVAGE_BROKER_PASSWORD_FILE",
        value_name = "FILE"
    )]
    #[serde(rename = "broker-password-file")]
    pub password_file: Option<PathBuf>,
    /// A file with the user name at the sentinels, which counts before that of the URL; for `redis+sentinel`, with a password
    /// [default: the sentinels are shown user and password of the servers]
    #[arg(
        long = "broker-sentinel-username-file",
        env = "LOVAGE_BROKER_SENTINEL_USERNAME_FILE",
        value_name = "FILE"
    )]
    #[serde(rename = "broker-sentinel-username-file")]
    pub sentinel_username_file: Option<PathBuf>,
    /// A file with the password at the sentinels, which counts before that of the URL; for `redis+sentinel`
    #[arg(
        long = "broker-sentinel-password-file",
        env = "LOVAGE_BROKER_SENTINEL_PASSWORD_FILE",
        value_name = "FILE"
    )]
    #[serde(rename = "broker-sentinel-password-file")]
    pub sentinel_password_file: Option<PathBuf>,
    /// A PEM file of the authorities that sign the broker's certificate; for `rediss` [default: those that the operating
    /// system trusts]
    #[arg(long = "broker-ca", env = "LOVAGE_BROKER_CA", value_name = "FILE")]
    #[serde(rename = "broker-ca")]
    pub ca: Option<PathBuf>,
    /// A PEM file of the client certificate to show, with --broker-key; for `rediss`
    #[arg(long = "broker-cert", env = "LOVAGE_BROKER_CERT", value_name = "FILE")]
    #[serde(rename = "broker-cert")]
    pub cert: Option<PathBuf>,
    /// A PEM file of the key of that certificate
    #[arg(long = "broker-key", env = "LOVAGE_BROKER_KEY", value_name = "FILE")]
    #[serde(rename = "broker-key")]
    pub key: Option<PathBuf>,
}

/// Why the broker cannot be reached as the flags say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerArgsError {
    /// A file cannot be used.
    #[error("{flag}: {reason}")]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// What is wrong. No `source`: a chain of errors would say it twice.
        reason: AccessError,
    },
    /// Certificates are named, and the URL is one without TLS.
    #[error(
        "{flag} is for TLS, and the scheme of the broker's URL is {scheme}: use rediss in place of redis"
    )]
    WithoutTls {
        /// The first flag that names one.
        flag: &'static str,
        /// The scheme of the URL.
        scheme: String,
    },
    /// A user or a password of sentinels is named, and the URL is one without them.
    #[error(
        "{flag} is for sentinels, and the scheme of the broker's URL is {scheme}: use redis+sentinel or rediss+sentinel, or \
         leave it out"
    )]
    WithoutSentinels {
        /// The first flag that names one.
        flag: &'static str,
        /// The scheme of the URL.
        scheme: String,
    },
}

impl BrokerArgs {
    /// The broker's URL.
    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(URL_DEFAULT)
    }

    /// The prefix of all keys.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(NAMESPACE_DEFAULT)
    }

    /// The files with secrets and certificates.
    pub fn files(&self) -> AccessFiles {
        AccessFiles {
            username: self.username_file.clone(),
            password: self.password_file.clone(),
            sentinel_username: self.sentinel_username_file.clone(),
            sentinel_password: self.sentinel_password_file.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
        }
    }

    /// Looks at the start whether the files can be used and fit the URL. Whoever connects reads them anew.
    pub fn check(&self) -> Result<(), BrokerArgsError> {
        let files = self.files();
        let scheme = self
            .url()
            .split_once("://")
            .map_or("none", |(scheme, _)| scheme);
        if let Some(file) = files.first_for_tls()
            && !scheme.starts_with("rediss")
        {
            return Err(BrokerArgsError::WithoutTls {
                flag: flag(file),
                scheme: scheme.to_owned(),
            });
        }
        if let Some(file) = files.first_for_sentinels()
            && !scheme.ends_with("+sentinel")
        {
            return Err(BrokerArgsError::WithoutSentinels {
                flag: flag(file),
                scheme: scheme.to_owned(),
            });
        }
        files.check().map_err(|reason| BrokerArgsError::File {
            flag: flag(reason.file()),
            reason,
        })
    }

    /// With what is set here before what is set `under` it.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        Self {
            url: self.url.or(under.url),
            namespace: self.namespace.or(under.namespace),
            username_file: self.username_file.or(under.username_file),
            password_file: self.password_file.or(under.password_file),
            sentinel_username_file: self.sentinel_username_file.or(under.sentinel_username_file),
            sentinel_password_file: self.sentinel_password_file.or(under.sentinel_password_file),
            ca: self.ca.or(under.ca),
            cert: self.cert.or(under.cert),
            key: self.key.or(under.key),
        }
    }
}

impl fmt::Debug for BrokerArgs {
    /// Leaves the URL out: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerArgs")
            .field("namespace", &self.namespace)
            .field("files", &self.files())
            .finish_non_exhaustive()
    }
}

fn flag(file: AccessFile) -> &'static str {
    match file {
        AccessFile::Username => "--broker-username-file",
        AccessFile::Password => "--broker-password-file",
        AccessFile::SentinelUsername => "--broker-sentinel-username-file",
        AccessFile::SentinelPassword => "--broker-sentinel-password-file",
        AccessFile::Ca => "--broker-ca",
        AccessFile::Cert => "--broker-cert",
        AccessFile::Key => "--broker-key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        broker: BrokerArgs,
    }

    fn refusal(flags: &[&str]) -> String {
        let words = std::iter::once("program").chain(flags.iter().copied());
        let program = Program::try_parse_from(words).map_err(|error| error.to_string());
        program.unwrap().broker.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_flag_and_never_with_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (empty, pem) = (path("empty", "\n"), path("pem", "-----BEGIN "));
        let plain = "redis://ada:s3cret@db";
        let tls = "rediss://ada:s3cret@db";
        let sentinels = "redis+sentinel://ada:s3cret@db/shop";
        for (flags, parts) in [
            (
                &["--broker-password-file", "/nowhere/p"][..],
                [
                    "--broker-password-file: the password file /nowhere/p",
                    "cannot be read",
                ],
            ),
            (
                &["--broker-username-file", &empty],
                ["--broker-username-file: the user name file", "is empty"],
            ),
            (
                &["--broker-ca", "/nowhere/ca", "--broker", tls],
                ["--broker-ca", "/nowhere/ca cannot be read"],
            ),
            (
                &["--broker-cert", &pem, "--broker", tls],
                ["--broker-cert", "needs its key"],
            ),
            (
                &["--broker-key", &pem, "--broker", tls],
                ["--broker-key", "a key its certificate"],
            ),
            (
                &["--broker-ca", &pem, "--broker", plain],
                ["--broker-ca", "is redis: use rediss in place of redis"],
            ),
            (
                &["--broker-sentinel-password-file", &pem, "--broker", tls],
                [
                    "--broker-sentinel-password-file is for sentinels",
                    "is rediss: use redis+sentinel or",
                ],
            ),
            (
                &["--broker-sentinel-username-file", &pem],
                ["--broker-sentinel-username-file", "is redis: use"],
            ),
            (
                &[
                    "--broker-sentinel-password-file",
                    &empty,
                    "--broker",
                    sentinels,
                ],
                [
                    "--broker-sentinel-password-file: the password file of the sentinels",
                    "is empty",
                ],
            ),
            (
                &["--broker-key", &pem],
                ["--broker-key is for TLS", "is redis:"],
            ),
            (
                &["--broker-ca", &pem, "--broker", "ada s3cret"],
                ["--broker-ca", "is none: use rediss"],
            ),
        ] {
            let error = refusal(flags);
            for part in parts {
                assert!(error.contains(part), "{flags:?}: {error}");
            }
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_url_is_not_shown() {
        let args = BrokerArgs {
            url: Some("redis://:s3cret@db".to_owned()),
            ..BrokerArgs::default()
        };
        assert!(!format!("{args:?}").contains("s3cret"));
    }
}
