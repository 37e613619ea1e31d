//! Damage of more than a byte: files that are cut or grown, sectors that are gone or stand in
//! another's place, files that are swapped, stale or missing.

use std::collections::BTreeMap;
use std::mem::discriminant;

use alluvium::env::FileId;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// A store with this content of some files; `None` for one that is gone.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) label: String,
    pub(super) changes: Vec<(FileId, Option<Vec<u8>>)>,
}

/// What a file holds, and what files held before.
pub(super) struct Shapes<'a> {
    pub(super) files: &'a BTreeMap<FileId, Vec<u8>>,
    pub(super) older: &'a [(FileId, Vec<u8>)],
    /// Every n-th length to which files are cut.
    pub(super) step: usize,
}

impl Shapes<'_> {
    /// Gives every mutant to `check`, until one fails.
    pub(super) fn each(
        &self,
        check: &mut dyn FnMut(Mutant) -> Result<(), String>,
    ) -> Result<(), String> {
        for (&file, bytes) in self.files {
            let mut one = |what: String, changed: Option<Vec<u8>>| {
                if changed.as_ref() == Some(bytes) {
                    return Ok(());
                }
                check(Mutant { label: format!("{file} {what}"), changes: vec![(file, changed)] })
            };
            one("missing".to_owned(), None)?;
            for cut in (0..bytes.len()).step_by(self.step) {
                one(format!("cut to {cut}"), Some(bytes[..cut].to_vec()))?;
            }
            for more in [1, 7, 96, 4096] {
                one(format!("longer by {more} zeros"), Some(grown(bytes, more, |_| 0)))?;
                let garbage = |index: usize| (index.wrapping_mul(167) >> 3) as u8 | 1;
                one(format!("longer by {more} of garbage"), Some(grown(bytes, more, garbage)))?;
            }
            one("twice".to_owned(), Some([&bytes[..], bytes].concat()))?;
            sectors(bytes, &mut one)?;
            for (_, stale) in self.older.iter().filter(|(older, _)| *older == file) {
                one(format!("stale, of {} bytes", stale.len()), Some(stale.clone()))?;
            }
        }
        self.swaps(check)
    }

    /// Every two files of one kind in each other's place.
    fn swaps(&self, check: &mut dyn FnMut(Mutant) -> Result<(), String>) -> Result<(), String> {
        for (&one, first) in self.files {
            for (&two, second) in self.files.range(one..).skip(1) {
                if discriminant(&one) == discriminant(&two) {
                    let changes = vec![(one, Some(second.clone())), (two, Some(first.clone()))];
                    check(Mutant { label: format!("{one} and {two} swapped"), changes })?;
                }
            }
        }
        Ok(())
    }
}

fn grown(bytes: &[u8], more: usize, byte: impl Fn(usize) -> u8) -> Vec<u8> {
    bytes.iter().copied().chain((0..more).map(byte)).collect()
}

/// Each sector zeroed, in the place of the next, and swapped with it.
fn sectors(
    bytes: &[u8],
    one: &mut impl FnMut(String, Option<Vec<u8>>) -> Result<(), String>,
) -> Result<(), String> {
    for begin in (0..bytes.len()).step_by(SECTOR_BYTES) {
        let end = (begin + SECTOR_BYTES).min(bytes.len());
        let mut zeroed = bytes.to_vec();
        zeroed[begin..end].fill(0);
        one(format!("sector at {begin} zeroed"), Some(zeroed))?;
        let behind = (end + SECTOR_BYTES).min(bytes.len());
        if behind - end < SECTOR_BYTES {
            continue;
        }
        let mut doubled = bytes.to_vec();
        doubled.copy_within(begin..end, end);
        one(format!("sector at {begin} twice"), Some(doubled))?;
        let mut swapped = bytes.to_vec();
        swapped[begin..behind].rotate_left(SECTOR_BYTES);
        one(format!("sector at {begin} swapped with the next"), Some(swapped))?;
    }
    Ok(())
}
