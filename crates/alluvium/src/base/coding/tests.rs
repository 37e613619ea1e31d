use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn varints_round_trip(value: u64, rest: Vec<u8>) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert!(out.len() <= VARINT64_BYTES_MAX);
        out.extend_from_slice(&rest);
        let mut input = out.as_slice();
        prop_assert_eq!(take_varint(&mut input), Some(value));
        prop_assert_eq!(input, rest.as_slice());
    }

    #[test]
    fn any_bytes_decode_or_are_refused_without_moving(bytes: Vec<u8>) {
        let mut input = bytes.as_slice();
        if take_varint(&mut input).is_none() {
            prop_assert_eq!(input, bytes.as_slice());
        }
    }
}

#[test]
fn overlong_and_overflowing_varints_are_refused() {
    assert_eq!(take_varint(&mut [0x80, 0x00].as_slice()), None);
    let mut eleven_bytes = [0xffu8; 11];
    eleven_bytes[10] = 0;
    assert_eq!(take_varint(&mut eleven_bytes.as_slice()), None);
    let mut overflow = [0xffu8; 10];
    overflow[9] = 2;
    assert_eq!(take_varint(&mut overflow.as_slice()), None);
    assert_eq!(take_varint32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), None);
}

#[test]
fn a_prefixed_length_past_the_end_is_refused() {
    assert_eq!(take_prefixed(&mut [5, b'a'].as_slice()), None);
    let mut input = [1, b'a', b'b'].as_slice();
    assert_eq!(take_prefixed(&mut input), Some(b"a".as_slice()));
    assert_eq!(input, b"b");
}
