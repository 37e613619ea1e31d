//! The block of range tombstones under bytes that a stranger chose: fragments that can be, or an
//! error.

use bytes::Bytes;

use super::salvage::{table_with_ranges, tombstones};
use super::*;
use crate::base::limits::KEY_BYTES_MAX;
use crate::ranges::{Fragment, Fragments};
use crate::sstable::block::Block;
use crate::sstable::block_builder::BlockBuilder;
use crate::sstable::range_block::{build, parse};
use crate::sstable::separator::common_prefix;

/// Start, end and sequence number of an entry.
type Piece<'a> = (&'a [u8], &'a [u8], u64);

/// The block of these entries, whatever they are.
fn block_of(pieces: &[Piece<'_>], kind: ValueKind) -> Vec<u8> {
    let mut block = BlockBuilder::new(16);
    let mut last: &[u8] = &[];
    for (start, end, seq) in pieces {
        let internal_key = key::encode(start, pack_trailer(SeqNo::new(*seq), kind));
        block.add(common_prefix(last, start), &internal_key, end);
        last = start;
    }
    block.finish().clone()
}

fn read(bytes: &[u8]) -> Option<Fragments> {
    let block = Block::from_disk(Bytes::copy_from_slice(bytes)).ok()?;
    parse(&block).ok()
}

/// Fragments that were read hold to what all rely on, and are read again as they are.
fn assert_can_be(fragments: &Fragments) {
    let mut behind: &[u8] = &[];
    for fragment in fragments.iter() {
        assert!(fragment.start() < fragment.end() && behind <= fragment.start());
        assert!(fragment.start().len().max(fragment.end().len()) <= KEY_BYTES_MAX);
        let seqs: Vec<SeqNo> = fragment.seqs().collect();
        assert!(!seqs.is_empty() && seqs.is_sorted_by(|a, b| a > b), "{seqs:?}");
        behind = fragment.end();
    }
    let again = read(build(fragments).finish()).expect("own block");
    assert!(again.iter().eq(fragments.iter()));
}

fn refused(pieces: &[Piece<'_>]) -> bool {
    read(&block_of(pieces, ValueKind::RangeDelete)).is_none()
}

#[test]
fn every_flipped_byte_is_refused_or_read_as_fragments_that_can_be() {
    let mut ranges = tombstones();
    for n in 0..40u64 {
        let (start, end) = (format!("x{:03}", n * 3), format!("x{:03}", n * 3 + 5));
        ranges.insert(start.as_bytes(), end.as_bytes(), SeqNo::new(950_000 + n));
    }
    assert_can_be(&ranges);
    let good = build(&ranges).finish().clone();
    let (mut read_some, mut refused_some) = (0, 0);
    for at in 0..good.len() {
        for flip in (0..8).map(|bit| 1 << bit).chain([0xff, 0x55]) {
            let mut bad = good.clone();
            bad[at] ^= flip;
            match read(&bad) {
                Some(fragments) => {
                    assert_can_be(&fragments);
                    read_some += 1;
                }
                None => refused_some += 1,
            }
        }
    }
    // A flipped bit of a sequence number, say, cannot be told here: it is the checksum that tells.
    assert!(read_some > 100 && refused_some > 1_000, "{read_some} read, {refused_some} refused");
    for cut in 0..good.len() {
        read(&good[..cut]).iter().for_each(assert_can_be);
        read(&good[cut..]).iter().for_each(assert_can_be);
    }
}

#[test]
fn pieces_out_of_order_or_over_their_limits_are_refused() {
    let one: &[Piece<'_>] = &[(b"a", b"b", 5)];
    assert!(!refused(one));
    let two = read(&block_of(&[(b"a", b"b", 5), (b"a", b"b", 4)], ValueKind::RangeDelete));
    assert_eq!(two.map(|two| (two.iter().count(), two.tombstones())), Some((1, 2)));
    let wrong: [&[Piece<'_>]; 9] = [
        &[],
        &[(b"b", b"a", 5)],
        &[(b"a", b"a", 5)],
        &[(b"a", b"", 5)],
        &[(b"a", b"c", 5), (b"b", b"d", 4)],
        &[(b"b", b"c", 5), (b"a", b"b", 4)],
        &[(b"a", b"c", 5), (b"a", b"d", 4)],
        &[(b"a", b"b", 4), (b"a", b"b", 5)],
        &[(b"a", b"b", 4), (b"a", b"b", 4)],
    ];
    for pieces in wrong {
        assert!(refused(pieces), "{pieces:?}");
    }
    let longest = vec![b'k'; KEY_BYTES_MAX];
    let longer = vec![b'k'; KEY_BYTES_MAX + 1];
    assert!(!refused(&[(b"a", &longest, 5)]) && !refused(&[(&longest, b"l", 5)]));
    assert!(refused(&[(b"a", &longer, 5)]) && refused(&[(&longer, b"l", 5)]));
    for kind in [ValueKind::Put, ValueKind::Delete, ValueKind::PutExpiring] {
        assert!(read(&block_of(one, kind)).is_none(), "{kind:?}");
    }
    // Every front of the longest entry that is shared, and one byte more than there is to share.
    let mut block = BlockBuilder::new(16);
    let trailer = pack_trailer(SeqNo::new(5), ValueKind::RangeDelete);
    block.add(0, &key::encode(b"a", trailer), b"b");
    block.add(2, &key::encode(b"bbbb", trailer), b"c");
    assert!(read(block.finish()).is_none());
}

#[test]
fn every_flipped_byte_of_the_block_in_a_table_is_noticed() {
    let entries = numbered(100);
    let good = table_with_ranges(&entries, TableOptions::default());
    let handle = dictionary::footer_of(&good).ranges;
    for at in handle.offset..handle.end() {
        let mut bad = good.clone();
        bad[at as usize] ^= 0x04;
        assert_corruption(&open(&bad).expect_err("deleted keys would be back"));
    }
    let table = open(&good).expect("own table");
    assert!(table.ranges().iter().eq(tombstones().iter()));
    assert_eq!(table.properties().range_tombstones, tombstones().tombstones());
    assert!(damages(&table).is_empty());
    assert!(table.ranges().iter().map(Fragment::start).is_sorted());
}
