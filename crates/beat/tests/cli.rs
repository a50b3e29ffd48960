//! The `beat` program, as it is built: its answers, its schedule file, its signals and its health.

#![cfg(all(feature = "bin", unix))]
#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use lovage_test_redis::RedisServer;
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const GOOD: &str = r#"
[schedules.tick]
every = "100ms"
task = "tick"
queue = "ticks"

[schedules."report/eu"]
cron = "30 1 * * *"
tz = "Europe/Lisbon"
task = "report"
args = { region = "eu" }
misfire = "all"
"#;

const BAD: &str =
    "[schedules.tick]\nevery = \"1ms\"\ntask = \"tick\"\n[schedules.other]\ncrom = \"* * * * *\"\n";

fn beat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beat"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn answer(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = beat().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A beat at work, whose log is read line by line.
struct Running {
    child: Child,
    log: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = beat()
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        Self { child, log }
    }

    /// The first line from here on that has `part`.
    fn says(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("{part:?} was not said ({error}): {heard:#?}"),
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    fn ends(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("schedules.toml");
    fs::write(&path, text).unwrap();
    path
}

fn get(address: &str, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer[9..12].parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn a_good_file_is_checked_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), GOOD);
    let (code, out, _) = answer(&["--check", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    for part in [
        "report/eu: 30 1 * * * in Europe/Lisbon\n  sends report to queue default\n",
        "tick: every 100ms\n  sends tick to queue ticks\n",
        "schedules.toml is good: 2 schedules\n",
    ] {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(out.matches(" in ").count(), 1 + 2 * 3, "{out}");

    let (code, out, _) = answer(&["--check", path.to_str().unwrap(), "--json"]);
    let checked: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, checked.as_array().unwrap().len()), (0, 2));
    assert_eq!(checked[0]["name"], "report/eu");
    assert_eq!(checked[0]["next"].as_array().unwrap().len(), 3);
}

#[test]
fn a_bad_file_is_refused_with_all_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), BAD);
    let path = path.to_str().unwrap();
    for arguments in [["--check", path], ["--schedules", path]] {
        let (code, out, error) = answer(&arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        for part in [
            "schedules.toml is refused:",
            "\n  line 2, column 9: a period of 1ms",
            "\n  line 4, column 12: it has no times",
            "\n  line 4, column 12: it sends nothing",
            "\n  line 5, column 1: unknown key \"crom\"",
        ] {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
    let (code, _, error) = answer(&["--check", "/nowhere/at/all"]);
    assert_eq!(code, 1);
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
    assert!(error.contains("/nowhere/at/all"), "{error}");
    let (code, _, error) = answer(&["--check"]);
    assert!(code == 2 && error.contains("--check"), "{error}");
}

#[tokio::test]
async fn a_beat_fires_the_files_schedules_lists_and_explains_them() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), GOOD);
    let (code, out, _) = answer(&["--broker", &url, "--list"]);
    assert_eq!((code, out.as_str()), (0, "there are no schedules\n"));

    let running = Running::start(&[
        "--broker",
        &url,
        "--schedules",
        path.to_str().unwrap(),
        "--lease",
        "1s",
    ]);
    // The first line of its kind: of code without schedules nothing is said.
    let applied = running.says("schedules apply");
    assert!(applied.contains("origin=the file"), "{applied}");
    let until = Instant::now() + PATIENCE;
    let explained = loop {
        let (code, out, error) = answer(&["--broker", &url, "--explain", "tick", "--json"]);
        assert_eq!(code, 0, "{error}");
        let explained: Value = serde_json::from_str(&out).unwrap();
        if explained["past"].as_array().unwrap().len() == 10 {
            break explained;
        }
        assert!(Instant::now() < until, "nothing fires: {out}");
    };
    assert_eq!(explained["origin"], "the file schedules.toml");
    assert_eq!(explained["state"], "on");
    assert_eq!(explained["next"].as_array().unwrap().len(), 10);
    let past = explained["past"][0]["what"].as_str().unwrap();
    assert!(
        past.starts_with("fired as ") && past.ends_with(" to ticks"),
        "{past}"
    );

    let (code, out, _) = answer(&["--broker", &url, "--list"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].starts_with("NAME       STATE  NEXT"), "{out}");
    assert!(lines[1].starts_with("report/eu  on     2"), "{out}");
    assert!(lines[2].starts_with("tick       on     2"), "{out}");
    assert!(out.contains("30 1 * * * in Europe/Lisbon"), "{out}");

    let (code, out, _) = answer(&["--broker", &url, "--explain", "report/eu", "--count", "2"]);
    assert_eq!(code, 0);
    for part in [
        "report/eu: 30 1 * * * in Europe/Lisbon\n",
        "\n  policy   misfire all, overlap allow, gap shift, fold first\n",
        "\nnext\n",
        "\npast\n  none\n",
    ] {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(out.matches(" 01:30:00 +0").count(), 2, "{out}");
    let (code, _, error) = answer(&["--broker", &url, "--explain", "tack"]);
    assert!(
        code == 1 && error.contains("there is no schedule tack"),
        "{error}"
    );

    let begun = Instant::now();
    running.signal("TERM");
    running.says("the beat has ended");
    assert_eq!(running.ends(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_changed_file_applies_and_a_bad_one_is_refused_whole() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), GOOD);
    let running = Running::start(&["--broker", &url, "--schedules", path.to_str().unwrap()]);
    running.says("added=2");
    let names = || {
        let (_, out, _) = answer(&["--broker", &url, "--list", "--json"]);
        let rows: Value = serde_json::from_str(&out).unwrap();
        let rows = rows.as_array().unwrap().clone();
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        rows.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["report/eu", "tick"]);

    // Seen by itself.
    file(folder.path(), BAD);
    running.says("is refused:");
    running.says("line 5, column 1: unknown key \"crom\"");
    running.says("the old schedules go on");
    assert_eq!(names(), ["report/eu", "tick"]);

    // At once when it is asked for.
    file(
        folder.path(),
        "[schedules.tock]\nevery = \"1h\"\ntask = \"tock\"\n",
    );
    running.signal("HUP");
    // Not how many: the leader may fire one between two attempts, of which the last one is counted.
    running.says("schedules apply");
    assert_eq!(names(), ["tock"]);
    running.signal("INT");
    assert_eq!(running.ends(), Some(0));
}

#[tokio::test]
async fn health_tells_who_leads_and_a_broker_that_is_away_is_waited_for() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let started = |broker: &str| {
        let arguments = ["--broker", broker, "--health", "127.0.0.1:0"];
        let running = Running::start(&arguments);
        let line = running.says("health checks are at");
        let address = line.split("address=").nth(1).unwrap().trim().to_owned();
        (running, address)
    };
    let (running, address) = started(&url);
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(&address, "/readyz");
        if status == 200 && body["leading"]["epoch"].is_u64() {
            assert_eq!(body["ready"], true);
            break;
        }
        assert!(Instant::now() < until, "it does not lead: {body}");
    }
    assert_eq!(
        get(&address, "/livez"),
        (200, serde_json::json!({ "live": true }))
    );
    drop(redis);
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(&address, "/readyz");
        if status == 503 {
            assert_eq!(body["reasons"][0]["reason"], "broker_error", "{body}");
            break;
        }
        assert!(
            Instant::now() < until,
            "it is ready without a broker: {body}"
        );
    }
    let begun = Instant::now();
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2), "whatever hangs");

    let (running, address) = started(&url);
    running.says("the broker is away");
    let (status, body) = get(&address, "/readyz");
    assert_eq!((status, &body["ready"]), (503, &Value::Bool(false)));
    assert_eq!(get(&address, "/livez").0, 200);
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0));
}
