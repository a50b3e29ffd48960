//! What a person should know of an instant: its local time, its offset, and what the clocks do there.

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use lovage_core::Millis;

use crate::schedule::Schedule;

/// An instant as people see it.
pub(super) struct Local {
    /// `2026-12-25 09:00:00 +01:00`, with milliseconds where there are any.
    pub(super) text: String,
    /// `Fri`.
    pub(super) weekday: String,
    /// What the clocks do there, where it matters.
    pub(super) note: Option<String>,
}

/// The zone of a schedule.
pub(super) fn zone(schedule: &Schedule) -> TimeZone {
    // One that this host does not know could not have been read.
    TimeZone::get(schedule.zone_name()).unwrap_or(TimeZone::UTC)
}

/// The local time of an instant; `None` past the year 9999.
pub(super) fn local(zone: &TimeZone, instant: Millis) -> Option<String> {
    stamp(instant).map(|stamp| text(zone, stamp))
}

/// An occurrence of a schedule as people see it.
pub(super) fn occurrence(schedule: &Schedule, instant: Millis) -> Local {
    let zone = zone(schedule);
    let Some(stamp) = stamp(instant) else {
        return Local {
            text: instant.to_string(),
            weekday: String::new(),
            note: None,
        };
    };
    Local {
        text: text(&zone, stamp),
        weekday: zone.to_datetime(stamp).strftime("%a").to_string(),
        note: shifted(schedule, &zone, stamp)
            .or_else(|| doubled(&zone, stamp))
            .or_else(|| changed(&zone, stamp)),
    }
}

fn stamp(instant: Millis) -> Option<Timestamp> {
    let ms = i64::try_from(instant.get()).ok()?;
    Timestamp::from_millisecond(ms).ok()
}

fn text(zone: &TimeZone, stamp: Timestamp) -> String {
    let format = if stamp.subsec_millisecond() == 0 {
        "%Y-%m-%d %H:%M:%S %:z"
    } else {
        "%Y-%m-%d %H:%M:%S%.3f %:z"
    };
    stamp
        .to_zoned_datetime(zone.clone())
        .strftime(format)
        .to_string()
}

/// A time that the clocks jump over runs later by the length of the jump.
fn shifted(schedule: &Schedule, zone: &TimeZone, stamp: Timestamp) -> Option<String> {
    let moved = zone.preceding(stamp).next()?.timestamp();
    let (before, after) = (
        zone.to_offset(moved - SignedDuration::from_nanos(1)),
        zone.to_offset(stamp),
    );
    let jump = after.duration_since(before);
    if jump <= SignedDuration::ZERO || jump <= stamp.duration_since(moved) {
        return None;
    }
    // The schedule itself tells which local time it means: read as if in UTC, where no clock is ever moved.
    let named = zone.to_datetime(stamp).checked_sub(jump).ok()?;
    let means = |local: jiff::civil::DateTime| {
        let instant = TimeZone::UTC.to_timestamp(local).ok()?;
        let instant = u64::try_from(instant.as_millisecond()).ok()?;
        let in_utc = schedule.clone().tz("UTC").ok()?;
        let unbound = in_utc.starting(Millis::default()).ending(Millis::MAX);
        let next = unbound.next_after(Millis::new(instant.saturating_sub(1)))?;
        (next == Millis::new(instant)).then_some(())
    };
    means(named)?;
    let (named, runs) = (named.strftime("%H:%M"), zone.to_datetime(stamp));
    Some(format!(
        "{named} does not exist on this day, the clocks jump over it: it runs at {}",
        runs.strftime("%H:%M")
    ))
}

/// A time that comes twice.
fn doubled(zone: &TimeZone, stamp: Timestamp) -> Option<String> {
    let local = zone.to_datetime(stamp);
    let AmbiguousOffset::Fold { before, .. } = zone.to_ambiguous_timestamp(local).offset() else {
        return None;
    };
    let which = if zone.to_offset(stamp) == before {
        "first"
    } else {
        "second"
    };
    let time = local.strftime("%H:%M");
    Some(format!(
        "{time} comes twice on this day, the clocks are set back: this is the {which}"
    ))
}

/// The clocks were moved within the last day.
fn changed(zone: &TimeZone, stamp: Timestamp) -> Option<String> {
    let moved = zone.preceding(stamp).next()?.timestamp();
    if SignedDuration::from_hours(24) < stamp.duration_since(moved) {
        return None;
    }
    let before = zone.to_offset(moved - SignedDuration::from_nanos(1));
    let after = zone.to_offset(moved);
    (before != after).then(|| {
        let show = |offset: jiff::tz::Offset| {
            Timestamp::UNIX_EPOCH
                .to_zoned_datetime(TimeZone::fixed(offset))
                .strftime("%:z")
                .to_string()
        };
        format!(
            "the clocks were moved from {} to {} since the day before",
            show(before),
            show(after)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        crate::instants::parse(text).unwrap()
    }

    #[test]
    fn the_clocks_are_noted_where_they_matter() {
        for (cron, instant, text, note) in [
            // Lisbon: 01:00 -> 02:00 on 2027-03-28, 02:00 -> 01:00 on 2026-10-25.
            (
                "30 1 * * *",
                "2027-03-28T01:30:00Z",
                "2027-03-28 02:30:00 +01:00",
                "01:30 does not exist",
            ),
            (
                "30 2 * * *",
                "2027-03-28T01:30:00Z",
                "2027-03-28 02:30:00 +01:00",
                "from +00:00 to +01:00",
            ),
            (
                "30 1 * * *",
                "2026-10-25T00:30:00Z",
                "2026-10-25 01:30:00 +01:00",
                "this is the first",
            ),
            (
                "*/30 * * * *",
                "2026-10-25T01:30:00Z",
                "2026-10-25 01:30:00 +00:00",
                "this is the second",
            ),
            (
                "0 9 * * *",
                "2026-12-25T09:00:00Z",
                "2026-12-25 09:00:00 +00:00",
                "",
            ),
        ] {
            let schedule = Schedule::cron(cron).unwrap().tz("Europe/Lisbon").unwrap();
            let local = occurrence(&schedule, at(instant));
            assert_eq!(local.text, text, "{cron}");
            let told = local.note.unwrap_or_default();
            assert!(
                told.contains(note) && told.is_empty() == note.is_empty(),
                "{cron}: {told}"
            );
        }
    }
}
