//! Every rule that options must keep, each with its own sentence.

use crate::base::error::{Error, Result};
use crate::base::limits::{
    BLOCK_BYTES_MAX, COLUMN_FAMILY_NAME_BYTES_MAX, DICTIONARY_BYTES_MAX, MEMORY_LIMIT_BYTES_MIN,
};
use crate::filter::PrefixExtractor;
use crate::options::{ColumnFamilyOptions, Options, RateLimit};

/// Fails with the first rule that does not hold.
fn check(rules: &[(bool, &str)]) -> Result<()> {
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, sentence)) => Err(Error::invalid(format!("options: {sentence}"))),
        None => Ok(()),
    }
}

impl Options {
    /// Fails when a value, or two together, cannot work.
    pub(crate) fn validate(&self) -> Result<()> {
        check(&[
            (
                self.memory_limit.is_none_or(|limit| limit >= MEMORY_LIMIT_BYTES_MIN),
                "memory_limit must be 16 MiB at least",
            ),
            (self.open_tables_max >= 8, "open_tables_max must be 8 at least"),
            (self.background_threads <= 64, "background_threads must be 64 at most"),
            (self.wal_bytes_max >= 1, "wal_bytes_max must not be 0"),
            (
                self.status_interval.is_none_or(|interval| !interval.is_zero()),
                "status_interval must not be 0",
            ),
            (
                self.rate_limit != RateLimit::Auto { bytes_per_second_max: 0 },
                "bytes_per_second_max of an automatic rate_limit must not be 0",
            ),
        ])?;
        self.column_family.validate()?;
        for (name, options) in &self.column_families {
            validate_family_name(name)?;
            options.validate()?;
        }
        Ok(())
    }
}

impl ColumnFamilyOptions {
    /// Fails when a value, or two together, cannot work.
    pub(crate) fn validate(&self) -> Result<()> {
        check(&[
            (self.memtable_bytes >= 1 << 10, "memtable_bytes must be 1 KiB at least"),
            (self.memtable_bytes <= 16 << 30, "memtable_bytes must be 16 GiB at most"),
            (self.memtables_max >= 1, "memtables_max must be 1 at least"),
            (self.block_bytes >= 1, "block_bytes must not be 0"),
            (self.block_bytes <= BLOCK_BYTES_MAX / 2, "block_bytes must be 256 MiB at most"),
            (self.restart_interval >= 1, "restart_interval must be 1 at least"),
            (self.filter.is_sound(), "filter: bits_per_key must be from 0 to 32"),
            (
                self.prefix_extractor.is_none_or(PrefixExtractor::is_sound),
                "prefix_extractor: a fixed prefix has 1 to 65,536 bytes",
            ),
            ((1..=19).contains(&self.zstd.level), "zstd: level must be from 1 to 19"),
            (
                (1 << 10..=DICTIONARY_BYTES_MAX as u32).contains(&self.zstd.dictionary_bytes),
                "zstd: dictionary_bytes must be from 1 KiB to 110 KiB",
            ),
            (self.codecs.len() >= 1, "codecs must name one codec at least"),
            (self.table_bytes >= 1 << 10, "table_bytes must be 1 KiB at least"),
            (self.level0_tables_compact >= 1, "level0_tables_compact must be 1 at least"),
            (
                self.level0_tables_slowdown >= self.level0_tables_compact,
                "level0_tables_slowdown must not be below level0_tables_compact",
            ),
            (
                self.level0_tables_stop >= self.level0_tables_slowdown,
                "level0_tables_stop must not be below level0_tables_slowdown",
            ),
            (
                self.level0_tables_stop > self.level0_tables_compact,
                "level0_tables_stop must be above level0_tables_compact, or writers wait for ever",
            ),
            (self.compaction_debt_bytes >= 1, "compaction_debt_bytes must not be 0"),
            (self.level1_bytes >= 1, "level1_bytes must not be 0"),
            (self.level_ratio >= 2, "level_ratio must be 2 at least"),
        ])?;
        match self.strategy.breach() {
            Some(sentence) => Err(Error::invalid(format!("options: {sentence}"))),
            None => Ok(()),
        }
    }
}

/// Fails when `name` cannot name a column family.
pub(crate) fn validate_family_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > COLUMN_FAMILY_NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a column family's name has 1 to {COLUMN_FAMILY_NAME_BYTES_MAX} bytes, not {}",
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("a column family's name has no control characters"));
    }
    Ok(())
}
