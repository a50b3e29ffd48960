//! What a beat says of itself when it is asked whether it lives and is ready.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lovage_core::secs;
use lovage_process::health::Probe;
use serde_json::{Map, Value, json};

use crate::beat::RunningBeat;

/// How often the async runtime shows that it runs.
const PULSE: Duration = secs(1);
/// Without a pulse for so long it is blocked.
const PULSE_MAX: Duration = secs(15);

/// The beat that is asked after, once there is one.
#[derive(Default)]
pub(super) struct Watched {
    beat: OnceLock<Arc<RunningBeat>>,
    pulse: Mutex<Option<Instant>>,
}

impl Watched {
    /// From now on it is asked after this one.
    pub(super) fn watch(&self, beat: &Arc<RunningBeat>) {
        self.beat.get_or_init(|| Arc::clone(beat));
    }

    /// Shows that the async runtime runs. Never returns.
    pub(super) async fn pulse(&self) {
        loop {
            *self.pulse.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            tokio::time::sleep(PULSE).await;
        }
    }

    fn blocked(&self) -> bool {
        let pulse = *self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.is_some_and(|last| PULSE_MAX < last.elapsed())
    }
}

impl Probe for Watched {
    fn live(&self) -> Result<(), Vec<String>> {
        // A process that waits for its broker lives: a restart would not bring it nearer.
        let Some(beat) = self.beat.get() else {
            return Ok(());
        };
        let mut reasons = Vec::new();
        if !beat.live() {
            reasons.push("the beat has ended, or a part of it panicked".to_owned());
        }
        if self.blocked() {
            reasons.push("every thread of the async runtime is blocked".to_owned());
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn ready(&self) -> Result<(), Vec<Value>> {
        let Some(beat) = self.beat.get() else {
            return Err(vec![json!("the broker cannot be reached")]);
        };
        let mut reasons = Vec::new();
        if !beat.live() {
            reasons.push(json!("the beat is shutting down"));
        }
        let stats = beat.stats();
        if let Some(error) = stats.broker_error {
            reasons.push(json!({ "reason": "broker_error", "error": error }));
        }
        if let Some(error) = stats.source_error {
            reasons.push(json!({ "reason": "source_error", "error": error }));
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn details(&self) -> Map<String, Value> {
        let stats = self.beat.get().map(|beat| json!(beat.stats()));
        match stats {
            Some(Value::Object(stats)) => stats,
            _ => Map::new(),
        }
    }
}
