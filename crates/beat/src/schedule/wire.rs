//! How a schedule is stored: a map of short texts and numbers. Keys are only ever added, and unknown ones ignored.

use std::time::Duration;

use lovage_core::{Millis, span_ms};
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Kind, Schedule};
use crate::error::ScheduleError;

/// Spans and instants are in milliseconds.
#[derive(Deserialize)]
struct Wire {
    cron: Option<String>,
    every: Option<u64>,
    anchor: Option<Millis>,
    at: Option<Millis>,
    solar: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    tz: Option<String>,
    from: Option<Millis>,
    until: Option<Millis>,
    #[serde(default)]
    except: Vec<String>,
    jitter: Option<u64>,
    runs: Option<u64>,
    misfire: Option<String>,
    overlap: Option<String>,
    gap: Option<String>,
    fold: Option<String>,
}

impl Serialize for Schedule {
    /// A map in each format, and never a row of values whose places would count.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.kind {
            Kind::Cron(crontab) => map.serialize_entry("cron", crontab.text())?,
            Kind::Every(every) => {
                map.serialize_entry("every", &span_ms(every.period()))?;
                entry(
                    &mut map,
                    "anchor",
                    Some(every.anchor()).filter(|at| at.get() != 0),
                )?;
            }
            Kind::At(instant) => map.serialize_entry("at", instant)?,
            Kind::Solar(solar) => {
                map.serialize_entry("solar", &solar.event().to_string())?;
                map.serialize_entry("lat", &solar.latitude())?;
                map.serialize_entry("lon", &solar.longitude())?;
            }
        }
        entry(
            &mut map,
            "tz",
            (!self.zone.is_utc()).then(|| self.zone.name()),
        )?;
        entry(&mut map, "from", self.starting)?;
        entry(&mut map, "until", self.ending)?;
        let dates: Vec<String> = self.except.dates().map(ToString::to_string).collect();
        entry(&mut map, "except", (!dates.is_empty()).then_some(dates))?;
        entry(
            &mut map,
            "jitter",
            Some(span_ms(self.jitter)).filter(|ms| *ms != 0),
        )?;
        entry(&mut map, "runs", self.max_runs)?;
        map.serialize_entry("misfire", &self.misfire.to_string())?;
        map.serialize_entry("overlap", &self.overlap.to_string())?;
        entry(&mut map, "gap", self.gap.map(|gap| gap.to_string()))?;
        entry(&mut map, "fold", self.fold.map(|fold| fold.to_string()))?;
        map.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &'static str,
    value: Option<T>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Wire::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl TryFrom<Wire> for Schedule {
    type Error = ScheduleError;

    fn try_from(wire: Wire) -> Result<Self, ScheduleError> {
        let mut schedule = match (&wire.cron, wire.every, wire.at, &wire.solar) {
            (Some(cron), None, None, None) => Self::cron(cron)?,
            (None, Some(every), None, None) => {
                let every = Self::every(Duration::from_millis(every))?;
                every.anchored(wire.anchor.unwrap_or_default())
            }
            (None, None, Some(at), None) => Self::at(at),
            (None, None, None, Some(event)) => {
                let latitude = wire.lat.ok_or(ScheduleError::Missing { what: "lat" })?;
                let longitude = wire.lon.ok_or(ScheduleError::Missing { what: "lon" })?;
                Self::solar(event.parse()?, latitude, longitude)?
            }
            (cron, every, at, solar) => {
                let count = [
                    cron.is_some(),
                    every.is_some(),
                    at.is_some(),
                    solar.is_some(),
                ]
                .into_iter()
                .filter(|given| *given)
                .count();
                return Err(ScheduleError::Kinds { count });
            }
        };
        if let Some(name) = &wire.tz {
            schedule = schedule.tz(name)?;
        }
        for date in &wire.except {
            schedule = schedule.except(date)?;
        }
        schedule.starting = wire.from;
        schedule.ending = wire.until;
        schedule.jitter = Duration::from_millis(wire.jitter.unwrap_or(0));
        schedule.max_runs = wire.runs;
        schedule.misfire = parsed(wire.misfire.as_deref())?.unwrap_or_default();
        schedule.overlap = parsed(wire.overlap.as_deref())?.unwrap_or_default();
        schedule.gap = parsed(wire.gap.as_deref())?;
        schedule.fold = parsed(wire.fold.as_deref())?;
        Ok(schedule)
    }
}

fn parsed<T: std::str::FromStr<Err = ScheduleError>>(
    text: Option<&str>,
) -> Result<Option<T>, ScheduleError> {
    text.map(str::parse).transpose()
}
