//! Makes a failing run small: drops operations while it still fails (Zeller's ddmin), then changes
//! out of batches.

use crate::operation::Operation;

/// The smallest failing run found with at most `tries` attempts; `fails` must hold for `run`.
pub fn shrink(
    run: &[Operation],
    tries: usize,
    mut fails: impl FnMut(&[Operation]) -> bool,
) -> Vec<Operation> {
    let mut left = tries;
    let mut fails = move |candidate: &[Operation]| {
        left = left.saturating_sub(1);
        left > 0 && fails(candidate)
    };
    let mut run = drop_chunks(run.to_vec(), |candidate| fails(candidate));
    for index in 0..run.len() {
        let Operation::Write { changes, durability } = run[index].clone() else { continue };
        let smaller = drop_chunks(changes, |changes| {
            let mut candidate = run.clone();
            candidate[index] = Operation::Write { changes: changes.to_vec(), durability };
            fails(&candidate)
        });
        run[index] = Operation::Write { changes: smaller, durability };
    }
    run
}

/// Drops ever smaller chunks of `items` while what is left still fails.
pub(crate) fn drop_chunks<T: Clone>(
    mut items: Vec<T>,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut chunk = items.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        while start < items.len() {
            let end = (start + chunk).min(items.len());
            let candidate = [&items[..start], &items[end..]].concat();
            if fails(&candidate) {
                items = candidate;
            } else {
                start = end;
            }
        }
        chunk /= 2;
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_to_fail_is_left() {
        let run: Vec<Operation> = (0..100).map(|slot| Operation::Snapshot { slot }).collect();
        let needed = [Operation::Snapshot { slot: 17 }, Operation::Snapshot { slot: 71 }];
        let small = shrink(&run, 10_000, |run| needed.iter().all(|n| run.contains(n)));
        assert_eq!(small, needed);
    }
}
