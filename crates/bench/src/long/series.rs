//! What happened in each second of a run, and the CSV file of it.

use std::fmt::Write;
use std::path::Path;

use hdrhistogram::Histogram;

use crate::Result;

/// One second. Latencies are those of whole batches, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Second {
    /// Seconds since the run began, at its end.
    pub at: f64,
    /// Operations done.
    pub operations: u64,
    /// Half of the batches were at most this long.
    pub p50_us: f64,
    /// 99 in 100 were.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// The seconds of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// What is drawn beside the line.
    pub name: String,
    /// In order.
    pub seconds: Vec<Second>,
}

const HEADER: &str = "second,operations,p50_us,p99_us,max_us";

impl Series {
    /// Writes the CSV file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = format!("{HEADER}\n");
        for Second { at, operations, p50_us, p99_us, max_us } in &self.seconds {
            writeln!(text, "{at:.3},{operations},{p50_us:.1},{p99_us:.1},{max_us:.1}")?;
        }
        Ok(std::fs::write(path, text)?)
    }

    /// Reads a CSV file; the run is called as the file is.
    pub fn read(path: &Path) -> Result<Series> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("{}: the first line is not {HEADER:?}", path.display()).into());
        }
        let seconds: Result<Vec<Second>> = lines.map(second).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Series { name, seconds: seconds? })
    }

    /// Operations a second from `from` to `to` seconds.
    pub fn rate(&self, from: f64, to: f64) -> f64 {
        let within = self.seconds.iter().filter(|second| second.at > from && second.at <= to);
        within.map(|second| second.operations).sum::<u64>() as f64 / (to - from).max(1e-9)
    }
}

fn second(line: &str) -> Result<Second> {
    let fields: std::result::Result<Vec<f64>, _> = line.split(',').map(str::parse).collect();
    match fields?[..] {
        [at, operations, p50_us, p99_us, max_us] => {
            Ok(Second { at, operations: operations as u64, p50_us, p99_us, max_us })
        }
        _ => Err(format!("not five figures: {line}").into()),
    }
}

/// Gathers batches into seconds, and all of them.
#[derive(Debug)]
pub struct Gather {
    /// Of all batches, in nanoseconds.
    pub all: Histogram<u64>,
    now: Histogram<u64>,
    operations: u64,
    began: f64,
    /// The seconds that are over.
    pub seconds: Vec<Second>,
}

impl Gather {
    /// Nothing yet.
    pub fn new() -> Result<Gather> {
        let empty = Histogram::new_with_bounds(1, 600_000_000_000, 3)?;
        Ok(Gather {
            all: empty.clone(),
            now: empty,
            operations: 0,
            began: 0.0,
            seconds: Vec::new(),
        })
    }

    /// A batch of `operations` took `nanoseconds`, and ended `at` seconds after the run began.
    pub fn batch(&mut self, at: f64, operations: u64, nanoseconds: u64) {
        self.all.saturating_record(nanoseconds);
        self.now.saturating_record(nanoseconds);
        self.operations += operations;
        if at - self.began >= 1.0 {
            let us = |share: f64| self.now.value_at_quantile(share) as f64 / 1e3;
            self.seconds.push(Second {
                at,
                operations: self.operations,
                p50_us: us(0.5),
                p99_us: us(0.99),
                max_us: self.now.max() as f64 / 1e3,
            });
            self.now.reset();
            self.operations = 0;
            self.began = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_become_seconds_that_survive_the_file() {
        let mut gather = Gather::new().unwrap();
        for step in 1..=35 {
            gather.batch(f64::from(step) / 10.0, 5, 1_000_000 * step as u64);
        }
        assert_eq!(gather.seconds.len(), 3);
        assert_eq!(gather.seconds[1].operations, 50);
        assert!((gather.seconds[1].max_us - 20_000.0).abs() < 50.0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.csv");
        let series = Series { name: "one".to_owned(), seconds: gather.seconds };
        series.write(&path).unwrap();
        let read = Series::read(&path).unwrap();
        assert_eq!((read.name.as_str(), read.seconds.len()), ("one", 3));
        assert!((read.rate(0.0, 2.0) - 50.0).abs() < 1.0);
        std::fs::write(&path, "other\n1,2").unwrap();
        assert!(Series::read(&path).is_err());
    }
}
