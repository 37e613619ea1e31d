//! When sequence numbers were given out, about: what "older than an hour" means to a store.
//!
//! A mark (number, time) says that every operation up to that number had been written at or before
//! that time. One is taken with each flush and each open, and kept in the manifest. So a number is
//! known to be older than an age when a mark at or above it lies that far back; of a number that
//! lies between two marks the later one is believed. Never is anything called older than it is, as
//! far as the clocks were right: a mark that is missing makes things younger.
//!
//! Their number is bounded. The one that goes is the one whose neighbours lie closest together in
//! proportion to its age, which leaves about as many marks for the last hour as for the last year:
//! an age is told to within a few per cent, whatever it is.
//!
//! Pure: no clock, no disk.

use crate::base::key::SeqNo;

/// The most marks that are kept.
const TIME_MARKS_MAX: usize = 1_024;

/// Every operation up to `seq` had been written at `ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeMark {
    /// The sequence number.
    pub seq: SeqNo,
    /// The time, in milliseconds since 1970.
    pub ms: u64,
}

/// The marks of a store, ascending in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeMarks(Vec<TimeMark>);

impl TimeMarks {
    /// All of them, ascending.
    #[must_use]
    pub fn all(&self) -> &[TimeMark] {
        &self.0
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> Option<TimeMark> {
        self.0.last().copied()
    }

    /// `mark` as it may follow the last: `None` where it says nothing new; with the time of the
    /// last where the clock has gone back since.
    #[must_use]
    pub fn following(&self, mark: TimeMark) -> Option<TimeMark> {
        match self.last() {
            Some(last) if mark.seq <= last.seq => None,
            Some(last) => Some(TimeMark { ms: mark.ms.max(last.ms), ..mark }),
            None => Some(mark),
        }
    }

    /// Whether `mark` may follow the last as it is.
    #[must_use]
    pub fn may_follow(&self, mark: TimeMark) -> bool {
        self.following(mark) == Some(mark)
    }

    /// Adds a mark that may follow.
    pub(super) fn push(&mut self, mark: TimeMark) {
        match self.0.last_mut() {
            // It says the same of more.
            Some(last) if last.ms == mark.ms => *last = mark,
            _ => self.0.push(mark),
        }
        if self.0.len() > TIME_MARKS_MAX {
            self.thin();
        }
    }

    /// Removes the mark that is missed least; never the first or the last.
    fn thin(&mut self) {
        let Some(end) = self.last() else { return };
        let cost = |window: &[TimeMark]| match window {
            [before, mark, after] => (after.ms - before.ms, (end.ms - mark.ms).max(1)),
            _ => (u64::MAX, 1),
        };
        // Fractions, compared by their products.
        let wide = |(above, below): (u64, u64)| (u128::from(above), u128::from(below));
        let cheapest = self.0.windows(3).enumerate().min_by(|(_, a), (_, b)| {
            let ((a, x), (b, y)) = (wide(cost(a)), wide(cost(b)));
            (a * y).cmp(&(b * x))
        });
        if let Some((index, _)) = cheapest {
            self.0.remove(index + 1);
        }
    }

    /// The newest sequence number that is known to have been written at or before `ms`; zero where
    /// none is.
    #[must_use]
    pub fn written_by(&self, ms: u64) -> SeqNo {
        let count = self.0.partition_point(|mark| mark.ms <= ms);
        count.checked_sub(1).and_then(|at| self.0.get(at)).map_or(SeqNo::ZERO, |mark| mark.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(pairs: &[(u64, u64)]) -> TimeMarks {
        let mut marks = TimeMarks::default();
        for &(seq, ms) in pairs {
            if let Some(mark) = marks.following(TimeMark { seq: SeqNo::new(seq), ms }) {
                marks.push(mark);
            }
        }
        marks
    }

    #[test]
    fn a_number_is_as_old_as_the_next_mark_says() {
        let marks = marks(&[(10, 1_000), (20, 2_000), (30, 2_000), (40, 5_000)]);
        let written_by = |ms| marks.written_by(ms).get();
        assert_eq!((written_by(0), written_by(999)), (0, 0));
        assert_eq!((written_by(1_000), written_by(1_999)), (10, 10));
        assert_eq!((written_by(2_000), written_by(4_999)), (30, 30));
        assert_eq!(written_by(u64::MAX), 40);
        assert_eq!(TimeMarks::default().written_by(u64::MAX), SeqNo::ZERO);
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_older() {
        let marks = marks(&[(10, 1_000), (20, 9_000), (30, 2_000), (30, 99_000), (25, 9_500)]);
        let last = TimeMark { seq: SeqNo::new(30), ms: 9_000 };
        assert_eq!(marks.last(), Some(last));
        assert_eq!(marks.written_by(8_999), SeqNo::new(10));
        assert!(!marks.may_follow(last));
        assert!(!marks.may_follow(TimeMark { seq: SeqNo::new(31), ms: 8_999 }));
        assert!(marks.may_follow(TimeMark { seq: SeqNo::new(31), ms: 9_000 }));
    }

    /// A flush a minute for two years: every age is told to within five per cent, and never too
    /// high.
    #[test]
    fn thinned_marks_still_tell_every_age() {
        const MINUTE: u64 = 60_000;
        let minutes = 2 * 365 * 24 * 60;
        let mut marks = TimeMarks::default();
        for minute in (0..minutes).step_by(10) {
            marks.push(TimeMark { seq: SeqNo::new(minute + 1), ms: minute * MINUTE });
            assert!(marks.all().len() <= TIME_MARKS_MAX);
        }
        assert!(marks.all().is_sorted_by(|a, b| a.seq < b.seq && a.ms < b.ms));
        let now = minutes;
        for age in [60u64, 600, 1_440, 14_400, 100_000, 500_000, 1_000_000] {
            let told = now - (marks.written_by((now - age) * MINUTE).get() - 1);
            assert!(told >= age, "nothing younger than {age} minutes: {told}");
            assert!(told <= age + age / 20 + 20, "{age} minutes are told as {told}");
        }
    }
}
