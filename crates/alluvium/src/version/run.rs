//! A sorted run: tables that share no key, the searches over them, and what is known of all of them
//! without a look at each.
//!
//! # Looks at many tables
//! The facts of a table lie a pointer away, and its keys two. What pickers ask about all tables of
//! a run (is one of them busy, how many bytes lie between two keys, may anything be due) is
//! answered from [`Row`]s that lie side by side, from sums, and from a [`Digest`].
//!
//! # Changes
//! An edit takes some tables out and puts others in; [`Run::edited`] copies what stays, with its
//! rows, and looks at the new tables and their neighbours alone.
//!
//! # Searching
//! Every point lookup searches every sorted run, so the search is kept off the tables themselves: a
//! key of a table lies two pointers away, and ten of them are ten cache misses. [`Fences`] keeps
//! the eight bytes of each largest key that follow what all of them share, side by side; those
//! decide nearly every comparison.
//!
//! The road not taken: pointers from each table to the part of the next level that it overlaps
//! (fractional cascading) save more comparisons, but tie every version's levels together.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::base::file::FileNumber;
use crate::base::key::{KeyEnd, SeqNo};
use crate::version::digest::Digest;
use crate::version::table_meta::TableMeta;
use crate::version::{Breach, Checked};

/// What some tables hold, together. Counts saturate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Bytes of their files.
    pub bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// Their tombstones.
    pub tombstones: u64,
    /// Their range tombstones.
    pub range_tombstones: u64,
    /// Bytes of their filters.
    pub filter_bytes: u64,
    /// Bytes of the values that they need of blob files.
    pub blob_bytes: u64,
}

impl Sums {
    /// Bytes of the tables and of all that they need.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.blob_bytes)
    }

    /// Those of one table.
    #[must_use]
    pub fn of(table: &TableMeta) -> Sums {
        Sums {
            bytes: table.bytes,
            entries: table.entries,
            tombstones: table.tombstones,
            range_tombstones: table.range_tombstones,
            filter_bytes: table.filter_bytes,
            blob_bytes: table.blob_bytes(),
        }
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Sums) -> Sums {
        self.each(other, u64::saturating_add)
    }

    /// What is left without `other`.
    #[must_use]
    pub fn without(self, other: Sums) -> Sums {
        self.each(other, u64::saturating_sub)
    }

    fn each(self, other: Sums, with: fn(u64, u64) -> u64) -> Sums {
        Sums {
            bytes: with(self.bytes, other.bytes),
            entries: with(self.entries, other.entries),
            tombstones: with(self.tombstones, other.tombstones),
            range_tombstones: with(self.range_tombstones, other.range_tombstones),
            filter_bytes: with(self.filter_bytes, other.filter_bytes),
            blob_bytes: with(self.blob_bytes, other.blob_bytes),
        }
    }
}

/// What a run keeps of each table beside it.
#[derive(Debug, Clone, Copy)]
struct Row {
    number: FileNumber,
    sums: Sums,
    smallest_seq: SeqNo,
    largest_seq: SeqNo,
    has_ranges: bool,
    digest: Digest,
}

impl Row {
    fn of(table: &TableMeta) -> Row {
        Row {
            number: table.number,
            sums: Sums::of(table),
            smallest_seq: table.smallest_seq,
            largest_seq: table.largest_seq,
            has_ranges: table.range_tombstones > 0,
            digest: Digest::of(table),
        }
    }
}

/// Tables that are ascending and share no user key.
#[derive(Debug)]
pub struct Run {
    tables: Vec<Arc<TableMeta>>,
    /// One for each table.
    rows: Vec<Row>,
    /// Those that hold range tombstones.
    with_ranges: Vec<Arc<TableMeta>>,
    /// What the tables before each hold, and at the end what all do.
    sums: Vec<Sums>,
    smallest_seq: SeqNo,
    largest_seq: SeqNo,
    digest: Digest,
    fences: Fences,
}

impl Run {
    /// The run made of `tables`, which are ascending.
    pub(super) fn build(level: usize, tables: Vec<Arc<TableMeta>>) -> Checked<Arc<Run>> {
        for pair in tables.windows(2) {
            check_disjoint(level, &pair[0], &pair[1])?;
        }
        let rows = tables.iter().map(|table| Row::of(table)).collect();
        let fences = Fences::build(&tables);
        Run::assemble(level, tables, rows, fences)
    }

    fn assemble(
        level: usize,
        tables: Vec<Arc<TableMeta>>,
        rows: Vec<Row>,
        fences: Fences,
    ) -> Checked<Arc<Run>> {
        let mut sums = Vec::with_capacity(rows.len() + 1);
        let mut all = Sums::default();
        let mut digest = Digest::NOTHING;
        let (mut smallest_seq, mut largest_seq) = (SeqNo::MAX, SeqNo::ZERO);
        sums.push(all);
        for row in &rows {
            if all.bytes.checked_add(row.sums.bytes).is_none() {
                let detail = format!("level {level} has 2^64 bytes or more");
                return Err(Breach::of_table(row.number, detail));
            }
            all = all.and(row.sums);
            sums.push(all);
            digest = digest.and(row.digest);
            smallest_seq = smallest_seq.min(row.smallest_seq);
            largest_seq = largest_seq.max(row.largest_seq);
        }
        let with_ranges = tables.iter().zip(&rows).filter(|(_, row)| row.has_ranges);
        Ok(Arc::new(Run {
            with_ranges: with_ranges.map(|(table, _)| Arc::clone(table)).collect(),
            tables,
            rows,
            sums,
            smallest_seq,
            largest_seq,
            digest,
            fences,
        }))
    }

    /// This run without those tables whose numbers are in `gone` (they are taken out of it), and
    /// with `added`, which are ascending by their first keys.
    pub(super) fn edited(
        &self,
        level: usize,
        gone: &mut HashSet<FileNumber>,
        added: &[Arc<TableMeta>],
    ) -> Checked<Arc<Run>> {
        let mut next = Parts::with_room(self.tables.len() + added.len());
        let mut places = Vec::with_capacity(added.len());
        let mut at = 0;
        for table in added {
            let place = self.first_ending_at_or_behind(table.smallest_user_key()).max(at);
            next.copy(self, at..place, gone);
            places.push(next.tables.len());
            next.push(table, &self.fences.common);
            at = place;
        }
        next.copy(self, at..self.tables.len(), gone);
        // What stays was in order; only a new table can be in the way, or its neighbour in its.
        for place in places {
            for pair in next.tables[place.saturating_sub(1)..].windows(2).take(2) {
                check_disjoint(level, &pair[0], &pair[1])?;
            }
        }
        let fences = Fences::edited(&self.fences, &next.tables, next.heads);
        Run::assemble(level, next.tables, next.rows, fences)
    }

    /// The tables, ascending.
    #[must_use]
    #[inline]
    pub fn tables(&self) -> &[Arc<TableMeta>] {
        &self.tables
    }

    /// The numbers of the tables, in their order.
    pub fn numbers(&self) -> impl Iterator<Item = FileNumber> {
        self.rows.iter().map(|row| row.number)
    }

    /// What the tables hold.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.sums.last().copied().unwrap_or_default()
    }

    /// What the tables of `range`, indexes of them, hold. Counts that saturate are too low.
    #[must_use]
    pub fn sums_of(&self, range: Range<usize>) -> Sums {
        self.sums[range.end].without(self.sums[range.start])
    }

    /// What those tables hold whose numbers are `chosen`.
    #[must_use]
    pub fn sums_that(&self, chosen: impl Fn(FileNumber) -> bool) -> Sums {
        let rows = self.rows.iter().filter(|row| chosen(row.number));
        rows.fold(Sums::default(), |sums, row| sums.and(row.sums))
    }

    /// The bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sums().bytes
    }

    /// When any table may have something due.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Those tables whose own digest `may` have something due, ascending.
    pub fn tables_that<'a>(
        &'a self,
        may: impl Fn(&Digest) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Arc<TableMeta>> + 'a {
        let may = move |(row, _): &(&Row, &Arc<TableMeta>)| may(&row.digest);
        self.rows.iter().zip(&self.tables).filter(may).map(|(_, table)| table)
    }

    /// Whether `table` is one of it.
    #[must_use]
    pub fn holds(&self, table: &TableMeta) -> bool {
        let place = self.first_ending_at_or_behind(table.smallest_user_key());
        self.rows.get(place).is_some_and(|row| row.number == table.number)
    }

    /// Those tables that hold range tombstones, ascending.
    #[must_use]
    pub fn tables_with_ranges(&self) -> &[Arc<TableMeta>] {
        &self.with_ranges
    }

    /// The smallest sequence number in it.
    #[must_use]
    pub fn smallest_seq(&self) -> SeqNo {
        self.smallest_seq
    }

    /// The largest sequence number in it.
    #[must_use]
    #[inline]
    pub fn largest_seq(&self) -> SeqNo {
        self.largest_seq
    }

    /// The index of the first table that does not end before `user_key`, which is where a search
    /// for the key begins; the number of tables when there is none.
    #[must_use]
    #[inline]
    pub fn first_ending_at_or_behind(&self, user_key: &[u8]) -> usize {
        self.fences.search(&self.tables, user_key)
    }

    /// The one table that may hold `user_key`.
    #[must_use]
    #[inline]
    pub fn candidate(&self, user_key: &[u8]) -> Option<&Arc<TableMeta>> {
        let table = self.tables.get(self.first_ending_at_or_behind(user_key))?;
        (table.smallest_user_key() <= user_key).then_some(table)
    }

    /// The indexes of the tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn range<'a>(&self, smallest_user_key: &[u8], end: impl Into<KeyEnd<'a>>) -> Range<usize> {
        let end = end.into();
        let first = self.first_ending_at_or_behind(smallest_user_key);
        // The first that ends at or behind the end of the range may begin before it still.
        let mut last = self.first_ending_at_or_behind(end.key).max(first);
        if self.tables.get(last).is_some_and(|table| !end.is_before(table.smallest_user_key())) {
            last += 1;
        }
        first..last
    }

    /// The tables that may hold keys from `smallest_user_key` to `end`.
    #[must_use]
    pub fn overlapping<'a>(
        &self,
        smallest_user_key: &[u8],
        end: impl Into<KeyEnd<'a>>,
    ) -> &[Arc<TableMeta>] {
        &self.tables[self.range(smallest_user_key, end)]
    }
}

/// A run that is being put together.
struct Parts {
    tables: Vec<Arc<TableMeta>>,
    rows: Vec<Row>,
    heads: Vec<u64>,
}

impl Parts {
    fn with_room(count: usize) -> Parts {
        Parts {
            tables: Vec::with_capacity(count),
            rows: Vec::with_capacity(count),
            heads: Vec::with_capacity(count),
        }
    }

    /// Adds tables of `run`, but for those that are `gone`, which are taken out of that.
    fn copy(&mut self, run: &Run, range: Range<usize>, gone: &mut HashSet<FileNumber>) {
        let mut from = range.start;
        for index in range.clone() {
            // Once all have been found there is nothing to look for.
            if gone.is_empty() {
                break;
            }
            if gone.remove(&run.rows[index].number) {
                self.copy_all(run, from..index);
                from = index + 1;
            }
        }
        self.copy_all(run, from..range.end);
    }

    fn copy_all(&mut self, run: &Run, range: Range<usize>) {
        self.tables.extend_from_slice(&run.tables[range.clone()]);
        self.rows.extend_from_slice(&run.rows[range.clone()]);
        self.heads.extend_from_slice(&run.fences.heads[range]);
    }

    /// Adds a table. Its head counts only if its largest key begins with `common`.
    fn push(&mut self, table: &Arc<TableMeta>, common: &[u8]) {
        let rest = table.largest_user_key().strip_prefix(common).unwrap_or_default();
        self.heads.push(head(rest));
        self.rows.push(Row::of(table));
        self.tables.push(Arc::clone(table));
    }
}

fn check_disjoint(level: usize, one: &TableMeta, next: &TableMeta) -> Checked<()> {
    if one.end().is_before(next.smallest_user_key()) {
        return Ok(());
    }
    let (a, b) = (one.number, next.number);
    let detail = format!("tables {a} and {b} of level {level} overlap");
    Err(Breach::of_table(a.max(b), detail))
}

/// The largest user keys of a sorted run, cut to what a search looks at first.
#[derive(Debug, Default)]
struct Fences {
    /// What all largest keys begin with.
    common: Vec<u8>,
    /// The eight bytes of each that follow, big-endian, zeros where the key ends. Not descending.
    heads: Vec<u64>,
}

/// What the largest keys of all `tables` begin with: in order, so what the first and the last
/// share, all share.
fn common(tables: &[Arc<TableMeta>]) -> &[u8] {
    let (Some(first), Some(last)) = (tables.first(), tables.last()) else { return &[] };
    let (first, last) = (first.largest_user_key(), last.largest_user_key());
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    &first[..shared]
}

impl Fences {
    fn build(tables: &[Arc<TableMeta>]) -> Fences {
        let common = common(tables);
        let heads = tables.iter().map(|table| head(&table.largest_user_key()[common.len()..]));
        Fences { heads: heads.collect(), common: common.to_vec() }
    }

    /// Those of `tables`, whose heads behind what was common before are `heads`.
    fn edited(before: &Fences, tables: &[Arc<TableMeta>], heads: Vec<u64>) -> Fences {
        if common(tables) == before.common {
            Fences { common: before.common.clone(), heads }
        } else {
            Fences::build(tables)
        }
    }

    /// The first table that does not end before `key`.
    #[inline]
    fn search(&self, tables: &[Arc<TableMeta>], key: &[u8]) -> usize {
        let (begin, rest) = key.split_at(key.len().min(self.common.len()));
        match begin.cmp(&self.common) {
            Ordering::Less => return 0,
            Ordering::Greater => return tables.len(),
            Ordering::Equal => {}
        }
        let head = head(rest);
        let first = self.heads.partition_point(|&other| other < head);
        // Heads that are equal decide nothing: compare the keys. Seldom more than one.
        let equal = self.heads[first..].partition_point(|&other| other == head);
        first + tables[first..first + equal].partition_point(|table| table.end().is_before(key))
    }
}

#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}
