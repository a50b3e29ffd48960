//! The tasks of the process lane: each does to its process what no other may notice.

use std::error::Error;
use std::fmt;
use std::io::stdin;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use lovage::{Backoff, Client, State, TaskContext, TaskError, gib, mib, ms, task};
use rustix::process::{Signal, getpid, kill_process};

use crate::journal::{Event, record};

const LOOK_EVERY: Duration = ms(5);

/// The variable that names the folder in which a test says how children of the process lane begin.
pub const CHILDREN_VARIABLE: &str = "LOVAGE_TEST_CHILDREN";

/// A hold on the channel of this child to its worker, as a process has that forks itself.
static CHANNEL: OnceLock<OwnedFd> = OnceLock::new();

/// What this process, where it is a child of the process lane, does before it looks whether it is one: it notes its id
/// in `began`, waits while `wait` is in the folder, and fails while `fail` is.
///
/// # Panics
/// Where `fail` is in the folder.
pub fn begin() {
    if std::env::args_os()
        .next()
        .is_none_or(|name| name != "lovage-process-lane")
    {
        return;
    }
    let channel = stdin().as_fd().try_clone_to_owned();
    CHANNEL.get_or_init(|| channel.expect("its standard input is its channel"));
    let Some(folder) = std::env::var_os(CHILDREN_VARIABLE) else {
        return;
    };
    let folder = Path::new(&folder);
    write_id(&folder.join("began"), std::process::id());
    while folder.join("wait").exists() {
        std::thread::sleep(LOOK_EVERY);
    }
    assert!(!folder.join("fail").exists(), "this child is to fail");
}

/// As a whole: whoever finds the file finds all of it.
fn write_id(file: &Path, pid: u32) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, pid.to_string()).expect("the folder is there");
    std::fs::rename(&draft, file).expect("the folder is there");
}

/// Answers the id of its process.
#[task(process)]
pub fn whereabouts(ctx: &TaskContext) -> u32 {
    record(Event::Start, ctx);
    record(Event::End, ctx);
    std::process::id()
}

/// Ends its process in the way that its argument names, at each run.
#[task(process, max_retries = 1, backoff = Backoff::constant(ms(1)))]
pub fn crash(ctx: &TaskContext, how: String) {
    record(Event::Start, ctx);
    complain(&how);
    match how.as_str() {
        "abort" => std::process::abort(),
        "segfault" => raise(Signal::SEGV),
        "kill" => raise(Signal::KILL),
        "overflow" => drop(descend(0)),
        "exit" => std::process::exit(3),
        "silence" => std::process::exit(0),
        "panic" => panic!("as it is told to"),
        other => unreachable!("{other}"),
    }
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is written shall harm nothing"
)]
fn complain(how: &str) {
    println!("\0\0\0\u{4}rubbish on standard output, before it will {how}");
    eprintln!("last words before it will {how}");
}

/// The first signal of this kind that nobody raised by a fault only resets Rust's own handler.
fn raise(signal: Signal) {
    loop {
        kill_process(getpid(), signal).expect("it is this process");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn descend(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if depth == u64::MAX {
        return 0;
    }
    descend(depth + 1) + room[usize::try_from(depth % 512).expect("it is small")]
}

/// Takes `bytes` of memory, and uses them.
#[task(process, memory = mib(256), max_retries = 0)]
pub fn devour(ctx: &TaskContext, bytes: u64) -> u64 {
    record(Event::Start, ctx);
    let bytes = usize::try_from(bytes.min(gib(64))).expect("as on 64 bits");
    let taken = vec![1_u8; bytes];
    taken.iter().map(|byte| u64::from(*byte)).sum()
}

/// Never ends, and never looks at its token.
#[task(process, max_retries = 0)]
pub fn spin(ctx: &TaskContext) {
    record(Event::Start, ctx);
    loop {
        std::hint::spin_loop();
    }
}

/// Starts a process that sleeps for an hour, writes its id into `file`, and waits for it.
#[task(process, max_retries = 0)]
pub fn breed(ctx: &TaskContext, file: String) {
    let mut sleeper = Command::new("sleep")
        .arg("3600")
        .stdin(Stdio::null())
        .spawn()
        .expect("sleep is there");
    write_id(Path::new(&file), sleeper.id());
    record(Event::Start, ctx);
    sleeper.wait().expect("it is ours");
}

/// Runs until its token is cancelled.
#[task(process, max_retries = 0)]
pub fn obey(ctx: &TaskContext) -> Result<(), TaskError> {
    record(Event::Start, ctx);
    while !ctx.is_cancelled() {
        std::thread::sleep(LOOK_EVERY);
    }
    record(Event::Cancelled, ctx);
    Err(TaskError::new("told to end"))
}

/// Runs until its gate is opened.
#[task(process)]
pub fn linger(ctx: &TaskContext, gate: String) -> u32 {
    record(Event::Start, ctx);
    while !Path::new(&gate).exists() {
        std::thread::sleep(LOOK_EVERY);
    }
    record(Event::End, ctx);
    std::process::id()
}

/// Ends its process, and leaves one in a session of its own that keeps what this one had open, as `daemon(3)` does.
/// That one writes its id into `file`.
#[task(process, max_retries = 0)]
pub fn leave_a_daemon(ctx: &TaskContext, file: String) {
    let channel = CHANNEL.get().expect("it is a child");
    let channel = channel.try_clone().expect("it is open");
    let script =
        format!("printf %s $$ > {file}.draft && mv {file}.draft {file} && exec sleep 3600");
    let daemon = Command::new("setsid")
        .args(["sh", "-c", &script])
        .stdin(channel)
        .spawn();
    drop(daemon.expect("setsid is there"));
    record(Event::Start, ctx);
    while !Path::new(&file).exists() {
        std::thread::sleep(LOOK_EVERY);
    }
    std::process::exit(0);
}

/// An error that panics where it is shown, or dropped.
#[derive(Debug)]
struct Trap {
    when_shown: bool,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.when_shown, "shown");
        f.write_str("a trap")
    }
}

impl Error for Trap {}

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(self.when_shown, "dropped");
    }
}

/// Fails with an error that panics where it is shown, or where it is dropped.
#[task(process, max_retries = 0)]
pub fn lay_a_trap(when_shown: bool) -> anyhow::Result<()> {
    Err(Trap { when_shown }.into())
}

/// At most once: answers the id of its process.
#[task(process, ack_early)]
pub fn whereabouts_once(ctx: &TaskContext) -> u32 {
    record(Event::Start, ctx);
    std::process::id()
}

/// Notes how far it is, and runs until its gate is opened.
#[task(process)]
pub fn work_apart(ctx: &TaskContext, gate: String) {
    ctx.progress("it has begun");
    ctx.progress((3, 10));
    linger::call(ctx, gate);
}

/// At most once: aborts.
#[task(process, ack_early)]
pub fn abort_once(ctx: &TaskContext) {
    record(Event::Start, ctx);
    std::process::abort();
}

/// Answers `bytes` bytes.
#[task(process)]
pub fn answer_at_length(bytes: u64) -> String {
    "a".repeat(usize::try_from(bytes).expect("as on 64 bits"))
}

/// Answers what it sees of its run.
#[task(process, queue = "default")]
pub fn look_around(ctx: &TaskContext, client: State<Client>, word: String) -> String {
    drop(client);
    let header = ctx.headers().get("tint").cloned().unwrap_or_default();
    format!("{word} {header} {} {}", ctx.attempt(), ctx.fence())
}

/// Whether a process of this id is there, be it a zombie that nobody has waited for.
pub fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether a process of this id runs: zombies do not.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program stands in parentheses before the state, and may hold any.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}
