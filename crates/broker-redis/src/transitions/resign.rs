//! `resign.lua`.

use std::sync::LazyLock;

use lovage_core::{BeatId, BrokerError};

use crate::broker::Shared;
use crate::script::{Script, script};

static RESIGN: LazyLock<Script> = script!("resign", Run, ["places"]);

pub(crate) async fn resign(shared: &Shared, beat: BeatId) -> Result<(), BrokerError> {
    let keys = &shared.beat;
    let resigned = shared.connection.run(&RESIGN, |call| {
        call.keys(&[&keys.meta, &keys.standby])
            .arg(beat.to_string());
    });
    resigned.await.map(drop)
}
