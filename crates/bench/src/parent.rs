//! The process that was started by hand: it spawns the children, one at a time, and reports.
//!
//! Engines are interleaved: for each workload, round 1 of every engine, then round 2 of every
//! engine. A machine that slows down or is shared for a while slows all engines of that round;
//! ratios are taken within a round.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Parser;

use crate::Result;
use crate::bars;
use crate::child::{Job, SUBCOMMAND};
use crate::counts;
use crate::engines;
use crate::record::Record;
use crate::report;
use crate::settings;
use crate::workloads::{self, Workload};

/// The name that stands for all workloads with a target.
const TARGETS: &str = "targets";

/// Runs what the command line asks for.
pub fn main() -> Result<()> {
    let command = settings::Command::parse();
    if command.name == "list" {
        for workload in workloads::ALL {
            println!("{:18} {}", workload.name, workload.about);
        }
        for (name, about) in counts::ALL {
            println!("{name:18} {about} (counted, not timed)");
        }
        return Ok(());
    }
    let root = command.dir.clone().map_or_else(default_dir, Ok)?;
    std::fs::create_dir_all(&root)?;
    if let Some(counted) = counts::run(&command, root) {
        return counted;
    }
    let engines = selected_engines(&command)?;
    let plan = plan(&command, &engines)?;
    let (records, failures) = if command.from.is_empty() {
        println!("{}", report::heading(&command));
        measure(&command, &plan)?
    } else {
        (read_json(&command.from)?, 0)
    };
    print(&command, &plan, &records);
    if let Some(dir) = &command.plots {
        bars::draw(&records, dir)?;
    }
    if failures > 0 {
        return Err(format!("{failures} measurements failed").into());
    }
    Ok(())
}

/// What runs, in order: workloads, each with its engines.
type Plan = Vec<(&'static Workload, Vec<String>)>;

/// What the command line asks for. For `targets`, each workload has the engines that a target
/// names, out of those of the command line, or of the build.
fn plan(command: &settings::Command, engines: &[String]) -> Result<Plan> {
    if command.name != TARGETS {
        let selected = workloads::select(&command.name)?;
        return Ok(selected.into_iter().map(|workload| (workload, engines.to_vec())).collect());
    }
    let mut given: Vec<&str> = engines.iter().map(String::as_str).collect();
    if command.engines.is_empty() {
        given.extend(engines::VARIANTS);
    }
    let owned = |engines: Vec<&str>| engines.into_iter().map(str::to_owned).collect();
    let planned = report::targets::plan(&given).into_iter();
    planned.map(|(name, engines)| Ok((workloads::find(name)?, owned(engines)))).collect()
}

/// Runs the plan: all records, and how many runs failed.
fn measure(command: &settings::Command, plan: &Plan) -> Result<(Vec<Record>, u32)> {
    let mut failures = 0;
    let mut records = Vec::new();
    for (workload, engines) in plan {
        for round in 1..=command.rounds.max(1) {
            for engine in engines {
                match run_child(command, workload, engine, round) {
                    Ok(record) => {
                        eprintln!("{}", report::progress(&record));
                        append_json(command, &record)?;
                        records.push(record);
                    }
                    Err(error) => {
                        failures += 1;
                        eprintln!("{engine} {} round {round}: {error}", workload.name);
                    }
                }
            }
        }
    }
    Ok((records, failures))
}

/// Prints the tables of what was measured.
fn print(command: &settings::Command, plan: &Plan, records: &[Record]) {
    let mut measured = Vec::new();
    for (workload, _) in plan {
        let own = records.iter().filter(|record| record.workload == workload.name);
        let own: Vec<Record> = own.cloned().collect();
        if own.is_empty() {
            continue;
        }
        println!("{}", report::table(workload, &own, command.markdown));
        measured.push((*workload, own));
    }
    if measured.len() > 1 {
        println!("{}", report::summary(&measured, command.markdown));
    }
    if let Some(first) = records.first() {
        println!("{}", report::legend(&first.engine));
    }
    if command.name == TARGETS {
        println!("{}", report::targets::tables(records));
    }
}

/// The records that earlier runs have appended to `files`.
fn read_json(files: &[PathBuf]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for path in files {
        for line in std::fs::read_to_string(path)?.lines() {
            records.push(serde_json::from_str(line)?);
        }
    }
    Ok(records)
}

/// The engines that the command line names, or all.
fn selected_engines(command: &settings::Command) -> Result<Vec<String>> {
    if command.engines.is_empty() {
        return Ok(engines::NAMES.iter().map(|&name| name.to_owned()).collect());
    }
    for name in &command.engines {
        if !engines::known(name) {
            return Err(engines::missing(name).into());
        }
    }
    Ok(command.engines.clone())
}

/// Where stores are made unless the command line says otherwise: beside the executable, which is on
/// a disk. `/tmp` may be memory, where nothing is ever written.
pub fn default_dir() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    Ok(executable.parent().ok_or("the executable has no directory")?.join("bench-stores"))
}

/// Runs one child in a directory of its own, and removes that.
fn run_child(
    command: &settings::Command,
    workload: &Workload,
    engine: &str,
    round: u32,
) -> Result<Record> {
    let root = command.dir.clone().map_or_else(default_dir, Ok)?;
    std::fs::create_dir_all(&root)?;
    let dir = tempfile::Builder::new().prefix(&format!("{engine}-")).tempdir_in(&root)?;
    let job = Job {
        engine: engine.to_owned(),
        workload: workload.name.to_owned(),
        round,
        dir: dir.path().to_owned(),
        settings: command.settings.clone(),
    };
    let output = Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .arg(serde_json::to_string(&job)?)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().ok_or("the child printed nothing")?;
    Ok(serde_json::from_str(line)?)
}

fn append_json(command: &settings::Command, record: &Record) -> Result<()> {
    let Some(path) = &command.json else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{}", serde_json::to_string(record)?)?)
}
