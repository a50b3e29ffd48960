//! Between the processes and the broker: requests and answers are late, lost, or both.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{BrokerError, ManualClock, Millis, TransportError, ms, secs};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::history::{History, What};
use crate::process::Process;

/// The longest that a call stays without an answer: what a transport gives up after.
const CALL_MAX: Duration = secs(6);
/// Within this after it was sent a call has taken effect, or never will.
pub const LATEST: Duration = secs(13);

/// How bad the network is: what happens to so many calls in a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest delay each way of a call that works.
    pub delay_max: Duration,
    /// Refused before it took effect.
    pub refused: u32,
    /// Lost on the way there: no effect, no answer.
    pub request_lost: u32,
    /// Lost on the way back: it took effect, and nobody is told.
    pub answer_lost: u32,
    /// Given up by the caller, and executed afterwards, later than newer calls.
    pub ghost: u32,
    /// As late as a caller waits at most.
    pub late: u32,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        delay_max: ms(2),
        refused: 0,
        request_lost: 0,
        answer_lost: 0,
        ghost: 0,
        late: 0,
    };

    /// The weather of one seed.
    pub fn of(dice: &mut Dice) -> Self {
        let delay_max = ms(dice.pick(&[1, 5, 50, 400]));
        let most = u64::from(dice.pick(&[0u32, 5, 30, 120]));
        let mut rate = || u32::try_from(dice.number(0..most + 1)).unwrap_or(0);
        Self {
            delay_max,
            refused: rate(),
            request_lost: rate(),
            answer_lost: rate(),
            ghost: rate(),
            late: rate(),
        }
    }
}

/// What becomes of one call.
struct Fate {
    /// When it takes effect, if it does.
    effect: Option<Duration>,
    /// When the caller hears.
    answer: Duration,
    /// What it hears, unless it hears the answer.
    error: Option<BrokerError>,
}

/// The network, and the broker's clock: both are of the whole simulation.
#[derive(Debug)]
pub struct Network {
    start: Instant,
    clock: ManualClock,
    /// By how much it was set forward, and back.
    skew: Mutex<(Duration, Duration)>,
    base: Millis,
    dice: Mutex<Dice>,
    weather: Mutex<Weather>,
    fair: AtomicBool,
    /// What is seen.
    pub history: Arc<History>,
}

impl Network {
    /// A network with the broker's clock at its other end.
    pub fn new(clock: ManualClock, dice: Dice, weather: Weather, history: Arc<History>) -> Self {
        let base = clock.now();
        history.clock(base);
        Self {
            start: Instant::now(),
            clock,
            skew: Mutex::default(),
            base,
            dice: Mutex::new(dice),
            weather: Mutex::new(weather),
            fair: AtomicBool::new(false),
            history,
        }
    }

    /// From now on nothing goes wrong any more. What was sent before may still.
    pub fn clear_up(&self) {
        self.fair.store(true, Ordering::SeqCst);
    }

    /// Sets the broker's clock forward.
    pub fn set_forward(&self, span: Duration) {
        lock(&self.skew).0 += span;
        self.keep_time();
    }

    /// Sets the broker's clock back.
    pub fn set_back(&self, span: Duration) {
        lock(&self.skew).1 += span;
        self.keep_time();
    }

    /// By how much the broker's clock was set back so far.
    pub fn was_set_back(&self) -> Duration {
        lock(&self.skew).1
    }

    /// Has the broker's clock show what it must, by the time of the simulation. Answers that.
    pub fn keep_time(&self) -> Millis {
        let (forward, back) = *lock(&self.skew);
        let whole_ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let shown = self.base.get() + whole_ms(self.start.elapsed() + forward) - whole_ms(back);
        let now = Millis::new(shown);
        self.clock.set(now);
        self.history.clock(now);
        now
    }

    fn fate(&self, process: &Process) -> Fate {
        let fair = self.fair.load(Ordering::SeqCst);
        let weather = if fair {
            Weather::FAIR
        } else {
            *lock(&self.weather)
        };
        let mut dice = lock(&self.dice);
        let there = dice.moment(weather.delay_max);
        let back = dice.moment(weather.delay_max);
        let good = Fate {
            effect: Some(there),
            answer: there + back,
            error: None,
        };
        if process.is_cut() {
            return match dice.number(0..4) {
                0 => Fate {
                    effect: None,
                    error: Some(refused()),
                    ..good
                },
                1 => Fate {
                    error: Some(unknown()),
                    ..good
                },
                _ => Fate {
                    effect: None,
                    answer: dice.moment(CALL_MAX),
                    error: Some(unknown()),
                },
            };
        }
        let happens = u32::try_from(dice.number(0..1000)).unwrap_or(0);
        let mut below = 0;
        let mut is = |rate: u32| {
            below += rate;
            happens < below
        };
        if is(weather.refused) {
            return Fate {
                effect: None,
                error: Some(refused()),
                ..good
            };
        }
        if is(weather.request_lost) {
            return Fate {
                effect: None,
                answer: dice.moment(CALL_MAX),
                error: Some(unknown()),
            };
        }
        if is(weather.answer_lost) {
            return Fate {
                answer: there + dice.moment(CALL_MAX),
                error: Some(unknown()),
                ..good
            };
        }
        if is(weather.ghost) {
            let given_up = dice.moment(CALL_MAX);
            return Fate {
                effect: Some(given_up + dice.moment(CALL_MAX)),
                answer: given_up,
                error: Some(unknown()),
            };
        }
        if is(weather.late) {
            let there = dice.moment(CALL_MAX / 2);
            return Fate {
                effect: Some(there),
                answer: there + dice.moment(CALL_MAX / 2),
                error: None,
            };
        }
        good
    }

    /// Carries one call from `process` to the broker, where `call` is made, and its answer back.
    ///
    /// Once sent it is on its way, whatever becomes of the caller: it may take effect after its process was killed.
    pub async fn carry<T, E, F>(
        self: &Arc<Self>,
        process: &Arc<Process>,
        call: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        T: Send + 'static,
        E: From<BrokerError> + Send + 'static,
    {
        let Fate {
            effect,
            answer,
            error,
        } = self.fate(process);
        let (tell, told) = oneshot::channel();
        let (network, caller) = (Arc::clone(self), Arc::clone(process));
        tokio::spawn(async move {
            let mut tell = Some(tell);
            let (mut error, mut passed, mut came) = (error, Duration::ZERO, None);
            if let Some(effect) = effect {
                if answer < effect {
                    sleep(answer).await;
                    passed = answer;
                    let gave_up = error.take().unwrap_or_else(unknown);
                    // Whoever called may be gone: so everywhere below.
                    let _ = tell.take().map(|tell| tell.send(Err(gave_up.into())));
                }
                sleep(effect.saturating_sub(passed)).await;
                passed = effect;
                network.keep_time();
                came = Some(call().await);
            }
            let Some(tell) = tell else { return };
            sleep(answer.saturating_sub(passed)).await;
            let answer = match (error, came) {
                // The line was cut while the answer was on it.
                (None, Some(Ok(_))) if caller.is_cut() => Err(unknown().into()),
                (None, Some(answer)) => answer,
                (Some(error), _) => Err(error.into()),
                (None, None) => Err(unknown().into()),
            };
            let _ = tell.send(answer);
        });
        told.await.unwrap_or_else(|_| Err(unknown().into()))
    }

    /// What becomes of a call that waits at the broker: an error after a while, or nothing.
    pub async fn disturb(&self, process: &Process) -> Result<(), BrokerError> {
        let fate = self.fate(process);
        if let Some(error) = fate.error {
            sleep(fate.answer).await;
            return Err(error);
        }
        sleep(fate.effect.unwrap_or_default()).await;
        Ok(())
    }

    /// Notes what a sender has learned.
    pub fn note(&self, what: What) {
        self.history.note(what);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown() -> BrokerError {
    BrokerError::Unknown(TransportError::new("the answer was lost"))
}

fn refused() -> BrokerError {
    BrokerError::Refused(TransportError::new("not now"))
}
