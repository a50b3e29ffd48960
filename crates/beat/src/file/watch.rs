//! Notices that a file has changed.
//!
//! It asks for the file's facts from time to time: that needs no dependency, works on every file system, network ones
//! included, and notices a link that was turned to another file, which is how Kubernetes changes a mounted `ConfigMap`.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lovage_core::{ms, secs};

/// How often a program looks.
pub const WATCH_EVERY: Duration = secs(2);
/// How soon it looks again at a file that somebody may still be writing.
pub const WATCH_AGAIN: Duration = ms(300);

/// The facts of a file when it was last looked at.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    seen: Option<Facts>,
    /// It differed at the last look from what it was before.
    changing: bool,
}

/// What a look at the file told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing has changed.
    Same,
    /// Something has changed since the last look. Half of a file can be a good file, and an empty one is: look again
    /// before it is read.
    Changing,
    /// Something has changed, and nothing since the last look.
    Changed,
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
            changing: false,
        };
        watch.forget();
        watch
    }

    /// Whether the path leads to something else than before. A file that is gone has not changed: whoever writes one
    /// anew may remove it first.
    pub fn look(&mut self) -> Look {
        let Ok(metadata) = fs::metadata(&self.path) else {
            return Look::Same;
        };
        let facts = Facts::of(&metadata);
        if self.seen.as_ref() != Some(&facts) {
            self.seen = Some(facts);
            self.changing = true;
            Look::Changing
        } else if std::mem::take(&mut self.changing) {
            Look::Changed
        } else {
            Look::Same
        }
    }

    /// Takes the file as it is now for read. Best called before it is read, as [`new`](Self::new).
    pub fn forget(&mut self) {
        self.look();
        self.changing = false;
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
    fn a_rewritten_file_and_a_turned_link_are_noticed_once_each_when_they_rest() {
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
        assert_eq!(watch.look(), Look::Same);
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
        for told in [Look::Changing, Look::Changed, Look::Same] {
            assert_eq!(watch.look(), told);
        }

        // Emptied, and written bit by bit.
        for text in ["", "half", "another size"] {
            fs::write(at("2").join("file"), text).unwrap();
            assert_eq!(watch.look(), Look::Changing, "{text:?}");
        }
        assert_eq!(watch.look(), Look::Changed);

        fs::remove_file(at("2").join("file")).unwrap();
        assert_eq!(watch.look(), Look::Same, "a file that is gone");
        fs::write(at("2").join("file"), "back again, and different").unwrap();
        assert_eq!(watch.look(), Look::Changing);
        watch.forget();
        assert_eq!(watch.look(), Look::Same, "read meanwhile");
    }
}
