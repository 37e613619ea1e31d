//! `alluvium dump`: prints what stands in one file of a store.
//!
//! The store is not opened, so a damaged or copied file can be looked at, too. Output is a line for
//! each entry, operation or field, so that it goes well with `grep` and `wc`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use alluvium::inspect::{self, Entry, LogItem};
use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::output::bytes::Form;

/// The arguments of `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// What the file is
    kind: Kind,
    /// The file
    file: PathBuf,
    /// Print keys and values in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Print this many batches, edits or entries at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A segment of the write-ahead log: 000012.wal
    Wal,
    /// A table: 000012.sst
    Sst,
    /// A log of version edits: 000012.manifest
    Manifest,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Kind::Wal => "wal",
            Kind::Sst => "sst",
            Kind::Manifest => "manifest",
        }
    }
}

/// Prints the file; fails where its bytes do not hold.
pub fn run(args: &DumpArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if args.file.extension().is_none_or(|found| found != args.kind.extension()) {
        let name = args.file.display();
        let extension = args.kind.extension();
        return Err(Failure::Usage(format!("{name} is not named like 000012.{extension}")));
    }
    let mut dump = Dump {
        out,
        form: if args.hex { Form::Hex } else { Form::Escaped },
        left: args.limit,
        outcome: Ok(()),
        bad: None,
    };
    match args.kind {
        Kind::Wal | Kind::Manifest => inspect::log(&args.file, |item| dump.log_item(&item))?,
        Kind::Sst => {
            let properties = inspect::table(&args.file, |entry| dump.table_entry(&entry))?;
            dump.properties(&properties);
        }
    }
    dump.outcome?;
    match dump.bad {
        None => Ok(()),
        Some((offset, detail)) => {
            let file = args.file.display();
            Err(Failure::Failed(format!("{file} breaks off at byte {offset}: {detail}")))
        }
    }
}

/// Where the lines go, and how that went.
struct Dump<'a> {
    out: &'a mut dyn Write,
    form: Form,
    left: u64,
    outcome: io::Result<()>,
    bad: Option<(u64, String)>,
}

impl Dump<'_> {
    fn line(&mut self, line: &str) {
        if self.outcome.is_ok() {
            self.outcome = writeln!(self.out, "{line}");
        }
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Whether the limit leaves room for one more; takes it.
    fn take(&mut self) -> bool {
        let room = self.left > 0;
        self.left = self.left.saturating_sub(1);
        room
    }

    fn log_item(&mut self, item: &LogItem) -> ControlFlow<()> {
        match item {
            LogItem::Header { number, previous: 0, .. } => self.line(&format!("log {number}")),
            LogItem::Header { number, previous, previous_bytes } => self.line(&format!(
                "log {number}, after {previous}, of which {previous_bytes} bytes count"
            )),
            LogItem::Batch { .. } | LogItem::Edit { .. } if !self.take() => {
                return ControlFlow::Break(());
            }
            LogItem::Batch { offset, durable, operations } => {
                let count = operations.len();
                self.line(&format!("{offset}: batch of {count}, durable through {durable}"));
                for operation in operations {
                    self.entry(operation);
                }
            }
            LogItem::Edit { offset, fields } => {
                self.line(&format!("{offset}: edit"));
                self.properties(fields);
            }
            LogItem::End { offset } => self.line(&format!("{offset}: end, closed in good order")),
            LogItem::Bad { offset, detail } => self.bad = Some((*offset, detail.clone())),
        }
        self.go_on()
    }

    fn table_entry(&mut self, entry: &Entry) -> ControlFlow<()> {
        if !self.take() {
            return ControlFlow::Break(());
        }
        self.entry(entry);
        self.go_on()
    }

    /// Sequence number, kind, column family, key, value, a tab between; the kind with the expiry
    /// time where there is one.
    fn entry(&mut self, entry: &Entry) {
        let Entry { sequence_number, kind, column_family, key, expires_ms, value } = entry;
        let expires = expires_ms.map_or(String::new(), |ms| format!(" until {ms} ms"));
        let mut line = format!("  {sequence_number}\t{kind}{expires}\tcf {column_family}\t");
        self.form.print(&mut line, key);
        if !value.is_empty() {
            line.push('\t');
            self.form.print(&mut line, value);
        }
        self.line(&line);
    }

    fn properties(&mut self, fields: &[(&'static str, String)]) {
        for (name, content) in fields {
            self.line(&format!("  {name}: {content}"));
        }
    }
}
