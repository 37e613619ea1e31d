//! The last things that happened, each with its reason in words.
//!
//! Bounded: the oldest entry makes room for the newest. What comes in swarms (writes that are
//! slowed one by one, tables that are moved one by one) is gathered in one entry, so that a stall
//! of a minute does not push out the compaction that explains it.

use std::collections::VecDeque;

use crate::metrics::{Event, StallCause, text};

/// Entries kept.
pub(crate) const ENTRIES_MAX: usize = 256;

/// How far back an entry is looked for that a stall or a move is added to, in entries and in time.
const GATHER_ENTRIES: usize = 8;
const GATHER_MS: u64 = 2_000;

/// Something that happened in a store, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryEntry {
    /// Its place in the history; rises, over the lives of the store, too.
    pub number: u64,
    /// When it happened, or ended: milliseconds since the beginning of 1970, by the clock of the
    /// machine, which may have jumped.
    pub unix_ms: u64,
    /// What it was: `flush`, `compaction`, `move`, `stall`, `error`, `stopped`, `manifest`,
    /// `opened`, `closed`, `listener`.
    pub kind: String,
    /// What happened and why, in words.
    pub text: String,
}

/// What an entry has gathered.
#[derive(Debug, Clone)]
enum Swarm {
    Stalls { cause: StallCause, count: u64, us: u64, longest_us: u64, reason: String },
    Moves { family: String, from: usize, to: usize, tables: usize, bytes: u64, reason: String },
}

#[derive(Debug)]
struct Kept {
    entry: HistoryEntry,
    swarm: Option<Swarm>,
}

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct History {
    kept: VecDeque<Kept>,
    last_number: u64,
    /// Counts every change.
    changes: u64,
}

impl History {
    /// Adds an event that is told as `text`.
    pub(crate) fn push(&mut self, unix_ms: u64, event: &Event, text: String) {
        self.changes += 1;
        let swarm = Swarm::of(event);
        if let Some(swarm) = &swarm
            && self.gather(unix_ms, swarm)
        {
            return;
        }
        self.last_number += 1;
        let (number, kind) = (self.last_number, event.kind().to_owned());
        self.keep(Kept { entry: HistoryEntry { number, unix_ms, kind, text }, swarm });
    }

    fn keep(&mut self, kept: Kept) {
        if self.kept.len() == ENTRIES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// Adds to an entry of the same swarm that is not long past.
    fn gather(&mut self, unix_ms: u64, new: &Swarm) -> bool {
        let recent = self.kept.iter_mut().rev().take(GATHER_ENTRIES);
        for kept in recent.filter(|kept| unix_ms.abs_diff(kept.entry.unix_ms) <= GATHER_MS) {
            if let Some(swarm) = &mut kept.swarm
                && swarm.add(new)
            {
                kept.entry.text = swarm.text();
                kept.entry.unix_ms = unix_ms;
                return true;
            }
        }
        false
    }

    /// Every entry, oldest first.
    pub(crate) fn entries(&self) -> Vec<HistoryEntry> {
        self.kept.iter().map(|kept| kept.entry.clone()).collect()
    }

    /// Differs whenever something was added.
    pub(crate) fn mark(&self) -> u64 {
        self.changes
    }

    /// Puts the entries of an earlier life in front of those of this one.
    pub(crate) fn inherit(&mut self, entries: Vec<HistoryEntry>) {
        let own = std::mem::take(&mut self.kept);
        let before = entries.iter().map(|entry| entry.number).max().unwrap_or(0);
        for entry in entries {
            self.keep(Kept { entry, swarm: None });
        }
        for mut kept in own {
            kept.entry.number = kept.entry.number.saturating_add(before);
            self.keep(kept);
        }
        self.last_number = self.last_number.saturating_add(before);
    }
}

impl Swarm {
    fn of(event: &Event) -> Option<Swarm> {
        match event {
            Event::StallEnded(stall) => Some(Swarm::Stalls {
                cause: stall.cause,
                count: 1,
                us: stall.micros,
                longest_us: stall.micros,
                reason: stall.reason.clone(),
            }),
            Event::TablesMoved(moved) => Some(Swarm::Moves {
                family: moved.family.clone(),
                from: moved.tables.iter().map(|table| table.level).min().unwrap_or(0),
                to: moved.output_level,
                tables: moved.tables.len(),
                bytes: moved.tables.iter().map(|table| table.bytes).sum(),
                reason: moved.reason.clone(),
            }),
            _ => None,
        }
    }

    /// Adds `new` where it is of the same swarm.
    fn add(&mut self, new: &Swarm) -> bool {
        match (self, new) {
            (
                Swarm::Stalls { cause, count, us, longest_us, reason },
                Swarm::Stalls { cause: c, count: n, us: u, longest_us: l, reason: r },
            ) if cause == c => {
                (*count, *us) = (*count + n, *us + u);
                if l > longest_us {
                    (*longest_us, *reason) = (*l, r.clone());
                }
                true
            }
            (
                Swarm::Moves { family, from, to, tables, bytes, reason },
                Swarm::Moves { family: f, from: a, to: b, tables: t, bytes: y, reason: r },
            ) if (&*family, &*from, &*to) == (f, a, b) => {
                (*tables, *bytes) = (*tables + t, *bytes + y);
                reason.clone_from(r);
                true
            }
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Swarm::Stalls { count, us, longest_us, reason, .. } => format!(
                "{count} writes waited {} in all, the longest {}, because {reason}",
                text::micros(*us),
                text::micros(*longest_us)
            ),
            Swarm::Moves { family, from, to, tables, bytes, reason } => format!(
                "{} of {family}, {}, moved from level {from} to {to} without a rewrite, the last \
                 because {reason}",
                text::counted(*tables, "table"),
                text::bytes(*bytes)
            ),
        }
    }
}
