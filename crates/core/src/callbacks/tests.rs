//! Messages of callbacks, from the bytes of the task that failed.

use super::*;
use crate::draft::Draft;
use crate::envelope::{ENVELOPE_BYTES_MAX, edit};
use crate::failure::FailureKind;

#[derive(Serialize, Deserialize)]
struct Charge {
    card: String,
}

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Output = ();

    fn options() -> TaskOptions {
        TaskOptions::new().queue("bank").on_failure(report)
    }
}

/// A callback that calls itself when it fails; its field has a name of its own.
#[derive(Serialize, Deserialize)]
struct Report {
    what_failed: FailedTask,
}

fn report(what_failed: FailedTask) -> Report {
    Report { what_failed }
}

impl Task for Report {
    const NAME: &'static str = "report";
    type Output = ();

    fn options() -> TaskOptions {
        TaskOptions::new()
            .queue("ops")
            .priority(9)
            .on_failure(report)
    }
}

fn owed(card: &str) -> Owed {
    let message = Charge {
        card: card.to_owned(),
    };
    let mut envelope = Draft::default().envelope(&message, Millis::new(7)).unwrap();
    envelope.attempts = 2;
    let encoded = envelope.encode().unwrap();
    assert!(edit::calls_back(encoded.bytes()));
    assert!(!edit::is_plain(encoded.bytes()));
    assert_eq!(Envelope::decode(encoded.bytes()).unwrap(), envelope);
    let mut failure = Failure::new(FailureKind::Error, "no cover");
    failure.run_mut().attempt = Some(3);
    Owed {
        letter: DeadLetter {
            id: envelope.id,
            died_at: Millis::new(1_000_000_000_000),
            failure,
            bytes: encoded.bytes().clone(),
            size: 0,
        },
        losses: 1,
    }
}

#[test]
fn a_callback_is_told_all_of_the_task_that_failed() {
    let owed = owed("visa");
    let envelope = owed.callback().unwrap();
    assert_eq!(
        (envelope.task.as_str(), envelope.queue.as_str()),
        ("report", "ops")
    );
    assert_eq!(
        (envelope.priority.get(), envelope.parent),
        (9, Some(owed.letter.id))
    );
    let Report { what_failed: told } = decode_args(&envelope.args).unwrap();
    assert_eq!(
        (told.id, told.attempts, told.losses),
        (owed.letter.id, 3, 1)
    );
    assert_eq!(
        (told.died_at, told.queue.as_str()),
        (owed.letter.died_at, "bank")
    );
    assert_eq!(told.failure, Failure::new(FailureKind::Error, "no cover"));
    assert_eq!(told.message::<Charge>().unwrap().card, "visa");
    let other = TaskError::from(told.message::<Report>().map(drop).unwrap_err());
    assert!(other.is_permanent() && other.to_string().contains("is charge, not report"));
}

#[test]
fn the_id_of_a_callback_follows_from_the_task_and_its_death() {
    let mut owed = owed("visa");
    let first = owed.callback().unwrap().id;
    assert_eq!(owed.callback().unwrap().id, first);
    owed.letter.died_at = owed.letter.died_at.plus(crate::ms(1));
    assert_ne!(owed.callback().unwrap().id, first);
}

#[test]
fn a_callback_that_calls_itself_does_so_a_few_times_only() {
    let (mut depth, mut next) = (0, owed("visa").callback());
    while let Some(envelope) = next {
        depth += 1;
        next = envelope.on_failure.clone().map(|callback| Envelope {
            on_failure: callback.on_failure.map(|next| *next),
            ..envelope
        });
    }
    assert_eq!(depth, CALLBACK_DEPTH_MAX);
}

#[test]
fn arguments_that_are_too_large_to_be_sent_twice_are_left_out() {
    let mut owed = owed(&"x".repeat(ENVELOPE_BYTES_MAX - 300));
    owed.letter.failure.message = "no cover".repeat(500);
    let envelope = owed.callback().unwrap();
    envelope.encode().unwrap();
    let Report { what_failed: told } = decode_args(&envelope.args).unwrap();
    assert_eq!((told.args.len(), told.failure.message.len()), (0, 4000));
    assert!(told.message::<Charge>().is_err());
}

#[test]
fn a_task_whose_bytes_cannot_be_read_calls_nobody() {
    let mut owed = owed("visa");
    owed.letter.bytes = owed.letter.bytes.slice(..40);
    assert_eq!(owed.callback(), None);
}
