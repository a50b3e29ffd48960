//! The mails of the shop: what stands in them, and how they are sent.

use std::fmt::Write as _;

use anyhow::Context as _;
use lettre::address::Envelope;
use lettre::message::{Mailbox, MessageBuilder, MultiPart};
use lettre::transport::smtp::response::Category;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use lovage::{TaskError, secs};

use crate::order::{Order, euros};
use crate::page::escape;
use crate::report::{Sales, ZONE};

/// Whose mails these are.
const DOMAIN: &str = "webshop.example";

/// Sends mails to one SMTP server.
#[derive(Clone, Debug)]
pub struct Mailer(AsyncSmtpTransport<Tokio1Executor>);

impl Mailer {
    /// A mailer for the server at `url`: `smtp://HOST:PORT`, or `smtps://USER:PASSWORD@HOST`. Connects with the first
    /// mail.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        // The URL may hold a password: it is not shown.
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .context("the mail server must be a URL like smtp://127.0.0.1:2525")?;
        Ok(Self(builder.timeout(Some(secs(20))).build()))
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// Permanent if the server says that it will never take it (5xx: an address that is not there, say). Otherwise it
    /// is worth trying again: the server is busy or away (4xx, no connection), or our password is wrong.
    pub(crate) async fn send(&self, mail: Message) -> Result<(), TaskError> {
        let Err(error) = self.0.send(mail).await else {
            return Ok(());
        };
        // The category of 530 and 535: they speak of us, not of this mail.
        let is_about_us = error
            .status()
            .is_some_and(|code| code.category == Category::Unspecified3);
        if error.is_permanent() && !is_about_us {
            Err(TaskError::permanent(error))
        } else {
            Err(error.into())
        }
    }
}

/// The receipt of an order.
pub(crate) fn receipt(order: &Order) -> Result<Message, TaskError> {
    let address: Address = order.email.parse().map_err(TaskError::permanent)?;
    // The form lets no control characters in. Whatever the journal holds, a name is one line here.
    let name: String = order.name.chars().filter(|c| !c.is_control()).collect();
    let (title, total) = (order.title(), euros(order.cents));
    let plain = format!(
        "Dear {name},\n\nthank you for your order number {number}:\n\n  {quantity} × {title}\n\nTogether: {total}\n\n\
         We write again only if something goes wrong.\n\nYour web shop\n",
        number = order.number,
        quantity = order.quantity,
    );
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n<body style=\"font:16px/1.5 sans-serif\">\n\
         <p>Dear {name},</p>\n<p>thank you for your order number {number}:</p>\n<table cellpadding=\"6\">\n\
         <tr><td>{quantity} × {title}</td><td align=\"right\"><b>{total}</b></td></tr>\n</table>\n\
         <p>We write again only if something goes wrong.</p>\n<p>Your web shop</p>\n</body></html>\n",
        name = escape(&name),
        number = order.number,
        quantity = order.quantity,
        title = escape(title),
    );
    let mail = Message::builder().subject(format!("Your order {}", order.number));
    let customer = Mailbox::new(Some(name), address);
    let boxes = (ours("Web shop", "orders"), customer);
    finish(mail, boxes, &format!("receipt.{}", order.id), plain, html)
}

/// The report of a day, for the owner of the shop.
pub(crate) fn report(sales: &Sales) -> Result<Message, TaskError> {
    let total = euros(sales.cents());
    let mut plain = format!("Orders on {} ({ZONE}): {}\n\n", sales.day, sales.orders);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n<body style=\"font:16px/1.5 sans-serif\">\n\
         <p>Orders on {} ({ZONE}): {}</p>\n<table cellpadding=\"6\">\n",
        sales.day, sales.orders
    );
    for (title, (pieces, cents)) in &sales.products {
        let (title, sum) = (title.as_str(), euros(*cents));
        let _infallible = writeln!(plain, "{pieces:>6} × {title:<30} {sum:>12}");
        let _infallible = writeln!(
            html,
            "<tr><td align=\"right\">{pieces} ×</td><td>{}</td><td align=\"right\">{sum}</td></tr>",
            escape(title)
        );
    }
    let _infallible = writeln!(plain, "\nTogether: {total}");
    let _infallible = writeln!(
        html,
        "</table>\n<p>Together: <b>{total}</b></p>\n</body></html>"
    );
    let mail = Message::builder().subject(format!("Sales of {}", sales.day));
    let boxes = (ours("Web shop", "reports"), ours("Owner", "owner"));
    finish(mail, boxes, &format!("sales.{}", sales.day), plain, html)
}

/// A mail of two equal parts. `id` is of what it says: a second copy has the same one.
fn finish(
    mail: MessageBuilder,
    (from, to): (Mailbox, Mailbox),
    id: &str,
    plain: String,
    html: String,
) -> Result<Message, TaskError> {
    // Unless it is said, the envelope is read out of the headers, which fails for some good addresses.
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.email.clone()]);
    let mail = mail.envelope(envelope.map_err(TaskError::permanent)?);
    mail.from(from)
        .to(to)
        .message_id(Some(format!("<{id}@{DOMAIN}>")))
        .multipart(MultiPart::alternative_plain_html(plain, html))
        .map_err(TaskError::permanent)
}

fn ours(name: &str, user: &str) -> Mailbox {
    let address = Address::new(user, DOMAIN).expect("the address is a constant");
    Mailbox::new(Some(name.to_owned()), address)
}

#[cfg(test)]
mod tests {
    use lovage::Millis;

    use super::*;
    use crate::order::Step;

    fn order(name: &str, email: &str) -> Order {
        Order {
            id: "7b6c".to_owned(),
            number: 7,
            name: name.to_owned(),
            email: email.to_owned(),
            product: "cup".to_owned(),
            quantity: 2,
            cents: 32_00,
            placed_at: Millis::new(0),
            step: Step::Placed,
            receipt_sent: false,
        }
    }

    fn receipt_for(name: &str) -> String {
        let mail = receipt(&order(name, "ada@example.org"));
        String::from_utf8(mail.unwrap().formatted()).unwrap()
    }

    #[test]
    fn each_address_that_the_form_takes_is_the_one_that_is_mailed_to() {
        for (name, email) in [
            ("Ada", "ada@example.org"),
            ("<b> \"Ada\", Bob <bob@example.org>", "ada@example.org"),
            ("Ada", "\"ada b\"@example.org"),
            ("Ada", "ada@[127.0.0.1]"),
            ("Ada\u{2028}\u{202e}", "ada+tag@xn--bcher-kva.example"),
        ] {
            let mail = receipt(&order(name, email)).unwrap();
            let to: Vec<&str> = mail.envelope().to().iter().map(AsRef::as_ref).collect();
            assert_eq!(to, [email], "{name}");
        }
    }

    #[test]
    fn a_receipt_says_who_what_and_how_much() {
        let mail = receipt_for("Ada");
        for part in [
            "From: \"Web shop\" <orders@webshop.example>\r\n",
            "To: Ada <ada@example.org>\r\n",
            "Subject: Your order 7\r\n",
            "Message-ID: <receipt.7b6c@webshop.example>\r\n",
            "Content-Type: multipart/alternative",
            "32.00",
        ] {
            assert!(mail.contains(part), "{part}\n{mail}");
        }
    }

    #[test]
    fn no_name_makes_a_header_or_an_element() {
        let mail = receipt_for("Ada\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>");
        let (headers, _) = mail.split_once("\r\n\r\n").unwrap();
        for line in headers.lines() {
            assert!(!line.to_ascii_lowercase().starts_with("bcc"), "{headers}");
        }
        let (_, html) = mail.split_once("Content-Type: text/html").unwrap();
        assert!(!html.contains("<script"), "{html}");
    }
}
