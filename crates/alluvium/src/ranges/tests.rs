//! Fragments against tombstones looked at one by one.

use proptest::prelude::*;

use super::*;

/// Tombstones as they were written, looked at one by one.
#[derive(Debug, Default, Clone)]
struct Naive(Vec<(Vec<u8>, Vec<u8>, SeqNo)>);

impl Naive {
    fn over<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = SeqNo> + 'a {
        let covers = move |(start, end, _): &&(Vec<u8>, Vec<u8>, SeqNo)| {
            start.as_slice() <= key && key < end.as_slice()
        };
        self.0.iter().filter(covers).map(|(_, _, seq)| *seq)
    }

    fn covering(&self, key: &[u8], at: SeqNo) -> SeqNo {
        self.over(key).filter(|seq| *seq <= at).max().unwrap_or(SeqNo::ZERO)
    }

    fn oldest_above(&self, key: &[u8], seq: SeqNo) -> Option<SeqNo> {
        self.over(key).filter(|newer| *newer > seq).min()
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'b', 0xff]), 0..4)
}

fn tombstones(most: usize) -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    prop::collection::vec((key(), key()), 0..most)
}

fn check_shape(fragments: &Fragments) {
    let all: Vec<&Fragment> = fragments.iter().collect();
    assert!(all.iter().all(|fragment| fragment.start() < fragment.end()));
    assert!(all.windows(2).all(|pair| pair[0].end() <= pair[1].start()));
    assert!(fragments.chunks.iter().all(|chunk| !chunk.is_empty()));
    let owned: Vec<Fragment> = all.into_iter().cloned().collect();
    assert_eq!(count(&owned), (fragments.fragments, fragments.tombstones));
}

/// Every key that is as short as those of the tombstones, and some between them.
fn probes() -> Vec<Vec<u8>> {
    let letters = [0u8, 1, b'a', b'b', 0xff];
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..3 {
        last = last
            .iter()
            .flat_map(|key: &Vec<u8>| letters.map(|letter| [key.as_slice(), &[letter]].concat()))
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn build(ranges: &[(Vec<u8>, Vec<u8>)]) -> (Fragments, Naive) {
    let (mut fragments, mut naive) = (Fragments::default(), Naive::default());
    for (index, (start, end)) in ranges.iter().enumerate() {
        let seq = SeqNo::new(1 + 2 * index as u64);
        fragments.insert(start, end, seq);
        naive.0.push((start.clone(), end.clone(), seq));
    }
    (fragments, naive)
}

proptest! {
    #[test]
    fn fragments_answer_as_the_tombstones_looked_at_one_by_one_do(ranges in tombstones(12)) {
        let (fragments, naive) = build(&ranges);
        check_shape(&fragments);
        for key in probes() {
            for at in 0..=2 * ranges.len() as u64 {
                let at = SeqNo::new(at);
                let expected = naive.covering(&key, at);
                prop_assert_eq!(fragments.covering(&key, at), expected);
                prop_assert_eq!(fragments.oldest_above(&key, at), naive.oldest_above(&key, at));
                let window = fragments.window(&key, at);
                prop_assert!(window.holds(&key));
                prop_assert_eq!(window.seq, expected);
            }
        }
    }

    #[test]
    fn a_window_gives_one_answer_over_all_of_it(ranges in tombstones(8), at in 0..20u64) {
        let (fragments, _) = build(&ranges);
        let at = SeqNo::new(at);
        let probes = probes();
        for key in &probes {
            let window = fragments.window(key, at);
            for other in probes.iter().filter(|other| window.holds(other)) {
                prop_assert_eq!(fragments.covering(other, at), window.seq);
            }
        }
    }

    #[test]
    fn what_is_clipped_covers_what_it_did_inside_and_nothing_outside(
        ranges in tombstones(10), from in key(), to in key(),
    ) {
        let (fragments, _) = build(&ranges);
        for (from, to) in [(None, Some(&to)), (Some(&from), None), (Some(&from), Some(&to))] {
            let mut clipped = Fragments::default();
            for piece in fragments.clipped(from.map(|k| &k[..]), to.map(|k| &k[..])) {
                let seqs: Vec<SeqNo> = piece.seqs().collect();
                prop_assert!(clipped.push(piece.start(), piece.end(), &seqs));
            }
            check_shape(&clipped);
            for key in probes() {
                let inside = from.is_none_or(|from| *from <= key) && to.is_none_or(|to| key < *to);
                let newest = |of: &Fragments| of.covering(&key, SeqNo::MAX);
                let expected = if inside { newest(&fragments) } else { SeqNo::ZERO };
                prop_assert_eq!(newest(&clipped), expected);
            }
        }
    }
}

#[test]
fn many_tombstones_stand_in_chunks_and_old_copies_do_not_change() {
    let mut fragments = Fragments::default();
    let name = |at: usize| format!("{at:06}").into_bytes();
    let mut copies = Vec::new();
    for step in 0..2_000usize {
        // Every other place first, in an order that jumps, then those between.
        let at = (step * 7919) % 2_000 * 2;
        fragments.insert(&name(at), &name(at + 1), SeqNo::new(step as u64 + 1));
        if step % 500 == 0 {
            copies.push((step, fragments.clone()));
        }
    }
    check_shape(&fragments);
    assert_eq!(fragments.tombstones(), 2_000);
    assert!(fragments.chunks.len() < 500, "{} chunks", fragments.chunks.len());
    for (step, copy) in copies {
        check_shape(&copy);
        assert_eq!(copy.tombstones(), step as u64 + 1);
    }
    fragments.insert(&name(0), &name(4_000), SeqNo::new(5_000));
    assert_eq!(fragments.covering(&name(3), SeqNo::MAX), SeqNo::new(5_000));
    assert_eq!(fragments.covering(&name(3), SeqNo::new(4_999)), SeqNo::ZERO);
}

#[test]
fn very_many_tombstones_over_one_key_are_dropped_without_a_deep_stack() {
    let mut fragments = Fragments::default();
    for seq in 1..=300_000 {
        fragments.insert(b"a", b"b", SeqNo::new(seq));
    }
    assert_eq!(fragments.tombstones(), 300_000);
    assert!(fragments.memory_bytes() > 300_000 * 32);
    drop(fragments);
}

#[test]
fn what_cannot_be_a_fragment_is_not_pushed() {
    let mut fragments = Fragments::default();
    let seqs = |numbers: &[u64]| numbers.iter().map(|n| SeqNo::new(*n)).collect::<Vec<_>>();
    assert!(!fragments.push(b"b", b"b", &seqs(&[1])));
    assert!(!fragments.push(b"b", b"c", &[]));
    assert!(!fragments.push(b"b", b"c", &seqs(&[1, 2])));
    assert!(!fragments.push(b"b", b"c", &seqs(&[2, 2])));
    assert!(fragments.push(b"b", b"c", &seqs(&[2, 1])));
    assert!(!fragments.push(b"b", b"d", &seqs(&[3])), "it overlaps the one before");
    assert!(fragments.push(b"c", b"d", &seqs(&[2, 1])));
    assert_eq!(fragments.iter().count(), 1, "two that touch and are alike become one");
    assert!(fragments.push(b"d", b"e", &seqs(&[2])));
    assert_eq!((fragments.iter().count(), fragments.tombstones()), (2, 3));
}
