//! Follows the schedule file: what it says applies, whenever it says something else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use lovage_core::Registry;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::signals::Signals;
use crate::beat::RunningBeat;
use crate::entry::Origin;
use crate::file::{self, FileError, Look, WATCH_AGAIN, WATCH_EVERY, Watch};
use crate::sources::Source;

/// A schedule file that is followed.
pub(super) struct Follower {
    path: PathBuf,
    tasks: Arc<Registry>,
    watch: Watch,
}

impl Follower {
    /// Reads the file for the first time, and begins to watch it.
    ///
    /// # Errors
    /// A file that is refused: a program that starts has no old one to go on with.
    pub(super) async fn begin(path: PathBuf, tasks: Registry) -> anyhow::Result<(Self, Source)> {
        let watched = path.clone();
        let watch = blocking(move || Watch::new(&watched)).await?;
        let follower = Self {
            path,
            tasks: Arc::new(tasks),
            watch,
        };
        let source = follower.read().await??;
        Ok((follower, source))
    }

    /// Has the beat do what the file says, again after each change and each SIGHUP. Never returns.
    pub(super) async fn run(mut self, beat: &RunningBeat, signals: &Signals) {
        let mut pause = WATCH_EVERY;
        loop {
            let asked = tokio::select! {
                () = signals.hangup() => true,
                () = sleep(pause) => false,
            };
            let mut watch = self.watch;
            let looked = blocking(move || {
                let told = if asked {
                    watch.forget();
                    Look::Changed
                } else {
                    watch.look()
                };
                (told, watch)
            });
            let Ok((told, watch)) = looked.await else {
                return std::future::pending().await;
            };
            self.watch = watch;
            pause = match told {
                Look::Changing => WATCH_AGAIN,
                Look::Same | Look::Changed => WATCH_EVERY,
            };
            if told == Look::Changed {
                self.reload(beat).await;
            }
        }
    }

    async fn reload(&self, beat: &RunningBeat) {
        let path = self.path.display();
        match self.read().await {
            Ok(Ok(source)) => {
                tracing::info!(file = %path, schedules = source.entries.len(), "the schedule file is read again");
                if let Err(error) = beat.reload(source).await {
                    tracing::error!(file = %path, %error, "the schedule file does not apply; the old schedules go on");
                }
            }
            Ok(Err(error)) => tracing::error!("{error}\n  the old schedules go on"),
            Err(error) => {
                tracing::error!(file = %path, %error, "the schedule file was not read; the old schedules go on");
            }
        }
    }

    async fn read(&self) -> anyhow::Result<Result<Source, FileError>> {
        let (path, tasks) = (self.path.clone(), Arc::clone(&self.tasks));
        blocking(move || {
            let label = label(&path);
            file::read(&path, &label, &tasks).map(|contents| Source {
                origin: Origin::File(label),
                entries: contents.entries,
            })
        })
        .await
    }
}

/// What the file is called at the broker: its name without its folder, which differs from host to host.
pub(super) fn label(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// A file system that hangs must not hang the beat.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    spawn_blocking(work)
        .await
        .context("the thread that reads the schedule file panicked")
}
