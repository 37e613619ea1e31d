//! `alluvium-simulator`: the engine's own compaction pickers over stores that exist as metadata.
//!
//! A terabyte is 8,000 tables, and a table here is a range of keys and a few numbers. Everything
//! that decides is the engine's (`alluvium::simulation`): which tables are merged, where an output
//! ends, what may be dropped, how long a writer waits. What is modelled is what the bytes would
//! have said: how many entries of a merge survive, and how long a job takes.
//!
//! ```text
//! settings.rs ─► engine.rs: a writer, jobs, a device, event by event ─► figures.rs ─► report.rs
//!                   │  load.rs: what is written, cohort by cohort                     plot.rs
//!                   └► store.rs ─► alluvium::simulation::Tree (the picker)
//!                         └► merge.rs: what survives (content.rs)
//! ```
//!
//! `cargo xtask simulate` builds and starts it; `docs/compaction.md` says what it shows.

mod content;
mod engine;
mod figures;
mod load;
mod merge;
mod plot;
mod real;
mod report;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod theory;

use std::process::ExitCode;
use std::sync::Arc;

use alluvium::env::PosixEnv;
use clap::Parser;

use crate::load::Kind;
use crate::report::Row;
use crate::settings::{Command, Policy, Settings};

/// What the simulator can fail with: everything ends in one sentence on standard error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("alluvium-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let policies = match command.strategies.as_slice() {
        [] => Policy::ALL,
        chosen => chosen,
    };
    let mut rows = Vec::new();
    for &load in &command.loads {
        for &live_bytes in &command.sizes {
            for policy in policies.iter().filter(|policy| policy.suits(load)) {
                let row = simulate(command, command.settings(*policy, load, live_bytes))?;
                if let Some(measured) = &row.measured {
                    println!("{}", report::beside(&row, measured));
                }
                rows.push(row);
            }
        }
    }
    print!("{}", report::table(&rows));
    if rows.iter().any(|row| row.measured.is_some()) {
        print!("\n{}", report::beside_theory(&rows));
    }
    if let Some(path) = &command.csv {
        std::fs::write(path, report::csv(&rows))?;
    }
    if let Some(directory) = &command.plots {
        plot::draw(directory, &rows)?;
    }
    Ok(())
}

/// Simulates one store, and does the same to a real one where that was asked for.
fn simulate(command: &Command, settings: Settings) -> Result<Row> {
    let begun = std::time::Instant::now();
    let (figures, picks) = engine::simulate(&settings)?;
    let (policy, load) = (settings.policy.name(), settings.load.name());
    let size = report::bytes_text(settings.live_bytes as f64);
    let took = begun.elapsed().as_secs_f64();
    let mean_us = picks.sum.as_secs_f64() * 1e6 / picks.count.max(1) as f64;
    let longest_us = picks.longest.as_secs_f64() * 1e6;
    eprintln!(
        "{policy}, {load}, {size}: simulated in {took:.1} s; {} picks over up to {} tables, \
         {mean_us:.0} us each, {longest_us:.0} us at most",
        picks.count, picks.tables
    );
    let measured = match &command.real {
        None => None,
        Some(_) if settings.full => {
            return Err("a real store begins empty: --from-empty".into());
        }
        // FIFO drops by size, and asks no clock.
        Some(_) if settings.load == Kind::Ttl && settings.policy != Policy::Fifo => {
            return Err("the clock of a real store is not ours: `ttl` under `fifo` only".into());
        }
        Some(root) => {
            std::fs::create_dir_all(root)?;
            let directory = tempfile::Builder::new().prefix("simulated-").tempdir_in(root)?;
            let env = Arc::new(PosixEnv::new(directory.path()));
            Some(real::run(&settings, env, command.seed)?)
        }
    };
    Ok(Row { settings, figures, measured })
}
