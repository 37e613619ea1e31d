//! That the stream is what it says it is.

use std::collections::HashMap;

use super::*;

#[test]
fn a_seed_is_a_stream() {
    let clicks = |seed| {
        let mut stream = ClickStream::new(seed);
        let mut log = Vec::new();
        (0..1000).for_each(|_| stream.next_click().put_log_line(&mut log));
        log
    };
    assert_eq!(clicks(1), clicks(1));
    assert_ne!(clicks(1), clicks(2));
}

#[test]
fn the_stream_is_skewed_and_a_little_out_of_order() {
    let mut stream = ClickStream::new(7);
    let (mut users, mut paths) = (HashMap::new(), HashMap::new());
    let (mut last, mut steps_back, mut missing) = (0, 0, 0);
    const CLICKS: u64 = 100_000;
    for _ in 0..CLICKS {
        let click = stream.next_click();
        *users.entry(click.user.to_vec()).or_insert(0u64) += 1;
        *paths.entry(click.path.to_vec()).or_insert(0u64) += 1;
        steps_back += u64::from(click.time_ms < last);
        missing += u64::from(click.bytes.is_none());
        last = click.time_ms;
    }
    let share = |counts: &HashMap<Vec<u8>, u64>| {
        let mut counts: Vec<u64> = counts.values().copied().collect();
        counts.sort_unstable();
        counts.iter().rev().take(10).sum::<u64>() * 100 / CLICKS
    };
    assert!((1..20).contains(&share(&users)), "{}", share(&users));
    assert!((10..50).contains(&share(&paths)), "{}", share(&paths));
    assert!((500..10_000).contains(&steps_back), "{steps_back}");
    assert!((3000..6000).contains(&missing), "{missing}");
}

#[test]
fn visitors_and_pages_have_names_of_their_own() {
    let stream = ClickStream::new(0);
    for names in [&stream.visitors, &stream.pages] {
        let count = names.starts.len() - 1;
        let different: std::collections::HashSet<&[u8]> =
            (0..count as u32).map(|number| names.get(number)).collect();
        assert_eq!(different.len(), count);
    }
}

#[test]
fn draws_follow_the_weights() {
    let table = AliasTable::zipf(50, 1.0);
    let mut random = Random(3);
    let mut counts = [0u32; 50];
    const DRAWS: u32 = 1_000_000;
    (0..DRAWS).for_each(|_| counts[table.draw(random.next()) as usize] += 1);
    let sum: f64 = (1..=50).map(|rank| 1.0 / f64::from(rank)).sum();
    for (rank, count) in (1..).zip(counts) {
        let expected = f64::from(DRAWS) / sum / f64::from(rank);
        let off = (f64::from(count) - expected).abs() / expected;
        assert!(off < 0.1, "rank {rank}: {count} draws, {expected} expected");
    }
}
