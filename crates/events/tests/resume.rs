//! Exactly once: whatever stops an ingest, running it again stores every event exactly once.
//!
//! A kill is played by a progress callback that panics: what was committed is committed, the
//! batches behind it are lost, and lines that had reached the reject file for them stay there. The
//! program's own tests kill a real process.

mod common;

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::mpsc;

use alluvium_events::{
    EventStore, EventsError, IngestOptions, IngestSummary, RejectFile, Report, Source,
};
use common::{Place, gzip, log, report};
use proptest::prelude::*;

/// Everything that a store says, to compare two of them.
fn state(store: &EventStore) -> (Report, Vec<(Vec<u8>, u64)>) {
    let report = report(store);
    let (top, _) = report.top_users.split_at(report.top_users.len().min(20));
    let count = |user: &Vec<u8>| store.history(user, None).unwrap().len() as u64;
    let histories = top.iter().map(|(user, _)| (user.clone(), count(user))).collect();
    (report, histories)
}

/// What one uninterrupted run over `bytes` leaves: the store's figures, and the reject file.
fn uninterrupted(
    place: &Place,
    name: &str,
    bytes: &[u8],
) -> ((Report, Vec<(Vec<u8>, u64)>), String) {
    let store = common::open(&place.path("uninterrupted"));
    let path = place.path("expected-rejects");
    let mut rejects = RejectFile::open(&path).unwrap();
    let source = place.write(name, bytes);
    store.ingest(&source, &IngestOptions::default(), Some(&mut rejects), &mut |_| {}).unwrap();
    (state(&store), std::fs::read_to_string(path).unwrap())
}

/// Ingests until the `commits`th commit, then dies. Gives whether it came to the end before.
fn killed(
    store: &EventStore,
    source: &Source,
    rejects: &Path,
    batch_events: usize,
    commits: usize,
) -> bool {
    let options = IngestOptions { batch_events, ..IngestOptions::default() };
    let mut rejects = RejectFile::open(rejects).unwrap();
    let mut left = commits;
    let mut die = |_: &_| {
        if left == 0 {
            resume_unwind(Box::new("killed"));
        }
        left -= 1;
    };
    let run = AssertUnwindSafe(|| store.ingest(source, &options, Some(&mut rejects), &mut die));
    catch_unwind(run).map(|result| result.unwrap()).is_ok()
}

fn finish(store: &EventStore, source: &Source, rejects: &Path) -> IngestSummary {
    let mut rejects = RejectFile::open(rejects).unwrap();
    let options = IngestOptions::default();
    store.ingest(source, &options, Some(&mut rejects), &mut |_| {}).unwrap()
}

/// Gives the first bytes, then an error.
struct Breaking<R>(R, u64);

impl<R: Read> Read for Breaking<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::Error::other("the cable is cut"));
        }
        let most = into.len().min(usize::try_from(self.1).unwrap());
        let count = self.0.read(&mut into[..most])?;
        self.1 -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_finished_source_is_left_alone() {
    let place = Place::new();
    let source = place.write("log", &log(500, 1));
    let store = place.store();
    let rejects = place.path("rejects");
    let first = finish(&store, &source, &rejects);
    let before = (state(&store), std::fs::read(&rejects).unwrap());
    let again = finish(&store, &source, &rejects);
    assert_eq!((again.events, again.rejected, again.lines), (0, 0, 0));
    assert_eq!(again.skipped_lines, first.lines);
    assert_eq!((state(&store), std::fs::read(&rejects).unwrap()), before);
}

#[test]
fn a_reject_file_that_is_not_ours_is_never_cut() {
    let place = Place::new();
    let source = place.write("log", &log(500, 1));
    let rejects = place.path("rejects");
    std::fs::write(&rejects, "a note of mine\n").unwrap();
    let store = place.store();
    finish(&store, &source, &rejects);
    let listed = std::fs::read_to_string(&rejects).unwrap();
    assert!(listed.starts_with("a note of mine\n") && listed.lines().count() > 50);
    // A finished run owns nothing behind its end.
    let more = format!("{listed}another note\n");
    std::fs::write(&rejects, &more).unwrap();
    finish(&store, &place.write("other", &log(3, 2)), &rejects);
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), more);
    // An interrupted one does not own another file of that name.
    let long = place.write("long", &log(500, 3));
    assert!(!killed(&store, &long, &rejects, 10, 20));
    std::fs::write(&rejects, "x".repeat(100_000)).unwrap();
    finish(&store, &long, &rejects);
    assert!(std::fs::read_to_string(&rejects).unwrap().starts_with(&"x".repeat(100_000)));
}

#[test]
fn a_rotated_log_is_a_new_source() {
    let place = Place::new();
    let store = place.store();
    let (old, new) = (log(100, 1), log(100, 2));
    let rejects = place.path("rejects");
    let first = finish(&store, &place.write("log", &old), &rejects);
    let second = finish(&store, &place.write("log", &new), &rejects);
    assert_eq!((first.lines, second.lines, second.skipped_lines), (100, 100, 0));
    // The old one under the old name again: known.
    let third = finish(&store, &place.write("log", &old), &rejects);
    assert_eq!((third.lines, third.skipped_lines), (0, 100));
    // Compressed under that name it is the same stream.
    let packed = finish(&store, &place.write("log", &gzip(&old)), &rejects);
    assert_eq!((packed.lines, packed.skipped_lines), (0, 100));
    // Under another name it is another source.
    let copy = finish(&store, &place.write("copy", &old), &rejects);
    assert_eq!(copy.lines, 100);
}

#[test]
fn an_unfinished_line_is_replaced_when_it_is_finished() {
    let place = Place::new();
    let store = place.store();
    let rejects = place.path("rejects");
    let line = "u - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 12345\n";
    let mut expected = Vec::new();
    for end in [0, 20, line.len() - 3, line.len() - 2, line.len() - 1, line.len()] {
        let text = format!("{line}{}", &line[..end]);
        finish(&store, &place.write("log", text.as_bytes()), &rejects);
        let report = report(&store);
        expected.push((report.events, report.rejected, report.bytes));
        let source = Source::File(place.path("log"));
        assert_eq!(finish(&store, &source, &rejects).lines, 0, "nothing new after {end} bytes");
    }
    let (one, cut) = ((1, 0, 12_345), (1, 1, 12_345));
    let whole = (2, 0, 24_690);
    assert_eq!(expected, [one, cut, (2, 0, 12_345 + 123), (2, 0, 12_345 + 1234), whole, whole]);
    assert_eq!(store.history("u", None).unwrap().len(), 2);
}

/// Time and user of the unfinished line are parts of keys: the event moves.
#[test]
fn an_unfinished_line_moves_when_its_keys_change() {
    let place = Place::new();
    let store = place.store();
    let rejects = place.path("rejects");
    for (row, seconds) in [("/x,u,5", 5), ("/x,u,51", 51), ("/x,u,512\n", 512)] {
        let text = format!("path,user,time\n{row}");
        finish(&store, &place.write("log.csv", text.as_bytes()), &rejects);
        let events = store.history("u", None).unwrap();
        assert_eq!((events.len(), events[0].time_ms), (1, seconds * 1000), "{text}");
        assert_eq!(report(&store).events, 1);
    }
    let text = "path,time,user\n/x,5,ann";
    finish(&store, &place.write("other.csv", text.as_bytes()), &rejects);
    finish(&store, &place.write("other.csv", format!("{text}a\n").as_bytes()), &rejects);
    assert!(store.history("ann", None).unwrap().is_empty());
    assert_eq!(store.history("anna", None).unwrap().len(), 1);
    assert_eq!(report(&store).events, 2);
}

/// Gives its bytes, then waits for as long as the sender is held.
struct Waiting(&'static [u8], mpsc::Receiver<()>);

impl Read for Waiting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into)?;
        if count == 0 {
            // The sender is only ever dropped.
            assert!(self.1.recv().is_err());
        }
        Ok(count)
    }
}

#[test]
fn a_reader_that_waits_does_not_keep_the_store_open() {
    let place = Place::new();
    let (held, wait) = mpsc::channel();
    let text: &str = &log(5000, 4).iter().map(|byte| *byte as char).collect::<String>();
    let reader = Waiting(text.to_owned().leak().as_bytes(), wait);
    let store = place.store();
    // So many that the second batch is never full.
    let options = IngestOptions { batch_events: 4000, ..IngestOptions::default() };
    let mut die = |_: &_| resume_unwind(Box::new("killed"));
    let run = || store.ingest_reader("pipe", reader, &options, None, &mut die);
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    store.close().unwrap();
    let again = place.store();
    assert!(report(&again).events > 0);
    drop(held);
}

#[test]
fn a_header_that_grows_is_read_anew() {
    let place = Place::new();
    let store = place.store();
    let rejects = place.path("rejects");
    finish(&store, &place.write("log", b"time,user,path"), &rejects);
    finish(&store, &place.write("log", b"time,user,path,size\n5,u,/x,7\n"), &rejects);
    let events = store.history("u", None).unwrap();
    assert_eq!((events.len(), events[0].line, events[0].bytes), (1, 2, Some(7)));
}

#[test]
fn a_pipe_that_breaks_is_continued() {
    let place = Place::new();
    let text = log(5000, 9);
    let ((expected, _), _) = uninterrupted(&place, "log", &text);
    for pack in [|bytes: &[u8]| bytes.to_vec(), gzip] {
        let packed = pack(&text);
        let store = common::open(&place.path(&format!("store-{}", packed.len())));
        let options = IngestOptions { batch_events: 100, ..IngestOptions::default() };
        for part in 1..=5 {
            let reader = Breaking(io::Cursor::new(packed.clone()), packed.len() as u64 * part / 6);
            let error = store.ingest_reader("pipe", reader, &options, None, &mut |_| {});
            assert!(matches!(error, Err(EventsError::Read { .. })), "{error:?}");
        }
        let before = report(&store).events;
        assert!(before > 3000, "{before}");
        let reader = io::Cursor::new(packed);
        let summary = store.ingest_reader("pipe", reader, &options, None, &mut |_| {}).unwrap();
        assert_eq!(summary.skipped_lines + summary.lines, 5000);
        assert_eq!(report(&store), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Killed again and again, reopened, stray lines in the reject file: as if nothing had been.
    #[test]
    fn killed_and_continued_is_as_never_killed(
        kills in proptest::collection::vec((1usize..80, 0usize..12, any::<bool>()), 1..6),
        packing in 0..3,
        newline in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let place = Place::new();
        let mut text = log(1500, seed);
        if !newline {
            let end = text.trim_ascii_end().len();
            text.truncate(end);
        }
        let packed = match packing {
            0 => text,
            1 => gzip(&text),
            _ => zstd::encode_all(&text[..], 1).unwrap(),
        };
        let (expected, listed) = uninterrupted(&place, "log", &packed);
        let source = Source::File(place.path("log"));
        let rejects = place.path("rejects");
        for (batch_events, commits, stray) in kills {
            let store = place.store();
            killed(&store, &source, &rejects, batch_events, commits);
            store.close().unwrap();
            // Behind the last commit nothing can be left over.
            let now = report(&place.store());
            if stray && now.events < expected.0.events && now.rejected > 0 {
                let listed = std::fs::read_to_string(&rejects).unwrap();
                std::fs::write(&rejects, listed + "a line of a batch that was lost\n").unwrap();
            }
        }
        let store = place.store();
        finish(&store, &source, &rejects);
        prop_assert!(state(&store) == expected);
        prop_assert!(std::fs::read_to_string(&rejects).unwrap() == listed);
    }

    /// A file that is read while it is being written, whatever the moments.
    #[test]
    fn a_growing_file_is_as_one_read_at_its_end(
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 1..8),
        seed in 0u64..1000,
    ) {
        let place = Place::new();
        let text = log(60, seed);
        let (expected, _) = uninterrupted(&place, "log", &text);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.sort_unstable();
        let store = place.store();
        let options =
            IngestOptions { format: alluvium_events::Format::Common, ..IngestOptions::default() };
        for cut in cuts.into_iter().chain([text.len()]) {
            let source = place.write("log", &text[..cut]);
            match store.ingest(&source, &options, None, &mut |_| {}) {
                Err(EventsError::Empty { .. }) => prop_assert_eq!(cut, 0),
                other => drop(other.unwrap()),
            }
        }
        prop_assert!(state(&store) == expected);
    }
}

/// Asked with a column that is not there, every line is malformed; the call that asks rightly must
/// not go on behind them.
#[test]
fn a_source_that_gave_no_event_is_read_again() {
    let place = Place::new();
    let store = place.store();
    let lines = [
        r#"{"time":5,"visitor":"ann","path":"/x"}"#,
        r#"{"time":6,"visitor":"bob","path":"/y"}"#,
        "",
    ];
    let source = place.write("clicks", lines.join("\n").as_bytes());
    let ingest = |user: &str| {
        let mut options = IngestOptions::default();
        options.fields.user = Some(user.to_owned());
        store.ingest(&source, &options, None, &mut |_| {}).unwrap()
    };
    let mistyped = ingest("vistor");
    assert_eq!((mistyped.events, mistyped.rejected), (0, 2));
    let right = ingest("visitor");
    assert_eq!((right.events, right.rejected, right.skipped_lines), (2, 0, 0));
    assert_eq!((report(&store).events, report(&store).rejected), (2, 0));
    let again = ingest("visitor");
    assert_eq!((again.events, again.skipped_lines), (0, 2));
}

/// What a shell puts in place of `<(command)`: it opens, and has no path behind it.
#[test]
fn a_pipe_that_has_no_path_is_read() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let store = Place::new().store();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&log(20, 1)).unwrap();
    drop(writer);
    let source = Source::File(format!("/proc/self/fd/{}", reader.as_raw_fd()).into());
    let summary = store.ingest(&source, &IngestOptions::default(), None, &mut |_| {}).unwrap();
    assert!(summary.events > 0);
}
