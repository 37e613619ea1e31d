//! The bugs, each with the harnesses that are to find it, the likeliest first.

/// A bug that the engine can be built with.
pub struct Bug {
    /// As `planted::is` has it.
    pub name: &'static str,
    /// What the engine then does.
    pub what: &'static str,
    /// Who is to find it.
    pub harnesses: &'static [&'static str],
}

const fn bug(name: &'static str, what: &'static str, harnesses: &'static [&'static str]) -> Bug {
    Bug { name, what, harnesses }
}

const CRASH: &[&str] = &["crash"];
const FAULT: &[&str] = &["fault"];
const DAMAGE: &[&str] = &["damage"];
const OPTIONS: &[&str] = &["metamorphic"];
const MODEL: &[&str] = &["model"];
const HEALING: &[&str] = &["healing"];

/// All of them.
pub static BUGS: &[Bug] = &[
    bug("ack-before-sync", "a `Disk` write is acknowledged without a sync", CRASH),
    bug("os-write-kept-back", "an `Os` write stays in the process", CRASH),
    bug("sealed-segments-not-synced", "a sync leaves out the older segments", CRASH),
    bug("log-name-not-synced", "a sync leaves out the new segment's name", CRASH),
    bug("shared-segments-not-synced", "a flush leaves out segments of other families", CRASH),
    bug("close-without-sync", "closing ends neither log nor manifest", CRASH),
    bug("manifest-not-synced", "an edit counts without a sync", CRASH),
    bug("current-not-synced", "the new `CURRENT` is renamed without a sync", CRASH),
    bug("current-name-not-synced", "the rename of `CURRENT` is not synced", CRASH),
    bug("table-not-synced", "a table is named without a sync", CRASH),
    bug("table-names-not-synced", "a table is named before its own name is durable", CRASH),
    bug("blob-not-synced", "a blob file is named without a sync", CRASH),
    bug("values-in-the-log-not-synced", "a flush leaves values in a log without a sync", CRASH),
    bug("log-removed-before-install", "a flush removes the log before its edit", CRASH),
    bug("inputs-removed-before-install", "a compaction removes inputs before its edit", CRASH),
    bug("family-drop-not-persisted", "a family is dropped in memory only", CRASH),
    bug("torn-tail-in-older-segment", "replay goes on behind a torn segment", &["crash", "damage"]),
    bug("last-batch-skipped", "replay leaves out the last frame of a segment", CRASH),
    bug("open-removes-a-live-table", "opening takes the newest table for obsolete", CRASH),
    bug("append-after-short-write", "the log goes on behind a failed append", FAULT),
    bug("failed-append-counts", "what a failed append left counts as log", FAULT),
    bug("failed-sync-tried-again", "a failed sync is tried again and believed", FAULT),
    bug("full-disk-for-ever", "a disk that was full stays so", FAULT),
    bug("tables-of-a-failed-edit-removed", "a failed edit's tables are removed at once", FAULT),
    bug("background-error-swallowed", "nobody is told that a flush fails", FAULT),
    bug("failed-flush-never-retried", "a failed flush is never tried again", FAULT),
    bug("claim-kept-after-an-error", "a failed compaction keeps its tables claimed", HEALING),
    bug("no-wake-up-after-an-error", "a worker sleeps for ever behind an error", HEALING),
    bug("read-error-is-not-found", "a failed read counts as \"not in this table\"", HEALING),
    bug("cursor-error-not-kept", "a cursor that failed goes on as if it had ended", HEALING),
    bug("block-checksum-ignored", "a table's blocks are not checked", DAMAGE),
    bug("blob-checksum-ignored", "values in blob files are not checked", DAMAGE),
    bug("log-checksum-ignored", "frames of the log are not checked", DAMAGE),
    bug("manifest-checksum-ignored", "frames of the manifest are not checked", DAMAGE),
    bug("hole-always-torn-tail", "every hole in the log is a torn tail", DAMAGE),
    bug("frame-length-not-limited", "a frame's length is believed", DAMAGE),
    bug("log-of-values-removed", "a log goes to which tables lead for values", OPTIONS),
    bug("lock-not-taken", "a store can be opened twice", OPTIONS),
    bug("sequence-numbers-fall", "sequence numbers begin anew at an open", OPTIONS),
    bug("tombstone-dropped-early", "a tombstone goes one level too early", OPTIONS),
    bug("flush-drops-tombstones", "a flush drops tombstones", OPTIONS),
    bug("snapshots-ignored", "jobs do not spare what snapshots see", OPTIONS),
    bug("table-cut-inside-a-key", "a table ends between versions of a key", OPTIONS),
    bug("entry-lost-at-a-cut", "the first entry behind a table's end is lost", OPTIONS),
    bug("older-level0-table-left-behind", "a newer table goes below an older one", OPTIONS),
    bug("level0-oldest-first", "level 0 is read oldest first", OPTIONS),
    bug("filter-of-internal-keys", "filters are built on the wrong bytes", OPTIONS),
    bug("restart-point-shares", "a restart point shares a byte with the key before", OPTIONS),
    bug("seek-one-block-late", "a seek lands one block late", OPTIONS),
    bug("cache-key-without-file", "cached blocks are named by offset alone", OPTIONS),
    bug("slot-of-the-next-block", "a cached block stands for the one behind it", OPTIONS),
    bug("turn-behind-the-rows", "a cursor turns where its source is", OPTIONS),
    bug("gap-up-to-the-source", "a gap reaches over entries handed out at once", MODEL),
    bug("times-of-any-source", "event times read in two ways are compared", OPTIONS),
    bug("older-value-wins-backwards", "backwards, an older version wins", OPTIONS),
    bug("excluded-bound-included", "a scan gives its excluded end", OPTIONS),
    bug("prefix-of-ff-is-empty", "a prefix that ends in 0xff finds nothing", OPTIONS),
    bug("expired-entry-is-read", "a lookup gives a value whose time has passed", MODEL),
    bug("expired-entry-uncovers-older", "what has expired goes while it hides something", MODEL),
    bug("range-tombstone-not-cut", "a range tombstone reaches over its table's end", MODEL),
    bug("range-tombstone-passes-a-snapshot", "a range tombstone hides what is newer", MODEL),
    bug("range-tombstone-ignored-backwards", "a scan backwards shows a deleted range", MODEL),
    bug("gap-for-older-snapshots", "a gap that a scan left hides what was there before", MODEL),
    bug("gap-hides-what-is-newer", "what is written into a gap is not seen", MODEL),
    bug("scan-misses-a-full-memtable", "a scan leaves out the newest full memtable", OPTIONS),
];
