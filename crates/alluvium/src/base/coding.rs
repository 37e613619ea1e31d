//! Integers as bytes: fixed-width little-endian, and variable-length (LEB128) unsigned.
//!
//! Decoding takes a `&mut &[u8]` that it moves forward, and returns `None` when the bytes end or do
//! not hold such an integer. Nothing is allocated on the word of a length that was read.

/// Most bytes of a `u64` varint.
pub const VARINT64_BYTES_MAX: usize = 10;

/// Appends `value` as a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front of `input`. Refuses overlong and overflowing encodings.
#[inline]
pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u64::from(first));
    }
    take_varint_slow(input)
}

fn take_varint_slow(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for index in 0..VARINT64_BYTES_MAX {
        let byte = *input.get(index)?;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            if index > 0 && byte == 0 {
                return None;
            }
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a varint that must fit in `u32`.
#[inline]
pub fn take_varint32(input: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(input)?).ok()
}

/// Takes a little-endian `u32`.
#[inline]
pub fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (head, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    Some(u32::from_le_bytes(*head))
}

/// Takes a little-endian `u64`.
#[inline]
pub fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let (head, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(u64::from_le_bytes(*head))
}

/// Takes `count` bytes.
#[inline]
pub fn take_bytes<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(head)
}

/// Appends `bytes` behind their length as a varint.
#[inline]
pub fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes bytes that stand behind their length as a varint.
#[inline]
pub fn take_prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = take_varint32(input)?;
    take_bytes(input, count as usize)
}

#[cfg(test)]
mod tests;
