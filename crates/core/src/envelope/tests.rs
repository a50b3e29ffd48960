//! The wire form: golden bytes, round trips, and bytes that are none.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::time::secs;
use crate::unique::{Conflict, LockKey, Until};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:/@-]{1,200}"
}

fn when() -> impl Strategy<Value = Option<When>> {
    let ms = 0..=Millis::MAX.get();
    prop_oneof![
        Just(None),
        ms.clone().prop_map(|ms| Some(When::At(Millis::new(ms)))),
        ms.prop_map(|ms| Some(When::In(Duration::from_millis(ms)))),
    ]
}

fn span() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0..=Millis::MAX.get()).prop_map(Duration::from_millis))
}

fn id() -> impl Strategy<Value = TaskId> {
    any::<[u8; 16]>().prop_map(TaskId::from_bytes)
}

/// None that is debounced: that one has a start once it is encoded.
fn lock() -> impl Strategy<Value = Lock> {
    let ms = 0..=Millis::MAX.get();
    let until = prop_oneof![
        Just(Until::Start),
        Just(Until::Done),
        ms.prop_map(|ms| Until::Elapsed(Duration::from_millis(ms))),
    ];
    (any::<[u8; 16]>(), until, any::<bool>(), span()).prop_map(|(key, until, replaces, ttl)| Lock {
        key: LockKey::from_bytes(key),
        until,
        conflict: if replaces {
            Conflict::Replace
        } else {
            Conflict::Reject
        },
        ttl: ttl.filter(|_| !matches!(until, Until::Elapsed(_))),
    })
}

prop_compose! {
    fn envelope()(
        (id, task, queue, args) in (id(), name(), name(), vec(any::<u8>(), 0..300)),
        (priority, early, attempts, start, expires) in (0u8..10, any::<bool>(), any::<u16>(), when(), when()),
        (max_retries, timeout, hard_timeout, result_ttl) in (any::<Option<u32>>(), span(), span(), span()),
        (root, parent) in (proptest::option::of(id()), proptest::option::of(id())),
        (backoff, trace) in (any::<bool>(), any::<bool>()),
        (unique, remembered) in (proptest::option::of(lock()), span()),
        headers in btree_map(".{0,20}", ".{0,20}", 0..5),
    ) -> Envelope {
        Envelope {
            priority: Priority::new(priority),
            ack: if early { Ack::Early } else { Ack::Late },
            attempts,
            start,
            expires,
            sent_at: Millis::new(1_700_000_000_000),
            max_retries,
            backoff: backoff.then(|| Backoff::linear(secs(3)).cap(secs(90)).jitter(0.25)),
            timeout,
            hard_timeout,
            result_ttl,
            unique,
            remembered,
            root,
            parent,
            trace: trace.then(|| TraceContext {
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
                tracestate: "rojo=00f067aa0ba902b7".into(),
            }),
            headers,
            ..Envelope::new(
                id,
                TaskName::parse(&task).unwrap(),
                QueueName::parse(&queue).unwrap(),
                rmp_serde::to_vec(&serde_bytes::ByteBuf::from(args)).unwrap().into(),
            )
        }
    }
}

#[test]
fn a_debounced_envelope_starts_after_its_span() {
    let mut envelope = small(b"\xc0");
    let conflict = Conflict::Debounce {
        span: secs(10),
        wait_max: Some(secs(60)),
    };
    envelope.unique = Some(Lock {
        key: LockKey::from_bytes([7; 16]),
        until: Until::Start,
        conflict,
        ttl: None,
    });
    let decode =
        |envelope: &Envelope| Envelope::decode(envelope.encode().unwrap().bytes()).unwrap();
    let decoded = decode(&envelope);
    assert_eq!(decoded.start, Some(When::In(secs(10))));
    assert_eq!(decoded.unique, envelope.unique);
    let at = Some(When::At(Millis::new(5)));
    envelope.start = at;
    assert_eq!(decode(&envelope).start, at);
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(envelope in envelope()) {
        let encoded = envelope.encode().unwrap();
        prop_assert_eq!(Envelope::decode(encoded.bytes()).unwrap(), envelope);
    }

    #[test]
    fn decoding_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Envelope::decode(&bytes.into());
    }

    #[test]
    fn decoding_a_damaged_envelope_never_panics(
        envelope in envelope(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = envelope.encode().unwrap().bytes().to_vec();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = Envelope::decode(&bytes.into());
    }
}

fn small(args: &[u8]) -> Envelope {
    Envelope::new(
        TaskId::from_bytes(*b"0123456789abcdef"),
        TaskName::parse("add").unwrap(),
        QueueName::parse("default").unwrap(),
        Bytes::copy_from_slice(args),
    )
}

/// Golden bytes are only ever added to: a version, once released, is read for ever as long as it is named here.
#[test]
fn released_versions_are_read_and_written_as_they_were() {
    let plain = small(b"\x82\xa1a\x01\xa1b\x02");
    let full = Envelope {
        priority: Priority::MAX,
        ack: Ack::Early,
        attempts: 2,
        start: Some(When::In(secs(10))),
        expires: Some(When::At(Millis::new(1_800_000_000_000))),
        sent_at: Millis::new(1_700_000_000_000),
        max_retries: Some(5),
        backoff: Some(Backoff::exponential(secs(1)).cap(secs(600))),
        timeout: Some(secs(30)),
        hard_timeout: Some(secs(60)),
        result_ttl: Some(secs(3600)),
        root: Some(TaskId::from_bytes([1; 16])),
        parent: Some(TaskId::from_bytes([2; 16])),
        trace: Some(TraceContext {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            tracestate: String::new(),
        }),
        headers: BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]),
        ..plain.clone()
    };
    for (name, golden, envelope) in [
        (
            "v1-plain",
            include_bytes!("../../tests/golden/v1-plain.bin").as_slice(),
            plain,
        ),
        (
            "v1-full",
            include_bytes!("../../tests/golden/v1-full.bin").as_slice(),
            full,
        ),
    ] {
        assert_eq!(envelope.encode().unwrap().bytes(), golden, "{name}");
        assert_eq!(
            Envelope::decode(&Bytes::from_static(golden)).unwrap(),
            envelope,
            "{name}"
        );
    }
}

#[test]
fn what_cannot_travel_is_refused_at_the_sender_with_the_limit() {
    let mut deep = vec![0x91; ARGS_DEPTH_MAX + 1];
    deep.push(0xc0);
    let mut headers = small(b"\xc0");
    headers.headers = (0..=HEADERS_MAX)
        .map(|n| (n.to_string(), String::new()))
        .collect();
    let large =
        rmp_serde::to_vec(&serde_bytes::ByteBuf::from(vec![0; ENVELOPE_BYTES_MAX])).unwrap();
    for (envelope, part) in [
        (small(&large), "the limit is 4194304"),
        (small(&deep), "nesting is limited to 64"),
        (small(b"\xc0\xc0"), "1 bytes behind the value"),
        (small(b""), "cannot be sent"),
        (headers, "65 headers, the limit is 64"),
    ] {
        let error = envelope.encode().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_is_no_envelope_is_refused_with_the_reason() {
    let good = small(b"\xc0").encode().unwrap().bytes().to_vec();
    let mut newer = good.clone();
    newer[0] = 2;
    let mut four_gigabytes = good[..HEADER_BYTES].to_vec();
    four_gigabytes.extend(b"\x81\xa1a\xc6\xff\xff\xff\xff");
    for (bytes, part) in [
        (vec![], "0 bytes is too short"),
        (newer, "version 2 is not known"),
        (good[..good.len() - 1].to_vec(), "cannot be read"),
        (four_gigabytes, "cannot be read"),
        (vec![VERSION; ENVELOPE_BYTES_MAX + 1], "too large"),
    ] {
        let error = Envelope::decode(&bytes.into()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_later_builds_field_is_ignored() {
    let mut bytes = small(b"\xc0").encode().unwrap().bytes().to_vec();
    // One more pair in the map, of a key that this build does not know.
    bytes[HEADER_BYTES] += 1;
    bytes.extend(b"\xa6future\x92\x01\x02");
    assert_eq!(Envelope::decode(&bytes.into()).unwrap(), small(b"\xc0"));
}

#[test]
fn pinning_makes_spans_into_instants() {
    let mut envelope = small(b"\xc0");
    envelope.start = Some(When::In(secs(10)));
    envelope.expires = Some(When::In(secs(20)));
    let pinned = edit::pin(envelope.encode().unwrap().bytes(), Millis::new(5_000));
    assert_eq!(edit::due(&pinned), Some(Millis::new(15_000)));
    let pinned = Envelope::decode(&pinned).unwrap();
    assert_eq!(pinned.start, Some(When::At(Millis::new(15_000))));
    assert_eq!(pinned.expires, Some(When::At(Millis::new(25_000))));
}

#[test]
fn counting_an_attempt_changes_nothing_else() {
    let envelope = Envelope {
        attempts: u16::MAX - 1,
        ..small(b"\xc0")
    };
    let once = edit::count_attempt(envelope.encode().unwrap().bytes());
    let expected = Envelope {
        attempts: u16::MAX,
        ..envelope
    };
    assert_eq!(Envelope::decode(&once).unwrap(), expected);
    assert_eq!(
        Envelope::decode(&edit::count_attempt(&once)).unwrap(),
        expected
    );
}
