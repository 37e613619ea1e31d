//! Events as sentences, for the history. Pure.

use crate::metrics::{CompactionEnded, Event, FlushEnded, TableInfo, text};

/// The sentence for the history; `None` for what would only fill it (beginnings, files).
pub(crate) fn of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Opened { recovered_tables, tables, micros } => format!(
            "the store was opened in {}: {}, {recovered_tables} of them recovered from the log",
            text::micros(*micros),
            text::counted(*tables, "table")
        ),
        Event::Closed => "the store was closed".to_owned(),
        Event::FlushEnded(flush) => of_flush(flush),
        Event::CompactionEnded(compaction) => of_compaction(compaction),
        Event::TablesMoved(moved) => format!(
            "{} of {}, {}, moved to level {} without a rewrite because {}",
            text::counted(moved.tables.len(), "table"),
            moved.family,
            text::bytes(bytes(&moved.tables)),
            moved.output_level,
            moved.reason
        ),
        Event::TablesDropped(dropped) => format!(
            "{} of {}, {}, dropped unread because {}",
            text::counted(dropped.tables.len(), "table"),
            dropped.family,
            text::bytes(bytes(&dropped.tables)),
            dropped.reason
        ),
        Event::StallEnded(stall) => {
            format!("a write waited {} because {}", text::micros(stall.micros), stall.reason)
        }
        Event::BackgroundError { job, error } => format!("{job} failed: {error}"),
        Event::WritesStopped { error } => {
            format!("writes are stopped until the store is opened again: {error}")
        }
        Event::ManifestRolled { number } => {
            format!("manifest {number} was begun, with the whole state in it")
        }
        Event::ListenerPanicked { listener, detail } => {
            format!("listener {listener} panicked and is not called any more: {detail}")
        }
        Event::FlushBegun(_)
        | Event::CompactionBegun(_)
        | Event::StallBegun(_)
        | Event::FileCreated { .. }
        | Event::FileDeleted { .. } => return None,
    })
}

fn bytes(tables: &[TableInfo]) -> u64 {
    tables.iter().map(|table| table.bytes).sum()
}

fn outcome(outputs: &[TableInfo], micros: u64, dropped: u64, of: u64) -> String {
    let written = match outputs {
        [] => "nothing out".to_owned(),
        _ => {
            format!("{} {} out", text::counted(outputs.len(), "table"), text::bytes(bytes(outputs)))
        }
    };
    let share = text::percent(dropped, of);
    format!("{written}, {}, {share} of entries dropped", text::micros(micros))
}

fn of_flush(flush: &FlushEnded) -> String {
    let begun = &flush.begun;
    let what = format!("flush of {} because {}", begun.family, begun.reason);
    if let Some(error) = &flush.error {
        return format!("{what}: failed after {}: {error}", text::micros(flush.micros));
    }
    format!(
        "{what}: {} {} in, {}",
        text::counted(begun.memtables, "memtable"),
        text::bytes(begun.memtable_bytes),
        outcome(&flush.outputs, flush.micros, flush.entries_dropped, flush.entries_in)
    )
}

fn of_compaction(compaction: &CompactionEnded) -> String {
    let begun = &compaction.begun;
    let what = format!(
        "compaction of {} level {} -> {} because {}",
        begun.family, begun.level, begun.output_level, begun.reason
    );
    if let Some(error) = &compaction.error {
        return format!("{what}: failed after {}: {error}", text::micros(compaction.micros));
    }
    format!(
        "{what}: {} {} in, {}",
        text::counted(begun.inputs.len(), "table"),
        text::bytes(begun.input_bytes()),
        outcome(
            &compaction.outputs,
            compaction.micros,
            compaction.entries_dropped,
            compaction.entries_in
        )
    )
}
