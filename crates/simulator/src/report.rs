//! Rows for people, and for other programs.

use comfy_table::{CellAlignment, Table, presets};

use crate::figures::Figures;
use crate::real::Measured;
use crate::settings::Settings;
use crate::theory;

/// One simulated store.
#[derive(Debug)]
pub struct Row {
    pub settings: Settings,
    pub figures: Figures,
    /// What a real store did, where one was asked for.
    pub measured: Option<Measured>,
}

/// The columns, each with what it shows of a row.
const COLUMNS: &[(&str, fn(&Row) -> String)] = &[
    ("strategy", |row| row.settings.policy.name().to_owned()),
    ("load", |row| row.settings.load.name().to_owned()),
    ("size", |row| bytes_text(row.settings.live_bytes as f64)),
    ("table", |row| bytes_text(row.settings.options.table_bytes as f64)),
    ("memtable", |row| bytes_text(row.settings.options.memtable_bytes as f64)),
    ("write", |row| format!("{:.2}", row.figures.write_amplification())),
    ("theory", |row| {
        let (low, high) = theory::expected(&row.settings).write;
        format!("{low:.0} - {high:.0}")
    }),
    ("runs", |row| format!("{:.0}", row.figures.worst(|one| one.depth as f64))),
    ("theory", |row| format!("{:.0}", theory::expected(&row.settings).runs)),
    ("space", |row| format!("{:.2}", row.figures.mean(|one| one.space))),
    ("theory", |row| format!("{:.2}", theory::expected(&row.settings).space)),
    ("peak", |row| format!("{:.2}", row.figures.space_peak)),
    ("hit", |row| format!("{:.3}", row.figures.mean(|one| one.hit))),
    ("miss", |row| format!("{:.3}", row.figures.mean(|one| one.miss))),
    ("monkey", |row| format!("{:.3}", row.figures.mean(|one| one.miss_monkey))),
    ("debt", |row| bytes_text(row.figures.worst(|one| one.debt))),
    ("stall", |row| format!("{:.3} s", row.figures.stall_longest)),
    ("flushes", |row| row.figures.flushes.to_string()),
    ("compactions", |row| row.figures.compactions.to_string()),
    ("largest", |row| bytes_text(row.figures.compaction_largest)),
];

/// The rows as a table.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(COLUMNS.iter().map(|(name, _)| *name));
    for row in rows {
        table.add_row(COLUMNS.iter().map(|(_, show)| show(row)));
    }
    for index in 3..COLUMNS.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// The rows with numbers as they are, one a line, comma-separated.
pub fn csv(rows: &[Row]) -> String {
    let columns: &[(&str, fn(&Row) -> f64)] = &[
        ("live_bytes", |row| row.settings.live_bytes as f64),
        ("memtable_bytes", |row| row.settings.options.memtable_bytes as f64),
        ("table_bytes", |row| row.settings.options.table_bytes as f64),
        ("user_bytes", |row| row.figures.user_bytes),
        ("log_bytes", |row| row.figures.log_bytes),
        ("flush_bytes", |row| row.figures.flush_bytes),
        ("compaction_read_bytes", |row| row.figures.compaction_read),
        ("compaction_write_bytes", |row| row.figures.compaction_written),
        ("write_amplification", |row| row.figures.write_amplification()),
        ("theory_write_low", |row| theory::expected(&row.settings).write.0),
        ("theory_write_high", |row| theory::expected(&row.settings).write.1),
        ("runs_worst", |row| row.figures.worst(|one| one.depth as f64)),
        ("runs_mean", |row| row.figures.mean(|one| one.runs as f64)),
        ("space_mean", |row| row.figures.mean(|one| one.space)),
        ("space_end", |row| row.figures.last().space),
        ("space_peak", |row| row.figures.space_peak),
        ("hit_block_reads", |row| row.figures.mean(|one| one.hit)),
        ("miss_block_reads", |row| row.figures.mean(|one| one.miss)),
        ("miss_block_reads_monkey", |row| row.figures.mean(|one| one.miss_monkey)),
        ("debt_worst_bytes", |row| row.figures.worst(|one| one.debt)),
        ("debt_end_bytes", |row| row.figures.last().debt),
        ("stall_longest_seconds", |row| row.figures.stall_longest),
        ("stalled_seconds", |row| row.figures.stalled),
        ("seconds", |row| row.figures.seconds),
        ("flushes", |row| row.figures.flushes as f64),
        ("compactions", |row| row.figures.compactions as f64),
        ("compaction_largest_bytes", |row| row.figures.compaction_largest),
    ];
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("strategy,load,{}\n", names.join(","));
    for row in rows {
        let figures: Vec<String> = columns.iter().map(|(_, of)| of(row).to_string()).collect();
        let (policy, load) = (row.settings.policy.name(), row.settings.load.name());
        text += &format!("{policy},{load},{}\n", figures.join(","));
    }
    text
}

/// A simulated store and a real one, side by side.
pub fn beside(row: &Row, measured: &Measured) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "simulated", "measured", "difference"]);
    let simulated = &row.figures;
    let lines = [
        ("write amplification", simulated.write_amplification(), measured.write),
        ("space at the end", simulated.last().space, measured.space),
        ("space at most", simulated.worst(|one| one.space), measured.space_peak),
        ("sorted runs at most", simulated.worst(|one| one.runs as f64), measured.runs as f64),
        ("flushes", simulated.flushes as f64, measured.flushes as f64),
        ("compactions", simulated.compactions as f64, measured.compactions as f64),
        ("longest stall, s", simulated.stall_longest, measured.stall_longest),
    ];
    for (name, model, real) in lines {
        let difference = format!("{:+.0} %", (model / real - 1.0) * 100.0);
        table.add_row([name.to_owned(), format!("{model:.2}"), format!("{real:.2}"), difference]);
    }
    let (policy, load) = (row.settings.policy.name(), row.settings.load.name());
    let size = bytes_text(row.settings.live_bytes as f64);
    format!("{policy}, {load}, {size}\n{table}\n")
}

/// All stores that were simulated and real, one a line, beside what theory expects.
pub fn beside_theory(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let beside = ["simulated", "measured", "theory"];
    let named = |name: &'static str| beside.map(|column| format!("{name}, {column}"));
    let names = ["strategy", "load", "size"].map(str::to_owned).into_iter();
    table
        .set_header(names.chain(["write", "runs", "space at the end"].into_iter().flat_map(named)));
    for row in rows {
        let Some(measured) = &row.measured else { continue };
        let (figures, theory) = (&row.figures, theory::expected(&row.settings));
        let mut cells = vec![
            row.settings.policy.name().to_owned(),
            row.settings.load.name().to_owned(),
            bytes_text(row.settings.live_bytes as f64),
        ];
        cells.push(format!("{:.2}", figures.write_amplification()));
        cells.push(format!("{:.2}", measured.write));
        cells.push(format!("{:.0} - {:.0}", theory.write.0, theory.write.1));
        cells.push(format!("{:.0}", figures.worst(|one| one.runs as f64)));
        cells.push(measured.runs.to_string());
        cells.push(format!("{:.0}", theory.runs));
        cells.push(format!("{:.2}", figures.last().space));
        cells.push(format!("{:.2}", measured.space));
        cells.push(format!("{:.2}", theory.space));
        table.add_row(cells);
    }
    format!("{table}\n")
}

/// Bytes for people: `12.3 GiB`.
pub fn bytes_text(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}
