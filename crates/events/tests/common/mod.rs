//! What the tests of ingestion share.

use std::io::Write;
use std::path::{Path, PathBuf};

use alluvium_events::demo::ClickStream;
use alluvium_events::{EventStore, Report, ReportOptions, Source};

/// A directory with a store and a log in it.
pub struct Place {
    pub directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> EventStore {
        open(&self.path("store"))
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Source {
        std::fs::write(self.path(name), bytes).unwrap();
        Source::File(self.path(name))
    }
}

pub fn open(path: &Path) -> EventStore {
    EventStore::open(path, true, alluvium::Options::default()).unwrap()
}

pub fn report(store: &EventStore) -> Report {
    store.report(&ReportOptions { top: usize::MAX, ..ReportOptions::default() }).unwrap()
}

/// A common log of so many lines, some of them malformed, some blank. In the common format a line
/// that is cut inside its byte count is a whole line too, of another event.
pub fn log(lines: usize, seed: u64) -> Vec<u8> {
    let mut stream = ClickStream::new(seed);
    let mut log = Vec::new();
    let mut line = Vec::new();
    for number in 0..lines {
        line.clear();
        stream.next_click().put_log_line(&mut line);
        let common = line.windows(5).position(|part| part == b" \"-\" ").unwrap();
        line.truncate(common);
        match number % 17 {
            3 => line.truncate(number % 40),
            9 => line.clear(),
            12 => line.extend_from_slice(b" \tjunk\\\xff"),
            _ => {}
        }
        log.extend_from_slice(&line);
        log.extend_from_slice(if number % 5 == 0 { b"\r\n" } else { b"\n" });
    }
    log
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
