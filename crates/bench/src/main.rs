//! `alluvium-bench`: workloads that measure Alluvium, and other engines beside it.
//!
//! The parent (`parent.rs`) decides what runs and never touches an engine; every (engine, workload,
//! round) runs in a process of its own (`child.rs`), which prints one line of JSON (`record.rs`).
//! The parent gathers the lines into medians and ratios (`report/`). So no engine inherits another
//! one's heap, threads, page faults or peak memory, and a crash of one costs one row. The stores
//! that workloads begin with are loaded by processes of their own, and copied (`templates.rs`).
//!
//! ```text
//! parent ── spawns ──► child ── opens ──► engines/*.rs
//!   │                    └── loads or runs ──► workloads/*.rs ── measured by ──► measure.rs
//!   ├── templates.rs (what was loaded, a copy for each)   │
//!   └── report/ ◄── record.rs (a line of JSON) ◄──────────┘
//! ```
//!
//! Long runs (`long/`) stand apart: one engine, in the process that was started, second by second.
//! Two names, `filters` and `codecs`, count instead of timing and run in the parent (`counts/`).
//!
//! `instructions` runs one operation for a counter of instructions (`tests/instructions.rs`).
//!
//! How to run it, and what is made equal on all sides: `docs/benchmarks.md`.

mod bars;
mod child;
mod counts;
mod engines;
mod instructions;
mod keys;
mod long;
mod measure;
mod parent;
mod record;
mod report;
mod settings;
mod space;
mod templates;
mod workloads;

use std::process::ExitCode;

/// What the bench can fail with: everything ends in one sentence on standard error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    let outcome = if first == child::SUBCOMMAND {
        child::main(arguments.next().as_deref().unwrap_or_default())
    } else if first == space::SUBCOMMAND {
        space::main(arguments)
    } else if first == instructions::SUBCOMMAND {
        instructions::main(arguments)
    } else if long::NAMES.contains(&first.as_str()) {
        long::main()
    } else {
        parent::main()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("alluvium-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
