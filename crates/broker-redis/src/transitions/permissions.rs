//! `permissions.lua`.

use std::sync::LazyLock;

use redis::Cmd;

use crate::script::{Dialect, Script, script};

static PERMISSIONS: LazyLock<Script> = script!("permissions", Look, []);

/// By its text, which goes as one call whether it is loaded or not.
pub(crate) fn permissions<'a>(commands: &(impl Iterator<Item = &'a [String]> + Clone)) -> Cmd {
    PERMISSIONS.by_text(Dialect::Plain, |call| {
        call.keys(&[]);
        for command in commands.clone() {
            call.arg(command.len());
            for word in command {
                call.arg(word);
            }
        }
    })
}
