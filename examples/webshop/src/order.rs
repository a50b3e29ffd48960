//! What is sold, what an order is, and the way it goes.

use std::fmt;

use lovage::Millis;
use serde::{Deserialize, Serialize};

/// Something on sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name in forms and in the journal.
    pub code: &'static str,
    /// What people read.
    pub title: &'static str,
    /// Its price in cents.
    pub cents: u64,
}

/// Everything that is on sale.
pub const CATALOGUE: [Product; 4] = [
    Product {
        code: "teapot",
        title: "Teapot, glass, 1 l",
        cents: 34_90,
    },
    Product {
        code: "green-tea",
        title: "Green tea, 250 g",
        cents: 12_50,
    },
    Product {
        code: "black-tea",
        title: "Black tea, 250 g",
        cents: 9_80,
    },
    Product {
        code: "cup",
        title: "Cup, two of them",
        cents: 16_00,
    },
];

impl Product {
    /// The product of this code.
    pub fn find(code: &str) -> Option<Self> {
        CATALOGUE.into_iter().find(|product| product.code == code)
    }
}

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It was accepted.
    Placed,
    /// Its payment came in.
    Paid,
    /// It lies in a box.
    Packed,
    /// It has left.
    Shipped,
}

impl Step {
    /// The one that follows.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Placed => Some(Self::Paid),
            Self::Paid => Some(Self::Packed),
            Self::Packed => Some(Self::Shipped),
            Self::Shipped => None,
        }
    }

    /// Its name on the page and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Packed => "packed",
            Self::Shipped => "shipped",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An order as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Derived from the key that came with it: the same key is the same order, for ever.
    pub id: String,
    /// What people call it: 1 for the first.
    pub number: u64,
    /// Who ordered.
    pub name: String,
    /// Where the receipt goes.
    pub email: String,
    /// The code of the product.
    pub product: String,
    /// How many.
    pub quantity: u32,
    /// The price of all of them, as it was then.
    pub cents: u64,
    /// When it was accepted.
    pub placed_at: Millis,
    /// How far it has come.
    pub step: Step,
    /// Whether the mail server has taken its receipt.
    pub receipt_sent: bool,
}

impl Order {
    /// What people read of the product; its code where it is not sold any more.
    pub fn title(&self) -> &str {
        Product::find(&self.product).map_or(&self.product, |product| product.title)
    }
}

/// Cents as people read them.
pub(crate) fn euros(cents: u64) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}
