//! Arguments of a task as TOML has them, and as a message has them: a MessagePack map by field name.

use bytes::Bytes;
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use toml::de::{DeTable, DeValue};

use super::table::integer;

/// The arguments of a table; instants and dates are texts as RFC 3339 has them.
///
/// # Errors
/// A number that TOML does not have.
pub(super) fn encode(table: &DeTable<'_>) -> Result<Bytes, String> {
    rmp_serde::to_vec_named(&Fields(table))
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

struct Fields<'a>(&'a DeTable<'a>);

struct Value<'a>(&'a DeValue<'a>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key.get_ref().as_ref(), &Value(value.get_ref()))?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            DeValue::String(text) => serializer.serialize_str(text),
            DeValue::Integer(number) => match integer(number) {
                Some(number) => serializer.serialize_i64(number),
                None => Err(S::Error::custom(format!(
                    "{number} is beyond the numbers of TOML, which end at {}; write it as a text",
                    i64::MAX
                ))),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) => serializer.serialize_f64(number),
                Err(error) => Err(S::Error::custom(error)),
            },
            DeValue::Boolean(flag) => serializer.serialize_bool(*flag),
            DeValue::Datetime(instant) => serializer.collect_str(instant),
            DeValue::Array(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&Value(value.get_ref()))?;
                }
                list.end()
            }
            DeValue::Table(table) => Fields(table).serialize(serializer),
        }
    }
}
