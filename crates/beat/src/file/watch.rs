//! Notices that a file has changed.
//!
//! It asks for the file's facts from time to time: that needs no dependency, works on every file system, network ones
//! included, and notices a link that was turned to another file, which is how Kubernetes changes a mounted `ConfigMap`.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lovage_core::secs;

/// How often a program looks.
pub const WATCH_EVERY: Duration = secs(2);

/// The facts of a file when it was last looked at.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    seen: Option<Facts>,
}

/// What differs where the content does, by all that is known without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    modified: Option<SystemTime>,
    size: u64,
    file: u64,
}

impl Watch {
    /// Begins to watch what the path leads to now, all links followed. Best called before the file is read: a change
    /// between the two is then noticed too often instead of not at all.
    pub fn new(path: &Path) -> Self {
        let mut watch = Self {
            path: path.to_owned(),
            seen: None,
        };
        watch.changed();
        watch
    }

    /// Whether the path leads to something else than at the last call. A file that is gone has not changed: whoever
    /// writes one anew may remove it first.
    pub fn changed(&mut self) -> bool {
        let Ok(metadata) = fs::metadata(&self.path) else {
            return false;
        };
        let facts = Facts::of(&metadata);
        if self.seen.as_ref() == Some(&facts) {
            return false;
        }
        self.seen = Some(facts);
        true
    }
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            file: identity(metadata),
        }
    }
}

/// Which file it is: one that takes the place of another may have its size and time.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ino()
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_rewritten_file_and_a_turned_link_are_noticed_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes mounts a ConfigMap: file -> ..data/file, ..data -> a folder of one version.
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), "the same size").unwrap();
        }
        symlink("1", at("data")).unwrap();
        symlink("data/file", at("file")).unwrap();

        let mut watch = Watch::new(&at("file"));
        assert!(!watch.changed());
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());

        fs::write(at("2").join("file"), "another size").unwrap();
        assert!(watch.changed());
        fs::remove_file(at("2").join("file")).unwrap();
        assert!(!watch.changed(), "a file that is gone");
        fs::write(at("2").join("file"), "back again, and different").unwrap();
        assert!(watch.changed());
    }
}
