//! Scripts: their text, and how they are called.

use lovage_core::CheckMode;
use redis::{Cmd, ToRedisArgs};

/// What a script may do, and whether while Redis's memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It drains, or keeps what is there alive.
    Run,
    /// It adds.
    Refuse,
    /// It writes nothing: it is run also by a server that takes no writes, and by a replica.
    Look,
}

/// Whether the server reads flags in the first line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Redis 6.2: the line would be a syntax error.
    Plain,
    /// Redis 7 and Valkey.
    Flagged,
}

#[derive(Debug)]
pub(crate) struct Script {
    plain: redis::Script,
    plain_text: String,
    flagged: redis::Script,
    flagged_text: String,
}

/// What `allow-oom` is on Redis 6.2: a full server refuses what takes memory only as the first write of a script, and this
/// one takes none. No such key exists, in the slot of the first one; where it may not be removed, nothing is different.
const DRAINS: &str = "redis.pcall('DEL', KEYS[1] .. ':none') ";

impl Script {
    pub(crate) fn new(when_full: WhenFull, text: &str) -> Self {
        let first_line = match when_full {
            WhenFull::Run => "#!lua flags=allow-oom\n",
            WhenFull::Refuse => "#!lua\n",
            WhenFull::Look => "#!lua flags=no-writes,allow-oom\n",
        };
        let plain_text = match when_full {
            WhenFull::Run => format!("{DRAINS}{text}"),
            WhenFull::Refuse | WhenFull::Look => text.to_owned(),
        };
        let flagged_text = format!("{first_line}{text}");
        Self {
            plain: redis::Script::new(&plain_text),
            plain_text,
            flagged: redis::Script::new(&flagged_text),
            flagged_text,
        }
    }

    /// The call by hash. `fill` writes the keys and arguments.
    pub(crate) fn by_hash(&self, dialect: Dialect, fill: impl Fn(&mut Call)) -> Cmd {
        let script = match dialect {
            Dialect::Plain => &self.plain,
            Dialect::Flagged => &self.flagged,
        };
        call("EVALSHA", script.get_hash(), fill)
    }

    /// The call with the text, which loads the script as well.
    pub(crate) fn by_text(&self, dialect: Dialect, fill: impl Fn(&mut Call)) -> Cmd {
        let text = match dialect {
            Dialect::Plain => &self.plain_text,
            Dialect::Flagged => &self.flagged_text,
        };
        call("EVAL", text, fill)
    }
}

fn call(command: &str, script: &str, fill: impl Fn(&mut Call)) -> Cmd {
    let mut call = Call::default();
    call.command.arg(command).arg(script);
    fill(&mut call);
    call.command
}

/// A call that is being filled: first the keys, at once, then the arguments.
#[derive(Default)]
pub(crate) struct Call {
    command: Cmd,
    also: Option<String>,
    /// Only the first key is wanted, which is kept here.
    first_key: Option<String>,
}

impl Call {
    /// The first key that `fill` writes.
    pub(crate) fn first_key(fill: impl Fn(&mut Call)) -> String {
        let mut call = Self {
            first_key: Some(String::new()),
            ..Self::default()
        };
        fill(&mut call);
        call.first_key.unwrap_or_default()
    }

    /// Names another key behind the others.
    pub(crate) fn also(&mut self, key: &str) {
        self.also = Some(key.to_owned());
    }

    pub(crate) fn keys(&mut self, keys: &[&str]) -> &mut Self {
        if let Some(first_key) = &mut self.first_key {
            keys.first()
                .copied()
                .unwrap_or_default()
                .clone_into(first_key);
            return self;
        }
        let count = keys.len() + usize::from(self.also.is_some());
        self.command.arg(count);
        for key in keys.iter().copied().chain(self.also.as_deref()) {
            self.command.arg(key);
        }
        self
    }

    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        if self.first_key.is_none() {
            self.command.arg(arg);
        }
        self
    }
}

/// A script that looks, or repairs: the server holds the one that looks to it.
#[derive(Debug)]
pub(crate) struct ByMode {
    pub(crate) look: Script,
    pub(crate) repair: Script,
}

impl ByMode {
    pub(crate) fn by(&self, mode: CheckMode) -> &Script {
        match mode {
            CheckMode::Look => &self.look,
            CheckMode::Repair => &self.repair,
        }
    }
}

/// A script of `scripts/` behind the helpers of `scripts/lib/` that it uses, in the order in which they use each other.
/// Each helper is made anew in every call, so that the scripts of the hot path take few.
macro_rules! script {
    ($name:literal, $when_full:ident, [$($helper:literal),*]) => {
        std::sync::LazyLock::new(|| {
            $crate::script::Script::new(
                $crate::script::WhenFull::$when_full,
                $crate::script::script_text!($name, [$($helper),*]),
            )
        })
    };
}
pub(crate) use script;

/// As [`script!`], for both modes.
macro_rules! by_mode {
    ($name:literal, [$($helper:literal),*]) => {
        std::sync::LazyLock::new(|| {
            let text = $crate::script::script_text!($name, [$($helper),*]);
            $crate::script::ByMode {
                look: $crate::script::Script::new($crate::script::WhenFull::Look, text),
                repair: $crate::script::Script::new($crate::script::WhenFull::Run, text),
            }
        })
    };
}
pub(crate) use by_mode;

macro_rules! script_text {
    ($name:literal, [$($helper:literal),*]) => {
        concat!(
            $(include_str!(concat!("../../scripts/lib/", $helper, ".lua")),)*
            include_str!(concat!("../../scripts/", $name, ".lua")),
        )
    };
}
pub(crate) use script_text;
