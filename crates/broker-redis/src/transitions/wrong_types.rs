//! `wrong_types.lua`.

use std::sync::LazyLock;

use lovage_core::{BrokerError, QueueName};

use super::books::texts;
use crate::broker::Shared;
use crate::error::unexpected;
use crate::reply::list;
use crate::script::{Script, script};

static WRONG_TYPES: LazyLock<Script> = script!("wrong_types", Look, []);

pub(crate) async fn wrong_types(
    shared: &Shared,
    queue: &QueueName,
) -> Result<Vec<String>, BrokerError> {
    let keys = shared.keys(queue);
    let (names, kinds): (Vec<&str>, Vec<&str>) = keys.typed().into_iter().unzip();
    let reply = shared
        .connection
        .run(&WRONG_TYPES, |call| {
            call.keys(&names);
            for kind in &kinds {
                call.arg(*kind);
            }
        })
        .await?;
    let found = list(reply).ok_or_else(|| unexpected("wrong_types"))?;
    Ok(texts(&found))
}
