//! Deleting most of a store, and scanning what is left.

use super::{Outcome, Run, scan};
use crate::Result;
use crate::engines::Batch;
use crate::keys::{Key, Permutation, key_of};

/// Warms; deletes 90 % of the keys in random order, one at a time; scans at once, with
/// the tombstones of the deletes still about, and again when background work is idle.
pub fn deletes(run: &Run<'_>) -> Result<Outcome> {
    run.warm_loaded()?;
    let own_before = run.engine.written_bytes();
    let keys = run.settings.keys;
    let deleted = keys / 10 * 9;
    let order = Permutation::new(keys, run.settings.seed + 2);
    let build = |_| Ok(Batch::new(0));
    let timed = run.time_alike(1, build, |_, mut batch, latencies| {
        for position in 0..deleted {
            batch.clear();
            batch.delete(key_of(order.at(position)));
            run.engine.write(&batch)?;
            latencies.lap();
        }
        Ok(deleted)
    })?;
    let left = keys - deleted;
    // Compactions go on behind the scan: they count as settling. Its own time does not.
    let (at_once, behind) = run.beside(|run| scan::check_count(run, left))?;
    let user_bytes = deleted * size_of::<Key>() as u64;
    let mut outcome = Outcome::of_writes(run, timed, user_bytes, own_before)?;
    outcome.settled += behind;
    outcome.live_bytes = left * run.settings.entry_bytes();
    let settled = scan::check_count(run, left)?;
    Ok(outcome.with("scan at once rows/s", at_once).with("scan settled rows/s", settled))
}
