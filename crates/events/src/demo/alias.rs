//! Drawing from a skewed distribution in constant time (Vose's alias method, 1991).
//!
//! Each of n columns holds a threshold and an alias. A draw picks a column evenly and takes the
//! column's own number below the threshold, the alias above it.

/// A distribution over `0..n`.
#[derive(Debug)]
pub(super) struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// In 2^32nds.
    threshold: u32,
    alias: u32,
}

impl AliasTable {
    /// Zipf: the weight of number i is `1 / (i + 1)^exponent`.
    pub(super) fn zipf(n: usize, exponent: f64) -> AliasTable {
        let weights: Vec<f64> = (1..=n).map(|rank| (rank as f64).powf(-exponent)).collect();
        let scale = n as f64 / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..n).partition(|number| shares[*number] < 1.0);
        // What rounding leaves over keeps its own column whole.
        let whole = |number| Column { threshold: u32::MAX, alias: number as u32 };
        let mut columns: Vec<Column> = (0..n).map(whole).collect();
        while let (Some(little), Some(much)) = (small.pop(), large.last().copied()) {
            let threshold = (shares[little] * 2f64.powi(32)) as u32;
            columns[little] = Column { threshold, alias: much as u32 };
            shares[much] -= 1.0 - shares[little];
            if shares[much] < 1.0 {
                large.pop();
                small.push(much);
            }
        }
        AliasTable { columns }
    }

    /// The number that 64 random bits stand for.
    #[inline]
    pub(super) fn draw(&self, random: u64) -> u32 {
        let column = (((random >> 32) * self.columns.len() as u64) >> 32) as usize;
        let Column { threshold, alias } = self.columns[column];
        if random as u32 <= threshold { column as u32 } else { alias }
    }
}
