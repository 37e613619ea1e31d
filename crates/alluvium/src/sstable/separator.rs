//! Short index keys: what stands between two neighbouring blocks, in as few bytes as will do.

use crate::base::key::{encode_into, split};

/// The trailer of a shortened separator: as a seek target it stands before every entry of its user
/// key, and there is none.
const SHORTENED_TRAILER: u64 = u64::MAX;

/// How many bytes `a` and `b` have in common at their front.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let mut length = 0;
    for (x, y) in a_words.iter().zip(b_words) {
        let different = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if different != 0 {
            return length + different.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = a[length..].iter().zip(&b[length..]);
    length + rest.take_while(|(x, y)| x == y).count()
}

/// Appends to `out` an encoded internal key at or above `last` and below `next`: `last` itself, or
/// a shorter user key strictly between the two.
pub(super) fn separator(last: &[u8], next: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let (a, _) = split(last);
    let (b, _) = split(next);
    let common = common_prefix(a, b);
    let (Some(&low), Some(&high)) = (a.get(common), b.get(common)) else {
        // One user key in both blocks, or one key that begins the other: nothing shorter fits.
        out.extend_from_slice(last);
        return;
    };
    if low + 1 < high {
        out.extend_from_slice(&a[..common]);
        out.push(low + 1);
    } else if common + 1 < b.len() {
        out.extend_from_slice(&b[..=common]);
    } else {
        // `next` ends right behind the difference: step up the first byte of `last` that can be.
        let rest = &a[common + 1..];
        let stepped = rest.iter().position(|&byte| byte < 0xff).unwrap_or(rest.len());
        let end = common + 1 + stepped;
        out.extend_from_slice(&a[..end]);
        if let Some(byte) = a.get(end) {
            out.push(byte + 1);
        }
    }
    if out.len() - start < a.len() {
        encode_into(out, &[], SHORTENED_TRAILER);
    } else {
        out.truncate(start);
        out.extend_from_slice(last);
    }
}
