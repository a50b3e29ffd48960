//! `ring.lua`.

use std::sync::LazyLock;

use lovage_core::BrokerError;

use crate::routes::Routes;
use crate::script::{Script, script};

/// Runs in a full Redis as well: a ring that is handed on adds nothing, and must not be lost.
static RING: LazyLock<Script> = script!("ring", Run, ["places"]);

pub(crate) async fn ring(connection: &Routes, bell: &str) -> Result<(), BrokerError> {
    let rung = connection.run(&RING, |call| {
        call.keys(&[bell]);
    });
    rung.await.map(drop)
}
