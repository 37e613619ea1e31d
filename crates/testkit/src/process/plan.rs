//! What a writer does: every write of every thread follows from the seed, so that the harness knows
//! it without being told.

use std::fmt;
use std::str::FromStr;

use alluvium::{Durability, Options};

use crate::configs;
use crate::process::value::{Key, Version};
use crate::random::Random;

/// The column families.
pub const FAMILIES: [&str; 2] = ["default", "beta"];
/// The keys that each thread has in each family.
const KEYS: usize = 60;
/// One value in so many is a long one.
const LONG_ONE_IN: usize = 40;

/// What follows from a seed: the store's options, the threads, the durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where every choice begins.
    pub seed: u64,
    /// The threads that write.
    pub threads: u8,
    /// What is asked of a write that counts once it is acknowledged.
    pub durability: Durability,
    /// One write in so many is only `Buffered`; 0 for none.
    pub buffered_one_in: u32,
}

/// One write: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What is asked of it.
    pub durability: Durability,
    /// What becomes of which key; `None` deletes it.
    pub changes: Vec<(Key, Option<Version>)>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Plan {
        let mut random = Random::for_case(&[seed, 1]);
        let durability = if random.one_in(3) { Durability::Disk } else { Durability::Os };
        let threads = *random.pick(&[1, 2, 3]);
        let buffered_one_in = *random.pick(&[0, 0, 4]);
        Plan { seed, threads, durability, buffered_one_in }
    }

    /// The store's options: small in everything, so that a short life flushes and compacts.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut random = Random::for_case(&[self.seed, 2]);
        let mut options = configs::tiny();
        options.durability = self.durability;
        options.background_threads = *random.pick(&[0, 1, 2]);
        options.wal_bytes_max = *random.pick(&[4 << 10, 64 << 10]);
        options.column_family.memtable_bytes = *random.pick(&[1 << 10, 8 << 10, 32 << 10]);
        options.column_family.level0_tables_compact = *random.pick(&[1, 2, 4]);
        options.column_family.blob_bytes_min = *random.pick(&[None, Some(16), Some(200)]);
        options
    }

    /// Write `number`, from 1, of `thread` in the life `generation` of the writer.
    #[must_use]
    pub fn write(&self, thread: u8, generation: u32, number: u32) -> Write {
        let case = [self.seed, 3, u64::from(thread), u64::from(generation), u64::from(number)];
        let mut random = Random::for_case(&case);
        let count = if random.one_in(3) { 2 + random.below(6) } else { 1 };
        let changes = (0..count).map(|_| {
            let family = random.below(FAMILIES.len()) as u8;
            let key = Key { family, thread, number: random.below(KEYS) as u16 };
            if random.one_in(4) {
                return (key, None);
            }
            let longest = if random.one_in(LONG_ONE_IN) { 6_000 } else { 300 };
            let length = random.below(longest) as u32;
            (key, Some(Version { generation, write: number, length }))
        });
        let changes = changes.collect();
        let relaxed = self.buffered_one_in > 0 && random.one_in(self.buffered_one_in as usize);
        let durability = if relaxed { Durability::Buffered } else { self.durability };
        Write { durability, changes }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durability = match self.durability {
            Durability::Disk => "disk",
            _ => "os",
        };
        write!(f, "{}:{}:{durability}:{}", self.seed, self.threads, self.buffered_one_in)
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Plan, String> {
        let parse = || {
            let mut parts = text.split(':');
            let plan = Plan {
                seed: parts.next()?.parse().ok()?,
                threads: parts.next()?.parse().ok()?,
                durability: match parts.next()? {
                    "disk" => Durability::Disk,
                    "os" => Durability::Os,
                    _ => return None,
                },
                buffered_one_in: parts.next()?.parse().ok()?,
            };
            Some(plan)
        };
        parse().ok_or_else(|| format!("{text}: a plan is SEED:THREADS:os|disk:BUFFERED"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_in_one_word() {
        for seed in 0..50 {
            let plan = Plan::new(seed);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert!("7".parse::<Plan>().is_err());
    }
}
