//! The looker: a process that looks whether a store is whole, opens it, and says what it holds.
//!
//! `child look DIRECTORY PLAN [--exit] [--kill POINT:HIT]`. First it reads the store as it is on
//! disk, without recovering it (`alluvium::verify`); then it opens it. It says a line
//! `entry FAMILY THREAD NUMBER GENERATION WRITE LENGTH` for each entry and `done` at the end. With
//! `--exit` it ends without closing the store.

use std::path::PathBuf;
use std::sync::Arc;

use alluvium::env::{Env, PosixEnv};
use alluvium::{Db, Error};

use crate::process::channel::say;
use crate::process::ended_by;
use crate::process::history::State;
use crate::process::kill_env::{KillEnv, KillPoint};
use crate::process::plan::{FAMILIES, Plan};
use crate::process::value::{Key, Version};

/// What the looker and the writer are both told.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) directory: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) kill: Option<KillPoint>,
    /// Options that are not common to both, with their values.
    pub(crate) others: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(arguments: &[String]) -> Result<Arguments, String> {
        let [directory, plan, rest @ ..] = arguments else {
            return Err("DIRECTORY PLAN are missing".to_owned());
        };
        let mut parsed = Arguments {
            directory: directory.into(),
            plan: plan.parse()?,
            kill: None,
            others: Vec::new(),
        };
        let mut rest = rest.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--kill" => parsed.kill = Some(rest.next().ok_or("--kill POINT:HIT")?.parse()?),
                _ => parsed.others.push(argument.clone()),
            }
        }
        Ok(parsed)
    }

    pub(crate) fn env(&self) -> Arc<dyn Env> {
        let posix: Arc<dyn Env> = Arc::new(PosixEnv::new(&self.directory));
        match &self.kill {
            Some(point) => Arc::new(KillEnv::new(posix, point.clone())),
            None => posix,
        }
    }
}

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(arguments).map_err(|text| format!("wrong {text}"))?;
    let report = match alluvium::verify(&arguments.directory) {
        // Killed before there was one.
        Err(Error::StoreMissing { .. }) => None,
        verified => Some(verified.map_err(|error| ended_by("verify", &error))?),
    };
    if let Some(damage) = report.and_then(|report| report.damages.into_iter().next()) {
        return Err(format!("wrong verify: {damage}"));
    }
    let db = Db::open_env(arguments.env(), arguments.plan.options())
        .map_err(|error| ended_by("open", &error))?;
    for (key, version) in read_all(&db)? {
        let Key { family, thread, number } = key;
        let Version { generation, write, length } = version;
        say(&format!("entry {family} {thread} {number} {generation} {write} {length}"));
    }
    say("done");
    if arguments.others.iter().any(|other| other == "--exit") {
        std::process::exit(0);
    }
    db.close().map_err(|error| ended_by("close", &error))
}

/// Everything in the store, each value held against what it says of itself.
///
/// # Errors
///
/// The line that ends the process.
pub(crate) fn read_all(db: &Db) -> Result<State, String> {
    let mut state = State::new();
    for (index, name) in FAMILIES.into_iter().enumerate() {
        let Ok(family) = db.column_family(name) else { continue };
        for entry in family.scan(..) {
            let (key, value) = entry.map_err(|error| ended_by("scan", &error))?;
            let key = Key::parse(index as u8, &key)
                .ok_or_else(|| format!("wrong {name}: the key {key:?} is nobody's"))?;
            let version = Version::read(key, &value).map_err(|text| format!("wrong {text}"))?;
            state.insert(key, version);
        }
    }
    Ok(state)
}

/// The state that a looker told of, if it got to its end.
///
/// # Errors
///
/// A line that it does not say.
pub fn told(lines: &[String]) -> Result<Option<State>, String> {
    let mut state = State::new();
    for line in lines {
        if line == "done" {
            return Ok(Some(state));
        }
        let Some(numbers) = line.strip_prefix("entry ") else { continue };
        let numbers: Vec<u32> = numbers.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [family, thread, number, generation, write, length] = numbers[..] else {
            return Err(format!("the looker said {line:?}"));
        };
        let key = Key { family: family as u8, thread: thread as u8, number: number as u16 };
        state.insert(key, Version { generation, write, length });
    }
    Ok(None)
}
