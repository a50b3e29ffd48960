//! What somebody wishes to order, and what must be true of it.

use lettre::Address;
use serde::{Deserialize, Deserializer, Serialize};

use crate::order::Product;

/// The most of one product in one order.
const QUANTITY_MAX: u32 = 99;
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The longest address, in bytes: what SMTP allows.
const EMAIL_BYTES_MAX: usize = 254;

/// An order as it comes in, from the form or as JSON: anything may be in it, or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Who orders.
    pub name: String,
    /// Where the receipt goes.
    pub email: String,
    /// The code of a product.
    pub product: String,
    /// How many; a number or its digits.
    #[serde(deserialize_with = "number_or_text")]
    pub quantity: String,
    /// The key that the page was made with; programs send the header `Idempotency-Key` instead.
    pub key: String,
}

/// An order that can be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who orders: no control characters, so no second line in a header of a mail.
    pub name: String,
    /// Where the receipt goes: an address that SMTP can say.
    pub email: Address,
    /// What.
    pub product: Product,
    /// How many.
    pub quantity: u32,
}

/// What is wrong with one field of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Wish {
    /// The draft, or everything that is wrong.
    pub fn check(&self) -> Result<Draft, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut keep = |field, checked: Result<(), String>| {
            if let Err(message) = checked {
                problems.push(Problem { field, message });
            }
        };
        let name = self.name.trim();
        keep("name", check_name(name));
        let email = parse_email(self.email.trim());
        keep("email", email.as_ref().map(drop).map_err(Clone::clone));
        let product = Product::find(&self.product);
        keep(
            "product",
            product
                .map(drop)
                .ok_or_else(|| "choose one of the products".to_owned()),
        );
        let quantity = self.quantity.trim().parse::<u32>().ok();
        let quantity = quantity.filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
        keep(
            "quantity",
            quantity
                .map(drop)
                .ok_or_else(|| format!("must be a whole number from 1 to {QUANTITY_MAX}")),
        );
        match (email, product, quantity) {
            (Ok(email), Some(product), Some(quantity)) if problems.is_empty() => Ok(Draft {
                name: name.to_owned(),
                email,
                product,
                quantity,
            }),
            _ => Err(problems),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.is_empty() {
        Err("is missing".to_owned())
    } else if NAME_CHARS_MAX < length {
        Err(format!(
            "has {length} characters, at most {NAME_CHARS_MAX} are possible"
        ))
    } else if name.chars().any(char::is_control) {
        Err("must be one line, without control characters".to_owned())
    } else {
        Ok(())
    }
}

fn parse_email(email: &str) -> Result<Address, String> {
    if email.is_empty() {
        return Err("is missing".to_owned());
    }
    if EMAIL_BYTES_MAX < email.len() {
        return Err(format!(
            "is longer than the {EMAIL_BYTES_MAX} bytes that mail allows"
        ));
    }
    // Not every server takes addresses beyond ASCII.
    let address = email.is_ascii().then(|| email.parse().ok()).flatten();
    address.ok_or_else(|| "is not an address like ada@example.org".to_owned())
}

fn number_or_text<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    Ok(match Either::deserialize(value)? {
        Either::Number(number) => number.to_string(),
        Either::Text(text) => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            name: " Ada Lovelace ".to_owned(),
            email: "ada@example.org".to_owned(),
            product: "cup".to_owned(),
            quantity: "2".to_owned(),
            key: String::new(),
        }
    }

    #[test]
    fn a_good_wish_becomes_a_draft() {
        let draft = wish().check().unwrap();
        assert_eq!(
            (draft.name.as_str(), draft.quantity, draft.product.code),
            ("Ada Lovelace", 2, "cup")
        );
    }

    #[test]
    fn each_bad_field_is_named_with_what_would_be_right() {
        let with = |change: fn(&mut Wish)| {
            let mut wish = wish();
            change(&mut wish);
            wish.check().unwrap_err()
        };
        let cases: [(&str, &str, Vec<Problem>); 9] = [
            ("name", "missing", with(|wish| wish.name = "  ".to_owned())),
            (
                "name",
                "at most 100",
                with(|wish| wish.name = "ä".repeat(101)),
            ),
            (
                "name",
                "one line",
                with(|wish| wish.name = "Ada\r\nBcc: all@example.org".to_owned()),
            ),
            ("email", "missing", with(|wish| wish.email.clear())),
            (
                "email",
                "like ada@",
                with(|wish| wish.email = "ada@".to_owned()),
            ),
            (
                "email",
                "like ada@",
                with(|wish| wish.email = "a@b.c\r\nRCPT TO:<x@y.z>".to_owned()),
            ),
            (
                "product",
                "choose",
                with(|wish| wish.product = "moon".to_owned()),
            ),
            (
                "quantity",
                "1 to 99",
                with(|wish| wish.quantity = "0".to_owned()),
            ),
            (
                "quantity",
                "1 to 99",
                with(|wish| wish.quantity = "1e3".to_owned()),
            ),
        ];
        for (field, part, problems) in cases {
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].field, field);
            assert!(problems[0].message.contains(part), "{problems:?}");
        }
        assert_eq!(Wish::default().check().unwrap_err().len(), 4);
    }
}
