//! Thumbnails of a folder of images: the task that makes one, and the contact sheet that shows them all.

mod sheet;
mod task;

pub use sheet::{Entry, contact_sheet};
pub use task::{QUEUE, Thumbnail, is_image, is_leftover, thumbnail};

/// The examples of the project's README, held to compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
