//! The process that runs one engine through one workload, and prints one line of JSON; or loads the
//! store that such runs begin with copies of.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::engines::{self, Engine};
use crate::measure;
use crate::record::Record;
use crate::settings::Settings;
use crate::workloads::{self, Outcome, Run};

/// The first argument of a child; the second is a [`Task`] in JSON. Not shown to users.
pub const SUBCOMMAND: &str = "child";

/// What a child is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// Load a store.
    Load(Load),
    /// Run a workload, and print its record.
    Run(Job),
}

/// A store to load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The engine.
    pub engine: String,
    /// An empty directory for the store.
    pub dir: PathBuf,
    /// How many keys, and how they are written.
    pub settings: Settings,
}

/// A workload to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The run of the parent.
    pub run: String,
    /// The engine.
    pub engine: String,
    /// The workload.
    pub workload: String,
    /// The round, from 1.
    pub round: u32,
    /// The directory of the store: a copy of a loaded one, or empty where the workload begins so.
    pub dir: PathBuf,
    /// The rest.
    pub settings: Settings,
}

/// Does the task in a process of its own, and returns what that printed.
pub fn spawn(task: &Task) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .arg(serde_json::to_string(task)?)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Does the task.
pub fn main(task: &str) -> Result<()> {
    match serde_json::from_str(task)? {
        Task::Load(order) => load(&order),
        Task::Run(job) => {
            println!("{}", serde_json::to_string(&run(&job)?)?);
            Ok(())
        }
    }
}

/// Loads a store, settles and closes it.
pub fn load(order: &Load) -> Result<()> {
    let engine = engines::open(&order.engine, &order.dir, &order.settings)?;
    workloads::load_all(&*engine, &order.settings)?;
    engine.close()
}

/// Runs the job.
pub fn run(job: &Job) -> Result<Record> {
    let workload = workloads::find(&job.workload)?;
    let settings = workload.settings(&job.settings);
    let engine = engines::open(&job.engine, &job.dir, &settings)?;
    let outcome = workload.run(&Run {
        name: &job.engine,
        engine: &*engine,
        dir: &job.dir,
        settings: &settings,
    })?;
    let record = record_of(job, settings, &*engine, &outcome)?;
    engine.close()?;
    Ok(record)
}

fn record_of(
    job: &Job,
    settings: Settings,
    engine: &dyn Engine,
    outcome: &Outcome,
) -> Result<Record> {
    if job.settings.stats {
        eprintln!("{} {}\n{}", job.engine, job.workload, engine.statistics());
    }
    let Outcome { timed, settled, user_bytes, live_bytes, .. } = outcome;
    let operations = timed.operations.max(1) as f64;
    let cpu = timed.used.cpu_seconds;
    let disk_bytes = measure::directory_bytes(&job.dir)?;
    let per_user_byte = |bytes: u64| (*user_bytes > 0).then(|| bytes as f64 / *user_bytes as f64);
    Ok(Record {
        run: job.run.clone(),
        settings,
        engine: engines::label(&job.engine),
        workload: job.workload.clone(),
        round: job.round,
        operations: timed.operations,
        seconds: timed.used.seconds,
        rate: timed.operations as f64 / timed.used.seconds,
        settled_rate: timed.operations as f64 / (timed.used.seconds + settled.seconds),
        cpu_us: cpu * 1e6 / operations,
        cpu_settled_us: (cpu + settled.cpu_seconds) * 1e6 / operations,
        p50_us: timed.latencies.quantile_us(0.5),
        p99_us: timed.latencies.quantile_us(0.99),
        p999_us: timed.latencies.quantile_us(0.999),
        max_us: timed.latencies.max_us(),
        settle_seconds: settled.seconds,
        write_amplification: per_user_byte(timed.used.written + settled.written),
        write_amplification_own: outcome.own_written.and_then(per_user_byte),
        written_bytes: timed.used.written + settled.written,
        space_amplification: disk_bytes as f64 / (*live_bytes).max(1) as f64,
        disk_bytes,
        peak_memory_mib: outcome.peak_memory_bytes as f64 / f64::from(1 << 20),
        extra: outcome.extra.clone(),
    })
}
