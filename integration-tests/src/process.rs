//! One worker or beat process: started, killed, frozen, told to stop, and always waited for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use lovage_core::secs;
use lovage_test_redis::signal;

use crate::journal::JOURNAL_VARIABLE;
use crate::until::eventually;

/// The lines of a process's log that a failed test shows.
const TAIL_LINES: usize = 40;

/// A worker or beat process that is about to be started.
#[derive(Clone, Debug)]
pub struct ProcessBuilder {
    program: PathBuf,
    journal: PathBuf,
    log: PathBuf,
    flags: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    /// Where its output goes instead of its log.
    output: Option<PathBuf>,
}

impl ProcessBuilder {
    pub(crate) fn new(program: &Path, journal: &Path, log: PathBuf, broker: &str) -> Self {
        Self {
            program: program.to_owned(),
            journal: journal.to_owned(),
            log,
            flags: Vec::new(),
            variables: Vec::new(),
            output: None,
        }
        .flag("broker", broker)
        .lease(secs(2))
        .flag("log-format", "json")
    }

    /// Sets a variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it write its output and its logs into this file instead of one of its own.
    pub fn output(mut self, path: &str) -> Self {
        self.output = Some(path.into());
        self
    }

    /// Sets a flag, by its name without dashes. The last one of a name counts.
    pub fn flag(self, name: &str, value: &str) -> Self {
        let mut without = self.without_flag(name);
        without.flags.push((name.to_owned(), value.to_owned()));
        without
    }

    /// Does without a flag, for what is set elsewhere.
    pub fn without_flag(mut self, name: &str) -> Self {
        self.flags.retain(|(present, _)| present != name);
        self
    }

    /// Connects to another address than the server's, such as a proxy's.
    pub fn broker(self, url: &str) -> Self {
        self.flag("broker", url)
    }

    /// The queues it claims from.
    pub fn queues(self, queues: &str) -> Self {
        self.flag("queues", queues)
    }

    /// How many bodies run side by side.
    pub fn concurrency(self, bodies: usize) -> Self {
        self.flag("concurrency", &bodies.to_string())
    }

    /// The lease; 2 s unless set.
    pub fn lease(self, lease: Duration) -> Self {
        self.flag("lease", &format!("{}ms", lease.as_millis()))
    }

    /// How long runs may go on after the first SIGTERM.
    pub fn grace(self, grace: Duration) -> Self {
        self.flag("shutdown-grace", &format!("{}ms", grace.as_millis()))
    }

    /// Starts the process.
    ///
    /// # Panics
    /// Where the program is not there.
    pub fn spawn(&self) -> Process {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.output.as_ref().unwrap_or(&self.log))
            .expect("the file of the output can be written");
        let mut command = Command::new(&self.program);
        for (name, value) in &self.flags {
            command.arg(format!("--{name}")).arg(value);
        }
        let child = command
            .env(JOURNAL_VARIABLE, &self.journal)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            // Cores of the tasks that abort the process go with the folder.
            .current_dir(self.log.parent().expect("the log is in a folder"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file has another handle"))
            .stderr(log)
            .spawn()
            .expect("the program was built with the tests");
        Process {
            child,
            log: self.log.clone(),
            ended: None,
        }
    }
}

/// A worker or beat process. Killed and waited for when dropped; a failing test shows the end of its log.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    pub fn kill9(&mut self) {
        // Both fail only for a process that has been waited for already.
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// Freezes the process: it keeps its connections and does nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Tells the process that its terminal was closed.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Asks the process to stop, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the process is ours");
        }
        self.ended
    }

    /// Waits until the process ends.
    pub async fn end(&mut self) -> ExitStatus {
        eventually("a process ends", async || self.ended()).await
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether its log holds `text`.
    pub fn says(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn signal(&self, name: &str) {
        signal(self.pid(), name).expect("the process is ours and has not been waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill9();
        }
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

impl Process {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it beside the failure"
    )]
    fn show_log(&self) {
        let tail = self.log_tail();
        eprintln!(
            "--- process {} ({}), log ends:\n{tail}",
            self.pid(),
            self.ended
                .map_or_else(|| "running".to_owned(), |status| status.to_string())
        );
    }
}
