//! The form of what beat keeps at the broker: MessagePack maps with named fields, tolerant to unknown ones.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deeper than anything that is written, with room for what newer builds add.
const DEPTH_MAX: usize = 16;

/// The bytes of `value`.
pub(crate) fn encode(value: &impl Serialize) -> Bytes {
    let mut out = BytesMut::new().writer();
    rmp_serde::encode::write_named(&mut out, value)
        .expect("maps of texts, numbers and bytes always encode");
    out.into_inner().freeze()
}

/// The value of `bytes`. Never panics, whatever they are.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut reader).map_err(|error| error.to_string())
}
