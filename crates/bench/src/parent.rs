//! The process that was started by hand: it spawns the children, one at a time, and reports.
//!
//! Engines are interleaved: a round goes through the workloads, and each of those through the
//! engines. A machine that slows down or is shared for a while slows all engines of that workload
//! and round; ratios are taken within both. Who begins changes from round to round, and before each
//! child the disk comes to rest, so that nobody runs behind the same other one's writes.
//!
//! A workload that begins with a loaded store gets a copy of one, which workloads that follow one
//! another share (`templates.rs`). Each round loads anew: how a store came out is a part of what
//! differs from round to round.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::Result;
use crate::bars;
use crate::child::{self, Job, Load, Task};
use crate::counts;
use crate::engines;
use crate::record::Record;
use crate::report;
use crate::settings::{self, Settings};
use crate::templates::Templates;
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
    if let Some(counted) = counts::run(&command, root.clone()) {
        return counted;
    }
    let engines = selected_engines(&command)?;
    let plan = plan(&command, &engines)?;
    let (records, failures) = if command.from.is_empty() {
        println!("{}", report::heading(&command));
        measure(&command, &plan, &root)?
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

/// One run of one engine through one workload.
struct Turn<'a> {
    round: u32,
    workload: &'static Workload,
    engine: &'a str,
    /// What the store is loaded with that it begins with a copy of.
    load: Option<Settings>,
    /// Whether the engine's next such run, in this round, begins with the same.
    keep: bool,
}

/// Everything that the plan comes to, in order.
fn schedule<'a>(command: &settings::Command, plan: &'a Plan) -> Vec<Turn<'a>> {
    let mut schedule = Vec::new();
    for round in 1..=command.rounds.max(1) {
        for (at, (workload, engines)) in plan.iter().enumerate() {
            for engine in turns(engines, round) {
                let load = workload.load(&command.settings);
                let later = plan[at + 1..].iter().filter(|(_, engines)| engines.contains(engine));
                let next = later.filter_map(|(later, _)| later.load(&command.settings)).next();
                let keep = load.is_some() && next == load;
                schedule.push(Turn { round, workload, engine, load, keep });
            }
        }
    }
    schedule
}

/// Lets what was copied, and what a removed store leaves behind, reach the disk before anybody is
/// timed.
fn rest() {
    rustix::fs::sync();
    std::thread::sleep(REST);
}

/// Runs the plan: all records, and how many runs failed.
fn measure(command: &settings::Command, plan: &Plan, root: &Path) -> Result<(Vec<Record>, u32)> {
    let mut failures = 0;
    let mut records = Vec::new();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let run = format!("{seconds}-{}", std::process::id());
    let mut templates = Templates::new(root);
    for turn in schedule(command, plan) {
        match run_turn(&turn, &run, command, root, &mut templates) {
            Ok(record) => {
                eprintln!("{}", report::progress(&record));
                append_json(command, &record)?;
                records.push(record);
            }
            Err(error) => {
                failures += 1;
                eprintln!("{} {} round {}: {error}", turn.engine, turn.workload.name, turn.round);
            }
        }
        if turn.load.is_some() && !turn.keep {
            templates.remove(turn.engine);
        }
    }
    Ok((records, failures))
}

/// Lets a child run a workload in a directory of its own, and removes that.
fn run_turn(
    turn: &Turn<'_>,
    run: &str,
    command: &settings::Command,
    root: &Path,
    templates: &mut Templates,
) -> Result<Record> {
    let dir = tempfile::Builder::new().prefix(&format!("{}-", turn.engine)).tempdir_in(root)?;
    if let Some(settings) = &turn.load {
        templates.copy(turn.engine, settings, dir.path(), |order| load(turn, order))?;
    }
    rest();
    let job = Job {
        run: run.to_owned(),
        engine: turn.engine.to_owned(),
        workload: turn.workload.name.to_owned(),
        round: turn.round,
        dir: dir.path().to_owned(),
        settings: command.settings.clone(),
    };
    let text = child::spawn(&Task::Run(job))?;
    let line = text.lines().last().ok_or("the child printed nothing")?;
    Ok(serde_json::from_str(line)?)
}

/// Lets a child load a store.
fn load(turn: &Turn<'_>, order: &Load) -> Result<()> {
    let started = Instant::now();
    child::spawn(&Task::Load(order.clone()))?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("  {:18} round {} {:16} {seconds:.2} s", "(loaded)", turn.round, turn.engine);
    Ok(())
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

    /// As long as those that follow are loaded alike; who can't do all of them keeps its own count.
    #[test]
    fn a_store_is_kept_for_the_workloads_that_begin_with_the_same() {
        let [fill, random, large, scan, two] =
            ["fillseq", "readrandom", "read-4k", "scan", "readrandom-2t"]
                .map(|name| workloads::find(name).unwrap());
        let (both, one) = (names(&["a", "b"]), names(&["a"]));
        let plan = [(random, &both), (fill, &both), (two, &one), (large, &both), (scan, &one)];
        let plan: Plan = plan.into_iter().map(|(load, own)| (load, own.clone())).collect();
        let command = ["alluvium-bench", "all", "--rounds", "2"];
        let schedule = schedule(&settings::Command::parse_from(command), &plan);
        let of = |round: u32| {
            let own = schedule.iter().filter(|turn| turn.round == round);
            own.map(|turn| (turn.workload.name, turn.engine, turn.load.is_some(), turn.keep))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(1),
            [
                ("readrandom", "a", true, true),
                ("readrandom", "b", true, false),
                ("fillseq", "a", false, false),
                ("fillseq", "b", false, false),
                ("readrandom-2t", "a", true, false),
                ("read-4k", "a", true, false),
                ("read-4k", "b", true, false),
                ("scan", "a", true, false),
            ]
        );
        let mut turned = of(1);
        [0, 2, 5].into_iter().for_each(|at| turned.swap(at, at + 1));
        assert_eq!(of(2), turned);
        assert!(schedule[..schedule.len() / 2].iter().all(|turn| turn.round == 1));
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
        let with_variant = engines::with_variants(&names(&["alluvium"]), 1 << 20);
        assert_eq!(with_variant, ["alluvium", "alluvium-blob"]);
        assert_eq!(engines::with_variants(&names(&["redb"]), 1 << 20), ["redb"]);
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
