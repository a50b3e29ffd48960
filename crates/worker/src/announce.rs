//! What a worker says of itself when it starts.

use crate::lanes::mixed;
use crate::settings::{Queues, Settings};
use crate::triage::Tasks;

/// Logs the settings, and which tasks can run.
pub(crate) fn tell_tasks(tasks: &Tasks, queues: &Queues, settings: &Settings) {
    tracing::info!(
        name = settings.name, %queues, concurrency = settings.concurrency,
        cpu_threads = settings.cpu_threads,
        process_concurrency = settings.process_concurrency, lease = ?settings.lease, "the worker starts"
    );
    let defs = tasks.defs().into_iter();
    let claimed = queues.names();
    let lanes = defs.map(|(def, queue)| (queue, def.lane));
    for queue in mixed(lanes.filter(|(queue, _)| claimed.contains(queue))) {
        tracing::warn!(
            %queue,
            "its tasks run on several lanes: while the narrowest is full, none of them is claimed; \
             give those of each lane a queue of their own"
        );
    }
    for (def, queue) in tasks.defs() {
        if queues.names().contains(&queue) {
            tracing::info!(task = def.name, %queue, lane = ?def.lane, "can run");
        } else {
            tracing::info!(
                task = def.name, %queue, lane = ?def.lane,
                "can run, but is sent to a queue that this worker does not claim from"
            );
        }
    }
}
