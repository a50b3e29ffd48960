//! What follows from a schedule's name and the instant of one occurrence: the id of its task, and its jitter.

use std::time::Duration;

use lovage_core::{Millis, ScheduleName, TaskId, span_ms};

/// The id of the task that an occurrence fires: the same whoever fires it, and how often.
///
/// It stays the same for ever: beats of different versions fire side by side.
pub fn task_id(name: &ScheduleName, occurrence: Millis) -> TaskId {
    // Names have no blanks, so that no two pairs make one text.
    TaskId::derived(format!("lovage.occurrence {name} {}", occurrence.get()).as_bytes())
}

/// How much later than its instant an occurrence is fired: zero to `max`, in whole milliseconds, the same for one
/// occurrence whoever asks, and unlike for its neighbours.
pub fn jitter(name: &ScheduleName, occurrence: Millis, max: Duration) -> Duration {
    let max = span_ms(max);
    // Not the id itself: parts of it are fixed, and it may one day choose a place.
    let seed = TaskId::derived(format!("lovage.jitter {name} {}", occurrence.get()).as_bytes());
    let (bytes, _) = seed
        .as_bytes()
        .split_first_chunk::<6>()
        .expect("an id has sixteen bytes");
    // The first 48 bits of a UUID v5 are all of its hash. Scaled and not cut, which makes all spans alike.
    let random = bytes
        .iter()
        .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let scaled = (random * (u128::from(max) + 1)) >> 48;
    Duration::from_millis(u64::try_from(scaled).expect("no more than max"))
}

#[cfg(test)]
mod tests {
    use lovage_core::{ms, secs};

    use super::*;

    fn name(text: &str) -> ScheduleName {
        ScheduleName::parse(text).unwrap()
    }

    #[test]
    fn an_occurrence_has_the_id_that_it_always_had() {
        let id = task_id(&name("report"), Millis::new(1_774_746_000_000));
        assert_eq!(id.to_string(), "cf19e1bf-b406-53d6-aab0-a31f65eb943a");
        assert_ne!(id, task_id(&name("report"), Millis::new(1_774_746_000_001)));
        assert_ne!(
            task_id(&name("a1"), Millis::new(1)),
            task_id(&name("a"), Millis::new(11))
        );
    }

    #[test]
    fn jitter_is_the_same_for_one_occurrence_and_spread_over_all() {
        let mut thirds = [0; 3];
        for n in 0..3_000 {
            let span = jitter(&name("report"), Millis::new(n), ms(29));
            assert_eq!(span, jitter(&name("report"), Millis::new(n), ms(29)));
            thirds[usize::try_from(span.as_millis() / 10).unwrap()] += 1;
        }
        assert!(
            thirds.iter().all(|n| (900..1_100).contains(n)),
            "{thirds:?}"
        );
        assert_eq!(
            jitter(&name("report"), Millis::new(7), Duration::ZERO),
            Duration::ZERO
        );
        assert!(jitter(&name("report"), Millis::new(7), Duration::MAX) <= ms(Millis::MAX.get()));
        assert_ne!(
            jitter(&name("a"), Millis::new(7), secs(3_600)),
            jitter(&name("b"), Millis::new(7), secs(3_600))
        );
    }
}
