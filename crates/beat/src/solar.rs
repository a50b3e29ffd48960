//! Occurrences that follow the sun.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate};
use sunrise::{Coordinates, DawnType, SolarDay};

use crate::error::ScheduleError;
use crate::policies::words;

/// An instant of the sun's day, as Celery names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SolarEvent {
    /// The sun comes up to 18 degrees below the horizon.
    DawnAstronomical,
    /// The sun comes up to 12 degrees below the horizon.
    DawnNautical,
    /// The sun comes up to 6 degrees below the horizon.
    DawnCivil,
    /// The upper rim of the sun appears.
    Sunrise,
    /// The sun is highest.
    SolarNoon,
    /// The upper rim of the sun disappears.
    Sunset,
    /// The sun goes down to 6 degrees below the horizon.
    DuskCivil,
    /// The sun goes down to 12 degrees below the horizon.
    DuskNautical,
    /// The sun goes down to 18 degrees below the horizon.
    DuskAstronomical,
}

words!(
    SolarEvent,
    "solar event",
    "dawn_astronomical, dawn_nautical, dawn_civil, sunrise, solar_noon, sunset, dusk_civil, dusk_nautical or dusk_astronomical",
    DawnAstronomical = "dawn_astronomical",
    DawnNautical = "dawn_nautical",
    DawnCivil = "dawn_civil",
    Sunrise = "sunrise",
    SolarNoon = "solar_noon",
    Sunset = "sunset",
    DuskCivil = "dusk_civil",
    DuskNautical = "dusk_nautical",
    DuskAstronomical = "dusk_astronomical"
);

/// The longest time without an event where there is one at all: short of a pole, each comes at least once a year.
const SEARCH_DAYS_MAX: u64 = 400;

/// An event at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Solar {
    event: SolarEvent,
    place: Coordinates,
}

impl Solar {
    pub(crate) fn new(
        event: SolarEvent,
        latitude: f64,
        longitude: f64,
    ) -> Result<Self, ScheduleError> {
        for (what, degrees, limit) in [
            ("latitude", latitude, 90.0),
            ("longitude", longitude, 180.0),
        ] {
            if !(-limit..=limit).contains(&degrees) {
                return Err(ScheduleError::Coordinate {
                    what,
                    degrees,
                    limit,
                });
            }
        }
        let place = Coordinates::new(latitude, longitude).expect("both are within their limits");
        Ok(Self { event, place })
    }

    pub(crate) fn event(&self) -> SolarEvent {
        self.event
    }

    pub(crate) fn latitude(&self) -> f64 {
        self.place.lat()
    }

    pub(crate) fn longitude(&self) -> f64 {
        self.place.lon()
    }

    /// The first event that is not before `from`, in whole seconds; `None` if none comes in the next 400 days.
    pub(crate) fn first_from(&self, from: i64) -> Option<i64> {
        // Each day's event lies within half a day of its noon, and noon within half a day of noon in Greenwich, so
        // that the events of successive days are in order, and none of two days ago is still to come.
        let first = DateTime::from_timestamp_millis(from)?
            .date_naive()
            .checked_sub_days(Days::new(2))?;
        (0..SEARCH_DAYS_MAX)
            .filter_map(|days| first.checked_add_days(Days::new(days)))
            .filter_map(|date| self.on(date))
            .find(|at| from <= *at)
    }

    fn on(&self, date: NaiveDate) -> Option<i64> {
        use sunrise::SolarEvent as Event;
        let event = match self.event {
            SolarEvent::DawnAstronomical => Event::Dawn(DawnType::Astronomical),
            SolarEvent::DawnNautical => Event::Dawn(DawnType::Nautical),
            SolarEvent::DawnCivil => Event::Dawn(DawnType::Civil),
            SolarEvent::Sunrise => Event::Sunrise,
            SolarEvent::SolarNoon => return self.noon(date),
            SolarEvent::Sunset => Event::Sunset,
            SolarEvent::DuskCivil => Event::Dusk(DawnType::Civil),
            SolarEvent::DuskNautical => Event::Dusk(DawnType::Nautical),
            SolarEvent::DuskAstronomical => Event::Dusk(DawnType::Astronomical),
        };
        let at = SolarDay::new(self.place, date).event_time(event)?;
        Some(at.timestamp_millis())
    }

    /// The middle of the day on the equator, where the sun rises on each: noon depends on the longitude alone.
    fn noon(&self, date: NaiveDate) -> Option<i64> {
        let equator = SolarDay::new(Coordinates::new(0.0, self.longitude())?, date);
        let rise = equator.event_time(sunrise::SolarEvent::Sunrise)?;
        let set = equator.event_time(sunrise::SolarEvent::Sunset)?;
        Some(rise.timestamp().midpoint(set.timestamp()) * 1_000)
    }
}

impl fmt::Display for Solar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at latitude {}, longitude {}",
            self.event,
            self.latitude(),
            self.longitude()
        )
    }
}
