//! The programs as a user runs them: a folder of images goes in, thumbnails and a contact sheet come out.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use lovage_test_redis::RedisServer;

/// Makes `count` images and one file that is cut off in the middle.
fn images_in(folder: &Path, count: u32) {
    for number in 0..count {
        let picture = RgbImage::from_fn(320, 200, |x, y| {
            let shade = |n: u32| u8::try_from(n % 256).unwrap();
            Rgb([
                shade(x + number * 7),
                shade(y + number * 3),
                shade(x * y / 64),
            ])
        });
        picture
            .save(folder.join(format!("photo {number:03}.jpg")))
            .unwrap();
    }
    let whole = fs::read(folder.join("photo 000.jpg")).unwrap();
    fs::write(
        folder.join("broken & <cut>.png"),
        &whole[..whole.len() / 20],
    )
    .unwrap();
}

fn producer(images: &Path, out: &Path, broker: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnails"));
    command
        .arg(images)
        .args(["--sizes", "32,64", "--broker", broker])
        .arg("--out")
        .arg(out);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A worker process, killed and waited for when dropped.
struct Worker(Child);

impl Worker {
    fn start(broker: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnails-worker"));
        command
            .args(["--broker", broker, "--lease", "2s", "--cpu-threads", "1"])
            .stdin(Stdio::null());
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn kill9(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The names in the folder; none while it is not there yet.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn assert_all_there(out: &Path, count: u32) {
    let mut expected: Vec<String> = (0..count)
        .flat_map(|number| [32, 64].map(|width| format!("photo {number:03}.jpg-{width}.jpg")))
        .collect();
    expected.insert(0, "index.html".to_owned());
    assert_eq!(names(out), expected);
    for name in &expected[1..] {
        image::open(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let sheet = fs::read_to_string(out.join("index.html")).unwrap();
    assert_eq!(
        sheet.matches("<img ").count(),
        usize::try_from(count).unwrap()
    );
    assert!(sheet.contains("broken &amp; &lt;cut&gt;.png"), "{sheet}");
}

fn assert_names_the_broken_one(output: &std::process::Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for size in [32, 64] {
        assert!(
            text.contains(&format!("broken & <cut>.png at {size}: ")),
            "{text}"
        );
    }
}

#[test]
fn a_folder_becomes_a_contact_sheet_with_nothing_installed() {
    let (images, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    images_in(images.path(), 8);
    for run in ["the first run", "a second one into the same folder"] {
        let output = producer(images.path(), out.path(), "memory://")
            .output()
            .unwrap();
        println!("{run}: {output:?}");
        assert_names_the_broken_one(&output);
        assert_all_there(out.path(), 8);
    }
}

#[tokio::test]
async fn no_thumbnail_is_missing_when_a_worker_is_killed_half_way() {
    const COUNT: u32 = 30;
    let server = RedisServer::start().await;
    let (images, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    images_in(images.path(), COUNT);
    let (mut killed, _other) = (Worker::start(&server.url()), Worker::start(&server.url()));
    let producer = producer(images.path(), out.path(), &server.url())
        .spawn()
        .unwrap();

    let limit = Instant::now() + Duration::from_mins(1);
    while names(out.path()).len() < 15 {
        assert!(
            Instant::now() < limit,
            "after a minute there is only {:?}",
            names(out.path())
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.kill9();

    let output = tokio::task::spawn_blocking(|| producer.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_names_the_broken_one(&output);
    assert_all_there(out.path(), COUNT);
}
