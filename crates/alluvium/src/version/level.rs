//! One level of a version: its sorted runs.
//!
//! # Invariants
//! Checked when a level is built, so that no search has to doubt them: in a run tables are
//! ascending and disjoint in user keys. Level 0 has any number of runs, newest first (largest
//! sequence number, then run number); any other level has one at most.
//!
//! Tables of level 0 say which run they were written with: those make up a [`Group`]. What shares
//! no key is put end to end, so that a run here may be several groups: a lookup pays for runs, and
//! load in key order makes one.
//!
//! Runs of level 0 may overlap in keys *and* in sequence numbers (the runs of different time
//! windows do): whoever looks for the newest version of a key may stop at a run only when no later
//! run holds anything newer than what was found. [`Run::largest_seq`] tells.
//!
//! # Edits
//! A level is what its tables make it, whichever edits they came by ([`Level::build`]).
//! [`Level::edited`] comes to the same, and shares with the level before it what an edit leaves
//! alone: groups, and whole runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use crate::base::file::FileNumber;
use crate::base::key::{KeyEnd, SeqNo};
use crate::base::planted;
use crate::version::digest::Digest;
use crate::version::run::{Run, Sums};
use crate::version::table_meta::TableMeta;
use crate::version::windows::Windows;
use crate::version::{Breach, Checked};

/// The tables of level 0 that were written as one run, ascending and without overlap.
#[derive(Debug)]
struct Group {
    /// The number of the run.
    run: FileNumber,
    tables: Vec<Arc<TableMeta>>,
    /// The numbers of the tables, in their order.
    numbers: Vec<FileNumber>,
    newest: SeqNo,
}

impl Group {
    fn build(run: FileNumber, mut tables: Vec<Arc<TableMeta>>) -> Arc<Group> {
        tables.sort_by(|a, b| a.smallest_user_key().cmp(b.smallest_user_key()));
        let newest = tables.iter().map(|table| table.largest_seq).max();
        let numbers = tables.iter().map(|table| table.number).collect();
        Arc::new(Group { run, tables, numbers, newest: newest.unwrap_or_default() })
    }

    /// Groups are placed in this order: the newest first.
    fn age(&self) -> impl Ord + use<> {
        Reverse((self.newest, self.numbers.first().copied()))
    }
}

/// A sorted run of level 0 and what it is made of, in the order of keys.
#[derive(Debug, Clone)]
struct Chained {
    run: Arc<Run>,
    groups: Vec<Arc<Group>>,
    /// The largest number of a group.
    last_group: FileNumber,
}

impl Chained {
    fn build(groups: Vec<Arc<Group>>) -> Checked<Chained> {
        let tables = groups.iter().flat_map(|group| group.tables.iter().cloned()).collect();
        let last_group = groups.iter().map(|group| group.run).max().unwrap_or_default();
        Ok(Chained { run: Run::build(0, tables)?, groups, last_group })
    }

    fn is_of(&self, groups: &[Arc<Group>]) -> bool {
        self.groups.len() == groups.len()
            && self.groups.iter().zip(groups).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// The tables of one level.
#[derive(Debug)]
pub struct Level {
    runs: Vec<Arc<Run>>,
    /// In level 0: the same runs with what they are made of, in no order.
    chained: Vec<Chained>,
    /// The tables of all runs, where there are several and somebody has asked.
    tables: OnceLock<Vec<Arc<TableMeta>>>,
    sums: Sums,
    digest: Digest,
    /// The tables by windows of event time, of the length that was asked for first, or before.
    windows: OnceLock<Arc<Windows>>,
    /// The same, of another length that was asked for since.
    other_windows: OnceLock<Arc<Windows>>,
}

impl Default for Level {
    fn default() -> Level {
        Level {
            runs: Vec::new(),
            chained: Vec::new(),
            tables: OnceLock::new(),
            sums: Sums::default(),
            digest: Digest::NOTHING,
            windows: OnceLock::new(),
            other_windows: OnceLock::new(),
        }
    }
}

impl Level {
    /// Level `index` made of `tables`, in any order.
    pub(super) fn build(index: usize, tables: Vec<Arc<TableMeta>>) -> Checked<Level> {
        Level::default().edited(index, HashSet::new(), tables)
    }

    /// This level, which is level `index`, without the tables of these numbers and with `added`, in
    /// any order.
    pub(super) fn edited(
        &self,
        index: usize,
        mut gone: HashSet<FileNumber>,
        mut added: Vec<Arc<TableMeta>>,
    ) -> Checked<Level> {
        let mut windows = None;
        let (runs, chained) = if index == 0 {
            let mut taken = Vec::new();
            let chained = self.chained_without(&mut gone, added.clone(), &mut taken)?;
            let known = self.other_windows.get().or(self.windows.get());
            windows = known.map(|windows| Arc::new(windows.edited(&taken, &added)));
            (chained.iter().map(|one| Arc::clone(&one.run)).collect(), chained)
        } else {
            added.sort_by(|a, b| a.smallest_user_key().cmp(b.smallest_user_key()));
            let run = match self.runs.first() {
                Some(run) => run.edited(index, &mut gone, &added)?,
                None => Run::build(index, added)?,
            };
            (vec![run], Vec::new())
        };
        if let Some(&number) = gone.iter().next() {
            let detail = format!("table {number} is deleted from level {index} and is not there");
            return Err(Breach::of_table(number, detail));
        }
        let level = Level::of(index, runs, chained)?;
        Ok(Level { windows: windows.map_or_else(OnceLock::new, OnceLock::from), ..level })
    }

    fn of(index: usize, mut runs: Vec<Arc<Run>>, chained: Vec<Chained>) -> Checked<Level> {
        runs.retain(|run| !run.tables().is_empty());
        runs.sort_by_key(|run| Reverse((run.largest_seq(), run.numbers().next())));
        if planted::is("level0-oldest-first") {
            runs.reverse();
        }
        let (mut sums, mut digest) = (Sums::default(), Digest::NOTHING);
        for run in &runs {
            if sums.bytes.checked_add(run.bytes()).is_none() {
                return Err(Breach::new(format!("level {index} has 2^64 bytes or more")));
            }
            sums = sums.and(run.sums());
            digest = digest.and(*run.digest());
        }
        Ok(Level { runs, chained, sums, digest, ..Level::default() })
    }

    /// The runs of level 0 after an edit; what was found of `gone` moves from there to `taken`.
    fn chained_without(
        &self,
        gone: &mut HashSet<FileNumber>,
        added: Vec<Arc<TableMeta>>,
        taken: &mut Vec<Arc<TableMeta>>,
    ) -> Checked<Vec<Chained>> {
        let mut new: BTreeMap<FileNumber, Vec<Arc<TableMeta>>> = BTreeMap::new();
        for table in added {
            new.entry(table.run_number()).or_default().push(table);
        }
        if gone.is_empty()
            && let Some(chained) = self.chained_with_newest(&new)
        {
            return chained;
        }
        let mut groups = Vec::new();
        for group in self.chained.iter().flat_map(|chain| &chain.groups) {
            let joined = new.remove(&group.run);
            let loses = !gone.is_empty() && group.numbers.iter().any(|it| gone.contains(it));
            if joined.is_none() && !loses {
                groups.push(Arc::clone(group));
                continue;
            }
            let (out, mut tables): (Vec<_>, Vec<_>) =
                group.tables.iter().cloned().partition(|table| gone.remove(&table.number));
            taken.extend(out);
            tables.extend(joined.into_iter().flatten());
            if !tables.is_empty() {
                groups.push(Group::build(group.run, tables));
            }
        }
        groups.extend(new.into_iter().map(|(run, tables)| Group::build(run, tables)));
        groups.sort_by_cached_key(|group| group.age());
        let known = |groups: &[Arc<Group>]| self.chained.iter().find(|one| one.is_of(groups));
        let build = |chain: Vec<usize>| {
            let groups: Vec<Arc<Group>> =
                chain.into_iter().map(|index| Arc::clone(&groups[index])).collect();
            known(&groups).cloned().map_or_else(|| Chained::build(groups), Ok)
        };
        let tables: Vec<&[Arc<TableMeta>]> =
            groups.iter().map(|group| group.tables.as_slice()).collect();
        chain(&tables).into_iter().map(build).collect()
    }

    /// The runs of level 0 with one more group, where it is newer than all and goes into the newest
    /// run: what most flushes of keys in order do. It would be placed first, and take no room that
    /// any other group had, so that all others are placed as they were.
    fn chained_with_newest(
        &self,
        new: &BTreeMap<FileNumber, Vec<Arc<TableMeta>>>,
    ) -> Option<Checked<Vec<Chained>>> {
        let (&number, tables) = new.first_key_value().filter(|_| new.len() == 1)?;
        let newest = self.runs.first()?;
        let before = self.runs.get(1).map_or(SeqNo::ZERO, |run| run.largest_seq());
        let group = Group::build(number, tables.clone());
        let is_new = self.chained.iter().all(|chain| chain.last_group < number);
        if !is_new || newest.largest_seq() <= before || group.newest <= newest.largest_seq() {
            return None;
        }
        let place = self.chained.iter().position(|chain| Arc::ptr_eq(&chain.run, newest))?;
        let old = &self.chained[place];
        let (first, last) = (group.tables.first()?, group.tables.last()?);
        let at = old.groups.partition_point(|other| {
            other.tables.last().is_some_and(|t| t.largest_user_key() < first.smallest_user_key())
        });
        let next = old.groups.get(at).and_then(|other| other.tables.first());
        if next.is_some_and(|table| table.smallest_user_key() <= last.largest_user_key()) {
            return None;
        }
        let run = newest.edited(0, &mut HashSet::new(), &group.tables);
        let extended = |run| {
            let mut chained = self.chained.clone();
            let chain = &mut chained[place];
            chain.groups.insert(at, group);
            (chain.run, chain.last_group) = (run, number);
            chained
        };
        Some(run.map(extended))
    }

    /// The sorted runs, newest first: any number in level 0, one at most elsewhere.
    #[must_use]
    #[inline]
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The tables, run by run, the newest run first; ascending within each. Of several runs they
    /// are put together for the first who asks: whoever is asked often looks at the runs.
    #[must_use]
    pub fn tables(&self) -> &[Arc<TableMeta>] {
        let all = || self.runs.iter().flat_map(|run| run.tables()).cloned().collect();
        match self.runs.as_slice() {
            [] => &[],
            [run] => run.tables(),
            _ => self.tables.get_or_init(all),
        }
    }

    /// What the tables hold.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// The bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sums.bytes
    }

    /// When any table may have something due.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Those tables whose own digest `may` have something due, in the order of [`Level::tables`];
    /// a run without any is passed by.
    pub fn tables_that<'a>(
        &'a self,
        may: impl Fn(&Digest) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = &'a Arc<TableMeta>> + 'a {
        let runs = self.runs.iter().filter(move |run| may(run.digest()));
        runs.flat_map(move |run| run.tables_that(may))
    }

    /// In level 0: the tables by windows of `window_ms` milliseconds of event times from `source`.
    #[must_use]
    pub fn windows(&self, window_ms: u64, source: u64) -> Arc<Windows> {
        let tables = || self.runs.iter().flat_map(|run| run.tables());
        let build = || Arc::new(Windows::build((window_ms, source), tables()));
        let slots = [&self.windows, &self.other_windows].into_iter();
        let mut known = slots.map(|slot| slot.get_or_init(build));
        let is_asked =
            |known: &&Arc<Windows>| (known.window_ms, known.source) == (window_ms, source);
        known.find(is_asked).cloned().unwrap_or_else(build)
    }

    /// Whether `table` is one of it.
    #[must_use]
    pub fn holds(&self, table: &TableMeta) -> bool {
        self.runs.iter().any(|run| run.holds(table))
    }

    /// Whether there are no tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// In any level but 0: the one table that may hold `user_key`.
    #[cfg(test)]
    #[must_use]
    pub fn candidate(&self, user_key: &[u8]) -> Option<&Arc<TableMeta>> {
        self.runs.first()?.candidate(user_key)
    }

    /// In any level but 0: the tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn overlapping<'a>(
        &self,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> &[Arc<TableMeta>] {
        self.runs.first().map_or(&[], |run| run.overlapping(smallest_user_key, end))
    }

    /// In any level but 0: what the tables hold that may hold keys from `smallest_user_key` to
    /// `end`.
    #[must_use]
    pub fn overlapping_sums<'a>(
        &self,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> Sums {
        let sums = |run: &Arc<Run>| run.sums_of(run.range(smallest_user_key, end));
        self.runs.first().map(sums).unwrap_or_default()
    }

    /// The tables that overlap the range from `smallest_user_key` to `end`, or another table that
    /// does, in this level's order.
    pub(super) fn overlapping_expanded(
        &self,
        smallest_user_key: &[u8],
        end: KeyEnd<'_>,
    ) -> Vec<Arc<TableMeta>> {
        let (mut smallest, mut end) = (smallest_user_key, end);
        loop {
            let before = (smallest, end);
            for run in &self.runs {
                let found = run.overlapping(smallest, end);
                let (Some(first), Some(last)) = (found.first(), found.last()) else { continue };
                smallest = smallest.min(first.smallest_user_key());
                end = end.max(last.end());
            }
            if before == (smallest, end) {
                let found = self.runs.iter().flat_map(|run| run.overlapping(smallest, end));
                return found.cloned().collect();
            }
        }
    }
}

/// Which groups of tables to put end to end where they share no key, so that there are as few runs
/// as that gives: whatever is written in the order of its keys makes one run, however many flushes
/// it took. The first group is placed first, each into the first chain that has room for it. Chains
/// name groups by their indexes, in the order of keys.
#[must_use]
pub fn chain(groups: &[&[Arc<TableMeta>]]) -> Vec<Vec<usize>> {
    // Each chain: where its groups begin, and which they are.
    let mut chains: Vec<BTreeMap<&[u8], usize>> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let has_room = |chain: &BTreeMap<&[u8], usize>| {
            let before = chain.range(..=last.largest_user_key()).next_back();
            let ends = before.and_then(|(_, &other)| groups[other].last());
            ends.is_none_or(|table| table.largest_user_key() < first.smallest_user_key())
        };
        match chains.iter_mut().find(|chain| has_room(chain)) {
            Some(chain) => {
                chain.insert(first.smallest_user_key(), index);
            }
            None => chains.push(BTreeMap::from([(first.smallest_user_key(), index)])),
        }
    }
    chains.into_iter().map(|chain| chain.into_values().collect()).collect()
}
