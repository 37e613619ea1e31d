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
