//! Verdicts that the broker has taken, from the worker's own event about each into the journal.
//!
//! A body cannot see its own acknowledgement. The worker says of each verdict that was taken that it was, at the level
//! `trace`; this layer listens to that event alone.

use std::{env, fmt};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::journal::{Taken, record_ack};

/// The variable that asks a worker process to write its acknowledgements.
pub(crate) const ACKS_VARIABLE: &str = "LOVAGE_TEST_ACKS";

/// Installs logs as a worker's own, and the layer beside them, where the test asks for it.
///
/// # Panics
/// Where the process has a subscriber already.
pub fn install() {
    if env::var_os(ACKS_VARIABLE).is_none() {
        return;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_filter(filter);
    let acks =
        Acks.with_filter(Targets::new().with_target("lovage_worker::settled", LevelFilter::TRACE));
    tracing_subscriber::registry().with(logs).with(acks).init();
}

struct Acks;

impl<S: Subscriber> Layer<S> for Acks {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut ack = Ack::default();
        event.record(&mut ack);
        record_ack(
            ack.verdict.expect("the event names the verdict"),
            &ack.id,
            ack.fence,
        );
    }
}

#[derive(Default)]
struct Ack {
    id: String,
    fence: u64,
    verdict: Option<Taken>,
}

impl Visit for Ack {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "id" {
            self.id = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "verdict" {
            self.verdict = Taken::named(value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "fence" {
            self.fence = value;
        }
    }
}
