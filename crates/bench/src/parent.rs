//! The process that was started by hand: it spawns the children, one at a time, and reports.
//!
//! Engines are interleaved: for each workload, round 1 of every engine, then round 2 of every
//! engine. A machine that slows down or is shared for a while slows all engines of that round;
//! ratios are taken within a round. Who begins changes from round to round, and between two
//! children the disk comes to rest, so that nobody runs behind the same other one's writes.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// What the machine gets after a store was removed and the disks were synced.
const REST: Duration = Duration::from_millis(500);

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
    let planned = |record: &&Record| plan.iter().any(|(one, _)| one.name == record.workload);
    let records: Vec<Record> = records.iter().filter(planned).cloned().collect();
    report::check(&records)?;
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
/// names, out of those of the command line, or of the build. Where values are large, an engine's
/// variant for those comes along; who can't do the work at this durability is left out.
fn plan(command: &settings::Command, engines: &[String]) -> Result<Plan> {
    let selected: Plan = if command.name == TARGETS {
        let planned = report::targets::plan(engines).into_iter();
        planned.map(|(name, own)| Ok((workloads::find(name)?, own))).collect::<Result<_>>()?
    } else {
        let selected = workloads::select(&command.name)?.into_iter();
        selected.map(|workload| (workload, engines.to_vec())).collect()
    };
    let plan = selected.into_iter().map(|(workload, own)| {
        let settings = workload.settings(&command.settings);
        let mut engines = engines::with_variants(&own, settings.value_bytes);
        engines.retain(|engine| !workloads::refused(engine, workload.name, &settings));
        (workload, engines)
    });
    Ok(plan.collect())
}

/// The order of the engines in a round: each round begins with the next one.
fn turns(engines: &[String], round: u32) -> impl Iterator<Item = &String> {
    let first = (round as usize - 1) % engines.len().max(1);
    engines.iter().cycle().skip(first).take(engines.len())
}

/// Lets what a removed store leaves behind reach the disk before anybody is timed.
fn rest() {
    rustix::fs::sync();
    std::thread::sleep(REST);
}

/// Runs the plan: all records, and how many runs failed.
fn measure(command: &settings::Command, plan: &Plan) -> Result<(Vec<Record>, u32)> {
    let mut failures = 0;
    let mut records = Vec::new();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let run = format!("{seconds}-{}", std::process::id());
    for (workload, engines) in plan {
        for round in 1..=command.rounds.max(1) {
            for engine in turns(engines, round) {
                rest();
                match run_child(command, workload, engine, (&run, round)) {
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
        for (at, line) in std::fs::read_to_string(path)?.lines().enumerate() {
            let record = serde_json::from_str(line);
            let place = || format!("{}, line {}", path.display(), at + 1);
            records.push(record.map_err(|error| format!("{}: {error}", place()))?);
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
    (run, round): (&str, u32),
) -> Result<Record> {
    let root = command.dir.clone().map_or_else(default_dir, Ok)?;
    std::fs::create_dir_all(&root)?;
    let dir = tempfile::Builder::new().prefix(&format!("{engine}-")).tempdir_in(&root)?;
    let job = Job {
        run: run.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_engine_begins_a_round_in_its_turn() {
        let engines = names(&["a", "b", "c"]);
        let of = |round| turns(&engines, round).map(String::as_str).collect::<Vec<_>>();
        assert_eq!([of(1), of(2), of(3)], [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]);
        assert_eq!(of(4), of(1));
        assert_eq!(turns(&[], 1).count(), 0);
    }

    /// Whether engines were named or not.
    #[test]
    fn variants_come_along_where_values_are_large() {
        for (base, variant) in engines::VARIANTS {
            let named = ["alluvium-bench", "fill-4k,fillrandom", "--engines", base];
            for command in [&named[..], &named[..2]] {
                let command = settings::Command::parse_from(command);
                let plan = plan(&command, &selected_engines(&command).unwrap()).unwrap();
                assert!(plan[0].1.contains(&(*variant).to_owned()), "{:?}", plan[0].1);
                assert!(!plan[1].1.contains(&(*variant).to_owned()), "{:?}", plan[1].1);
            }
        }
        assert_eq!(engines::with_variants(&names(&["alluvium"]), 1 << 20), ["alluvium"]);
    }

    #[test]
    fn records_of_several_files_are_read_and_incomplete_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.json");
        let record = Record::sample("a", "scan", 1, 5.0);
        let line = serde_json::to_string(&record).unwrap();
        std::fs::write(&path, format!("{line}\n{line}\n")).unwrap();
        assert_eq!(read_json(&[path.clone(), path.clone()]).unwrap(), vec![record; 4]);
        for field in ["run", "settings", "disk_bytes", "settled_rate"] {
            let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value.as_object_mut().unwrap().remove(field).is_some());
            std::fs::write(&path, format!("{line}\n{value}\n")).unwrap();
            let error = read_json(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(field), "{error}");
        }
    }
}
