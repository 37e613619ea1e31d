//! Zipf-distributed ranks, by rejection-inversion.
//!
//! W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", ACM TOMACS 6(3), 1996. No table: constant memory for any number of keys, about
//! one round a draw. The method of YCSB (Gray and others, 1994) is an approximation for the first
//! two ranks only and needs a sum over all keys before the first draw.

use super::{Permutation, Rng};

/// The exponent of YCSB.
const EXPONENT: f64 = 0.99;

/// Numbers of keys drawn by Zipf's law with the exponent of YCSB, the frequent ones scattered over
/// the key space.
#[derive(Debug, Clone, Copy)]
pub struct Popular {
    zipf: Zipf,
    scatter: Permutation,
}

impl Popular {
    /// Of `keys` keys; `seed` says which are frequent.
    pub fn new(keys: u64, seed: u64) -> Popular {
        Popular { zipf: Zipf::new(keys, EXPONENT), scatter: Permutation::new(keys, seed) }
    }

    /// How popular the next one is: 0 the most.
    #[inline]
    pub fn rank(&self, rng: &mut Rng) -> u64 {
        self.zipf.draw(rng)
    }

    /// The key of a rank.
    #[inline]
    pub fn at(&self, rank: u64) -> u64 {
        self.scatter.at(rank)
    }
}

/// Draws ranks `0..count` with probability proportional to `1 / (rank + 1)^exponent`.
#[derive(Debug, Clone, Copy)]
pub struct Zipf {
    count: f64,
    exponent: f64,
    integral_first: f64,
    integral_last: f64,
    squeeze: f64,
}

impl Zipf {
    /// The distribution over `count` ranks (at least one).
    pub fn new(count: u64, exponent: f64) -> Zipf {
        let count = count.max(1) as f64;
        let mut zipf =
            Zipf { count, exponent, integral_first: 0.0, integral_last: 0.0, squeeze: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(count + 0.5);
        zipf.squeeze = 2.0 - zipf.integral_inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// The next rank, 0 the most frequent.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let height =
                self.integral_last + rng.unit() * (self.integral_first - self.integral_last);
            let position = self.integral_inverse(height);
            let rank = position.round().clamp(1.0, self.count);
            if rank - position <= self.squeeze
                || height >= self.integral(rank + 0.5) - self.density(rank)
            {
                return rank as u64 - 1;
            }
        }
    }

    /// x^-exponent.
    fn density(&self, position: f64) -> f64 {
        (-self.exponent * position.ln()).exp()
    }

    /// An antiderivative of the density: (x^(1-e) - 1) / (1 - e), which is ln x at e = 1.
    fn integral(&self, position: f64) -> f64 {
        let log = position.ln();
        let power = (1.0 - self.exponent) * log;
        let ratio = if power.abs() > 1e-8 { power.exp_m1() / power } else { 1.0 + power / 2.0 };
        ratio * log
    }

    fn integral_inverse(&self, height: f64) -> f64 {
        let power = (height * (1.0 - self.exponent)).max(-1.0);
        let ratio = if power.abs() > 1e-8 { power.ln_1p() / power } else { 1.0 - power / 2.0 };
        (ratio * height).exp()
    }
}
