//! `alluvium ingest`: reads click logs into a store.
//!
//! Every input is opened before the store is, so that a mistyped name makes no store. A file that
//! cannot be read to its end does not keep the ones behind it from being read; a store that fails
//! does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use alluvium::{Durability, Options};
use alluvium_events::{
    EventStore, EventsError, Fields, Format, IngestOptions, IngestSummary, OnError, RejectFile,
    Source,
};
use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::output::bytes::escaped;
use crate::output::ingested;
use crate::output::numbers::counted;
use crate::output::table::shortened;
use crate::progress::{Bar, Position};
use crate::say;
use crate::store::{StoreArgs, writing_options};

/// Characters of a file's name in front of its progress bar.
const LABEL_WIDTH: usize = 24;

/// The arguments of `ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Logs to read, plain, gzip or zstd; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The format: auto, combined, common, ndjson, csv or tsv
    #[arg(long, default_value = "auto")]
    format: Format,
    /// Keep malformed lines in this file, with file, line number and reason
    #[arg(long, value_name = "FILE")]
    reject_file: Option<PathBuf>,
    /// What a malformed line does: it is counted and left out, or it ends the run
    #[arg(long, value_name = "WHAT", default_value = "continue")]
    on_error: OnErrorArg,
    #[command(flatten)]
    fields: FieldArgs,
    #[command(flatten)]
    writing: WritingArgs,
}

/// The flags that name fields.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fields of NDJSON, CSV and TSV (a.b is nested, {tag}#{id} joins)")]
struct FieldArgs {
    /// The field with the time: ISO 8601, Unix seconds or milliseconds
    #[arg(long, value_name = "FIELD")]
    time: Option<String>,
    /// The field that says who
    #[arg(long, value_name = "FIELD")]
    user: Option<String>,
    /// The field that says what was asked for
    #[arg(long, value_name = "FIELD")]
    path: Option<String>,
    /// The field with the status
    #[arg(long, value_name = "FIELD")]
    status: Option<String>,
    /// The field with the number of bytes
    #[arg(long, value_name = "FIELD")]
    bytes: Option<String>,
}

/// The flags on how events are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writing")]
struct WritingArgs {
    /// What each write survives: buffered (nothing until the end), os (a kill), disk (a power cut)
    #[arg(long, value_name = "WHAT")]
    durability: Option<DurabilityArg>,
    /// Events in one write. More: faster; fewer: less to read again after a kill
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_events: Option<u32>,
    /// Bytes of a memtable before it is flushed. More: less rewriting; fewer: less memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(65_536..))]
    memtable_bytes: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnErrorArg {
    Continue,
    Stop,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DurabilityArg {
    Buffered,
    Os,
    Disk,
}

impl WritingArgs {
    /// The options for opening the store.
    fn store_options(&self) -> Options {
        let mut options = writing_options();
        if let Some(bytes) = self.memtable_bytes {
            let named = options.column_families.iter_mut().map(|(_, family)| family);
            for family in named.chain([&mut options.column_family]) {
                family.memtable_bytes = bytes as usize;
            }
        }
        options
    }

    /// The options for storing events.
    fn ingest_options(&self) -> IngestOptions {
        let mut options = IngestOptions::default();
        if let Some(events) = self.batch_events {
            options.batch_events = events as usize;
        }
        if let Some(durability) = self.durability {
            options.durability = match durability {
                DurabilityArg::Buffered => Durability::Buffered,
                DurabilityArg::Os => Durability::Os,
                DurabilityArg::Disk => Durability::Disk,
            };
        }
        options
    }
}

impl IngestArgs {
    fn options(&self) -> IngestOptions {
        let fields = &self.fields;
        IngestOptions {
            format: self.format,
            fields: Fields {
                time: fields.time.clone(),
                user: fields.user.clone(),
                path: fields.path.clone(),
                status: fields.status.clone(),
                bytes: fields.bytes.clone(),
            },
            on_error: match self.on_error {
                OnErrorArg::Continue => OnError::Continue,
                OnErrorArg::Stop => OnError::Stop,
            },
            ..self.writing.ingest_options()
        }
    }
}

/// Ingests every file, and prints what came of each.
pub fn run(args: &IngestArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let sources = sources(&args.files)?;
    let options = args.options();
    let mut rejects = args.reject_file.as_deref().map(RejectFile::open).transpose()?;
    let began = Instant::now();
    let store = EventStore::open(&args.store.directory, true, args.writing.store_options())?;
    let mut done = Vec::new();
    let mut failures = Vec::new();
    for source in &sources {
        match one(&store, source, &options, rejects.as_mut()) {
            Ok(summary) => {
                failures.extend(no_event(source, &summary));
                done.push((name(source), summary));
            }
            Err(error) if concerns_the_source(&error) => failures.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    store.close()?;
    if !done.is_empty() {
        out.write_all(ingested::text(&done, began.elapsed()).as_bytes())?;
    }
    for sentence in &failures {
        say(sentence);
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

/// The sentence on a source of which every line was malformed: it is not what it was taken for.
fn no_event(source: &Source, summary: &IngestSummary) -> Option<String> {
    let all = summary.events == 0 && summary.skipped_lines == 0 && summary.rejected > 0;
    let lines = counted(summary.rejected, "line");
    all.then(|| format!("{} holds no event: {lines} malformed", name(source)))
}

/// The sources that the names stand for; every one is there, and every file can be opened.
fn sources(names: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let is_stdin = |name: &&PathBuf| name.as_os_str() == "-";
    if names.iter().filter(is_stdin).count() > 1 {
        return Err(Failure::Usage("FILE: - can be given once".to_owned()));
    }
    let mut sources = Vec::with_capacity(names.len());
    for name in names {
        if is_stdin(&name) {
            sources.push(Source::Stdin);
            continue;
        }
        can_be_opened(name).map_err(|error| Failure::file("open", name, &error))?;
        sources.push(Source::File(name.clone()));
    }
    Ok(sources)
}

/// Opens a regular file and closes it again. Anything else is opened once only, by who reads it:
/// whoever writes into a named pipe takes a reader that leaves for the last one.
fn can_be_opened(name: &Path) -> io::Result<()> {
    if fs::metadata(name)?.is_file() {
        drop(File::open(name)?);
    }
    Ok(())
}

fn name(source: &Source) -> String {
    match source {
        Source::File(path) => path.display().to_string(),
        Source::Stdin => "standard input".to_owned(),
    }
}

/// Ingests one source under a progress bar.
fn one(
    store: &EventStore,
    source: &Source,
    options: &IngestOptions,
    rejects: Option<&mut RejectFile>,
) -> Result<IngestSummary, EventsError> {
    let name = name(source);
    let mut bar = Bar::new(&shortened(&escaped(name.as_bytes()), LABEL_WIDTH));
    store.ingest(source, options, rejects, &mut |progress| {
        bar.input(Position {
            done: progress.bytes_read,
            total: progress.bytes_total,
            events: progress.events,
        });
    })
}

/// Whether the next source may fare better.
fn concerns_the_source(error: &EventsError) -> bool {
    !matches!(
        error,
        EventsError::Store(_)
            | EventsError::NotAnEventStore { .. }
            | EventsError::UnsupportedEvents { .. }
            | EventsError::DamagedRecord { .. }
            | EventsError::RejectFile { .. }
            | EventsError::Stopped { .. }
    )
}
