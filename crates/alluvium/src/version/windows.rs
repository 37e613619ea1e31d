//! The tables of level 0 by windows of event time, for the strategy that merges inside of them.
//!
//! A run of level 0 may hold tables of many windows: what a window's runs are is seen from its own
//! tables alone. The grouping is a pure function of the tables, of the windows' length and of where
//! keys have their time: tables whose times came from elsewhere are in no window. A level keeps it
//! once somebody has asked ([`super::Level::windows`]), and the next one takes over the windows
//! that an edit leaves alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::event_time::EventTimes;
use crate::base::file::FileNumber;
use crate::base::key::SeqNo;
use crate::version::digest::Digest;
use crate::version::level::chain;
use crate::version::run::Sums;
use crate::version::table_meta::TableMeta;

/// A sorted run of one window.
#[derive(Debug)]
pub struct WindowRun {
    /// Ascending, without overlap.
    pub tables: Vec<Arc<TableMeta>>,
    /// The numbers of the tables.
    pub numbers: Vec<FileNumber>,
    /// Bytes of the tables.
    pub bytes: u64,
}

/// The tables of one window.
#[derive(Debug)]
pub struct Window {
    /// As few as there can be; those placed first are the newest.
    pub runs: Vec<WindowRun>,
    /// What all of its tables hold.
    pub sums: Sums,
    /// When any of them may have something due.
    pub digest: Digest,
    /// The smallest sequence number.
    pub smallest_seq: SeqNo,
    /// The largest.
    pub largest_seq: SeqNo,
}

/// The tables of level 0 by windows.
#[derive(Debug)]
pub struct Windows {
    /// The length of a window in milliseconds.
    pub window_ms: u64,
    /// Where the times come from that count ([`EventTimes::source`]).
    pub source: u64,
    /// By the number of the window: event time divided by the length.
    pub windows: BTreeMap<u64, Arc<Window>>,
    /// Tables that belong into no single window, by number.
    pub unsorted: BTreeMap<FileNumber, Arc<TableMeta>>,
}

/// Where a table belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Range tombstones alone have no time.
    Nowhere,
    Window(u64),
    Unsorted,
}

impl Windows {
    /// `tables` by windows of `window_ms` milliseconds of times from `source`.
    #[must_use]
    pub fn build<'a>(
        (window_ms, source): (u64, u64),
        tables: impl IntoIterator<Item = &'a Arc<TableMeta>>,
    ) -> Windows {
        let (windows, unsorted) = (BTreeMap::new(), BTreeMap::new());
        let none = Windows { window_ms, source, windows, unsorted };
        let tables: Vec<Arc<TableMeta>> = tables.into_iter().cloned().collect();
        none.edited(&[], &tables)
    }

    /// The same without the tables `gone`, and with `added`.
    #[must_use]
    pub fn edited(&self, gone: &[Arc<TableMeta>], added: &[Arc<TableMeta>]) -> Windows {
        let mut next = Windows {
            window_ms: self.window_ms,
            source: self.source,
            windows: self.windows.clone(),
            unsorted: self.unsorted.clone(),
        };
        let mut touched: BTreeMap<u64, (BTreeSet<FileNumber>, Vec<Arc<TableMeta>>)> =
            BTreeMap::new();
        for table in gone {
            match self.place(table) {
                Place::Nowhere => {}
                Place::Window(window) => {
                    touched.entry(window).or_default().0.insert(table.number);
                }
                Place::Unsorted => {
                    next.unsorted.remove(&table.number);
                }
            }
        }
        for table in added {
            match self.place(table) {
                Place::Nowhere => {}
                Place::Window(window) => {
                    touched.entry(window).or_default().1.push(Arc::clone(table));
                }
                Place::Unsorted => {
                    next.unsorted.insert(table.number, Arc::clone(table));
                }
            }
        }
        for (window, (gone, mut tables)) in touched {
            let before = next.windows.remove(&window);
            let before = before.iter().flat_map(|window| &window.runs);
            let kept = before.flat_map(|run| run.tables.iter().zip(&run.numbers));
            let kept = kept.filter(|(_, number)| !gone.contains(number));
            tables.extend(kept.map(|(table, _)| Arc::clone(table)));
            if !tables.is_empty() {
                next.windows.insert(window, Arc::new(Window::build(tables)));
            }
        }
        next
    }

    fn place(&self, table: &TableMeta) -> Place {
        if table.entries == 0 {
            return Place::Nowhere;
        }
        let window = |time: u64| time / self.window_ms.max(1);
        let all_in_one = |times: &EventTimes| {
            times.source == self.source && window(times.first_ms) == window(times.last_ms)
        };
        let times = table.times.filter(all_in_one);
        times.map_or(Place::Unsorted, |times| Place::Window(window(times.first_ms)))
    }
}

impl Window {
    fn build(tables: Vec<Arc<TableMeta>>) -> Window {
        let sums = tables.iter().fold(Sums::default(), |sums, table| sums.and(Sums::of(table)));
        let digest =
            tables.iter().fold(Digest::NOTHING, |digest, table| digest.and(Digest::of(table)));
        let smallest_seq = tables.iter().map(|table| table.smallest_seq).min();
        let largest_seq = tables.iter().map(|table| table.largest_seq).max();
        let mut groups: BTreeMap<FileNumber, Vec<Arc<TableMeta>>> = BTreeMap::new();
        for table in tables {
            groups.entry(table.run_number()).or_default().push(table);
        }
        let mut groups: Vec<Vec<Arc<TableMeta>>> = groups.into_values().collect();
        for group in &mut groups {
            group.sort_by(|a, b| a.smallest_user_key().cmp(b.smallest_user_key()));
        }
        groups.sort_by_cached_key(|group| {
            let newest = group.iter().map(|table| table.largest_seq).max();
            std::cmp::Reverse((newest, group.first().map(|table| table.number)))
        });
        let chains = chain(&groups.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let run = |chain: Vec<usize>| {
            let tables: Vec<Arc<TableMeta>> =
                chain.into_iter().flat_map(|index| std::mem::take(&mut groups[index])).collect();
            WindowRun {
                numbers: tables.iter().map(|table| table.number).collect(),
                bytes: tables.iter().fold(0, |sum, table| sum.saturating_add(table.bytes)),
                tables,
            }
        };
        Window {
            runs: chains.into_iter().map(run).collect(),
            sums,
            digest,
            smallest_seq: smallest_seq.unwrap_or_default(),
            largest_seq: largest_seq.unwrap_or_default(),
        }
    }

    /// Its tables, run by run.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.runs.iter().flat_map(|run| &run.tables)
    }
}
