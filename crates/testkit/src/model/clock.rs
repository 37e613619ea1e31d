//! Time in the model: what has expired when, and a clock that a run sets.
//!
//! A generated value that begins with `ttl N.` is to live for N milliseconds. The session that
//! writes it knows the time and turns that into `until N.`, which is the value of the store and of
//! the model from then on: a value says by itself when it goes, and nothing else in the model has
//! to know of it. A session without a clock writes both as they are.
//!
//! The model's time is the store's: the latest that an open store has seen. A run sets the clock
//! back only while the store is open, where that changes nothing; what a store does that is
//! *opened* under a clock that was set back depends on its compactions and is no matter for a model
//! (`crates/testkit/tests/expiry.rs` has it).

use std::sync::Arc;
use std::time::Duration;

use alluvium::env::{Env as _, MemEnv};

use crate::model::{Model, Pairs};
use crate::operation::ClockStep;

/// Where every run begins: some day in 2023.
const BEGIN_MS: u64 = 1_700_000_000_000;
const TO_LIVE: &str = "ttl ";
const UNTIL: &str = "until ";

impl Model {
    /// A model whose time is that of `env`, which from now on only its runs move.
    #[must_use]
    pub fn with_clock(env: &MemEnv) -> Model {
        env.set_unix_time(Duration::from_millis(BEGIN_MS));
        Model { clock: Some(env.clone()), now_ms: BEGIN_MS, ..Model::default() }
    }

    /// Sets the clock to the model's time: a store is about to be opened.
    pub fn wind_clock(&self) {
        if let Some(clock) = &self.clock {
            clock.set_unix_time(Duration::from_millis(self.now_ms));
        }
    }

    /// Moves the clock; returns whether there is one. The store must look at it before anything
    /// else is done.
    pub fn move_clock(&mut self, step: ClockStep) -> bool {
        let Some(clock) = &self.clock else { return false };
        match step {
            ClockStep::Pass(ms) => clock.pass_time(Duration::from_millis(ms)),
            ClockStep::Ahead(ms) => {
                clock.set_unix_time(clock.unix_time() + Duration::from_millis(ms));
            }
            ClockStep::Back(ms) => {
                clock.set_unix_time(clock.unix_time().saturating_sub(Duration::from_millis(ms)));
            }
        }
        let seen = u64::try_from(clock.unix_time().as_millis()).unwrap_or(u64::MAX);
        self.now_ms = self.now_ms.max(seen);
        true
    }

    /// The value that is written for a generated one.
    #[must_use]
    pub fn settled(&self, value: Vec<u8>) -> Vec<u8> {
        match marked(TO_LIVE, &value) {
            Some((ttl_ms, rest)) if self.clock.is_some() => {
                let expiry_ms = self.now_ms.saturating_add(ttl_ms);
                [format!("{UNTIL}{expiry_ms}.").as_bytes(), rest].concat()
            }
            _ => value,
        }
    }

    /// When a value expires, and how long that is from now; `None` where it does not.
    #[must_use]
    pub fn expiry_of(&self, value: &[u8]) -> Option<(Duration, Duration)> {
        let (expiry_ms, _) = self.clock.as_ref().and_then(|_| marked(UNTIL, value))?;
        let ttl_ms = expiry_ms.saturating_sub(self.now_ms);
        let ttl = if expiry_ms == u64::MAX { Duration::MAX } else { Duration::from_millis(ttl_ms) };
        Some((Duration::from_millis(expiry_ms), ttl))
    }

    /// What of `pairs` has not expired.
    #[must_use]
    pub fn alive(&self, pairs: &Arc<Pairs>) -> Arc<Pairs> {
        let lives = |value: &[u8]| match marked(UNTIL, value) {
            Some((expiry_ms, _)) => expiry_ms == u64::MAX || expiry_ms > self.now_ms,
            None => true,
        };
        if self.clock.is_none() || pairs.values().all(|value| lives(value)) {
            return Arc::clone(pairs);
        }
        let alive = pairs.iter().filter(|(_, value)| lives(value));
        Arc::new(alive.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The number behind `mark`, and what stands behind the dot behind it.
fn marked<'a>(mark: &str, value: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let rest = value.strip_prefix(mark.as_bytes())?;
    let dot = rest.iter().position(|&byte| byte == b'.')?;
    let number = std::str::from_utf8(&rest[..dot]).ok()?.parse().ok()?;
    Some((number, &rest[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_when_their_time_has_come() {
        let mut model = Model::with_clock(&MemEnv::new());
        let value = model.settled(b"ttl 5.rest.of it".to_vec());
        assert_eq!(value, format!("until {}.rest.of it", BEGIN_MS + 5).into_bytes());
        let (time, ttl) = model.expiry_of(&value).unwrap();
        assert_eq!((time.as_millis(), ttl.as_millis()), (u128::from(BEGIN_MS) + 5, 5));
        let plain = Arc::new(Pairs::from([(b"k".to_vec(), b"v".to_vec())]));
        let mut pairs = Pairs::clone(&plain);
        pairs.insert(b"l".to_vec(), value);
        let pairs = Arc::new(pairs);
        assert_eq!(model.alive(&pairs), pairs);
        assert!(model.move_clock(ClockStep::Pass(4)));
        assert_eq!(model.alive(&pairs), pairs);
        assert!(model.move_clock(ClockStep::Ahead(1)));
        assert_eq!(model.alive(&pairs), plain);
        assert!(model.move_clock(ClockStep::Back(1_000_000)));
        assert_eq!(model.alive(&pairs), plain, "the store has seen the time");
        assert_eq!(model.settled(b"ttl x.".to_vec()), b"ttl x.");
        let for_ever = model.settled(format!("ttl {}.", u64::MAX).into_bytes());
        assert_eq!(model.expiry_of(&for_ever).unwrap().1, Duration::MAX);
        assert!(!Model::default().move_clock(ClockStep::Pass(1)));
    }
}
