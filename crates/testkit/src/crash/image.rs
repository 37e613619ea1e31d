//! What must hold of every image that a crash may leave:
//!
//! - it opens (where the store had been made: without making it anew);
//! - its contents are the model at one write, at or behind the last that was acknowledged as
//!   durable enough, batches whole across families;
//! - it holds the files of a store in good order, and no others;
//! - its sequence number is at or above that of everything that is sure to be there;
//! - another crash before the first write leaves the same contents, and no lower number;
//! - it takes writes, closes, verifies, opens again and has all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use alluvium::Durability;
use alluvium::env::{CrashPolicy, Env, FileId, MemEnv};

use super::{Reached, Wrap};
use crate::model::{Model, Survival};
use crate::operation::{Change, Operation};
use crate::runner::panic_text;
use crate::session::{Failure, Session};
use crate::workloads::Workload;

/// A session on the store that a crash left.
pub(super) fn open_recovered(workload: &Workload, env: Arc<dyn Env>, reached: &Reached) -> Session {
    let mut options = workload.options.clone();
    options.create_if_missing = !reached.made;
    Session::new(env, options, reached.model.clone())
}

/// Opens the image, compares, uses it, closes, opens again and compares again.
pub(super) fn check(
    workload: &Workload,
    wrap: Wrap,
    image: &MemEnv,
    reached: Reached,
    survival: Survival,
) -> Result<(), String> {
    let body = || -> Result<(), Failure> {
        let mut session = open_recovered(workload, wrap(image.clone()), &reached);
        session.open()?;
        let actual = session.read_all()?;
        session.model.recover(&actual, survival).map_err(Failure::Mismatch)?;
        session.check_all()?;
        let sequence = session.db().stats().sequence_number;
        if sequence < reached.sequence {
            return mismatch(format!(
                "the sequence number is {sequence}, {} was given out before",
                reached.sequence
            ));
        }
        check_files(workload, image, &session)?;
        let again = image.crash_image(CrashPolicy::DropUnsynced, 0);
        for operation in &aftermath(&session.model, image.operations()) {
            session.step(operation)?;
        }
        session.check_all()?;
        session.verify()?;
        session.check_all()?;
        check_files(workload, image, &session)?;
        session.close()?;
        if image.operations().is_multiple_of(4) {
            check_again(workload, wrap, again, &reached.model, &actual, sequence)?;
        }
        Ok(())
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

/// A store that crashed behind its recovery, before the first write.
fn check_again(
    workload: &Workload,
    wrap: Wrap,
    again: MemEnv,
    model: &Model,
    actual: &crate::model::State,
    sequence: u64,
) -> Result<(), Failure> {
    let reached = Reached { model: model.clone(), made: true, sequence };
    let mut session = open_recovered(workload, wrap(again), &reached);
    session.open()?;
    if session.read_all()? != *actual {
        return mismatch("a second crash without a write in between leaves something else");
    }
    if session.db().stats().sequence_number < sequence {
        return mismatch("the sequence number falls with the second crash");
    }
    session.close()
}

fn mismatch(text: impl Into<String>) -> Result<(), Failure> {
    Err(Failure::Mismatch(text.into()))
}

/// What every recovered store must still be able to do; a little different for each `variant`.
fn aftermath(model: &Model, variant: u64) -> Vec<Operation> {
    let families: Vec<String> = model.state().into_keys().collect();
    let change = |family: &String, key: &str, value: Option<&str>| Change {
        family: family.clone(),
        key: key.as_bytes().to_vec(),
        value: value.map(|value| value.as_bytes().to_vec()),
        end: None,
    };
    let write = |changes: Vec<Change>| Operation::Write { changes, durability: Durability::Disk };
    let mut run = vec![
        write(families.iter().map(|family| change(family, "after", Some("1"))).collect()),
        write(families.iter().map(|family| change(family, "a", Some("after"))).collect()),
        write(families.iter().map(|family| change(family, "b", None)).collect()),
    ];
    match variant % 4 {
        0 => run.insert(2, Operation::Flush { family: None }),
        1 => run.push(Operation::Compact { family: None }),
        _ => {}
    }
    run
}

/// Every file is one that the open store has a use for. With workers, a job may have one more, and
/// the next log segment may be there.
fn check_files(workload: &Workload, image: &MemEnv, session: &Session) -> Result<(), Failure> {
    let files = image.files();
    let count = |is: fn(&FileId) -> bool| files.iter().filter(|file| is(file)).count();
    let tables = count(|file| matches!(file, FileId::Table(_)));
    let levels = session.db().stats().families.into_iter().flat_map(|family| family.levels);
    let named: usize = levels.map(|level| level.tables).sum();
    let quiet = workload.options.background_threads == 0;
    if count(|file| matches!(file, FileId::Manifest(_))) == 1
        && (1..=if quiet { 1 } else { 2 }).contains(&count(|file| matches!(file, FileId::Wal(_))))
        && count(|file| matches!(file, FileId::Temporary(_))) == 0
        && files.contains(&FileId::Current)
        && (tables == named || !quiet)
    {
        return Ok(());
    }
    mismatch(format!("{named} tables are named, and the files are {files:?}"))
}
