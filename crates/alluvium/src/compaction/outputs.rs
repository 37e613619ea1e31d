//! The tables that a job writes: one at a time, or one for each time window.
//!
//! Entries come in key order. Where windows are kept apart and keys do not begin with their time,
//! the entries of several windows come mixed, and as many tables are written side by side. There
//! may be any number of windows (a hostile clock is enough), and each open table costs a buffer:
//! what belongs to a window beyond [`OPEN_MAX`] is left for another pass over the same input.
//!
//! Range tombstones are cut where a table ends. Where windows are kept apart they cover keys of any
//! window, and go into a table of their own, which has no event times and no window.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::error::Result;
use crate::base::key::{self, ValueKind};
use crate::compaction::WindowSplit;
use crate::compaction::blobs::BlobOutputs;
use crate::compaction::covered::Covered;
use crate::compaction::job::{JobContext, JobOutput};
use crate::compaction::retain::Verdict;
use crate::sstable::{TableOptions, TableWriter};

/// Windows written in one pass.
pub(crate) const OPEN_MAX: usize = 32;

/// Where surviving entries go.
pub(crate) struct Outputs<'a> {
    context: &'a JobContext<'a>,
    options: &'a TableOptions,
    windows: Option<WindowSplit>,
    /// Where large values go.
    blobs: BlobOutputs<'a>,
    /// The table under way where windows do not count.
    single: Option<TableWriter>,
    /// The tables under way, by window.
    open: BTreeMap<u64, TableWriter>,
    /// The windows of this pass.
    taken: BTreeSet<u64>,
    /// The windows of earlier passes.
    done: BTreeSet<u64>,
    /// Whether this pass met a window that it had no room for.
    more: bool,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(
        context: &'a JobContext<'a>,
        options: &'a TableOptions,
        windows: Option<WindowSplit>,
    ) -> Outputs<'a> {
        Outputs {
            context,
            options,
            windows,
            blobs: BlobOutputs::new(context, options.blob_bytes_min),
            single: None,
            open: BTreeMap::new(),
            taken: BTreeSet::new(),
            done: BTreeSet::new(),
            more: false,
        }
    }

    /// The window of `user_key`, where windows count.
    #[inline]
    pub(crate) fn window(&self, user_key: &[u8]) -> Option<u64> {
        self.windows.as_ref().map(|windows| windows.window(user_key))
    }

    /// Whether this pass writes the entries of `window`.
    #[inline]
    pub(crate) fn takes(&mut self, window: Option<u64>) -> bool {
        let Some(window) = window else { return true };
        if self.taken.contains(&window) {
            return true;
        }
        if self.done.contains(&window) {
            return false;
        }
        if self.taken.len() == OPEN_MAX {
            self.more = true;
            return false;
        }
        self.taken.insert(window);
        true
    }

    /// Bytes of values in blob files that were read and written anew since this was asked last.
    #[inline]
    pub(crate) fn take_moved_bytes(&mut self) -> usize {
        self.blobs.take_moved_bytes()
    }

    fn writer(&self, window: Option<u64>) -> Option<&TableWriter> {
        window.map_or(self.single.as_ref(), |window| self.open.get(&window))
    }

    /// The bytes of the table that `window` goes on in, 0 where it begins one.
    #[inline]
    pub(crate) fn bytes(&self, window: Option<u64>) -> u64 {
        self.writer(window).map_or(0, TableWriter::estimated_bytes)
    }

    /// Ends the table of `window` before `user_key`.
    pub(crate) fn cut(
        &mut self,
        window: Option<u64>,
        user_key: &[u8],
        covered: &mut Covered,
        output: &mut JobOutput,
    ) -> Result<()> {
        let full = match window {
            None => self.add_ranges(covered, Some(user_key), output)?,
            Some(window) => self.open.remove(&window),
        };
        if let Some(full) = full {
            output.tables.push(full.finish()?);
        }
        Ok(())
    }

    /// Writes what becomes of an entry of a window that this pass takes.
    #[inline]
    pub(crate) fn add(
        &mut self,
        window: Option<u64>,
        verdict: Verdict,
        internal_key: &[u8],
        value: &[u8],
        output: &mut JobOutput,
    ) -> Result<()> {
        if !output.count(verdict) {
            return Ok(());
        }
        if verdict == Verdict::Bury {
            return self.write(window, &tombstone_of(internal_key), &[], output);
        }
        if self.blobs.may_take(internal_key, value)
            && let Some((internal_key, index)) = self.blobs.take(internal_key, value, output)?
        {
            return self.write(window, &internal_key, &index, output);
        }
        self.write(window, internal_key, value, output)
    }

    #[inline]
    fn write(
        &mut self,
        window: Option<u64>,
        internal_key: &[u8],
        value: &[u8],
        output: &mut JobOutput,
    ) -> Result<()> {
        if let Some(writer) = &mut self.single {
            return writer.add(internal_key, value);
        }
        if let Some(writer) = window.and_then(|window| self.open.get_mut(&window)) {
            return writer.add(internal_key, value);
        }
        let mut writer = self.context.begin_table(output, self.options)?;
        writer.add(internal_key, value)?;
        match window {
            None => self.single = Some(writer),
            Some(window) => {
                self.open.insert(window, writer);
            }
        }
        Ok(())
    }

    /// Takes the one table out, with the range tombstones before `end` in it; begins it for them
    /// where there is none.
    fn add_ranges(
        &mut self,
        covered: &mut Covered,
        end: Option<&[u8]>,
        output: &mut JobOutput,
    ) -> Result<Option<TableWriter>> {
        let mut writer = self.single.take();
        for fragment in covered.take_before(end) {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(self.context.begin_table(output, self.options)?),
            };
            writer.add_range(&fragment)?;
        }
        Ok(writer)
    }

    /// Ends every table of this pass, the last one with the range tombstones that are left; says
    /// whether another pass is needed.
    pub(crate) fn end_pass(
        &mut self,
        covered: &mut Covered,
        output: &mut JobOutput,
    ) -> Result<bool> {
        if !self.more {
            self.single = self.add_ranges(covered, None, output)?;
        }
        let open = std::mem::take(&mut self.open);
        for writer in self.single.take().into_iter().chain(open.into_values()) {
            output.tables.push(writer.finish()?);
        }
        self.done.append(&mut self.taken);
        let more = std::mem::take(&mut self.more);
        if !more {
            self.blobs.finish(output)?;
        }
        Ok(more)
    }
}

/// The internal key of a tombstone in the place of an entry.
fn tombstone_of(internal_key: &[u8]) -> Vec<u8> {
    let (user_key, trailer) = key::split(internal_key);
    let trailer = key::pack_trailer(key::trailer_seq(trailer), ValueKind::Delete);
    let mut tombstone = Vec::with_capacity(internal_key.len());
    key::encode_into(&mut tombstone, user_key, trailer);
    tombstone
}
