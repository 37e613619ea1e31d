//! Keys, values and states: that they order, come back, and survive any bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::codec::{Details, Status, take_details, take_prefixed};
use super::state::{Fingerprint, RejectState, Tail, TailOutcome};
use super::*;

fn user_key(user: &[u8], position: Position) -> Vec<u8> {
    let mut key = Vec::new();
    put_user_prefix(&mut key, user);
    key.extend_from_slice(&position.key());
    key
}

/// Texts in which zero bytes and their neighbours are common.
fn user() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'a', 0xfe, 0xff]), 0..6)
}

fn position() -> impl Strategy<Value = Position> {
    (0..=crate::time::TIME_MAX_MS, any::<u32>(), any::<u64>())
        .prop_map(|(time_ms, source, line)| Position { time_ms, source, line })
}

proptest! {
    #[test]
    fn keys_order_as_positions_do(a in position(), b in position()) {
        prop_assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
        prop_assert_eq!(Position::of_key(&a.key()).unwrap(), a);
    }

    #[test]
    fn keys_of_users_order_and_stay_apart(
        a in user(), b in user(), at in position(), then in position(),
    ) {
        let (one, two) = (user_key(&a, at), user_key(&b, then));
        prop_assert_eq!(one.cmp(&two), (&a, at).cmp(&(&b, then)));
        let mut prefix = Vec::new();
        put_user_prefix(&mut prefix, &a);
        prop_assert_eq!(two.starts_with(&prefix), a == b);
        prop_assert_eq!(Position::of_key(&two).unwrap(), then);
    }

    #[test]
    fn details_come_back(
        status in prop::option::of("[0-9]{0,5}|ok|0200|-1"),
        bytes in prop::option::of(any::<i64>()),
        method in prop::option::of("GET|HEAD|PATCH|[a-z]{0,4}"),
        path in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let event = Parsed {
            time_ms: 0,
            user: b"",
            path: &path,
            status: status.as_ref().map(String::as_bytes),
            bytes,
            method: method.as_ref().map(String::as_bytes),
        };
        let mut value = Vec::new();
        put_details(&mut value, &event);
        value.extend_from_slice(&path);
        let mut input = &value[..];
        let Details { status, bytes, method } = take_details(&mut input).unwrap();
        prop_assert_eq!(status.map(Status::to_bytes), event.status.map(<[u8]>::to_vec));
        prop_assert_eq!((bytes, method), (event.bytes, event.method));
        prop_assert_eq!(input, &path[..]);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut input = &bytes[..];
        if take_details(&mut input).is_ok() {
            take_prefixed(&mut input);
        }
        drop(SourceState::decode(&bytes));
        drop(RejectState::decode(&bytes));
        drop(Position::of_key(&bytes));
        drop(source_id(&bytes));
    }

    #[test]
    fn varints(number in any::<u64>()) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number);
        let mut input = &bytes[..];
        prop_assert_eq!(take_varint(&mut input), Some(number));
        prop_assert!(input.is_empty());
        prop_assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
    }
}

#[test]
fn states_come_back() {
    let tails = [
        None,
        Some(TailOutcome::Blank),
        Some(TailOutcome::Event { event_key: vec![1, 2], user_key: vec![3] }),
        Some(TailOutcome::Rejected("bad_time".into())),
    ];
    for became in tails {
        let state = SourceState {
            name: b"/var/log/access.log".to_vec(),
            head: Fingerprint::of(b"abc"),
            position: 12_345,
            lines: 67,
            events: 60,
            rejected: BTreeMap::from([("bad_time".to_string(), 6), ("bad_host".to_string(), 1)]),
            tail: became.map(|became| Tail { length: 9, became }),
            done: true,
        };
        let bytes = state.encode();
        assert_eq!(SourceState::decode(&bytes).unwrap(), state);
        for cut in 0..bytes.len() {
            assert!(SourceState::decode(&bytes[..cut]).is_err());
        }
    }
    let rejects = RejectState { length: 5, head: Fingerprint::of(b"x"), open: true };
    assert_eq!(RejectState::decode(&rejects.encode()).unwrap(), rejects);
}

#[test]
fn a_source_is_known_by_its_name_and_its_beginning() {
    let mut catalog = Catalog::default();
    let state = |name: &str, head: &str| SourceState {
        name: name.into(),
        head: Fingerprint::of(head.as_bytes()),
        ..SourceState::default()
    };
    catalog.set(0, state("a", "one"));
    catalog.set(1, state("a", "two"));
    catalog.set(2, state("b", "one"));
    catalog.set(3, state("a", "one and more"));
    let find =
        |name: &str, head: &str| catalog.find(name.as_bytes(), head.as_bytes()).map(|(id, _)| id);
    assert_eq!(find("a", "one"), Some(0));
    assert_eq!(find("a", "one, grown"), Some(0));
    assert_eq!(find("a", "one and more, grown"), Some(3));
    assert_eq!(find("a", "two"), Some(1));
    assert_eq!(find("a", "on"), None);
    assert_eq!(find("c", "one"), None);
    assert_eq!(catalog.next_id(), 4);
}
