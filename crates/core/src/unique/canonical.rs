//! One text for one value: a MessagePack value with the entries of its maps in an order that follows from them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::envelope::ARGS_DEPTH_MAX;

/// The text of `value`. What was written another way, such as a number in more bytes than it needs, is the same value.
pub(super) fn canonical(value: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(value);
    reader.set_max_depth(ARGS_DEPTH_MAX);
    let Text(text) = Text::deserialize(&mut reader).map_err(|error| error.to_string())?;
    Ok(text)
}

/// A kind, a length where the kind does not say it, and the content: no text begins another one.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Writer)
    }
}

struct Writer;

fn text(kind: u8, content: &[u8]) -> Text {
    let length = (content.len() as u64).to_be_bytes();
    Text([&[kind][..], &length, content].concat())
}

impl<'de> Visitor<'de> for Writer {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MessagePack value")
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(text(b'n', &[]))
    }

    fn visit_none<E>(self) -> Result<Text, E> {
        Ok(text(b'n', &[]))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(text(b'?', &[u8::from(value)]))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(text(b'i', &i128::from(value).to_be_bytes()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(text(b'i', &i128::from(value).to_be_bytes()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
        Ok(text(b'f', &value.to_bits().to_be_bytes()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Text, E> {
        Ok(text(b's', value.as_bytes()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Text, E> {
        Ok(text(b'b', value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Text, D::Error> {
        let Text(inner) = Text::deserialize(inner)?;
        Ok(text(b'x', &inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
        let mut all = Vec::new();
        while let Some(Text(item)) = items.next_element()? {
            all.extend(item);
        }
        Ok(text(b'[', &all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Text, A::Error> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        while let Some((Text(mut key), Text(value))) = entries.next_entry()? {
            key.extend(value);
            all.push(key);
        }
        all.sort_unstable();
        Ok(text(b'{', &all.concat()))
    }
}
