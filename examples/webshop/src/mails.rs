//! The mails that a sink has kept, for the page that shows them.

use std::io;
use std::path::PathBuf;

/// So many mails are listed.
const LISTED_MAX: usize = 100;

/// How the files of mails end.
const ENDING: &str = ".eml";

/// One mail in the list.
pub(crate) struct Mail {
    /// The name of its file.
    pub(crate) name: String,
    /// To whom.
    pub(crate) to: String,
    /// Its subject.
    pub(crate) subject: String,
}

/// The mails in `folder`, newest first.
pub(crate) async fn list(folder: PathBuf) -> io::Result<Vec<Mail>> {
    blocking(move || {
        let mut names: Vec<String> = Vec::new();
        let entries = match folder.read_dir() {
            // No mail server has made it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        for entry in entries {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if name.strip_suffix(ENDING).is_some() {
                names.push(name);
            }
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        names.truncate(LISTED_MAX);
        let mail = |name: String| {
            let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
            Mail {
                to: header(&text, "Delivered-To"),
                subject: header(&text, "Subject"),
                name,
            }
        };
        Ok(names.into_iter().map(mail).collect())
    })
    .await
}

/// The text of one mail; `None` if there is none of this name.
pub(crate) async fn read(folder: PathBuf, name: String) -> io::Result<Option<Vec<u8>>> {
    let is_ours = name.strip_suffix(ENDING).is_some_and(|stem| {
        stem.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    });
    if !is_ours {
        return Ok(None);
    }
    blocking(move || match std::fs::read(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    })
    .await
}

/// A header in its own words, without lines that go on.
fn header(mail: &str, name: &str) -> String {
    let headers = mail.lines().take_while(|line| !line.is_empty());
    let mut found = headers.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.next().unwrap_or_default().to_owned()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("reading files does not panic")
}
