//! What was sold on one day, by the calendar of the shop.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::journal::Orders;
use crate::order::Order;

/// Where the shop is.
pub const ZONE: &str = "Europe/Lisbon";

/// The sales of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sales {
    /// The day.
    pub day: Date,
    /// How many orders.
    pub orders: u64,
    /// Of each product that was sold: how many, and for how many cents.
    pub products: BTreeMap<String, (u64, u64)>,
}

impl Sales {
    /// Those of the day before the one in which `at` is.
    pub async fn of_the_day_before(at: Timestamp, orders: &Orders) -> anyhow::Result<Self> {
        let (day, from, to) = day_before(at)?;
        let placed = move |order: &Order| {
            let at = order.placed_at.get();
            from <= at && at < to
        };
        Ok(Self::sum(day, &orders.select(placed).await?))
    }

    fn sum(day: Date, orders: &[Order]) -> Self {
        let mut products: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for order in orders {
            let (pieces, cents) = products.entry(order.title().to_owned()).or_default();
            *pieces += u64::from(order.quantity);
            *cents += order.cents;
        }
        Self {
            day,
            orders: orders.len() as u64,
            products,
        }
    }

    /// What all of them cost together, in cents.
    pub fn cents(&self) -> u64 {
        self.products.values().map(|(_, cents)| cents).sum()
    }
}

/// The day before that of `at`, with its first instant and the first after it, in milliseconds. A day has 23 or 25
/// hours when clocks change.
fn day_before(at: Timestamp) -> anyhow::Result<(Date, u64, u64)> {
    let today = at.in_tz(ZONE)?.date();
    let day = today.yesterday()?;
    let start = |date: Date| -> anyhow::Result<u64> {
        let first = date.in_tz(ZONE)?.timestamp();
        Ok(u64::try_from(first.as_millisecond())?)
    };
    Ok((day, start(day)?, start(today)?))
}

#[cfg(test)]
mod tests {
    use lovage::{Clock, ManualClock, Millis, secs};

    use super::*;
    use crate::form::Wish;

    #[test]
    fn a_day_is_the_calendars_with_23_24_or_25_hours() {
        for (at, day, hours) in [
            ("2026-07-02T06:00:00Z", "2026-07-01", 24),
            ("2026-03-30T06:00:00Z", "2026-03-29", 23),
            ("2026-10-26T07:00:00Z", "2026-10-25", 25),
            // It is the first of July in Lisbon by then.
            ("2026-06-30T23:30:00Z", "2026-06-30", 24),
            ("2026-01-01T07:00:00Z", "2025-12-31", 24),
        ] {
            let (date, from, to) = day_before(at.parse().unwrap()).unwrap();
            assert_eq!(
                (date.to_string().as_str(), (to - from) / 3_600_000),
                (day, hours),
                "{at}"
            );
        }
    }

    #[tokio::test]
    async fn the_sums_are_of_that_day_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = "2026-06-30T23:00:00Z".parse::<Timestamp>().unwrap();
        let first = Millis::new(u64::try_from(first.as_millisecond()).unwrap());
        let clock = ManualClock::starting_at(Millis::new(first.get() - 1));
        let journal = folder.path().join("orders.jsonl");
        let orders = Orders::with_clock(journal, Clock::Manual(clock.clone())).unwrap();
        for (id, product, quantity, then) in [
            ("the last of the day before", "cup", 9, 1),
            ("the first of the day", "cup", 2, 3600),
            ("another", "teapot", 1, 3600),
            ("and another", "cup", 3, 22 * 3600 - 1),
            ("the last of the day", "cup", 1, 1),
            ("the first of the next", "teapot", 50, 0),
        ] {
            let wish = Wish {
                name: "Ada".to_owned(),
                email: "ada@example.org".to_owned(),
                product: product.to_owned(),
                quantity: quantity.to_string(),
                key: String::new(),
            };
            orders
                .place(id.to_owned(), wish.check().unwrap())
                .await
                .unwrap();
            if then == 1 && id.contains("before") {
                clock.advance(lovage::ms(1));
            } else {
                clock.advance(secs(then));
            }
        }
        let at = "2026-07-02T06:00:00Z".parse().unwrap();
        let sales = Sales::of_the_day_before(at, &orders).await.unwrap();
        assert_eq!((sales.orders, sales.cents()), (4, 6 * 16_00 + 34_90));
        assert_eq!(sales.products["Cup, two of them"], (6, 96_00));
        assert_eq!(sales.products["Teapot, glass, 1 l"], (1, 34_90));
    }
}
