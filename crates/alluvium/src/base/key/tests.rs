//! Shortcuts for short keys answer as the plain forms do.

use super::*;

#[test]
fn newest_version_of_a_key_comes_first_and_prefixes_before_longer_keys() {
    let mut keys = [
        encode(b"ab", pack_trailer(SeqNo::new(1), ValueKind::Put)),
        encode(b"a", pack_trailer(SeqNo::new(7), ValueKind::Put)),
        encode(b"a", pack_trailer(SeqNo::new(9), ValueKind::Delete)),
        encode(b"", pack_trailer(SeqNo::new(3), ValueKind::Put)),
    ];
    keys.sort_by(|a, b| compare(a, b));
    let order: Vec<_> =
        keys.iter().map(|k| (user_key(k).to_vec(), trailer_seq(trailer(k)).get())).collect();
    assert_eq!(
        order,
        [(b"".to_vec(), 3), (b"a".to_vec(), 9), (b"a".to_vec(), 7), (b"ab".to_vec(), 1)]
    );
}

#[test]
fn a_seek_target_stands_before_what_it_may_see() {
    let target = encode(b"k", seek_trailer(SeqNo::new(5)));
    let visible = encode(b"k", pack_trailer(SeqNo::new(5), ValueKind::Put));
    let newer = encode(b"k", pack_trailer(SeqNo::new(6), ValueKind::Delete));
    assert_eq!(compare(&target, &visible), Ordering::Less);
    assert_eq!(compare(&target, &newer), Ordering::Greater);
}

#[test]
fn reserved_and_unknown_kinds_are_refused() {
    assert_eq!(trailer_kind(1), Some(ValueKind::Put));
    assert_eq!(trailer_kind(2), None);
    assert_eq!(trailer_kind(3), None, "a range tombstone is no point entry");
    assert_eq!(ValueKind::from_byte(3), Some(ValueKind::RangeDelete));
    assert_eq!(trailer_kind(0xff), None);
    assert_eq!(try_split(b"short"), None);
    assert_eq!(SeqNo::try_new(1 << 56), None);
}

#[test]
fn a_smaller_key_never_has_a_greater_order_prefix() {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for length in 0..=10 {
        for byte in [0u8, 1, 0x7f, 0x80, 0xff] {
            keys.push(vec![byte; length]);
            keys.push([vec![0xff; length], vec![byte]].concat());
        }
    }
    keys.sort();
    let prefixes: Vec<u64> = keys.iter().map(|key| order_prefix(&encode(key, 0x0102))).collect();
    assert!(prefixes.is_sorted());
    assert_eq!(order_prefix(&encode(b"abcdefghi", 1)), u64::from_be_bytes(*b"abcdefgh"));
    assert_eq!(order_prefix(&encode(b"ab", u64::MAX)), u64::from_be_bytes(*b"ab\0\0\0\0\0\0"));
}

/// Keys of 0 to 40 bytes that differ first, in the middle, last, in length, or not at all.
fn keys_hard_to_tell_apart() -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for length in [0usize, 1, 7, 8, 9, 15, 16, 17, 18, 24, 31, 32, 33, 40] {
        keys.push(vec![b'k'; length]);
        for at in [0, 7, 8, 15, 16, 17, 31, 32].into_iter().filter(|&at| at < length) {
            for byte in [0, b'l', 0xff] {
                let mut key = vec![b'k'; length];
                key[at] = byte;
                keys.push(key);
            }
        }
    }
    keys
}

#[test]
fn short_ways_to_compare_agree_with_the_long_ones() {
    let keys = keys_hard_to_tell_apart();
    for a in &keys {
        for b in &keys {
            assert_eq!(is_same(a, b), a == b, "{a:?} {b:?}");
            for trailers in [(1, 1), (1, 2), (2, 1)] {
                let (a, b) = (encode(a, trailers.0), encode(b, trailers.1));
                if order_prefix(&a) == order_prefix(&b) {
                    assert_eq!(compare_alike(&a, &b), compare(&a, &b), "{a:?} {b:?}");
                }
            }
        }
    }
}

#[test]
fn a_key_is_copied_whole_over_whatever_was_there() {
    let keys = keys_hard_to_tell_apart();
    for from in &keys {
        for before in [from.len(), 0, 9, 40] {
            let mut to = vec![b'x'; before];
            copy_into(&mut to, from);
            assert_eq!(&to, from);
        }
    }
}
