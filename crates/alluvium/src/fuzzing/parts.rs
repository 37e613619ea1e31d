//! The small parts: batches, integers, keys, filters.

use std::cmp::Ordering;

use crate::base::coding::{
    VARINT64_BYTES_MAX, put_prefixed, put_varint, take_prefixed, take_u32, take_u64, take_varint,
    take_varint32,
};
use crate::base::expiry;
use crate::base::key::ValueKind;
use crate::base::key::{self, TRAILER_BYTES};
use crate::batch::{BatchBuffer, BatchView};
use crate::filter::{FilterBuilder, FilterReader};

/// Reads `bytes` as a batch of the log.
///
/// # Panics
/// When a batch that was read does not encode to the bytes that it was read from.
pub fn batch(bytes: &[u8]) {
    let Some(view) = BatchView::parse(bytes) else { return };
    let mut again = BatchBuffer::new();
    let mut operations = view.operations();
    while let Some(operation) = operations.next() {
        let Ok(operation) = operation else {
            assert!(operations.next().is_none(), "a batch goes on behind what is no operation");
            return;
        };
        match operation.kind {
            ValueKind::Put => again.put(operation.family, operation.key, operation.value),
            ValueKind::RangeDelete => {
                again.delete_range(operation.family, operation.key, operation.value);
            }
            ValueKind::PutExpiring => {
                let Some((expiry_ms, value)) = expiry::split(operation.value) else {
                    panic!("a put that expires has no time");
                };
                again.put_until(operation.family, operation.key, value, expiry_ms);
            }
            _ => again.delete(operation.family, operation.key),
        }
    }
    assert!(again.check().is_ok(), "a batch was read that could not be written");
    assert_eq!(again.count(), view.count, "the count is not that of the operations");
    assert_eq!(again.seal(view.first, view.durable), bytes, "the batch encodes to other bytes");
}

/// Reads `bytes` as integers of every form, and as bytes behind their length.
///
/// # Panics
/// When a value that was read does not encode to the bytes that it was read from.
pub fn coding(bytes: &[u8]) {
    let mut rest = bytes;
    if let Some(value) = take_varint(&mut rest) {
        let mut again = Vec::new();
        put_varint(&mut again, value);
        assert!(again.len() <= VARINT64_BYTES_MAX, "a varint of {} bytes", again.len());
        assert_eq!(bytes.strip_prefix(&again[..]), Some(rest), "a varint is read otherwise");
        let narrow = take_varint32(&mut { bytes });
        assert_eq!(narrow, u32::try_from(value).ok(), "a narrow varint differs");
    }
    let mut rest = bytes;
    if let Some(inner) = take_prefixed(&mut rest) {
        let mut again = Vec::new();
        put_prefixed(&mut again, inner);
        assert_eq!(bytes.strip_prefix(&again[..]), Some(rest), "prefixed bytes are read otherwise");
    }
    if let Some(value) = take_u64(&mut { bytes }) {
        assert_eq!(value.to_le_bytes(), bytes[..8], "a fixed integer is read otherwise");
    }
    if let Some(value) = take_u32(&mut { bytes }) {
        assert_eq!(value.to_le_bytes(), bytes[..4], "a fixed integer is read otherwise");
    }
}

/// Orders three internal keys that `bytes` is cut into.
///
/// # Panics
/// When the order is none, or does not say what it is documented to say.
pub fn keys(bytes: &[u8]) {
    let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return };
    let at = |cut: u8| usize::from(cut).min(rest.len());
    let (low, high) = (at(first).min(at(second)), at(first).max(at(second)));
    let parts = [&rest[..low], &rest[low..high], &rest[high..]];
    let whole = parts.map(|part| key::try_split(part).map(|_| part));
    for (part, whole) in parts.iter().zip(whole) {
        assert_eq!(whole.is_some(), part.len() >= TRAILER_BYTES, "a key without a trailer");
    }
    let [Some(a), Some(b), Some(c)] = whole else { return };
    assert_eq!(key::compare(a, b), key::compare(b, a).reverse(), "the order has two opinions");
    if key::compare(a, b).is_le() && key::compare(b, c).is_le() {
        assert_ne!(key::compare(a, c), Ordering::Greater, "the order runs in a circle");
    }
    let expected = key::user_key(a).cmp(key::user_key(b));
    let expected = expected.then_with(|| key::trailer(b).cmp(&key::trailer(a)));
    assert_eq!(key::compare(a, b), expected, "keys ascend, then the newest comes first");
}

/// Reads `bytes` as a filter, and builds one from the hashes that they are cut into.
///
/// # Panics
/// When a filter denies a key that was added, or cannot be read back.
pub fn filter(bytes: &[u8]) {
    if let Some(filter) = FilterReader::parse(bytes) {
        assert!(filter.memory_bytes() <= bytes.len(), "a filter larger than its bytes");
        for chunk in bytes.chunks(8).take(64) {
            filter.may_contain(hash_of(chunk));
        }
    }
    let Some((&bits, hashes)) = bytes.split_first() else { return };
    let bits = f64::from(bits) / 8.0;
    let mut builder = FilterBuilder::new(bits);
    hashes.chunks(8).for_each(|chunk| builder.add_hash(hash_of(chunk)));
    let estimated = builder.estimated_bytes();
    let built = builder.finish();
    assert_eq!(built.len(), estimated, "a filter of another length than was expected");
    if built.is_empty() {
        return;
    }
    let Some(filter) = FilterReader::parse(&built) else { panic!("own filter is refused") };
    for chunk in hashes.chunks(8) {
        assert!(filter.may_contain(hash_of(chunk)), "a key that was added is denied");
    }
}

fn hash_of(chunk: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(word)
}
