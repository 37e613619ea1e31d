//! How many absent keys a blocked filter of so many bits a key lets through, and the way back.
//!
//! All that is decided about filters is decided by this curve, which is that of *our* filter: lines
//! of 512 bits, [`super::probes_for`] probes. Keys fall into lines unevenly (by Poisson's law), and
//! the full lines let more through than the empty ones save; a plain Bloom filter's `0.6185^bits`
//! would promise a sixth less than is true at 10 bits, and twenty-five times less at 32.
//!
//! The figures at whole bits were computed from that law; a test computes them anew and another
//! counts. Between two of them the rate falls by the same factor for the same part of a bit. Below
//! one bit there is one probe, and the rate is `1 - e^(-1/bits)`.

/// Beyond this many bits a key a further one is not worth having.
pub(crate) const BITS_PER_KEY_MAX: f64 = 32.0;

/// The rate at 0, 1, 2 … 32 bits a key.
const RATES: [f64; 33] = [
    1.0, 6.321e-1, 3.935e-1, 2.371e-1, 1.553e-1, 9.289e-2, 5.753e-2, 3.720e-2, 2.312e-2, 1.524e-2,
    9.576e-3, 6.173e-3, 4.092e-3, 2.680e-3, 1.807e-3, 1.206e-3, 8.246e-4, 5.627e-4, 3.927e-4,
    2.721e-4, 1.940e-4, 1.413e-4, 9.935e-5, 7.387e-5, 5.268e-5, 3.999e-5, 3.092e-5, 2.238e-5,
    1.637e-5, 1.208e-5, 9.000e-6, 6.762e-6, 5.123e-6,
];

/// The part of absent keys that a filter of `bits` a key lets through: 1 for no filter.
pub(crate) fn false_positive_rate(bits: f64) -> f64 {
    if bits <= 0.0 {
        return 1.0;
    }
    if bits < 1.0 {
        return -(-1.0 / bits).exp_m1();
    }
    let whole = (bits.min(BITS_PER_KEY_MAX) as usize).min(RATES.len() - 2);
    let part = bits.min(BITS_PER_KEY_MAX) - whole as f64;
    RATES[whole] * (RATES[whole + 1] / RATES[whole]).powf(part)
}

/// The bits a key at which a filter lets `rate` of the absent keys through, at most
/// [`BITS_PER_KEY_MAX`]; 0 where none is needed.
pub(crate) fn bits_for_rate(rate: f64) -> f64 {
    if rate >= 1.0 {
        return 0.0;
    }
    if rate > RATES[1] {
        return -1.0 / (-rate).ln_1p();
    }
    let next = RATES.partition_point(|&other| other >= rate);
    match (RATES.get(next.wrapping_sub(1)), RATES.get(next)) {
        (Some(above), Some(below)) => {
            (next - 1) as f64 + (above / rate).ln() / (above / below).ln()
        }
        _ => BITS_PER_KEY_MAX,
    }
}
