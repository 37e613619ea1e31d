//! How a job tells how far it is, and asks whether it may go on.

use crate::base::error::Result;

/// A job reports after so many bytes read and written: coarse, so that it costs nothing.
pub(crate) const QUANTUM_BYTES: u64 = 256 << 10;

/// What a job has done since it last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// Entries read.
    pub(crate) entries: u64,
    /// Bytes of keys and values, read and written.
    pub(crate) bytes: u64,
}

/// Hears what a job has done; may hold it for a while, and ends it with an error.
pub(crate) type Pace<'a> = &'a (dyn Fn(Step) -> Result<()> + Sync);

/// Gathers what a job does into steps.
pub(crate) struct Meter<'a> {
    pace: Pace<'a>,
    step: Step,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(pace: Pace<'a>) -> Meter<'a> {
        Meter { pace, step: Step::default() }
    }

    /// Counts an entry of `bytes` bytes that was read, and written again where it is `kept`. The
    /// caller holds no lock.
    #[inline]
    pub(crate) fn entry(&mut self, bytes: usize, kept: bool) -> Result<()> {
        self.step.entries += 1;
        self.step.bytes += (bytes as u64) << u32::from(kept);
        if self.step.bytes < QUANTUM_BYTES {
            return Ok(());
        }
        (self.pace)(std::mem::take(&mut self.step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Mutex;

    #[test]
    fn a_job_reports_each_quantum_and_ends_when_told() {
        let steps = Mutex::new(Vec::new());
        let pace = |step: Step| {
            steps.lock().push(step);
            if steps.lock().len() == 3 { Err(crate::base::error::Error::Closed) } else { Ok(()) }
        };
        let mut meter = Meter::new(&pace);
        let ends = (0..).position(|_| meter.entry(1 << 10, true).is_err());
        assert_eq!(ends, Some(3 * 128 - 1));
        assert_eq!(*steps.lock(), [Step { entries: 128, bytes: QUANTUM_BYTES }; 3]);
    }
}
