//! Any text is a crontab that occurs or an error; a crontab says itself again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lovage_beat::Schedule;
use lovage_core::Millis;

fuzz_target!(|text: &str| {
    let Ok(schedule) = Schedule::cron(text) else {
        return;
    };
    let last = schedule
        .last_until(Millis::MAX)
        .expect("dates that never come are refused");
    assert_eq!(schedule.next_after(last), None);
    let again = Schedule::cron(text.trim()).expect("what was read is read again");
    assert_eq!(schedule, again);
});
