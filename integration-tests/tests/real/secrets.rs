//! Passwords and certificates in files: which programs read, which are rotated and which are wrong for a while.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lovage::{AccessFiles, Client};
use lovage_core::secs;
use lovage_integration_tests::tasks::quick;
use lovage_integration_tests::{Choir, LIMIT, Process, ProcessBuilder, Servers, Stage, eventually};
use lovage_test_redis::{Authority, Cluster, RedisServer, Sentinels};

use crate::flow::{Flow, each_ran_once, more_end, none_has_ended};
use crate::{stage, stage_over};

/// Longer than any change of connections here: no lease ends by it.
const LONG: Duration = secs(30);

/// How the programs of a test reach Redis.
struct Way {
    url: String,
    files: AccessFiles,
}

impl Way {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let files = [
            ("broker-username-file", &self.files.username),
            ("broker-password-file", &self.files.password),
            (
                "broker-sentinel-username-file",
                &self.files.sentinel_username,
            ),
            (
                "broker-sentinel-password-file",
                &self.files.sentinel_password,
            ),
            ("broker-ca", &self.files.ca),
            ("broker-cert", &self.files.cert),
            ("broker-key", &self.files.key),
        ];
        let files = files
            .into_iter()
            .filter_map(|(flag, file)| Some((flag, file.as_ref()?.display().to_string())));
        std::iter::once(("broker", self.url.clone()))
            .chain(files)
            .collect()
    }

    fn by_flags(&self, program: ProcessBuilder) -> ProcessBuilder {
        let flags = self.flags().into_iter();
        flags.fold(program, |program, (name, value)| program.flag(name, &value))
    }

    fn by_variables(&self, program: ProcessBuilder) -> ProcessBuilder {
        let program = program.without_flag("broker");
        self.flags()
            .into_iter()
            .fold(program, |program, (name, value)| {
                let name = format!("LOVAGE_{}", name.replace('-', "_").to_uppercase());
                program.variable(&name, &value)
            })
    }

    fn by_file(&self, program: ProcessBuilder, folder: &Path) -> ProcessBuilder {
        let lines = self.flags().into_iter();
        let lines: Vec<String> = lines
            .map(|(key, value)| format!("{key} = {value:?}"))
            .collect();
        let file = folder.join("settings.toml");
        fs::write(&file, lines.join("\n")).unwrap();
        program
            .without_flag("broker")
            .flag("config", file.to_str().unwrap())
    }

    /// Two workers, told in two ways.
    async fn crew(&self, stage: &Stage<impl Servers>) -> [Process; 2] {
        let worker = || stage.worker().concurrency(16).lease(LONG);
        let crew = [
            self.by_variables(worker()).spawn(),
            self.by_file(worker(), stage.folder()).spawn(),
        ];
        stage.known_workers(crew.len()).await;
        crew
    }

    async fn client(&self) -> Client {
        let builder = Client::builder(&self.url).files(self.files.clone());
        builder.deadline(secs(20)).connect().await.unwrap()
    }
}

/// Replaces a file as a whole: nobody reads half of it.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}

async fn set_user(redis: &RedisServer, rules: &[&str]) {
    let words = [&["ACL", "SETUSER", "app"], rules].concat();
    redis.cli::<()>(&words).await.unwrap();
}

const PASSWORDS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Replaces the password with that number by the next one, at the servers and in the file.
async fn next_password(servers: &[&RedisServer], file: &Path, number: usize) {
    let (old, new) = (PASSWORDS[number], PASSWORDS[number + 1]);
    for server in servers {
        set_user(server, &[&format!(">{new}")]).await;
    }
    replace(file, new);
    for server in servers {
        set_user(server, &[&format!("<{old}")]).await;
    }
}

/// The user `app` with the password `first`, which a file holds.
async fn way_of_a_user(stage: &Stage) -> (Way, PathBuf) {
    set_user(&stage.redis, &["on", ">first", "~*", "&*", "+@all"]).await;
    let file = stage.folder().join("password");
    replace(&file, "first\n");
    let way = Way {
        url: stage.redis.url().replace("redis://", "redis://app@"),
        files: AccessFiles {
            password: Some(file.clone()),
            ..AccessFiles::default()
        },
    };
    (way, file)
}

/// Ends each connection of clients but the one by which it is told.
async fn kill_connections(redis: &RedisServer) {
    let kill = ["CLIENT", "KILL", "TYPE", "normal"];
    redis.cli::<i64>(&kill).await.unwrap();
    let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
    redis.cli::<i64>(&kill).await.unwrap();
}

/// Lets beats fire, and then producers send and workers run, while `rotate` is called with the number of each rotation.
async fn rotations_cost_nothing(
    stage: &Stage<impl Servers>,
    way: &Way,
    rotate: impl AsyncFn(usize),
) {
    let rotate = async |number| {
        rotate(number).await;
        kill_connections(stage.redis.holder("lovage:default").await).await;
    };
    let mut workers = way.crew(stage).await;
    let mut choir = Choir::of(stage, 2, secs(5), "misfire = \"all\"").await;
    choir.beats.push(way.by_flags(choir.beat(stage)).spawn());
    choir.leader(0).await;
    for number in 0..2 {
        let before = stage.journal.all_starts().len();
        eventually("schedules fire", async || {
            (before + 20 < stage.journal.all_starts().len()).then_some(())
        })
        .await;
        rotate(number).await;
    }
    choir.each_occurrence_ran_once(stage).await;
    none_has_ended(&mut choir.beats);
    for beat in &mut choir.beats {
        beat.terminate();
        assert!(beat.end().await.success());
    }

    let client = way.client().await;
    let flow = Flow::begin(stage, &client).await;
    for number in 2..4 {
        more_end(stage, 100).await;
        rotate(number).await;
    }
    let accepted = flow.end(stage).await;
    let ends = stage.journal.all_ends();
    for id in &accepted {
        assert!(ends.contains_key(id), "{id} is lost");
    }
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn a_rotated_password_needs_no_restart_of_worker_beat_and_producer() {
    let stage = stage().await;
    let (way, file) = way_of_a_user(&stage).await;
    rotations_cost_nothing(&stage, &way, async |number| {
        next_password(&[&stage.redis], &file, number).await;
    })
    .await;
}

#[tokio::test]
async fn a_rotated_password_of_sentinels_needs_no_restart_of_worker_beat_and_producer() {
    let stage = stage_over(Sentinels::start(RedisServer::builder(), 1).await);
    let sentinels: Vec<&RedisServer> = stage.redis.sentinels().iter().collect();
    for sentinel in &sentinels {
        set_user(sentinel, &["on", ">first", "+sentinel"]).await;
    }
    let [username, password] = ["username", "password"].map(|name| stage.folder().join(name));
    replace(&username, "app\n");
    replace(&password, "first\n");
    let way = Way {
        url: stage.redis.url(),
        files: AccessFiles {
            sentinel_username: Some(username),
            sentinel_password: Some(password.clone()),
            ..AccessFiles::default()
        },
    };
    rotations_cost_nothing(&stage, &way, async |number| {
        next_password(&sentinels, &password, number).await;
    })
    .await;
}

/// Swaps a link for one to a folder with new files, as Kubernetes does.
fn issue(folder: &Path, authority: &Authority) {
    let own = authority.sign("worker");
    let files = authority.folder().join("own");
    fs::create_dir(&files).unwrap();
    for (from, name) in [
        (&own.cert, "cert.pem"),
        (&own.key, "key.pem"),
        (&authority.file(), "ca.pem"),
    ] {
        fs::copy(from, files.join(name)).unwrap();
    }
    let new = folder.join("live.new");
    symlink(&files, &new).unwrap();
    fs::rename(&new, folder.join("live")).unwrap();
}

/// The way by TLS, with what is issued into the folder of the stage.
fn way_by_tls(stage: &Stage<impl Servers>, url: String) -> Way {
    let live = stage.folder().join("live");
    Way {
        url,
        files: AccessFiles {
            ca: Some(live.join("ca.pem")),
            cert: Some(live.join("cert.pem")),
            key: Some(live.join("key.pem")),
            ..AccessFiles::default()
        },
    }
}

#[tokio::test]
async fn rotated_certificates_need_no_restart_of_worker_beat_and_producer() {
    let authorities: [Authority; 5] = std::array::from_fn(|_| Authority::new());
    let first = &authorities[0];
    let server = RedisServer::builder().tls(&first.sign("localhost"), &first.file(), "yes");
    let stage = stage_over(server.start().await);
    issue(stage.folder(), first);
    let way = way_by_tls(&stage, stage.redis.tls_url());
    rotations_cost_nothing(&stage, &way, async |number: usize| {
        let next = &authorities[number + 1];
        let own = next.sign("localhost");
        let [cert, key, ca] =
            [&own.cert, &own.key, &next.file()].map(|path| path.display().to_string());
        let words = [
            "CONFIG",
            "SET",
            "tls-cert-file",
            &cert,
            "tls-key-file",
            &key,
            "tls-ca-cert-file",
            &ca,
        ];
        stage.redis.cli::<()>(&words).await.unwrap();
        issue(stage.folder(), next);
    })
    .await;
}

#[tokio::test]
async fn a_password_file_that_is_wrong_for_a_while_ends_no_process() {
    let stage = stage().await;
    let (way, file) = way_of_a_user(&stage).await;
    let mut worker = way.by_flags(stage.worker().lease(LONG)).spawn();
    stage.known_workers(1).await;
    let mut choir = Choir::of(&stage, 1, secs(2), "").await;
    choir.beats.push(way.by_flags(choir.beat(&stage)).spawn());
    choir.leader(0).await;
    let client = stage.client().await;
    let path = file.to_str().unwrap();
    for (bad, parts) in [
        (Some("s3cret"), ["WRONGPASS", "until somebody acts"]),
        (Some("\n"), [path, "is empty"]),
        (None, [path, "cannot be read"]),
    ] {
        match bad {
            Some(text) => replace(&file, text),
            None => fs::remove_file(&file).unwrap(),
        }
        kill_connections(&stage.redis).await;
        eventually(&format!("the worker says {parts:?}"), async || {
            let log = worker.log();
            let said = |line: &str| parts.iter().all(|part| line.contains(part));
            log.lines().any(said).then_some(())
        })
        .await;
        // Accepted meanwhile: others have their passwords.
        let handle = client.send(quick(7)).await.unwrap();
        replace(&file, "first");
        assert_eq!(handle.wait(LIMIT).await.unwrap(), 7, "after {bad:?}");
    }
    let before = stage.journal.all_starts().len();
    eventually("schedules fire again", async || {
        (before + 5 < stage.journal.all_starts().len()).then_some(())
    })
    .await;
    none_has_ended(&mut choir.beats);
    none_has_ended(std::slice::from_mut(&mut worker));
    for process in choir.beats.iter().chain([&worker]) {
        assert!(!process.says("s3cret"), "a secret was logged");
    }
}

#[tokio::test]
async fn programs_end_at_once_by_files_that_cannot_be_used() {
    let stage = stage().await;
    let (way, file) = way_of_a_user(&stage).await;
    let empty = stage.folder().join("empty");
    fs::write(&empty, "\n").unwrap();
    let (good, empty) = (file.to_str().unwrap(), empty.to_str().unwrap());
    let url = way.url.as_str();
    for (flags, parts) in [
        (
            [("broker-sentinel-password-file", good), ("broker", url)],
            [
                "--broker-sentinel-password-file is for sentinels",
                "use redis+sentinel",
            ],
        ),
        (
            [
                ("broker-sentinel-username-file", good),
                ("broker", "redis+sentinel://:s3cret@localhost:1/shop"),
            ],
            ["a user is named for localhost:1", "without a password"],
        ),
        (
            [("broker-password-file", "/nowhere/p"), ("broker", url)],
            ["--broker-password-file", "/nowhere/p cannot be read"],
        ),
        (
            [("broker-username-file", empty), ("broker", url)],
            ["--broker-username-file", empty],
        ),
        (
            [("broker-ca", good), ("broker", "rediss://localhost")],
            ["--broker-ca", "is no PEM"],
        ),
        (
            [("broker-ca", good), ("broker", "redis://:s3cret@localhost")],
            ["--broker-ca is for TLS", "use rediss"],
        ),
    ] {
        for program in [stage.worker(), stage.beat()] {
            let program = flags
                .iter()
                .fold(program, |program, (name, value)| program.flag(name, value));
            let mut process = program.spawn();
            assert_eq!(process.end().await.code(), Some(1), "{flags:?}");
            for part in parts {
                assert!(process.says(part), "{part}: {}", process.log());
            }
            assert!(!process.says("s3cret"), "a secret was shown");
        }
    }
}

#[tokio::test]
async fn a_failover_by_tls_with_passwords_is_followed() {
    const PASSWORD: &str = "s3cret";
    let authority = Authority::new();
    let server = RedisServer::builder()
        .tls(&authority.sign("localhost"), &authority.file(), "yes")
        .arg("requirepass", PASSWORD);
    let stage = stage_over(Sentinels::start(server, 1).await);
    issue(stage.folder(), &authority);
    let password = stage.folder().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let mut way = way_by_tls(&stage, stage.redis.url().replace(":s3cret@", ""));
    way.files.password = Some(password);
    let mut workers = way.crew(&stage).await;
    let client = way.client().await;
    let flow = Flow::begin(&stage, &client).await;
    more_end(&stage, 100).await;
    stage.redis.fail_over().await;
    each_ran_once(&stage, &flow.end(&stage).await);
    none_has_ended(&mut workers);
}

#[tokio::test]
async fn a_cluster_that_asks_for_tls_everywhere_is_followed_through_a_failover() {
    let authority = Authority::new();
    let server = RedisServer::builder();
    let server = server.tls(&authority.sign("localhost"), &authority.file(), "yes");
    let stage = stage_over(Cluster::of(server, LONG).await);
    issue(stage.folder(), &authority);
    let way = way_by_tls(&stage, stage.redis.url());
    let mut workers = way.crew(&stage).await;
    let client = way.client().await;
    let flow = Flow::begin(&stage, &client).await;
    more_end(&stage, 100).await;
    let slot = stage.redis.slot("{lovage:default}").await;
    stage.redis.fail_over(slot).await;
    each_ran_once(&stage, &flow.end(&stage).await);
    none_has_ended(&mut workers);
}
