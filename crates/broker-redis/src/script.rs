//! Scripts: their text, and how they are called.

use redis::{Cmd, ToRedisArgs};

/// Whether a script may run while Redis's memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It drains, or keeps what is there alive.
    Run,
    /// It adds.
    Refuse,
}

/// Whether the server reads flags in the first line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Redis 6.2: the line would be a syntax error. A full server refuses scripts that write, draining ones included.
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

impl Script {
    pub(crate) fn new(when_full: WhenFull, text: &str) -> Self {
        let first_line = match when_full {
            WhenFull::Run => "#!lua flags=allow-oom\n",
            WhenFull::Refuse => "#!lua\n",
        };
        let flagged_text = format!("{first_line}{text}");
        Self {
            plain: redis::Script::new(text),
            plain_text: text.to_owned(),
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
    let mut call = Call(Cmd::new());
    call.0.arg(command).arg(script);
    fill(&mut call);
    call.0
}

/// A call that is being filled: first the keys, at once, then the arguments.
pub(crate) struct Call(Cmd);

impl Call {
    pub(crate) fn keys(&mut self, keys: &[&str]) -> &mut Self {
        self.0.arg(keys.len());
        for key in keys {
            self.0.arg(*key);
        }
        self
    }

    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.0.arg(arg);
        self
    }
}

/// A script of `scripts/` behind the helpers of `scripts/lib/` that it uses, in the order in which they use each other.
/// Each helper is made anew in every call, so that the scripts of the hot path take few.
macro_rules! script {
    ($name:literal, $when_full:ident, [$($helper:literal),*]) => {
        std::sync::LazyLock::new(|| {
            $crate::script::Script::new(
                $crate::script::WhenFull::$when_full,
                concat!(
                    $(include_str!(concat!("../../scripts/lib/", $helper, ".lua")),)*
                    include_str!(concat!("../../scripts/", $name, ".lua")),
                ),
            )
        })
    };
}
pub(crate) use script;
