//! The progress bar: how far, how fast, how long still.
//!
//! It is drawn on standard error, and only when that is a terminal; in a pipe or a log it is
//! silent. It counts from when it was made, so a resumed run shows the rate of what is new.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::numbers::{bytes, grouped, rate};

/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(100);

/// One line of progress.
#[derive(Debug)]
pub struct Bar {
    line: ProgressBar,
    started: Instant,
    shown: Instant,
    bounded: bool,
    /// Units that an earlier run had done.
    before: Option<u64>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Units done, of what the bar measures.
    pub done: u64,
    /// Units in all, where that is known.
    pub total: Option<u64>,
    /// Events stored by this run.
    pub events: u64,
}

impl Bar {
    /// A bar that names what is going on.
    pub fn new(label: &str) -> Bar {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        line.set_style(style("{spinner} {prefix}  {msg}  {elapsed}"));
        line.set_prefix(label.to_owned());
        let now = Instant::now();
        Bar { line, started: now, shown: now, bounded: false, before: None }
    }

    /// Shows how far a run is that measures itself in bytes of its input.
    pub fn input(&mut self, position: Position) {
        let elapsed = self.started.elapsed();
        let before = *self.before.get_or_insert(position.done);
        let new = position.done.saturating_sub(before);
        let read = bytes((new as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
        self.show(position, || format!("{}  {read}/s", events_text(position.events, elapsed)));
    }

    /// Shows how far a run is that measures itself in events.
    pub fn events(&mut self, position: Position) {
        let elapsed = self.started.elapsed();
        self.show(position, || events_text(position.events, elapsed));
    }

    fn show(&mut self, position: Position, message: impl FnOnce() -> String) {
        if self.shown.elapsed() < INTERVAL {
            return;
        }
        self.shown = Instant::now();
        if let (false, Some(total)) = (self.bounded, position.total) {
            self.line.set_length(total);
            self.line.set_style(style("{prefix}  {bar:24} {percent:>3} %  {msg}  {left} left"));
            self.bounded = true;
        }
        self.line.set_message(message());
        self.line.set_position(position.done);
    }

    /// Says what is going on where there is nothing to count, and keeps the line moving by itself.
    pub fn waiting(&self, label: &str) {
        self.line.set_style(style("{spinner} {msg}  {elapsed}"));
        self.line.set_message(label.to_owned());
        self.line.enable_steady_tick(INTERVAL);
    }

    /// Removes the line from the screen.
    pub fn clear(&self) {
        self.line.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn events_text(events: u64, elapsed: Duration) -> String {
    format!("{} events  {}/s", grouped(events), rate(events, elapsed))
}

/// A template of ours; one with a mistake in it would show as a plain bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█▉▊▋▌▍▎▏ ")
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A line that cannot be written to memory is a line not shown.
            write!(out, "{:#}", HumanDuration(state.eta())).ok();
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for template in [
            "{spinner} {prefix}  {msg}  {elapsed}",
            "{prefix}  {bar:24} {percent:>3} %  {msg}  {left} left",
            "{spinner} {msg}  {elapsed}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
