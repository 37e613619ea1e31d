//! Bytes as a run of operations, against the model.

use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use alluvium::Durability;
use alluvium::env::MemEnv;

use crate::configs::{self, Config};
use crate::fuzz::input::Input;
use crate::generator::{FAMILIES, SNAPSHOT_SLOTS};
use crate::operation::{Change, Direction, KeyRange, Move, Operation};
use crate::runner::run_model;

/// Most operations of a run.
const OPERATIONS_MAX: usize = 120;

/// The sets of options under which a run means the same every time: without threads.
fn quiet_configs() -> &'static [Config] {
    static CONFIGS: OnceLock<Vec<Config>> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let mut all = configs::all();
        all.retain(|config| config.options.background_threads == 0);
        all
    })
}

/// Does what `bytes` say to a store and to the model.
///
/// # Panics
///
/// When an answer differs.
pub(super) fn script(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let configs = quiet_configs();
    let config = &configs[input.below(configs.len())];
    let run = operations(&mut input);
    if let Err(text) = run_model(Arc::new(MemEnv::new()), config, &run) {
        let listing: String = run.iter().map(|operation| format!("\n  {operation:?}")).collect();
        panic!("options \"{}\": {text}\nthe run:{listing}", config.name);
    }
}

/// The run that an input stands for.
pub(super) fn operations(input: &mut Input<'_>) -> Vec<Operation> {
    let mut run = Vec::new();
    while !input.is_empty() && run.len() < OPERATIONS_MAX {
        run.push(operation(input));
    }
    run
}

fn operation(input: &mut Input<'_>) -> Operation {
    match input.byte() {
        0..90 => write(input),
        90..110 => Operation::Flush { family: family_or_all(input) },
        110..120 => Operation::Compact { family: family_or_all(input) },
        120..124 => Operation::Sync,
        124..132 => Operation::CreateFamily { name: extra_family(input) },
        132..136 => Operation::DropFamily { name: extra_family(input) },
        136..142 => Operation::Reopen,
        142..146 => Operation::DropAndReopen,
        146..154 => Operation::Snapshot { slot: input.below(SNAPSHOT_SLOTS) },
        154..158 => Operation::Release { slot: input.below(SNAPSHOT_SLOTS) },
        158..184 => {
            Operation::Get { family: family(input), key: key(input), snapshot: snapshot(input) }
        }
        184..194 => {
            let count = input.below(5);
            let keys = (0..count).map(|_| key(input)).collect();
            Operation::MultiGet { family: family(input), keys }
        }
        194..220 => Operation::Scan {
            family: family(input),
            range: range(input),
            direction: direction(input),
            snapshot: snapshot(input),
        },
        220..232 => Operation::Prefix {
            family: family(input),
            prefix: key(input),
            direction: direction(input),
        },
        232..252 => {
            let count = 1 + input.below(12);
            let moves = (0..count).map(|_| movement(input)).collect();
            Operation::Cursor { family: family(input), moves }
        }
        _ => Operation::CheckAll,
    }
}

fn write(input: &mut Input<'_>) -> Operation {
    let shape = input.byte();
    let durability = match shape & 3 {
        0 => Durability::Buffered,
        1 => Durability::Os,
        _ => Durability::Disk,
    };
    let count = if shape & 0x80 == 0 { 1 } else { usize::from(shape >> 2 & 7) };
    let changes = (0..count).map(|_| change(input)).collect();
    Operation::Write { changes, durability }
}

fn change(input: &mut Input<'_>) -> Change {
    let (family, key) = (family(input), key(input));
    let length = input.byte();
    let value = (!length.is_multiple_of(5)).then(|| {
        let mut value = input.bytes(2).to_vec();
        let long = if length > 0xf0 { 40 } else { 1 };
        value.resize(usize::from(length) * long, b'v');
        value
    });
    let end = (value.is_none() && length.is_multiple_of(10)).then(|| self::key(input));
    Change { family, key, value, end }
}

fn family(input: &mut Input<'_>) -> String {
    FAMILIES[input.below(FAMILIES.len())].to_owned()
}

fn extra_family(input: &mut Input<'_>) -> String {
    FAMILIES[1 + input.below(FAMILIES.len() - 1)].to_owned()
}

fn family_or_all(input: &mut Input<'_>) -> Option<String> {
    (input.byte() & 1 == 0).then(|| family(input))
}

fn snapshot(input: &mut Input<'_>) -> Option<usize> {
    let byte = input.below(2 * SNAPSHOT_SLOTS);
    (byte < SNAPSHOT_SLOTS).then_some(byte)
}

fn direction(input: &mut Input<'_>) -> Direction {
    [Direction::Forward, Direction::Backward, Direction::BothEnds][input.below(3)]
}

/// A key of up to five bytes, or a long one that begins as all long ones do.
fn key(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    let mut key =
        if shape & 0x80 == 0 { Vec::new() } else { vec![b'a'; usize::from(shape & 0x7f)] };
    key.extend_from_slice(input.bytes(usize::from(shape % 6)));
    key
}

fn range(input: &mut Input<'_>) -> KeyRange {
    (bound(input), bound(input))
}

fn bound(input: &mut Input<'_>) -> Bound<Vec<u8>> {
    match input.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Excluded(key(input)),
        _ => Bound::Included(key(input)),
    }
}

fn movement(input: &mut Input<'_>) -> Move {
    match input.below(12) {
        0 => Move::First,
        1 => Move::Last,
        2 | 3 => Move::Seek(key(input)),
        4 | 5 => Move::SeekForPrev(key(input)),
        6..9 => Move::Next,
        _ => Move::Prev,
    }
}
