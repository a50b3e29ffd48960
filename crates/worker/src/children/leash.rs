//! One child process as the system sees it: started, watched, killed with its whole group, and waited for.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, waitid};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::words::Words;
use super::{PARENT_VARIABLE, PROGRAM_NAME};

/// A hold on a child process and its group.
#[derive(Debug)]
pub(crate) struct Leash {
    pid: Pid,
    /// Whether its id may belong to another process by now.
    reaped: Mutex<bool>,
    ended: watch::Sender<Option<Ended>>,
    pub(crate) words: Arc<Words>,
}

/// How a process ended; `None` where another part of the program has waited for it.
pub(crate) type Ended = Option<ExitStatus>;

impl Leash {
    /// Starts this program once more, with `channel` as its standard input. The thread that starts it waits for its
    /// end, so no zombie stays; `permit` is given back then.
    pub(crate) async fn take(
        channel: UnixStream,
        permit: OwnedSemaphorePermit,
    ) -> io::Result<Arc<Self>> {
        let (tell, told) = oneshot::channel();
        thread::Builder::new()
            .name(String::from("lovage-child"))
            .spawn(move || {
                let (leash, child) = match Self::start(channel) {
                    Ok(started) => started,
                    Err(error) => return drop(tell.send(Err(error))),
                };
                if tell.send(Ok(Arc::clone(&leash))).is_err() {
                    leash.kill();
                }
                leash.mind(child);
                drop(permit);
            })?;
        told.await.map_err(io::Error::other)?
    }

    fn start(channel: UnixStream) -> io::Result<(Arc<Self>, std::process::Child)> {
        let (pipe, speaks) = io::pipe()?;
        let words = Arc::new(Words::new());
        words.listen(pipe)?;
        let child = Command::new(program()?)
            .arg0(PROGRAM_NAME)
            // As this process was called: what the program does before its entry, it does alike.
            .args(std::env::args_os().skip(1))
            .env(PARENT_VARIABLE, OsString::from(getpid().to_string()))
            .stdin(Stdio::from(OwnedFd::from(channel)))
            .stdout(speaks.try_clone()?)
            .stderr(speaks)
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let leash = Self {
            pid: pid.ok_or_else(|| io::Error::other("the system gave no process id"))?,
            reaped: Mutex::new(false),
            ended: watch::Sender::new(None),
            words,
        };
        Ok((Arc::new(leash), child))
    }

    /// Waits for the end of the process, and kills what is left of its group.
    fn mind(&self, mut child: std::process::Child) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Seen, but not waited for: until it is, its id and its group are nobody else's.
        while waitid(WaitId::Pid(self.pid), options).is_err_and(|error| error == Errno::INTR) {}
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        self.signal_group();
        let status = child.wait().ok();
        *reaped = true;
        drop(reaped);
        self.ended.send_replace(Some(status));
    }

    /// Kills the process with all of its group.
    pub(crate) fn kill(&self) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            self.signal_group();
        }
    }

    fn signal_group(&self) {
        // Fails where nothing is left to be killed.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| (*ended).flatten())
    }
}

/// This program's own file; on Linux also where it was replaced or deleted since.
fn program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && own.exists() {
        return Ok(own);
    }
    std::env::current_exe()
}
