//! What the files at the root say of the shop's programs.

use std::fs;
use std::path::Path;

/// The programs of this package and of beat.
fn programs() -> Vec<String> {
    let folder = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut programs = vec!["webshop".to_owned()];
    for bins in [folder("src/bin"), folder("../../crates/beat/src/bin")] {
        for entry in fs::read_dir(bins).unwrap() {
            let file = entry.unwrap().path();
            programs.push(file.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    programs
}

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn what_compose_starts_is_in_the_image_and_is_built() {
    let (compose, image) = (read("docker-compose.yml"), read("Dockerfile"));
    let copied = image.lines().find_map(|line| {
        let words = line.trim().strip_prefix("&& cp ")?;
        words
            .strip_suffix(" /programs/ \\")
            .or(words.strip_suffix(" /programs/"))
    });
    let copied: Vec<&str> = copied.unwrap().split(' ').collect();
    let programs = programs();
    for program in &copied {
        assert!(
            programs.iter().any(|built| built == program),
            "{program} is not built"
        );
    }
    let started = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: "));
    let started: Vec<&str> = started
        .filter_map(|command| command.split(' ').next())
        .collect();
    assert_eq!(
        started,
        [
            "redis-server",
            "webshop",
            "webshop-worker",
            "webshop-beat",
            "mail-sink"
        ]
    );
    for program in &started[1..] {
        assert!(copied.contains(program), "{program} is not in the image");
    }
}
