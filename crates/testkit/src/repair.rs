//! Repair under damage: a store is harmed in several places at once and repaired, and what comes
//! out is held against what went in.
//!
//! What must hold, whatever the damage:
//!
//! - repair does not fail, panic or hang, and changes no byte of what it repairs;
//! - the new store opens, passes `verify`, and takes writes;
//! - every row in it was once written for that very key: nothing is invented;
//! - a row that is gone, or older than it was, lies in a part that the report names as lost;
//! - a report that names nothing goes with a store that is wholly there.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{CrashPolicy, Env as _, Fault, FaultEnv, FaultRule, FileId, MemEnv};
use alluvium::env::{Operation as Io, When};
use alluvium::{Db, Options, RepairReport};

use crate::generator::{Generator, Mix};
use crate::model::{Model, Pairs, State};
use crate::operation::{DEFAULT_FAMILY, Operation, Short};
use crate::random::Random;
use crate::runner::{number, panic_text};
use crate::session::{Failure, Session};
use crate::torture::Turn;
use crate::watchdog::Watchdog;
use crate::workloads::{Workload, generated};

/// How long one repair may take before it counts as hung.
const REPAIR_TIME_MAX: Duration = Duration::from_secs(60);
/// Different damages to one store.
const DAMAGES_PER_STORE: u64 = 24;

/// Every value that was ever written, by family and key.
type Written = BTreeMap<String, BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>>;

/// A store in memory, to be damaged and repaired.
#[derive(Debug)]
pub struct Patient {
    env: MemEnv,
    options: Options,
    written: Written,
    /// What the store answers without damage.
    pub expected: State,
}

/// What was done to a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Harm {
    /// A log was cut or taken away: from the outside that is a log that was never longer.
    pub log_shortened: bool,
    /// A table was taken away: only a manifest knows of it.
    pub table_removed: bool,
}

/// A store that was repaired.
#[derive(Debug)]
pub struct Repaired {
    /// The new store.
    pub env: MemEnv,
    /// What repair says of it.
    pub report: RepairReport,
    /// What it answers.
    pub state: State,
}

/// Damages and repairs stores of generated runs until the turn is over.
pub fn torture(turn: &mut Turn) {
    let only = number("ALLUVIUM_SEED");
    while turn.goes_on() {
        let seed = only.unwrap_or_else(|| turn.seed());
        turn.note(check_seed(seed).map_err(|text| format!("ALLUVIUM_SEED={seed}: {text}")));
        if only.is_some() {
            return;
        }
    }
}

/// Builds the store of `seed` and repairs it after each of many damages; gives their number.
///
/// # Errors
///
/// What did not hold.
pub fn check_seed(seed: u64) -> Result<u64, String> {
    let watchdog = Watchdog::new(REPAIR_TIME_MAX);
    let run = || -> Result<u64, String> {
        watchdog.step(format!("seed {seed}: the store"));
        let patient = Patient::generated(seed)?;
        for index in 0..DAMAGES_PER_STORE {
            let mut random = Random::for_case(&[seed, index]);
            let image = patient.image();
            let mut done = Vec::new();
            let mut harm = Harm::default();
            for _ in 0..1 + random.below(4) {
                done.push(damage(&image, &mut random, &mut harm));
            }
            watchdog.step(format!("seed {seed}: {done:?}"));
            let checked = patient.check(&image, harm);
            checked.map_err(|text| format!("damage {index}: {}: {text}", done.join(", ")))?;
        }
        watchdog.step(format!("seed {seed}: faults"));
        patient.check_broken_off(seed)?;
        Ok(DAMAGES_PER_STORE + 2)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

/// Harms one file of `image` somehow, and says how.
fn damage(image: &MemEnv, random: &mut Random, harm: &mut Harm) -> String {
    let files = image.files();
    let file = *random.pick(&files);
    let mut bytes = image.file_bytes(file).unwrap_or_default();
    let is_log = matches!(file, FileId::Wal(_));
    let at = random.below(bytes.len());
    let text = match random.below(10) {
        0 if file != FileId::Lock => {
            harm.log_shortened |= is_log;
            harm.table_removed |= matches!(file, FileId::Table(_));
            image.remove(file).ok();
            return format!("{file} missing");
        }
        1 => {
            harm.log_shortened |= is_log;
            bytes.truncate(at);
            format!("{file} cut to {at}")
        }
        2 => {
            let end = (at + 1 + random.below(600)).min(bytes.len());
            bytes[at..end].fill(0);
            // A log's last frames in zeros are a log that was cut.
            harm.log_shortened |= is_log;
            format!("{file} zeros {at}..{end}")
        }
        3 => {
            let more = 1 + random.below(5000);
            bytes.extend((0..more).map(|_| random.next() as u8));
            format!("{file} longer by {more}")
        }
        _ if bytes.is_empty() => return format!("{file} is empty"),
        _ => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("{file} byte {at} bit {bit}")
        }
    };
    image.set_file_bytes(file, bytes);
    text
}

impl Patient {
    /// A patient of the generated run of `seed`: closed in good order, killed, or left by a power
    /// cut.
    ///
    /// # Errors
    ///
    /// A store that does not work even without damage.
    pub fn generated(seed: u64) -> Result<Patient, String> {
        let Workload { options, .. } = generated(seed);
        let mix = Mix { operations: 30 + (seed % 90) as usize, reads: false, value_bytes_max: 900 };
        let policy = match seed % 3 {
            0 => None,
            1 => Some(CrashPolicy::KeepAll),
            _ => Some(CrashPolicy::DropUnsynced),
        };
        Patient::build(options, &Generator::run(seed, mix), policy)
    }

    /// Runs `operations`; then closes the store (no `policy`), or crashes it.
    ///
    /// # Errors
    ///
    /// A store that does not work even without damage.
    pub fn build(
        options: Options,
        operations: &[Operation],
        policy: Option<CrashPolicy>,
    ) -> Result<Patient, String> {
        let env = MemEnv::new();
        let mut session = Session::new(Arc::new(env.clone()), options.clone(), Model::default());
        let text = |failure: Failure| failure.to_string();
        session.open().map_err(text)?;
        let mut written = Written::new();
        for operation in operations {
            if let Operation::Write { changes, .. } = operation {
                for change in changes {
                    let keys = written.entry(change.family.clone()).or_default();
                    let values = keys.entry(change.key.clone()).or_default();
                    values.extend(change.value.clone());
                }
            }
            session.step(operation).map_err(text)?;
        }
        let env = match policy {
            None => {
                session.close().map_err(text)?;
                env.crash_image(CrashPolicy::KeepAll, 0)
            }
            Some(policy) => env.crash_image(policy, 0),
        };
        let opened = env.crash_image(CrashPolicy::KeepAll, 0);
        let expected = read_state(&opened, &options)?;
        Ok(Patient { env, options, written, expected })
    }

    /// A copy of the store, to be damaged.
    #[must_use]
    pub fn image(&self) -> MemEnv {
        self.env.crash_image(CrashPolicy::KeepAll, 0)
    }

    /// The options that the store was written with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Repairs a damaged copy and checks what comes of it.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn check(&self, image: &MemEnv, harm: Harm) -> Result<Option<Repaired>, String> {
        let before = contents(image);
        let to = MemEnv::new();
        let outcome = alluvium::repair_env(Arc::new(image.clone()), Arc::new(to.clone()));
        if contents(image) != before {
            return Err("repair changed what it repaired".to_owned());
        }
        let report = match outcome {
            Ok(report) => report,
            Err(alluvium::Error::StoreMissing { .. }) if !holds_data(&before) => return Ok(None),
            Err(error) => return Err(format!("repair failed: {error}")),
        };
        let repaired = Repaired { state: self.read_repaired(&to)?, env: to, report };
        self.judge(&repaired, harm)
            .map_err(|text| format!("{text}\nthe report:\n{}", repaired.report))?;
        Ok(Some(repaired))
    }

    /// Reads the new store, writes to it, verifies it.
    fn read_repaired(&self, env: &MemEnv) -> Result<State, String> {
        let text = |error: alluvium::Error| error.to_string();
        let state = read_state(env, &self.options)?;
        let db = Db::open_env(Arc::new(env.clone()), self.options.clone()).map_err(text)?;
        for (name, pairs) in &state {
            let family = db.column_family(name).map_err(text)?;
            for (key, value) in &**pairs {
                if family.get(key).map_err(text)?.as_deref() != Some(value) {
                    return Err(format!("{name} {}: get and scan differ", Short(key)));
                }
                family.put(key, b"written behind the repair").map_err(text)?;
            }
            for key in pairs.keys() {
                let value = family.get(key).map_err(text)?;
                if value.as_deref() != Some(b"written behind the repair") {
                    return Err(format!("{name} {}: a new write is not seen", Short(key)));
                }
            }
        }
        db.compact().map_err(text)?;
        db.close().map_err(text)?;
        let report = alluvium::verify_env(Arc::new(env.clone())).map_err(text)?;
        match report.damages.first() {
            Some(damage) => Err(format!("the new store does not verify: {damage}")),
            None => Ok(state),
        }
    }

    fn judge(&self, repaired: &Repaired, harm: Harm) -> Result<(), String> {
        let Repaired { report, state, .. } = repaired;
        for (name, pairs) in state {
            let is_known = report.families.iter().any(|f| f.name == *name && f.name_is_known);
            for (key, value) in &**pairs {
                if !self.was_written(is_known.then_some(name), key, value) {
                    return Err(format!("{name} {}: a value never written", Short(key)));
                }
            }
        }
        let torn = report.notes.iter().any(|note| note.contains("torn at byte"));
        let renamed = report.families.iter().any(|family| !family.name_is_known);
        if torn || harm.log_shortened || renamed || !report.log_losses.is_empty() {
            // Nobody can say which keys were in there.
            return Ok(());
        }
        let unnoticed = harm.table_removed && report.manifest.is_none();
        let nothing = Pairs::new();
        for (name, expected) in &self.expected {
            let actual = state.get(name).map_or(&nothing, |pairs| &**pairs);
            for (key, value) in &**expected {
                let told = unnoticed || is_covered(report, name, key);
                if actual.get(key) != Some(value) && !told {
                    return Err(format!("{name} {}: gone, and not said so", Short(key)));
                }
            }
            for key in actual.keys() {
                let may_be_back = report.manifest.is_none() || is_covered(report, name, key);
                if !expected.contains_key(key) && !may_be_back {
                    return Err(format!("{name} {}: back, and not said so", Short(key)));
                }
            }
        }
        if report.is_complete() && *state != self.expected {
            return Err("the report says that all is there, and it is not".to_owned());
        }
        Ok(())
    }

    fn was_written(&self, family: Option<&String>, key: &[u8], value: &[u8]) -> bool {
        let holds = |keys: &BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>| {
            keys.get(key).is_some_and(|values| values.contains(value))
        };
        match family {
            Some(name) => self.written.get(name).is_some_and(holds),
            None => self.written.values().any(holds),
        }
    }

    /// Repairs with a failing source, with a destination that fails, and with one that crashes.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn check_broken_off(&self, seed: u64) -> Result<(), String> {
        let mut random = Random::for_case(&[seed, u64::MAX]);
        let image = self.image();
        let before = contents(&image);
        let source = FaultEnv::new(Arc::new(image.clone()));
        let nth = When::Nth(1 + random.below(60) as u64);
        source.add(FaultRule::new(&[Io::Open, Io::Read, Io::Length], nth, Fault::Io));
        let whole = MemEnv::new();
        alluvium::repair_env(Arc::new(source), Arc::new(whole.clone()))
            .map_err(|error| format!("repair of a source that failed once: {error}"))?;
        self.read_repaired(&whole)?;

        let to = MemEnv::new();
        let operations = whole.operations().max(1);
        to.crash_at(random.next() % operations);
        let outcome = alluvium::repair_env(Arc::new(image.clone()), Arc::new(to.clone()));
        let left = to.crash_image(CrashPolicy::DropUnsynced, 0);
        if outcome.is_ok() || left.files().contains(&FileId::Current) {
            let state = read_state(&left, &self.options)?;
            if state != self.expected {
                return Err(format!("a repair that broke off at {:?} left", to.crash_site()));
            }
        }
        if contents(&image) != before {
            return Err("a repair that broke off changed its source".to_owned());
        }
        let again = self.check(&image, Harm::default())?;
        match again {
            Some(repaired) if repaired.state == self.expected => Ok(()),
            _ => Err("a second repair does not give back what the first would".to_owned()),
        }
    }
}

/// Whether the report names the key's place as lost.
fn is_covered(report: &RepairReport, family: &str, key: &[u8]) -> bool {
    let id = report.families.iter().find(|f| f.name == family).map(|f| f.id);
    report.table_losses.iter().any(|loss| {
        (loss.family.is_none() || loss.family == id)
            && loss.from.as_deref().is_none_or(|from| from <= key)
            && loss.to.as_deref().is_none_or(|to| key <= to)
    })
}

fn holds_data(files: &BTreeMap<FileId, Vec<u8>>) -> bool {
    files.keys().any(|file| !matches!(file, FileId::Lock | FileId::Temporary(_)))
}

/// Every file with its bytes.
#[must_use]
pub fn contents(env: &MemEnv) -> BTreeMap<FileId, Vec<u8>> {
    let bytes = |file| env.file_bytes(file).unwrap_or_default();
    env.files().into_iter().map(|file| (file, bytes(file))).collect()
}

/// Everything in a store.
///
/// # Errors
///
/// The store's.
pub fn read_state(env: &MemEnv, options: &Options) -> Result<State, String> {
    let options = Options { create_if_missing: false, ..options.clone() };
    let mut session = Session::new(Arc::new(env.clone()), options, Model::default());
    let state = session.open().and_then(|()| session.read_all());
    let closed = session.close();
    let state = state.map_err(|failure| failure.to_string())?;
    closed.map_err(|failure| failure.to_string())?;
    debug_assert!(state.contains_key(DEFAULT_FAMILY));
    Ok(state)
}
