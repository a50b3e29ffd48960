//! Tests of programs that send and run tasks: no server, no threads, and a clock that the test moves.
//!
//! Everything goes through serialisation and through the broker inside this process, so a test finds what production
//! would: a message that cannot be encoded, a retry that never comes, a result of the wrong shape.
//!
//! ```standalone_crate
//! use lovage::prelude::*;
//! use lovage::testing::TestKit;
//!
//! struct Outbox;
//!
//! #[task]
//! async fn welcome(name: String, outbox: State<Outbox>) -> String { format!("Welcome, {name}") }
//!
//! // What is tested: signing up sends a welcome, a day later.
//! async fn sign_up(client: &Client, name: &str) -> anyhow::Result<Handle<welcome>> {
//!     Ok(client.send(welcome(name)).countdown(hours(24)).await?)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! let kit = TestKit::new().state(Outbox);
//! let handle = sign_up(kit.client(), "Ada").await?;
//!
//! kit.assert_sent::<welcome>(|message| message.name == "Ada");
//! assert_eq!(kit.run_due().await, 0);
//! kit.advance(hours(24));
//! assert_eq!(kit.run_due().await, 1);
//! assert_eq!(handle.wait(secs(1)).await?, "Welcome, Ada");
//! # Ok(()) }
//! ```

mod inline;

use std::time::Duration;

use lovage_broker_memory::MemoryBroker;
use lovage_core::{
    Clock, Envelope, ManualClock, Millis, Registry, RegistryError, States, Task, decode_args,
};

use crate::client::{Client, ClientBuilder};
pub(crate) use inline::Inline;

/// A client, a broker and a worker that runs only when it is told to, on a clock that stands still until it is moved.
///
/// Tasks run one after another on the test's own runtime. Time limits of tasks do not apply, as the clock stands
/// still while a body runs; backoff has no jitter. A body that takes `State<Client>` is given the kit's client.
#[derive(Debug)]
pub struct TestKit {
    client: Client,
    inline: std::sync::Arc<Inline>,
}

impl Default for TestKit {
    fn default() -> Self {
        Self::new()
    }
}

impl TestKit {
    /// A kit with nothing in its queues, that can run all tasks linked into this program.
    ///
    /// # Panics
    /// If two tasks share a name, or one has a name that is none.
    pub fn new() -> Self {
        let clock = Clock::Manual(ManualClock::default());
        let broker = MemoryBroker::with_clock(clock.clone());
        // A program without bodies can still assert what it sends.
        let registry = match Registry::linked().build() {
            Err(RegistryError::Empty) => Registry::default(),
            other => other.unwrap_or_else(|error| panic!("{error}")),
        };
        let inline = Inline::new(broker.clone(), clock.clone(), registry, States::new());
        let client = ClientBuilder::of(broker.into())
            .clock(clock)
            .inline(&inline)
            .build();
        Self { client, inline }
    }

    /// Gives the bodies a state.
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.inline.add_state(value);
        self
    }

    /// Lets the kit run these tasks instead of those linked into this program.
    pub fn registry(self, registry: Registry) -> Self {
        self.inline.set_registry(registry);
        self
    }

    /// The client whose sends the kit sees. Give it to what is tested.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The instant that the clock stands at.
    pub fn now(&self) -> Millis {
        self.inline.now()
    }

    /// Moves the clock forward. Nothing runs by that alone.
    pub fn advance(&self, span: Duration) {
        self.inline.advance(span);
    }

    /// Runs what is ready now, once each, and tells how many runs that were. What they send, and what fails and is to
    /// run again at once, waits for the next call.
    pub async fn run_ready(&self) -> usize {
        self.inline.run_ready(&self.client).await
    }

    /// Runs everything that is due by the clock, and what that sends, until nothing is; tells how many runs that were.
    ///
    /// # Panics
    /// After 100,000 runs: a task sends itself for ever.
    pub async fn run_due(&self) -> usize {
        self.inline.run_due(&self.client).await
    }

    /// Runs everything, and moves the clock to whatever is scheduled, until the queues are empty; tells how many runs
    /// that were.
    ///
    /// # Panics
    /// After 100,000 runs: a task sends itself for ever.
    pub async fn run_until_idle(&self) -> usize {
        self.inline.run_until_idle(&self.client).await
    }

    /// Every message of task `T` that was accepted so far, oldest first.
    pub fn sent<T: Task>(&self) -> Vec<T> {
        let envelopes = self.inline.sent().into_iter();
        envelopes
            .filter(|envelope| envelope.task.as_str() == T::NAME)
            .map(|envelope| {
                decode_args(&envelope.args)
                    .unwrap_or_else(|error| panic!("a {} was sent, and {error}", T::NAME))
            })
            .collect()
    }

    /// Everything that was accepted so far, oldest first, as sent: queues, times, headers and the rest.
    pub fn envelopes(&self) -> Vec<Envelope> {
        self.inline.sent()
    }

    /// Asserts that a message of task `T` for which `is_it` holds was accepted.
    ///
    /// # Panics
    /// If none was; tells what was.
    #[track_caller]
    pub fn assert_sent<T: Task>(&self, is_it: impl Fn(&T) -> bool) {
        let sent = self.sent::<T>();
        if sent.iter().any(is_it) {
            return;
        }
        let all = self.envelopes();
        let names: Vec<_> = all.iter().map(|envelope| envelope.task.as_str()).collect();
        panic!(
            "no {} that satisfies the condition was sent ({} of that task were); sent so far: {names:?}",
            T::NAME,
            sent.len()
        );
    }
}

impl Client {
    /// A client whose sends run before they answer: through serialisation, with countdowns and retries at once.
    ///
    /// For tests, and for programs that want no broker while they are developed. A body that takes `State<Client>` is
    /// given this client. A send that is answered says that the task was accepted, as ever; how it ended, its handle
    /// tells.
    ///
    /// ```standalone_crate
    /// # use lovage::prelude::*;
    /// use lovage::{Registry, States};
    ///
    /// #[task]
    /// async fn double(n: u64) -> u64 { n * 2 }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// let client = Client::eager(Registry::linked().build()?, States::new())?;
    /// let handle = client.send(double(21)).countdown(hours(1)).await?;
    /// assert_eq!(handle.wait(secs(1)).await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If a body takes a state that is not in `states`.
    pub fn eager(registry: Registry, states: States) -> Result<Client, RegistryError> {
        let clock = Clock::Manual(ManualClock::default());
        let broker = MemoryBroker::with_clock(clock.clone());
        let inline = Inline::new(broker.clone(), clock, registry, states);
        let client = ClientBuilder::of(broker.into())
            .inline(&inline)
            .eager()
            .build();
        inline.check_states(&client)?;
        Ok(client)
    }
}
