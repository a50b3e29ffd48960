//! A small web shop: orders come in over HTTP, workers bring them on their way, and mail goes out by SMTP.

mod form;
mod journal;
mod mail;
mod mails;
mod order;
mod page;
mod report;
mod settings;
mod shop;
mod signals;
mod sink;
mod tasks;
mod web;

pub use form::{Draft, Problem, Wish};
pub use journal::{JournalError, ORDERS_MAX, Orders, Placing};
pub use mail::Mailer;
pub use order::{CATALOGUE, Order, Product, Step};
pub use report::{Sales, ZONE};
pub use settings::{Pace, Settings};
pub use shop::{KEY_BYTES_MAX, PlaceError, Shop};
pub use signals::{closed, stopped};
pub use sink::Sink;
pub use tasks::{
    MAIL_QUEUE, ORDERS_QUEUE, daily_sales_report, fulfil, pick_up_orders, send_receipt,
};
pub use web::router;
