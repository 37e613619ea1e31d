//! A store without bytes: the engine's tree, and what each of its tables holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium::simulation::{Action, Facts, LEVELS, Moment, Plan, RunShape, Tree};

use crate::Result;
use crate::content::{Content, Counts};
use crate::load::{Load, ORIGIN};
use crate::merge::{Outputs, Terms, merge};
use crate::settings::{Policy, Settings};

/// What is known of a table besides what the engine knows.
#[derive(Debug, Clone)]
struct Table {
    content: Arc<Content>,
    keys: (u64, u64),
    seqs: (u64, u64),
    oldest_tombstone: u64,
}

/// A table that a job writes.
#[derive(Debug)]
struct Output {
    facts: Facts,
    content: Content,
}

/// A compaction under way.
#[derive(Debug)]
pub struct Running {
    plan: Plan,
    outputs: Vec<Output>,
    /// Bytes of its inputs.
    pub read_bytes: u64,
    /// Bytes of its outputs.
    pub written_bytes: u64,
}

/// How long the engine's picker took, in time of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickTimes {
    pub count: u64,
    pub sum: Duration,
    pub longest: Duration,
    /// The most tables that it looked at.
    pub tables: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Store {
    tree: Tree,
    tables: HashMap<u64, Table>,
    last_seq: u64,
    /// Bytes of all tables.
    pub bytes: u64,
    pub picks: PickTimes,
}

impl Store {
    /// A store that holds what `load` begins with.
    pub fn new(settings: &Settings, load: &Load) -> Result<Store> {
        let mut store = Store {
            tree: Tree::new(&settings.options)?,
            tables: HashMap::new(),
            last_seq: 0,
            bytes: 0,
            picks: PickTimes::default(),
        };
        let bulk = load.bulk();
        if !bulk.segments.is_empty() {
            let window = store.tree.window_ms();
            let mut outputs = Outputs::new(&load.model, settings.options.table_bytes, window, None);
            bulk.segments.into_iter().for_each(|segment| outputs.append(segment));
            let seqs = store.next_seqs(load.live_entries());
            let level = bulk_level(settings.policy);
            // What is in order was written in order.
            let ordered = load.kind.is_ordered();
            let seq_of = |key: u64| (key - ORIGIN + 1).clamp(seqs.0, seqs.1);
            let tables = store.tables_of(load, outputs.finish(), |keys| {
                let seqs = if ordered { (seq_of(keys.0), seq_of(keys.1)) } else { seqs };
                (seqs, 0)
            });
            store.install(level, tables)?;
        }
        Ok(store)
    }

    fn next_seqs(&mut self, count: f64) -> (u64, u64) {
        let first = self.last_seq + 1;
        self.last_seq += (count as u64).max(1);
        (first, self.last_seq)
    }

    /// What a flush of `content`, made of `writes` operations, writes.
    pub fn flush(&mut self, load: &Load, content: Content, writes: f64) -> Flush {
        let seqs = self.next_seqs(writes);
        let mut outputs = Outputs::new(&load.model, u64::MAX, self.tree.window_ms(), None);
        content.segments.into_iter().for_each(|segment| outputs.append(segment));
        let outputs = self.tables_of(load, outputs.finish(), |_| (seqs, seqs.0));
        Flush { written_bytes: outputs.iter().map(|output| output.facts.bytes).sum(), outputs }
    }

    /// Installs a flush.
    pub fn finish_flush(&mut self, flush: Flush) -> Result<()> {
        self.install(0, flush.outputs)
    }

    /// Makes tables of contents; `seqs_of` says the sequence numbers of a range of keys, and that
    /// of the oldest tombstone.
    fn tables_of(
        &mut self,
        load: &Load,
        contents: Vec<Content>,
        seqs_of: impl Fn((u64, u64)) -> ((u64, u64), u64),
    ) -> Vec<Output> {
        let mut outputs = Vec::with_capacity(contents.len());
        for content in contents {
            let Some(keys) = content.keys() else { continue };
            let (seqs, oldest_tombstone) = seqs_of(keys);
            let counts = content.counts(&load.model);
            let facts = self.facts(load, &content, counts, keys);
            let has_tombstones = facts.tombstones > 0;
            let oldest_tombstone = if has_tombstones { oldest_tombstone } else { 0 };
            outputs.push(Output { facts: Facts { seqs, oldest_tombstone, ..facts }, content });
        }
        outputs
    }

    fn facts(&mut self, load: &Load, content: &Content, counts: Counts, keys: (u64, u64)) -> Facts {
        let entries = (counts.entries.round() as u64).max(1);
        let expiry = content.buckets().map(|(first, last)| {
            let expiring = (counts.expiring.round() as u64).clamp(1, entries);
            // All of a bucket ends at once here.
            (expiring, load.bucket_end_ms(first), load.bucket_end_ms(last))
        });
        let times = load.kind.is_ordered().then_some(keys);
        Facts {
            number: self.tree.new_number(),
            bytes: (counts.bytes.round() as u64).max(1),
            entries,
            tombstones: (counts.tombstones.round() as u64).min(entries),
            keys,
            expiry,
            times,
            ..Facts::default()
        }
    }

    fn install(&mut self, level: usize, mut outputs: Vec<Output>) -> Result<()> {
        let run = outputs.first().map_or(0, |output| output.facts.number);
        outputs.iter_mut().for_each(|output| output.facts.run = run);
        let facts = outputs.iter().map(|output| output.facts.clone()).collect();
        self.tree.add(level, facts)?;
        self.keep(outputs);
        Ok(())
    }

    fn keep(&mut self, outputs: Vec<Output>) {
        for Output { facts, content } in outputs {
            self.bytes += facts.bytes;
            let Facts { number, keys, seqs, oldest_tombstone, .. } = facts;
            let content = Arc::new(content);
            self.tables.insert(number, Table { content, keys, seqs, oldest_tombstone });
        }
    }

    /// Begins the next compaction, or `None` when none is due. Plans that write nothing are carried
    /// out at once.
    pub fn compact(&mut self, load: &Load, overdue: u64) -> Result<Option<Running>> {
        while let Some(plan) = self.pick(load, overdue) {
            if plan.action() == Action::Merge {
                return Ok(Some(self.run(load, plan)));
            }
            self.finish_plan(&plan, Vec::new())?;
        }
        Ok(None)
    }

    fn pick(&mut self, load: &Load, overdue: u64) -> Option<Plan> {
        let moment = Moment { now_ms: load.now_ms(), droppable: self.last_seq, overdue };
        let begun = Instant::now();
        let plan = self.tree.pick(moment);
        let took = begun.elapsed();
        let before = self.picks;
        self.picks = PickTimes {
            count: before.count + 1,
            sum: before.sum + took,
            longest: before.longest.max(took),
            tables: before.tables.max(self.tables.len()),
        };
        plan
    }

    fn run(&mut self, load: &Load, plan: Plan) -> Running {
        let runs: Vec<Vec<Table>> = plan
            .inputs()
            .iter()
            .map(|run| run.iter().filter_map(|number| self.tables.get(number)).cloned().collect())
            .collect();
        let contents = |run: &Vec<Table>| run.iter().map(|t| Arc::clone(&t.content)).collect();
        let inputs: Vec<Vec<Arc<Content>>> = runs.iter().map(contents).collect();
        let terms = Terms {
            model: &load.model,
            borders: &plan.borders(),
            now_bucket: load.now_bucket(),
            largest_seq: runs.iter().flatten().map(|table| table.seqs.1).max().unwrap_or(0),
        };
        let (window, cutter) = (plan.window_ms(), Some(plan.cutter()));
        let mut outputs = Outputs::new(&load.model, plan.table_bytes(), window, cutter);
        let mut below = plan.below();
        merge(&terms, &inputs, &mut |key, seq| below.may_hold(key, seq), &mut outputs);
        let outputs = self.tables_of(load, outputs.finish(), |keys| seqs_between(&runs, keys));
        let written_bytes = outputs.iter().map(|output| output.facts.bytes).sum();
        Running { read_bytes: plan.input_bytes(), written_bytes, plan, outputs }
    }

    /// Installs a compaction.
    pub fn finish(&mut self, running: Running) -> Result<()> {
        self.finish_plan(&running.plan, running.outputs)
    }

    fn finish_plan(&mut self, plan: &Plan, mut outputs: Vec<Output>) -> Result<()> {
        let run = outputs.first().map_or(0, |output| output.facts.number);
        outputs.iter_mut().for_each(|output| output.facts.run = run);
        let facts = outputs.iter().map(|output| output.facts.clone()).collect();
        self.tree.finish(plan, facts)?;
        if plan.action() != Action::Move {
            for number in plan.inputs().iter().flatten() {
                self.tables.remove(number);
            }
        }
        self.keep(outputs);
        self.bytes = self.tree.bytes();
        Ok(())
    }

    /// The last sequence number given out.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The engine's tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The tree, to be asked what writers do.
    pub fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Its sorted runs, the newest first.
    pub fn runs(&self) -> Vec<RunShape> {
        self.tree.runs()
    }

    /// The most tables that hold a range around one key: sorted runs that a lookup may touch.
    pub fn depth_max(&self) -> usize {
        let ranges = self.tree.key_ranges();
        let mut starts: Vec<u64> = ranges.iter().map(|range| range.0).collect();
        let mut ends: Vec<u64> = ranges.iter().map(|range| range.1).collect();
        starts.sort_unstable();
        ends.sort_unstable();
        let (mut ended, mut most) = (0, 0);
        for (begun, start) in starts.iter().enumerate() {
            while ends[ended] < *start {
                ended += 1;
            }
            most = most.max(begun + 1 - ended);
        }
        most
    }
}

/// A flush under way.
#[derive(Debug)]
pub struct Flush {
    outputs: Vec<Output>,
    /// Bytes of its table.
    pub written_bytes: u64,
}

/// The sequence numbers of all input tables that overlap the keys, and that of the oldest
/// tombstone in them, or 0.
fn seqs_between(runs: &[Vec<Table>], keys: (u64, u64)) -> ((u64, u64), u64) {
    let mut seqs = (u64::MAX, 0);
    let mut oldest = u64::MAX;
    for run in runs {
        let first = run.partition_point(|table| table.keys.1 < keys.0);
        for table in run[first..].iter().take_while(|table| table.keys.0 <= keys.1) {
            seqs = (seqs.0.min(table.seqs.0), seqs.1.max(table.seqs.1));
            if table.oldest_tombstone > 0 {
                oldest = oldest.min(table.oldest_tombstone);
            }
        }
    }
    (seqs, if oldest == u64::MAX { seqs.0 } else { oldest })
}

/// The level that holds what is oldest: the deepest, or level 0 where all runs lie there.
fn bulk_level(policy: Policy) -> usize {
    match policy {
        Policy::Leveled | Policy::Lazy => LEVELS - 1,
        Policy::Tiered | Policy::Windows | Policy::Fifo => 0,
    }
}
