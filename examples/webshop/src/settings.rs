//! What the web server and the workers must agree on, from the environment.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use lovage::ms;

use crate::journal::Orders;
use crate::mail::Mailer;

/// The settings of one process of the shop.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `WEBSHOP_ORDERS`: the journal of orders. Every process needs to see this file.
    pub orders: PathBuf,
    /// `WEBSHOP_SMTP`: the mail server.
    pub smtp: String,
    /// `WEBSHOP_PACE_MS`: the pause between two steps of an order.
    pub pace: Pace,
}

/// The pause between two steps of an order.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// It.
    pub between_steps: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            between_steps: ms(1500),
        }
    }
}

impl Settings {
    /// The journal unless it is set.
    pub const ORDERS_DEFAULT: &str = "webshop-data/orders.jsonl";
    /// The mail server unless it is set: `mail-sink`.
    pub const SMTP_DEFAULT: &str = "smtp://127.0.0.1:2525";

    /// Those of the environment, and the defaults.
    pub fn from_env() -> anyhow::Result<Self> {
        let text =
            |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let pace = match env::var("WEBSHOP_PACE_MS") {
            Err(_) => Pace::default(),
            Ok(text) => {
                let between_steps = text.parse().map(ms).with_context(|| {
                    format!("WEBSHOP_PACE_MS is {text:?}, it must be a number of milliseconds")
                })?;
                Pace { between_steps }
            }
        };
        Ok(Self {
            orders: text("WEBSHOP_ORDERS", Self::ORDERS_DEFAULT).into(),
            smtp: text("WEBSHOP_SMTP", Self::SMTP_DEFAULT),
            pace,
        })
    }

    /// Opens what the tasks take as states.
    pub fn open(&self) -> anyhow::Result<(Orders, Mailer, Pace)> {
        Ok((
            Orders::open(&self.orders)?,
            Mailer::new(&self.smtp)?,
            self.pace,
        ))
    }
}
