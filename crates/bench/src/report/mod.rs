//! Medians, ratios and tables.
//!
//! A figure of the table is the median over the rounds, the longest call the greatest of them. A
//! ratio is the median over the rounds of (first engine's rate / this engine's rate) *within* a
//! round (`ratios.rs`): both ran within the same minutes, so a slow one of the machine cancels out.
//! Its spread, the lowest and the highest of the rounds, stands beside it: where that straddles 1,
//! nothing has been shown.

mod format;
mod ratios;
pub mod targets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};

use crate::record::Record;
use crate::settings::{CodecName, Command, Settings};
use crate::workloads::Workload;
use format::{count, rate, short};
use ratios::spread;
pub use ratios::{check, median};

/// The lines above the tables: the machine, what was set, and how it is measured.
pub fn heading(command: &Command) -> String {
    let settings = &command.settings;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = first_line_of("/proc/cpuinfo", "model name").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{} keys of 16 bytes, values of {} bytes, half compressible; {} round(s), engines \
         taking turns, each in a process of its own; {} thread(s).\n\
         Equal on all sides: durability {:?}, codec {:?}, block cache {} MiB, memtable {} MiB.\n\
         Before each timed phase, for every engine alike: memory touched, every file read ahead, \
         and (reads) untimed operations of the same kind.\n\
         Machine: {cores} cores, {model}, Linux {}, load {load} at the start.\n",
        count(settings.keys),
        settings.value_bytes,
        command.rounds,
        settings.threads,
        settings.durability,
        settings.codec,
        settings.cache_mib,
        settings.memtable_mib,
        kernel.trim(),
    )
}

fn first_line_of(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// One line for a measurement that has just been made.
pub fn progress(record: &Record) -> String {
    format!(
        "  {:18} round {} {:16} {:>8} ops/s, {:.2} s, settled after {:.2} s",
        record.workload,
        record.round,
        record.engine,
        rate(record.rate),
        record.seconds,
        record.settle_seconds,
    )
}

const COLUMNS: [&str; 14] = [
    "engine",
    "ops/s",
    "ratio (range)",
    "CPU µs/op",
    "with settling",
    "CPU ratio",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "max µs",
    "write amp.",
    "space amp.",
    "peak MiB",
    "settle s",
];

/// The table of one workload: a line an engine, in the order of the records.
pub fn table(workload: &Workload, records: &[Record], markdown: bool) -> String {
    let engines = engines_of(records);
    let mut table = new_table(markdown, COLUMNS.map(str::to_owned));
    let mut extras = String::new();
    for &engine in &engines {
        let own: Vec<&Record> = records.iter().filter(|record| record.engine == engine).collect();
        table.add_row(row(engine, &own, &Ratios::of(records, engines[0], engine)));
        for (name, figure) in extra_medians(&own) {
            extras += &format!("- {engine}: {name} {}\n", rate(figure));
        }
    }
    let title = if markdown { "### " } else { "" };
    let gap = if markdown { "\n" } else { "" };
    let set = records.first().map(|record| described(&record.settings)).unwrap_or_default();
    format!("{title}{}: {}{set}\n{gap}{table}\n{gap}{extras}", workload.name, workload.about)
}

/// What one workload ran with, in brackets.
fn described(settings: &Settings) -> String {
    let codec = match settings.codec {
        CodecName::None => String::new(),
        codec => format!(", {codec:?}"),
    };
    format!(
        " ({} keys, values of {} bytes, durability {:?}, {} thread(s), cache {} MiB{codec})",
        count(settings.keys),
        settings.value_bytes,
        settings.durability,
        settings.threads.max(1),
        settings.cache_mib,
    )
}

/// One table of several workloads: the first engine's rate, and the others' with the ratios.
pub fn summary(measured: &[(&Workload, Vec<Record>)], markdown: bool) -> String {
    let mut engines: Vec<&str> = Vec::new();
    for (_, records) in measured {
        let more = engines_of(records);
        engines.extend(more.into_iter().filter(|name| !engines.contains(name)).collect::<Vec<_>>());
    }
    let mut columns = vec!["workload".to_owned()];
    for (at, engine) in engines.iter().enumerate() {
        columns.push(format!("{engine}, ops/s"));
        if at > 0 {
            columns.extend(["ratio (range)".to_owned(), "CPU ratio".to_owned()]);
        }
    }
    let mut table = new_table(markdown, columns);
    for (workload, records) in measured {
        let mut line = vec![workload.name.to_owned()];
        for (at, &engine) in engines.iter().enumerate() {
            let own = records.iter().filter(|record| record.engine == engine);
            let middle = median(own.map(|record| record.rate).collect());
            line.push(middle.map_or_else(|| "-".to_owned(), rate));
            if at > 0 {
                let ratios = Ratios::of(records, engines[0], engine);
                line.extend([ratios.rate_cell(), ratios.cpu_cell()]);
            }
        }
        table.add_row(line);
    }
    let title = if markdown { "### Together\n\n" } else { "Together\n" };
    format!("{title}{table}\n")
}

/// What the ratios mean, in one line.
pub fn legend(first: &str) -> String {
    format!(
        "ratio: the rate of {first} divided by that of the line. CPU ratio: the processor time \
         that the line's engine needed for an operation, settling included, divided by that of \
         {first}. Above 1, {first} is ahead in both.\n"
    )
}

fn engines_of(records: &[Record]) -> Vec<&str> {
    let mut engines: Vec<&str> = Vec::new();
    for record in records {
        if !engines.contains(&record.engine.as_str()) {
            engines.push(&record.engine);
        }
    }
    // Whoever began, or failed in the first round.
    engines.sort_by_key(|engine| !engine.starts_with("alluvium"));
    engines
}

fn new_table(markdown: bool, columns: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_style(if markdown { presets::ASCII_MARKDOWN } else { presets::UTF8_BORDERS_ONLY });
    table.set_header(columns.into_iter().collect::<Vec<_>>());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(engine: &str, own: &[&Record], ratios: &Ratios) -> Vec<String> {
    let of = |figure: fn(&Record) -> f64| median(own.iter().map(|record| figure(record)).collect());
    let written = own.iter().filter_map(|record| record.write_amplification).collect();
    vec![
        engine.to_owned(),
        of(|record| record.rate).map_or_else(String::new, rate),
        ratios.rate_cell(),
        cell(of(|record| record.cpu_us)),
        cell(of(|record| record.cpu_settled_us)),
        ratios.cpu_cell(),
        cell(of(|record| record.p50_us)),
        cell(of(|record| record.p99_us)),
        cell(of(|record| record.p999_us)),
        cell(own.iter().map(|record| record.max_us).reduce(f64::max)),
        cell(median(written)),
        cell(of(|record| record.space_amplification)),
        cell(of(|record| record.peak_memory_mib)),
        cell(of(|record| record.settle_seconds)),
    ]
}

fn cell(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), short)
}

/// How the first engine compares with another, in each moment that has both.
struct Ratios {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Ratios {
    fn of(records: &[Record], first: &str, engine: &str) -> Ratios {
        if first == engine {
            return Ratios { rates: Vec::new(), cpu: Vec::new() };
        }
        let (one, other) =
            (|record: &Record| record.engine == first, |record: &Record| record.engine == engine);
        Ratios {
            rates: ratios::ratios(records, one, other, |record| Some(record.rate)),
            cpu: ratios::ratios(records, other, one, |record| Some(record.cpu_settled_us)),
        }
    }

    fn rate_cell(&self) -> String {
        spread(&self.rates)
    }

    fn cpu_cell(&self) -> String {
        median(self.cpu.clone()).map_or_else(String::new, |middle| format!("{middle:.2}"))
    }
}

fn extra_medians(own: &[&Record]) -> BTreeMap<String, f64> {
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for record in own {
        if let Some(bytes) = record.write_amplification_own {
            figures.entry("write amp. by its own account".to_owned()).or_default().push(bytes);
        }
        for (name, figure) in &record.extra {
            figures.entry(name.clone()).or_default().push(*figure);
        }
    }
    let middle = |name: &str, all: Vec<f64>| match name.contains(" max ") {
        true => all.into_iter().reduce(f64::max),
        false => median(all),
    };
    figures
        .into_iter()
        .filter_map(|(name, all)| Some((name.clone(), middle(&name, all)?)))
        .collect()
}
