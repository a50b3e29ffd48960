//! Any bytes decode to an envelope or an error; an envelope that can be written again is the same one.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lovage_core::Envelope;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(data)) else {
        return;
    };
    // Arguments that are no MessagePack are read (a worker buries them) and never written.
    let Ok(written) = envelope.encode() else {
        return;
    };
    let read = Envelope::decode(written.bytes()).expect("what was written can be read");
    let again = read.encode().expect("what was read can be written");
    assert_eq!(written, again);
});
