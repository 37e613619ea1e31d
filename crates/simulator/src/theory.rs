//! What the literature says each strategy costs, from the same numbers that the simulation has.
//!
//! With memtables of `M` bytes, `N` bytes of data and ratio `T`:
//!
//! | | written, log and flush included | sorted runs | space |
//! |---|---|---|---|
//! | leveled | `4 + (L - 1) · (T + 1)/2` to `… (T + 1)` | `L` and level 0 | `1 + 1/T` |
//! | tiered | `2 + K`, one more or less | `(T - 1) · K + 1` | up to `T` |
//! | lazy | `2 + K - 1 + (T + 1)/2` to `… T + 1` | `(T - 1) · (K - 1) + 1` | `1 + 1/T` |
//! | windows | `2`, to `2 +` the tiers of one window | the tiers of one window | `1` |
//! | fifo | `2`, to `2 + log_8(N / 32M)` | as many | `1` |
//!
//! `L = 1 + log_T(N / 4M)` levels, `1 + log_T(N / 10M)` where level 0 gathers because nobody
//! reads; `K = log_T(N / M)` tiers. Leveling and tiering: O'Neil and others 1996, Jagadish and
//! others 1997; lazy leveling: Dayan and Idreos, "Dostoevsky", SIGMOD 2018. The two ends for
//! leveled levels are a level that fills up from empty (half of the next is there on average) and
//! one that is always full.

use crate::settings::{Policy, Settings};

/// What theory expects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The least and the most bytes written for each byte of the user's, the log included.
    pub write: (f64, f64),
    /// Sorted runs that a lookup meets at most.
    pub runs: f64,
    /// Bytes for each live byte, work under way left out.
    pub space: f64,
}

/// What theory expects of `settings`, for keys that are drawn again and again.
pub fn expected(settings: &Settings) -> Expected {
    let data = settings.live_bytes as f64;
    let memtable = settings.options.memtable_bytes as f64;
    let ratio = f64::from(settings.ratio());
    let log = |base: f64, of: f64| if of > 1.0 { of.ln() / base.ln() } else { 0.0 };
    let tiers = log(ratio, data / memtable).ceil();
    match settings.policy {
        Policy::Leveled => {
            // Level sizes follow from the deepest: the first may be any part of a step.
            let gathered = settings.gathered();
            let deeper = log(ratio, data / (settings.options.level1_bytes as f64 * gathered));
            let write = |each: f64| 4.0 + deeper * each;
            let level0 = settings.options.level0_tables_compact as f64 * gathered;
            Expected {
                write: (write((ratio + 1.0) / 2.0), write(ratio + 1.0)),
                runs: level0 + 1.0 + deeper.ceil(),
                space: 1.0 + 1.0 / ratio,
            }
        }
        Policy::Tiered => Expected {
            write: (1.0 + tiers, 3.0 + tiers),
            runs: (ratio - 1.0) * tiers + 1.0,
            space: ratio,
        },
        Policy::Lazy => {
            let above = (tiers - 1.0).max(0.0);
            Expected {
                write: (1.0 + above + (ratio + 1.0) / 2.0, 3.0 + above + ratio + 1.0),
                runs: (ratio - 1.0) * above + 1.0,
                space: 1.0 + 1.0 / ratio,
            }
        }
        Policy::Windows => {
            let tiers = log(ratio, data / crate::settings::WINDOWS as f64 / memtable).ceil();
            Expected { write: (2.0, 3.0 + tiers), runs: (ratio - 1.0) * tiers + 1.0, space: 1.0 }
        }
        Policy::Fifo => {
            let merges = log(8.0, data / 32.0 / memtable).ceil();
            Expected { write: (2.0, 3.0 + merges), runs: 8.0 * merges + 32.0, space: 1.0 }
        }
    }
}
