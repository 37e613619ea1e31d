//! Floor 7: the compaction pickers, opened for the simulator. Compiled with the feature
//! `simulation` only, hidden, and no part of what the crate promises.
//!
//! A [`Tree`] is one column family without bytes: a version of tables that exist as facts
//! alone, the picker that the options choose, and the tables that running jobs hold. It decides
//! nothing by itself. What to compact says the engine's own picker; that the plan keeps newer above
//! older, `compaction::order`; where an output ends, `compaction::split`; whether anything older
//! may lie below, the compaction job's own search; how long a writer waits, `db::stall`. How many
//! bytes come out of a merge is the caller's model (`crates/simulator`).
//!
//! Keys are numbers, encoded big-endian in eight bytes, so that the order is the same.

use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::event_time::EventTime;
use crate::base::file::FileNumber;
use crate::base::key::{self, SeqNo, ValueKind};
use crate::compaction::job::OlderRuns;
use crate::compaction::split::Split;
use crate::compaction::strategy::Picker;
use crate::compaction::{self, Ages, Busy, Compaction, CompactionPicker, Level0, View, order};
use crate::db::pacing::{self, Load, Pacer};
use crate::db::stall::{Pressure, Stall, fence};
use crate::options::ColumnFamilyOptions;
use crate::version::{EventTimes, Expiry, Level, TableFacts, TableMeta, Version};

/// The runs of level 0 that are due to be merged in a family of these options, which somebody reads
/// or not.
#[must_use]
pub fn level0_due(options: &ColumnFamilyOptions, read: bool) -> usize {
    options.level0_due(&options.strategy, if read { Level0::Lean } else { Level0::Gathering })
}

/// What is known of a table that has no bytes.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The number of its file; from [`Tree::new_number`].
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its entries, tombstones included; one at least.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// The sequence number of the oldest tombstone; 0 without one.
    pub oldest_tombstone: u64,
    /// Its first key and its last.
    pub keys: (u64, u64),
    /// Its smallest sequence number and its largest.
    pub seqs: (u64, u64),
    /// How many entries expire, the earliest and the latest time, in milliseconds since 1970.
    pub expiry: Option<(u64, u64, u64)>,
    /// The earliest and the latest event time, in milliseconds since 1970, as if the keys began
    /// with theirs ([`EventTime::big_endian_ms`]).
    pub times: Option<(u64, u64)>,
    /// The sorted run of level 0 that it is part of; 0 for one by itself.
    pub run: u64,
}

impl Facts {
    fn into_meta(self) -> Result<Arc<TableMeta>> {
        let bound = |key: u64, seq: u64| {
            let mut encoded = Vec::with_capacity(16);
            let trailer = key::pack_trailer(SeqNo::new(seq), ValueKind::Put);
            key::encode_into(&mut encoded, &key.to_be_bytes(), trailer);
            encoded
        };
        let meta = TableMeta::new(TableFacts {
            number: FileNumber(self.number),
            bytes: self.bytes,
            entries: self.entries,
            tombstones: self.tombstones,
            oldest_tombstone: SeqNo::new(self.oldest_tombstone),
            expiry: self.expiry.map(|(entries, first_ms, last_ms)| Expiry {
                entries,
                first_ms,
                last_ms,
            }),
            times: self.times.map(|(first_ms, last_ms)| {
                let source = EventTime::big_endian_ms(0).source();
                EventTimes { first_ms, last_ms, source }
            }),
            run: FileNumber(self.run),
            smallest: bound(self.keys.0, self.seqs.1),
            largest: bound(self.keys.1, self.seqs.0),
            smallest_seq: SeqNo::new(self.seqs.0),
            largest_seq: SeqNo::new(self.seqs.1),
            ..TableFacts::default()
        })?;
        Ok(Arc::new(meta))
    }
}

pub use crate::base::limits::LEVELS;

/// What a picker is told of the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// The wall clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Tombstones up to this sequence number may be dropped where nothing lies below.
    pub droppable: u64,
    /// Tombstones up to this sequence number have waited long enough.
    pub overdue: u64,
}

/// What a plan does with its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Rewritten into new tables.
    Merge,
    /// Given to the output level by an edit alone.
    Move,
    /// Taken out with all that is in them.
    Drop,
}

/// A plan of the engine's picker, and what carrying it out needs of the tree as it was then.
#[derive(Debug)]
pub struct Plan {
    compaction: Compaction,
    version: Arc<Version>,
}

impl Plan {
    /// What is done with the inputs.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.compaction.action {
            compaction::Action::Merge => Action::Merge,
            compaction::Action::Move => Action::Move,
            compaction::Action::Drop => Action::Drop,
        }
    }

    /// The numbers of the tables that it reads, sorted run by sorted run, the newest run first.
    #[must_use]
    pub fn inputs(&self) -> Vec<Vec<u64>> {
        let numbers = |input: &compaction::Input| {
            input.tables.iter().map(|table| table.number.0).collect::<Vec<u64>>()
        };
        self.compaction.inputs.iter().map(numbers).collect()
    }

    /// Bytes of its inputs.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.compaction.input_bytes()
    }

    /// Target size of one output.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.compaction.table_bytes
    }

    /// The last keys of the tables below the output: where outputs are best cut. Ascending.
    #[must_use]
    pub fn borders(&self) -> Vec<u64> {
        self.compaction.grandparents.iter().map(|table| number_of(&table.largest)).collect()
    }

    /// The length of the windows of event time that outputs are kept apart by.
    #[must_use]
    pub fn window_ms(&self) -> Option<u64> {
        self.compaction.windows.map(|windows| windows.window_ms)
    }

    /// Decides where outputs end.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter(self.compaction.split())
    }

    /// Knows what may lie below the output.
    #[must_use]
    pub fn below(&self) -> Below {
        Below(OlderRuns::beside(&self.version, &self.compaction))
    }
}

/// Where one output ends and the next begins: the engine's own decision.
#[derive(Debug)]
pub struct Cutter(Split);

impl Cutter {
    /// Whether the output of `output_bytes` so far ends before `key`. Keys come ascending.
    pub fn ends_before(&mut self, key: u64, output_bytes: u64) -> bool {
        self.0.before(&key.to_be_bytes(), output_bytes)
    }
}

/// The tables that may hold older versions of what a plan merges.
#[derive(Debug)]
pub struct Below(OlderRuns);

impl Below {
    /// Whether any may hold a version of `key` that is older than `seq`. Keys come ascending.
    pub fn may_hold(&mut self, key: u64, seq: u64) -> bool {
        self.0.may_hold(&key.to_be_bytes(), SeqNo::new(seq))
    }
}

/// One sorted run of a tree.
#[derive(Debug, Clone, Copy)]
pub struct RunShape {
    /// Its level.
    pub level: usize,
    /// Its tables.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// How many of the 2^64 keys lie between the first and the last key of some table of it.
    pub keys_covered: u64,
}

/// What a writer does before its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Goes on.
    None,
    /// Waits this long, once.
    Slow(Duration),
    /// Waits until background work has made room.
    Stop,
}

/// A column family without bytes.
#[derive(Debug)]
pub struct Tree {
    options: ColumnFamilyOptions,
    level0: Level0,
    picker: Picker,
    version: Arc<Version>,
    busy: Busy,
    pacer: Pacer,
    last_number: u64,
}

impl Tree {
    /// An empty one that is compacted as `options` say, and as one that nobody reads.
    ///
    /// # Errors
    /// `InvalidArgument` for options that the engine refuses.
    pub fn new(options: &ColumnFamilyOptions) -> Result<Tree> {
        options.validate()?;
        Ok(Tree {
            options: options.clone(),
            level0: Level0::Gathering,
            picker: options.picker(&options.strategy, Level0::Gathering),
            version: Arc::new(Version::empty()),
            busy: Busy::default(),
            pacer: Pacer::default(),
            last_number: 0,
        })
    }

    /// From here on it is compacted as one that is read.
    pub fn expect_reads(&mut self) {
        self.level0 = Level0::Lean;
        self.picker = self.options.picker(&self.options.strategy, Level0::Lean);
    }

    /// A number for a new table.
    pub fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds tables to `level`: what a flush or a bulk load does.
    ///
    /// # Errors
    /// `InvalidArgument` for facts that cannot be, or tables that overlap in one run.
    pub fn add(&mut self, level: usize, tables: Vec<Facts>) -> Result<()> {
        self.edit(&[], level, tables)
    }

    /// The picker's next plan. Its tables are held until [`Tree::finish`].
    pub fn pick(&mut self, moment: Moment) -> Option<Plan> {
        let ages = Ages {
            droppable: SeqNo::new(moment.droppable),
            overdue: SeqNo::new(moment.overdue),
            ..Ages::default()
        };
        let (version, busy) = (&self.version, &self.busy);
        let view = View { version, busy, now_ms: moment.now_ms, ages };
        let compaction = self.picker.pick(&view)?;
        self.busy.extend(compaction.tables().map(|table| table.number));
        Some(Plan { compaction, version: Arc::clone(&self.version) })
    }

    /// Gives the tables of a plan free without carrying it out.
    pub fn release(&mut self, plan: &Plan) {
        for table in plan.compaction.tables() {
            self.busy.remove(&table.number);
        }
    }

    /// Installs a plan with the `outputs` of its merge, as the engine does: a plan that would put
    /// older data above newer is refused.
    ///
    /// # Errors
    /// `InvalidArgument` for a plan or outputs that cannot be.
    pub fn finish(&mut self, plan: &Plan, mut outputs: Vec<Facts>) -> Result<()> {
        if let Some(breach) = order::breach(&self.version, &plan.compaction) {
            return Err(Error::invalid(format!("a compaction that cannot be: {breach}")));
        }
        self.release(plan);
        let run = outputs.first().map_or(0, |table| table.number);
        outputs.iter_mut().for_each(|table| table.run = run);
        let place = plan.compaction.place.level;
        if plan.compaction.action == compaction::Action::Move {
            let tables = plan.compaction.tables().map(|table| (place, Arc::clone(table)));
            let added: Vec<_> = tables.collect();
            return self.install(&gone(plan), &added);
        }
        self.edit(&gone(plan), place, outputs)
    }

    fn edit(
        &mut self,
        deleted: &[(usize, FileNumber)],
        level: usize,
        tables: Vec<Facts>,
    ) -> Result<()> {
        let added: Result<Vec<_>> =
            tables.into_iter().map(|facts| Ok((level, facts.into_meta()?))).collect();
        self.install(deleted, &added?)
    }

    fn install(
        &mut self,
        deleted: &[(usize, FileNumber)],
        added: &[(usize, Arc<TableMeta>)],
    ) -> Result<()> {
        self.version = Arc::new(self.version.with_edit(added, deleted)?);
        Ok(())
    }

    /// The length of the windows of event time that flushes are kept apart by.
    #[must_use]
    pub fn window_ms(&self) -> Option<u64> {
        self.options.strategy.windows().map(|windows| windows.split().window_ms)
    }

    /// Every sorted run, level by level, the newest first within level 0. Looks at every table.
    #[must_use]
    pub fn runs(&self) -> Vec<RunShape> {
        let levels = self.version.levels().enumerate();
        levels
            .flat_map(|(index, level)| level.runs().iter().map(move |run| (index, run)))
            .map(|(level, run)| RunShape {
                level,
                tables: run.tables().len(),
                bytes: run.tables().iter().map(|table| table.bytes).sum(),
                entries: run.tables().iter().map(|table| table.entries).sum(),
                keys_covered: run.tables().iter().map(|table| keys_of(table)).sum(),
            })
            .collect()
    }

    /// The first and the last key of every table, in no order.
    #[must_use]
    pub fn key_ranges(&self) -> Vec<(u64, u64)> {
        let ends = |table: &Arc<TableMeta>| (number_of(&table.smallest), number_of(&table.largest));
        self.version.tables().map(ends).collect()
    }

    /// Bytes that compactions will read before nothing is due, by the picker's own estimate.
    #[must_use]
    pub fn debt_bytes(&self) -> u64 {
        self.picker.debt(&self.version).bytes
    }

    /// Bytes of all tables.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.version.levels().map(Level::bytes).sum()
    }

    /// What a writer of `bytes` does at `now`, where the active memtable is full to `filled` and
    /// `immutables` wait to be flushed. What running jobs have done is not counted.
    #[must_use]
    pub fn pause(&mut self, now: Duration, filled: f64, immutables: usize, bytes: u64) -> Pause {
        let debt = self.picker.debt(&self.version);
        let options = &self.options;
        let pressure = Pressure {
            level0_runs: debt.runs,
            level0_stop: options.level0_tables_stop,
            memtable_full: filled >= 1.0,
            immutables,
            immutables_max: options.memtables_max,
        };
        if fence(&pressure) != Stall::None {
            return Pause::Stop;
        }
        let memtables = immutables as f64 + filled.min(1.0);
        let strain = pacing::strain(&Load {
            runs: debt.runs as f64 + memtables,
            runs_merged: 0.0,
            runs_compact: options.level0_due(&options.strategy, Level0::Gathering),
            runs_slowdown: options.level0_tables_slowdown,
            runs_stop: options.level0_tables_stop,
            debt_bytes: debt.bytes,
            debt_bytes_slowdown: options.compaction_debt_bytes,
            memtables,
            memtables_max: options.memtables_max,
        });
        let wait = self.pacer.admit(now, bytes, strain.value);
        if wait.is_zero() { Pause::None } else { Pause::Slow(wait) }
    }
}

fn gone(plan: &Plan) -> Vec<(usize, FileNumber)> {
    plan.compaction.placed_tables().map(|(level, table)| (level, table.number)).collect()
}

/// The number that an internal key of this module was made of.
fn number_of(encoded: &[u8]) -> u64 {
    key::user_key(encoded).first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

fn keys_of(table: &TableMeta) -> u64 {
    number_of(&table.largest) - number_of(&table.smallest) + 1
}
