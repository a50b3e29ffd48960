//! The rules of the source that a machine can hold.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest source file. At 400 lines its author asks what second thing has moved in; here it is no question.
const LINES_MAX: usize = 500;

#[test]
fn each_module_opens_with_what_it_is() {
    let modules = sources("").filter(Source::is_module);
    none(
        modules
            .filter(|source| !source.text.starts_with("//!"))
            .map(|source| source.name),
    );
}

#[test]
fn each_source_file_fits_in_five_hundred_lines() {
    let long =
        sources("").filter(|source| source.is_module() && LINES_MAX < source.text.lines().count());
    none(long.map(|source| format!("{}: {} lines", source.name, source.text.lines().count())));
}

#[test]
fn libraries_do_not_print_and_leave_nothing_undone() {
    let words = [
        "todo!",
        "unimplemented!",
        "dbg!",
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
    ];
    let libraries = sources("crates").filter(Source::is_library);
    none(libraries.flat_map(|source| source.lines_with(&words)));
}

#[test]
fn nothing_is_ignored_or_allowed_to_be_dead() {
    // In two parts, so that this file does not accuse itself.
    let words = [concat!("#[ig", "nore"), concat!("allow(dead", "_code)")];
    // What #[task] writes stands in its user's crate, where a task may be sent and never called.
    let written = sources("").filter(|source| !source.name.starts_with("crates/macros/src"));
    none(written.flat_map(|source| source.lines_with(&words)));
}

#[test]
fn only_the_programs_name_a_concrete_broker() {
    let words = [
        "broker_redis",
        "broker_memory",
        "RedisBroker",
        "MemoryBroker",
        "redis::",
    ];
    let knowing_only_the_contract = [
        "crates/core",
        "crates/process",
        "crates/worker",
        "crates/beat",
        "crates/conformance",
    ];
    let libraries = knowing_only_the_contract
        .into_iter()
        .flat_map(sources)
        .filter(Source::is_library);
    none(libraries.flat_map(|source| source.lines_with(&words)));
}

#[test]
fn only_the_keys_module_spells_a_key() {
    let keys = documented_keys();
    let spelled = |line: &str| {
        // Inside a string, and not a path: `"{queue}:ready"`, but not `State::ready`.
        line.find('"').is_some_and(|quote| {
            keys.iter().any(|key| {
                let text = &line[quote..];
                text.find(&format!(":{key}"))
                    .is_some_and(|at| !text[..at].ends_with(':'))
            })
        })
    };
    let elsewhere = sources("crates").filter(|source| {
        source.is_in("/src/") && !source.name.ends_with("/keys.rs") && !source.is_test()
    });
    none(elsewhere.flat_map(|source| source.lines_where(spelled)));
}

#[test]
fn each_documented_key_is_spelled_in_the_keys_module() {
    let keys = read("crates/broker-redis/src/keys.rs");
    none(
        documented_keys()
            .into_iter()
            .filter(|key| !keys.contains(&format!("\"{key}"))),
    );
}

/// In a cluster each call names one key more.
#[test]
fn no_script_counts_its_keys() {
    let folder = root().join("crates/broker-redis/scripts");
    none(files(&folder, "lua").into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        text.contains("#KEYS").then(|| path.display().to_string())
    }));
}

#[test]
fn each_script_says_what_it_is_and_has_a_caller_of_its_name() {
    let folder = root().join("crates/broker-redis");
    let mut offences = Vec::new();
    for path in files(&folder.join("scripts"), "lua") {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let length = text
            .lines()
            .take_while(|line| line.starts_with("--"))
            .count();
        let header = text.lines().take(length).collect::<Vec<_>>().join("\n");
        let body = text.lines().skip(length).collect::<Vec<_>>().join("\n");
        // A helper is prepended to scripts and has neither keys nor a caller of its own.
        let is_helper = path.parent().unwrap().ends_with("lib");
        if !header.contains(&format!("{name}.lua")) {
            offences.push(format!("{name}.lua: its first comment does not name it"));
        }
        if is_helper {
            continue;
        }
        for part in ["KEYS", "ARGV", "Reply"] {
            let is_used = part == "Reply" || body.contains(part);
            if is_used && !header.contains(part) {
                offences.push(format!(
                    "{name}.lua: its first comment does not say its {part}"
                ));
            }
        }
        if !folder.join(format!("src/transitions/{name}.rs")).is_file() {
            offences.push(format!("{name}.lua: there is no src/transitions/{name}.rs"));
        }
    }
    none(offences);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = files(&root().join("docs/decisions"), "md")
        .into_iter()
        .map(file_name)
        .collect();
    names.sort();
    let numbered = names.iter().zip(1..);
    none(
        numbered
            .filter(|(name, number)| !name.starts_with(&format!("{number:03}-")))
            .map(|(name, _)| name),
    );
}

#[test]
fn the_envelope_version_is_the_documented_one_and_each_has_golden_bytes() {
    let envelope = read("crates/core/src/envelope.rs");
    let (_, rest) = envelope.split_once("pub const VERSION: u8 = ").unwrap();
    let version: u8 = rest.split_once(';').unwrap().0.parse().unwrap();
    let protocol = read("docs/protocol.md");
    assert!(protocol.contains(&format!("## Envelope, version {version}\n")));

    let golden: Vec<String> = files(&root().join("crates/core/tests/golden"), "bin")
        .into_iter()
        .map(file_name)
        .collect();
    for version in 1..=version {
        assert!(
            golden
                .iter()
                .any(|name| name.starts_with(&format!("v{version}-"))),
            "version {version}"
        );
        assert!(
            protocol.contains(&format!("golden/v{version}-*.bin")),
            "version {version}"
        );
    }
}

#[test]
fn each_guarantee_and_each_fault_has_its_tests() {
    let guarantees = read("docs/guarantees.md") + &read("docs/faults.md");
    // A name of four words or more in backticks is a test's: a sentence. Shorter ones are settings and types.
    let quoted = guarantees.split('`').skip(1).step_by(2);
    let names = quoted.filter(|text| {
        3 <= text.matches('_').count()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    });
    let all: String = sources("").map(|source| source.text).collect();
    none(names.filter(|name| !all.contains(&format!("fn {name}("))));
}

/// The keys of a queue and of schedules, as the tables in `docs/protocol.md` name them after `Q:` and `B:`, without what
/// varies in them.
fn documented_keys() -> Vec<String> {
    let protocol = read("docs/protocol.md");
    let rows = protocol.lines().filter_map(|line| {
        line.strip_prefix("| `Q:")
            .or_else(|| line.strip_prefix("| `B:"))
    });
    let names = rows.map(|row| {
        row.chars()
            .take_while(char::is_ascii_lowercase)
            .collect::<String>()
    });
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    assert!(
        ["ready", "wakes"]
            .iter()
            .all(|key| names.iter().any(|name| name == key)),
        "the table of keys has moved: {names:?}"
    );
    names
}

struct Source {
    /// Its path from the root of the workspace.
    name: String,
    text: String,
}

impl Source {
    fn is_in(&self, folder: &str) -> bool {
        self.name.contains(folder)
    }

    /// Whether it is part of a crate: the inputs of trybuild are not, and may be broken on purpose.
    fn is_module(&self) -> bool {
        (self.is_in("/src/") || self.is_in("/tests/")) && !self.is_in("/tests/ui/")
    }

    fn is_test(&self) -> bool {
        self.is_in("/tests/") || self.name.ends_with("/tests.rs")
    }

    fn is_library(&self) -> bool {
        self.is_in("/src/") && !self.is_in("/bin/") && !self.is_test()
    }

    fn lines_with(self, words: &[&str]) -> Vec<String> {
        self.lines_where(|line| words.iter().any(|word| line.contains(word)))
    }

    /// Lines of code for which `offends` is true. Comments may say anything; so may tests at the end of a file.
    fn lines_where(&self, offends: impl Fn(&str) -> bool) -> Vec<String> {
        let code = self
            .text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .enumerate();
        code.filter(|(_, line)| !line.trim_start().starts_with("//") && offends(line))
            .map(|(index, line)| format!("{}:{}: {}", self.name, index + 1, line.trim()))
            .collect()
    }
}

/// The Rust files below `folder`, without what cargo has built.
fn sources(folder: &str) -> impl Iterator<Item = Source> + use<> {
    files(&root().join(folder), "rs")
        .into_iter()
        .map(|path| Source {
            name: path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    gather(folder, extension, &mut found);
    found.sort();
    found
}

fn gather(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            gather(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map calls it")]
fn file_name(path: PathBuf) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name))
        .unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[track_caller]
fn none(offences: impl IntoIterator<Item = impl ToString>) {
    let offences: Vec<String> = offences
        .into_iter()
        .map(|offence| offence.to_string())
        .collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}
