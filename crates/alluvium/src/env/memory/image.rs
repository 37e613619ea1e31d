//! Builds what a crash leaves: for each policy, which names and which bytes are still there.
//!
//! An image of a power cut starts with everything durable and nothing pending. An image of a
//! process kill is a copy: what was pending is pending still, under its old number.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::file::FileId;
use crate::env::memory::CrashPolicy;
use crate::env::memory::state::{
    Content, Dead, Directory, Inode, NameChange, Names, PendingName, World,
};

const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// The world after a crash of `world`.
pub(super) fn build(world: &World, policy: CrashPolicy, seed: u64) -> World {
    let directory = if policy == CrashPolicy::KeepAll {
        Copier::default().directory(&world.directory)
    } else {
        power_cut(world, policy, &mut Rng(seed))
    };
    World {
        exists: world.exists,
        directory,
        foreign: world.foreign.clone(),
        operations: world.operations,
        crash_at: None,
        crash_site: None,
        capacity: world.capacity,
        dead: world.dead.clone(),
    }
}

/// Copies inodes, each one once, so that two names of one file stay two names of one file.
#[derive(Default)]
struct Copier {
    copies: HashMap<*const Inode, Arc<Inode>>,
}

impl Copier {
    fn inode(
        &mut self,
        inode: &Arc<Inode>,
        content: impl FnOnce(&Content) -> Content,
    ) -> Arc<Inode> {
        let copy = self.copies.entry(Arc::as_ptr(inode));
        Arc::clone(copy.or_insert_with(|| Arc::new(Inode::new(content(&inode.content())))))
    }

    fn directory(&mut self, directory: &Directory) -> Directory {
        let pending = directory.pending.iter().map(|pending| {
            let change = match &pending.change {
                NameChange::Create(file, inode) => {
                    NameChange::Create(*file, self.inode(inode, Content::clone))
                }
                NameChange::Rename(from, to, inode) => {
                    NameChange::Rename(*from, *to, self.inode(inode, Content::clone))
                }
                NameChange::Remove(file) => NameChange::Remove(*file),
            };
            PendingName { operation: pending.operation, change }
        });
        let pending = pending.collect();
        Directory {
            live: self.names(&directory.live),
            durable: self.names(&directory.durable),
            pending,
        }
    }

    fn names(&mut self, names: &Names) -> Names {
        let copy =
            |(file, inode): (&FileId, &Arc<Inode>)| (*file, self.inode(inode, Content::clone));
        names.iter().map(copy).collect()
    }
}

fn power_cut(world: &World, policy: CrashPolicy, rng: &mut Rng) -> Directory {
    let mut copier = Copier::default();
    let names = surviving_names(&world.directory, policy, rng);
    // The blocks of a file are free for others when its removal has lasted, not before.
    let is_gone = |dead: &&Dead| dead.file == FileId::Current || !names.contains_key(&dead.file);
    let dead: Vec<&Dead> = world.dead.iter().filter(is_gone).collect();
    let live: Names = names
        .iter()
        .map(|(file, inode)| {
            let content = |content: &Content| surviving_bytes(content, policy, &dead, *file, rng);
            (*file, copier.inode(inode, content))
        })
        .collect();
    Directory { durable: live.clone(), live, pending: Vec::new() }
}

fn surviving_names(directory: &Directory, policy: CrashPolicy, rng: &mut Rng) -> Names {
    let pending = &directory.pending;
    let kept = match policy {
        CrashPolicy::DropUnsynced => 0,
        CrashPolicy::KeepAll => pending.len(),
        CrashPolicy::GlobalPrefix(operations) => {
            pending.partition_point(|change| change.operation < operations)
        }
        CrashPolicy::ObjectPrefix => rng.below(pending.len() + 1),
        CrashPolicy::ShuffledNames => return shuffled_names(directory, rng),
        // Mostly all: a file that has lost its name hides what happened to its bytes.
        CrashPolicy::TornSectors | CrashPolicy::LengthFirst if rng.below(4) > 0 => pending.len(),
        CrashPolicy::TornSectors | CrashPolicy::LengthFirst => rng.below(pending.len() + 1),
    };
    let mut names = directory.durable.clone();
    for pending in &pending[..kept] {
        pending.change.apply(&mut names);
    }
    names
}

/// Each name by itself: a random prefix of what happened to it.
fn shuffled_names(directory: &Directory, rng: &mut Rng) -> Names {
    let mut by_name: BTreeMap<FileId, Vec<Option<Arc<Inode>>>> = BTreeMap::new();
    for (file, inode) in directory.pending.iter().flat_map(|pending| pending.change.effects()) {
        by_name.entry(file).or_default().push(inode);
    }
    let mut names = directory.durable.clone();
    for (file, effects) in by_name {
        match effects[..rng.below(effects.len() + 1)].last() {
            Some(Some(inode)) => drop(names.insert(file, Arc::clone(inode))),
            Some(None) => drop(names.remove(&file)),
            None => {}
        }
    }
    names
}

fn surviving_bytes(
    content: &Content,
    policy: CrashPolicy,
    dead: &[&Dead],
    file: FileId,
    rng: &mut Rng,
) -> Content {
    let length = match policy {
        CrashPolicy::DropUnsynced => content.synced,
        CrashPolicy::GlobalPrefix(operations) => content.length_before(operations),
        CrashPolicy::KeepAll => content.bytes().len(),
        CrashPolicy::ObjectPrefix | CrashPolicy::ShuffledNames => random_length(content, rng),
        CrashPolicy::TornSectors | CrashPolicy::LengthFirst if rng.below(2) == 0 => {
            content.length_before(u64::MAX)
        }
        CrashPolicy::TornSectors | CrashPolicy::LengthFirst => random_length(content, rng),
    };
    let mangled = matches!(policy, CrashPolicy::TornSectors | CrashPolicy::LengthFirst);
    if content.lost.is_empty() && (!mangled || length <= content.synced) {
        return content.durable_prefix(length);
    }
    let mut bytes = content.bytes()[..length].to_vec();
    for lost in &content.lost {
        let end = lost.end.min(length);
        bytes[lost.start.min(end)..end].fill(0);
    }
    if mangled && content.synced < length {
        let stale = stale_bytes(dead, file, rng);
        let unsynced = content.synced..length;
        match policy {
            CrashPolicy::TornSectors => tear_sectors(&mut bytes, unsynced.start, &stale, rng),
            _ => forget_data(&mut bytes, unsynced.start, &stale, rng),
        }
    }
    Content::durable(Arc::new(bytes))
}

/// The synced length, the end of a pending append, or somewhere within one.
fn random_length(content: &Content, rng: &mut Rng) -> usize {
    let kept = rng.below(content.pending.len() + 1);
    let start = if kept == 0 { content.synced } else { content.pending[kept - 1].end };
    match content.pending.get(kept) {
        Some(next) if rng.below(2) == 0 => start + rng.below(next.end - start + 1),
        _ => start,
    }
}

/// The content of a file removed lately, of the same kind where there is one; often nothing. Mostly
/// from its beginning on, sometimes from a later sector of it.
fn stale_bytes(dead: &[&Dead], file: FileId, rng: &mut Rng) -> Vec<u8> {
    let same_kind =
        |dead: &&&Dead| std::mem::discriminant(&dead.file) == std::mem::discriminant(&file);
    let mut candidates: Vec<&Dead> = dead.iter().filter(same_kind).copied().collect();
    if candidates.is_empty() {
        candidates = dead.to_vec();
    }
    if candidates.is_empty() || rng.below(4) == 0 {
        return Vec::new();
    }
    let bytes = candidates[rng.below(candidates.len())].content.bytes();
    let sectors = bytes.len() / SECTOR_BYTES;
    let skipped = if rng.below(4) == 0 { rng.below(sectors + 1) * SECTOR_BYTES } else { 0 };
    bytes[skipped..].to_vec()
}

/// What `stale` holds at this place, zero beyond its end.
fn fill_stale(bytes: &mut [u8], offset: usize, stale: &[u8]) {
    bytes.fill(0);
    let rest = stale.get(offset..).unwrap_or_default();
    let count = rest.len().min(bytes.len());
    bytes[..count].copy_from_slice(&rest[..count]);
}

/// Goes over the unsynced part page by page: all new, all zero, or torn sector by sector.
fn tear_sectors(bytes: &mut [u8], from: usize, stale: &[u8], rng: &mut Rng) {
    let mut start = from;
    while start < bytes.len() {
        let end = ((start / PAGE_BYTES + 1) * PAGE_BYTES).min(bytes.len());
        match rng.below(8) {
            0 => {}
            1 => bytes[start..end].fill(0),
            _ => tear_page(&mut bytes[start..end], start, stale, rng),
        }
        start = end;
    }
}

/// A sector is new, zero, garbage, stale, or garbage up to or from a byte within it.
fn tear_page(page: &mut [u8], offset: usize, stale: &[u8], rng: &mut Rng) {
    let mut at = 0;
    while at < page.len() {
        let end = (((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset).min(page.len());
        let sector = &mut page[at..end];
        let cut = rng.below(sector.len());
        match rng.below(8) {
            0..=2 => {}
            3 => sector.fill(0),
            4 => sector.fill_with(|| rng.next() as u8),
            5 => fill_stale(sector, offset + at, stale),
            6 => sector[..cut].fill_with(|| rng.next() as u8),
            _ => sector[cut..].fill_with(|| rng.next() as u8),
        }
        at = end;
    }
}

/// From some unsynced byte on, mostly the first, the data never arrived.
fn forget_data(bytes: &mut [u8], from: usize, stale: &[u8], rng: &mut Rng) {
    let from = if rng.below(2) == 0 { from } else { from + rng.below(bytes.len() - from) };
    fill_stale(&mut bytes[from..], from, stale);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
