//! Batches: the bytes that they are, and bytes that are none.

use proptest::prelude::*;

use super::*;

#[test]
fn a_sealed_batch_reads_back_with_its_header_and_operations() {
    let mut batch = BatchBuffer::new();
    batch.put(ColumnFamilyId(0), b"k", b"v");
    batch.delete(ColumnFamilyId(300), b"");
    let payload = batch.seal(SeqNo::new(7), SeqNo::new(3)).to_vec();
    let view = BatchView::parse(&payload).unwrap();
    assert_eq!((view.first.get(), view.durable.get(), view.count), (7, 3, 2));
    let operations: Vec<_> = view.operations().map(|o| o.unwrap()).collect();
    assert_eq!(operations[0].value, b"v");
    assert_eq!(operations[1].kind, ValueKind::Delete);
    assert_eq!(operations[1].family, ColumnFamilyId(300));
}

#[test]
fn the_bytes_of_a_batch_are_pinned() {
    let mut batch = BatchBuffer::new();
    batch.put(ColumnFamilyId(1), b"ab", b"xyz");
    batch.delete(ColumnFamilyId(0), b"c");
    let payload = batch.seal(SeqNo::new(258), SeqNo::new(1));
    assert_eq!(
        payload,
        [
            2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, // header
            1, 1, 2, b'a', b'b', 3, b'x', b'y', b'z', // put
            0, 0, 1, b'c', // delete
        ]
    );
}

#[test]
fn a_key_over_the_limit_is_refused_when_the_batch_is_checked() {
    let mut batch = BatchBuffer::new();
    batch.put(ColumnFamilyId(0), &vec![0; KEY_BYTES_MAX + 1], b"");
    assert!(matches!(batch.check(), Err(Error::InvalidArgument { .. })));
    batch.clear();
    assert!(batch.check().is_ok());
}

#[test]
fn a_range_delete_is_its_start_and_its_end_and_an_empty_one_is_nothing() {
    let mut batch = BatchBuffer::new();
    batch.delete_range(ColumnFamilyId(2), b"ab", b"b");
    batch.delete_range(ColumnFamilyId(2), b"b", b"b");
    batch.delete_range(ColumnFamilyId(2), b"c", b"b");
    assert!(batch.check().is_ok());
    let payload = batch.seal(SeqNo::new(1), SeqNo::ZERO);
    assert_eq!(payload[16..], [1, 0, 0, 0, 3, 2, 2, b'a', b'b', 1, b'b']);
    let only = batch.operations().next().unwrap().unwrap();
    assert_eq!((only.kind, only.key, only.value), (ValueKind::RangeDelete, &b"ab"[..], &b"b"[..]));
}

#[test]
fn a_range_delete_that_no_writer_writes_is_refused() {
    let sealed = |operation: &[u8]| {
        let mut payload = vec![0; HEADER_BYTES];
        payload[16] = 1;
        payload.extend_from_slice(operation);
        BatchView::parse(&payload).unwrap().operations().all(|operation| operation.is_ok())
    };
    assert!(sealed(&[3, 0, 1, b'a', 1, b'b']));
    assert!(!sealed(&[3, 0, 1, b'b', 1, b'b']), "an empty range");
    assert!(!sealed(&[3, 0, 1, b'c', 1, b'b']), "the wrong way round");
    assert!(!sealed(&[3, 0, 1, b'a']), "no end");
    let mut long = vec![3, 0, 1, b'a'];
    put_prefixed(&mut long, &vec![b'b'; KEY_BYTES_MAX + 1]);
    assert!(!sealed(&long), "an end over the limit of a key");
    let mut batch = BatchBuffer::new();
    batch.delete_range(ColumnFamilyId(0), b"a", &vec![b'b'; KEY_BYTES_MAX + 1]);
    assert!(matches!(batch.check(), Err(Error::InvalidArgument { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_a_batch_or_refused_without_panic(bytes: Vec<u8>) {
        if let Some(view) = BatchView::parse(&bytes) {
            let _ = view.operations().count();
        }
    }

    #[test]
    fn every_truncation_is_refused(keys: Vec<Vec<u8>>) {
        let mut batch = BatchBuffer::new();
        for key in &keys {
            batch.put(ColumnFamilyId(0), key, key);
        }
        let payload = batch.seal(SeqNo::new(1), SeqNo::ZERO).to_vec();
        for cut in 0..payload.len() {
            let whole = BatchView::parse(&payload[..cut])
                .is_some_and(|view| view.operations().all(|o| o.is_ok()));
            prop_assert!(!whole, "cut at {}", cut);
        }
    }
}
