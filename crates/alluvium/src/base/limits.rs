//! Every hard maximum in one place, with the relations between them checked at compile time.
//!
//! A length that comes from disk is compared with its limit before anything is allocated for it.

/// Longest user key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// Largest write batch, encoded, in bytes.
pub const BATCH_BYTES_MAX: usize = 1 << 30;
/// Most operations in one write batch.
pub const BATCH_OPERATIONS_MAX: u32 = 1 << 28;
/// Largest payload of one log frame, in bytes.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = BATCH_BYTES_MAX + 64;
/// Largest encoded version edit that is one frame of a manifest, in bytes. A larger one becomes the
/// state of a new manifest, which may have many frames.
pub const EDIT_BYTES_MAX: usize = 16 << 20;
/// Largest block of a table before compression, in bytes. A block holds one entry at least.
pub const BLOCK_BYTES_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + (1 << 20);
/// Longest dictionary of a table, in bytes.
pub const DICTIONARY_BYTES_MAX: usize = 110 << 10;
/// Levels of a column family.
pub const LEVELS: usize = 7;
/// Most column families at a time.
pub const COLUMN_FAMILIES_MAX: usize = 1 << 16;
/// Longest name of a column family, in bytes.
pub const COLUMN_FAMILY_NAME_BYTES_MAX: usize = 256;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(FRAME_PAYLOAD_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(EDIT_BYTES_MAX <= FRAME_PAYLOAD_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX < u32::MAX as usize);

/// The least limit on all memory that is accepted: below it nothing has room to work.
pub const MEMORY_LIMIT_BYTES_MIN: usize = 16 << 20;
