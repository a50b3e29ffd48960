//! The files with which a broker is reached.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The most that one of the files may hold: some times what the authorities take that an operating system trusts.
const BYTES_MAX: u64 = 1024 * 1024;

/// Files with the secrets and certificates for reaching a broker. There may come to be more of them: end a literal with
/// `..AccessFiles::default()`. They are read anew for each connection: what is
/// rotated in them counts from the next connection on, without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is read until a configuration is given them"]
pub struct AccessFiles {
    /// The user, in place of that of the URL. White space around it does not count.
    pub username: Option<PathBuf>,
    /// The password, in place of that of the URL. Line ends behind it do not count.
    pub password: Option<PathBuf>,
    /// The user of the sentinels, in place of that of the URL. Where it or the password of the sentinels is named, here or
    /// in the URL, they are shown neither user nor password of the servers.
    pub sentinel_username: Option<PathBuf>,
    /// The password of the sentinels, likewise.
    pub sentinel_password: Option<PathBuf>,
    /// The authorities, in PEM, one of which must have signed the server's certificate; otherwise those that the
    /// operating system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate to show to the server, in PEM, those of authorities in between behind it.
    pub cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    pub key: Option<PathBuf>,
}

/// One of the [`AccessFiles`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFile {
    /// The user.
    Username,
    /// The password.
    Password,
    /// The user of the sentinels.
    SentinelUsername,
    /// The password of the sentinels.
    SentinelPassword,
    /// The authorities.
    Ca,
    /// The certificate of the client.
    Cert,
    /// Its key.
    Key,
}

/// Why one of the [`AccessFiles`] cannot be used. It shows nothing of what the file holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It is not there, or not readable, or makes no sense.
    #[error("the {file} {path} {reason}")]
    Unusable {
        /// Which of them.
        file: AccessFile,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The other half of a pair is not named.
    #[error(
        "the {file} is named alone: a client certificate needs its key, and a key its certificate"
    )]
    Alone {
        /// The half that is named.
        file: AccessFile,
    },
}

impl AccessFiles {
    /// The first file about TLS among them.
    pub fn first_for_tls(&self) -> Option<AccessFile> {
        let for_tls = [AccessFile::Ca, AccessFile::Cert, AccessFile::Key];
        for_tls.into_iter().find(|file| self.path(*file).is_some())
    }

    /// The first file about sentinels among them.
    pub fn first_for_sentinels(&self) -> Option<AccessFile> {
        let for_sentinels = [AccessFile::SentinelUsername, AccessFile::SentinelPassword];
        for_sentinels
            .into_iter()
            .find(|file| self.path(*file).is_some())
    }

    /// Reads all of them, to see whether they can be used now.
    pub fn check(&self) -> Result<(), AccessError> {
        self.read_username()?;
        self.read_password()?;
        self.read_sentinel_username()?;
        self.read_sentinel_password()?;
        self.read_ca()?;
        self.read_certificate()?;
        Ok(())
    }

    /// What the file of the user holds now, if one is named.
    pub fn read_username(&self) -> Result<Option<String>, AccessError> {
        self.read(AccessFile::Username, name)
    }

    /// What the file of the password holds now, if one is named.
    pub fn read_password(&self) -> Result<Option<String>, AccessError> {
        self.read(AccessFile::Password, secret)
    }

    /// What the file of the sentinels' user holds now, if one is named.
    pub fn read_sentinel_username(&self) -> Result<Option<String>, AccessError> {
        self.read(AccessFile::SentinelUsername, name)
    }

    /// What the file of the sentinels' password holds now, if one is named.
    pub fn read_sentinel_password(&self) -> Result<Option<String>, AccessError> {
        self.read(AccessFile::SentinelPassword, secret)
    }

    /// What the file of authorities holds now, if one is named.
    pub fn read_ca(&self) -> Result<Option<Vec<u8>>, AccessError> {
        self.read(AccessFile::Ca, pem)
    }

    /// The client certificate and its key, in this order, as they are now, if they are named.
    pub fn read_certificate(&self) -> Result<Option<[Vec<u8>; 2]>, AccessError> {
        let cert = self.read(AccessFile::Cert, pem)?;
        let key = self.read(AccessFile::Key, pem)?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some([cert, key])),
            (None, None) => Ok(None),
            (cert, _) => Err(AccessError::Alone {
                file: cert.map_or(AccessFile::Key, |_| AccessFile::Cert),
            }),
        }
    }

    fn path(&self, file: AccessFile) -> Option<&Path> {
        match file {
            AccessFile::Username => &self.username,
            AccessFile::Password => &self.password,
            AccessFile::SentinelUsername => &self.sentinel_username,
            AccessFile::SentinelPassword => &self.sentinel_password,
            AccessFile::Ca => &self.ca,
            AccessFile::Cert => &self.cert,
            AccessFile::Key => &self.key,
        }
        .as_deref()
    }

    fn read<T>(
        &self,
        file: AccessFile,
        parse: impl Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<T>, AccessError> {
        let Some(path) = self.path(file) else {
            return Ok(None);
        };
        let read = bytes(path).and_then(parse);
        read.map(Some).map_err(|reason| AccessError::Unusable {
            file,
            path: path.to_owned(),
            reason,
        })
    }
}

impl AccessError {
    /// Which of the files it is about.
    pub fn file(&self) -> AccessFile {
        match self {
            Self::Unusable { file, .. } | Self::Alone { file } => *file,
        }
    }
}

impl fmt::Display for AccessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "user name file",
            Self::Password => "password file",
            Self::SentinelUsername => "user name file of the sentinels",
            Self::SentinelPassword => "password file of the sentinels",
            Self::Ca => "file of authorities",
            Self::Cert => "client certificate",
            Self::Key => "key of the client certificate",
        })
    }
}

/// Small files, read at once: there is a connection to be made, and nothing to be done meanwhile.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // A pipe has its text once, and would stop the program at the second connection.
    if !metadata.is_file() {
        return Err("is no regular file, and it is read anew for each connection".to_owned());
    }
    let size = metadata.len();
    if BYTES_MAX < size {
        return Err(format!("has {size} bytes, the limit is {BYTES_MAX}"));
    }
    fs::read(path).map_err(unreadable)
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    match String::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Err("is empty".to_owned()),
        Ok(text) => Ok(text),
        Err(_) => Err("is no UTF-8".to_owned()),
    }
}

fn name(bytes: Vec<u8>) -> Result<String, String> {
    Ok(text(bytes)?.trim().to_owned())
}

fn secret(bytes: Vec<u8>) -> Result<String, String> {
    Ok(text(bytes)?.trim_end_matches(['\r', '\n']).to_owned())
}

fn pem(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    if bytes.windows(BEGIN.len()).any(|part| part == BEGIN) {
        Ok(bytes)
    } else if bytes.is_empty() {
        Err("is empty".to_owned())
    } else {
        Err("is no PEM".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: AccessFile, path: &Path) -> AccessFiles {
        let mut files = AccessFiles::default();
        *match of {
            AccessFile::Username => &mut files.username,
            AccessFile::Password => &mut files.password,
            AccessFile::SentinelUsername => &mut files.sentinel_username,
            AccessFile::SentinelPassword => &mut files.sentinel_password,
            AccessFile::Ca => &mut files.ca,
            AccessFile::Cert => &mut files.cert,
            AccessFile::Key => &mut files.key,
        } = Some(path.to_owned());
        files
    }

    #[test]
    fn line_ends_behind_a_secret_do_not_count_and_spaces_in_a_password_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, " ada \r\n\n").unwrap();
        let file = Some(file.path().to_owned());
        let all = AccessFiles {
            username: file.clone(),
            password: file.clone(),
            sentinel_username: file.clone(),
            sentinel_password: file,
            ..AccessFiles::default()
        };
        for name in [all.read_username(), all.read_sentinel_username()] {
            assert_eq!(name.unwrap().as_deref(), Some("ada"));
        }
        for password in [all.read_password(), all.read_sentinel_password()] {
            assert_eq!(password.unwrap().as_deref(), Some(" ada "));
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_is_wrong_and_nothing_of_it_is_shown() {
        use AccessFile::{Ca, Cert, Key, Password, SentinelPassword, SentinelUsername, Username};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s");
        let large = vec![b'a'; 1024 * 1024 + 1];
        for (of, bytes, part) in [
            (Username, &b" \n"[..], "user name file"),
            (Password, b"\n", "is empty"),
            (Password, b"s3cret\xff", "is no UTF-8"),
            (Password, &large, "the limit is 1048576"),
            (SentinelUsername, b"\n", "user name file of the sentinels"),
            (
                SentinelPassword,
                b"s3cret\xff",
                "password file of the sentinels",
            ),
            (Ca, b"s3cret", "is no PEM"),
            (Cert, b"", "is empty"),
            (Cert, b"-----BEGIN ", "named alone"),
            (Key, b"-----BEGIN ", "named alone"),
        ] {
            fs::write(&file, bytes).unwrap();
            let error = files(of, &file).check().unwrap_err();
            assert_eq!(error.file(), of);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(part), "{part}: {shown}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        for (path, part) in [
            (folder.path().join("absent"), "cannot be read"),
            (folder.path().to_owned(), "no regular file"),
            ("/dev/null".into(), "no regular file"),
        ] {
            let error = files(Password, &path).check().unwrap_err().to_string();
            let path = path.display().to_string();
            for part in [part, "password file", &path] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
