//! What of level 0 hangs together, and what goes down by itself. Pure.
//!
//! Tables of level 0 and of the level that they go to are in one *cluster* where a chain of
//! overlaps leads from one to the other. Whatever is in different clusters shares no key: each can
//! go down without the others, beside them even. Of keys that come in no order, all is one cluster.
//! Of keys that nearly ascend, as those of events do, each flush reaches over the end of the one
//! before, and over nothing else: most tables are clusters of their own, and move.

use std::sync::Arc;

use crate::base::key::KeyEnd;
use crate::compaction::Input;
use crate::version::TableMeta;

/// Tables that hang together.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// Those of level 0, by their runs, in the order of what was given.
    pub(super) upper: Vec<Input>,
    /// The places of these inputs in what was given.
    places: Vec<usize>,
    upper_bytes: u64,
    /// The bytes of the others.
    lower_bytes: u64,
}

impl Cluster {
    /// The only table, where it is one of level 0 and alone.
    pub(super) fn alone(&self) -> Option<&Arc<TableMeta>> {
        match self.upper.as_slice() {
            [Input { tables, .. }] if tables.len() == 1 && self.lower_bytes == 0 => tables.first(),
            _ => None,
        }
    }

    /// Bytes to rewrite below for each byte that goes down.
    pub(super) fn cost(&self) -> f64 {
        self.lower_bytes as f64 / self.upper_bytes.max(1) as f64
    }

    fn bytes(&self) -> u64 {
        self.upper_bytes + self.lower_bytes
    }

    /// Takes in a table of input `place`, which lies behind all of that input that are here.
    fn push(&mut self, place: usize, level: usize, table: Arc<TableMeta>) {
        let at = self.places.partition_point(|other| *other < place);
        if self.places.get(at) != Some(&place) {
            self.places.insert(at, place);
            self.upper.insert(at, Input { level, tables: Vec::new() });
        }
        self.upper_bytes += table.bytes;
        self.upper[at].tables.push(table);
    }

    /// Takes in a cluster that lies behind this.
    fn join(&mut self, behind: Cluster) {
        for (place, input) in behind.places.into_iter().zip(behind.upper) {
            input.tables.into_iter().for_each(|table| self.push(place, input.level, table));
        }
        self.lower_bytes += behind.lower_bytes;
    }
}

/// The clusters of `upper`, inputs of level 0, and `lower`, tables of the level that they go to; by
/// their keys, ascending. Of `lower`, what meets nothing above it is in none; but neighbours of
/// less than `small_bytes` each are one: else there would be ever more small tables.
pub(super) fn clusters(
    upper: &[Input],
    lower: &[Arc<TableMeta>],
    small_bytes: u64,
) -> Vec<Cluster> {
    let places = upper.iter().enumerate();
    let above = places.flat_map(|(place, input)| {
        input.tables.iter().map(move |table| (Some((place, input.level)), table))
    });
    let mut tables: Vec<_> = above.chain(lower.iter().map(|table| (None, table))).collect();
    tables.sort_by_key(|(_, table)| table.smallest_user_key());
    let mut found: Vec<Cluster> = Vec::new();
    let mut end: Option<KeyEnd<'_>> = None;
    for (place, table) in tables {
        if end.is_none_or(|end| end.is_before(table.smallest_user_key())) {
            found.push(Cluster::default());
        }
        end = end.max(Some(table.end()));
        let Some(cluster) = found.last_mut() else { continue };
        match place {
            Some((place, level)) => cluster.push(place, level, Arc::clone(table)),
            None => cluster.lower_bytes += table.bytes,
        }
    }
    let mut joined: Vec<Cluster> = Vec::new();
    for cluster in found {
        match joined.last_mut() {
            Some(last) if last.bytes().max(cluster.bytes()) < small_bytes => last.join(cluster),
            _ => joined.push(cluster),
        }
    }
    joined.retain(|cluster| !cluster.upper.is_empty());
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction::tests::table;

    fn input(tables: &[(u64, u8, u8)]) -> Input {
        let key = |number: u8| format!("{number:02}");
        let tables = tables.iter();
        let tables =
            tables.map(|&(number, low, high)| table(number, &key(low), &key(high), 100, 0));
        Input { level: 0, tables: tables.collect() }
    }

    /// Numbers by input, and the bytes below.
    fn found(upper: &[Input], lower: &[(u64, u8, u8)]) -> Vec<(Vec<Vec<u64>>, u64)> {
        found_with(upper, lower, 0)
    }

    fn found_with(
        upper: &[Input],
        lower: &[(u64, u8, u8)],
        small_bytes: u64,
    ) -> Vec<(Vec<Vec<u64>>, u64)> {
        let lower = input(lower).tables;
        let numbers = |input: &Input| input.tables.iter().map(|table| table.number.0).collect();
        clusters(upper, &lower, small_bytes)
            .iter()
            .map(|cluster| (cluster.upper.iter().map(numbers).collect(), cluster.lower_bytes))
            .collect()
    }

    #[test]
    fn tables_hang_together_by_chains_of_overlaps() {
        let newest_first = [
            input(&[(31, 28, 31), (32, 32, 50), (33, 51, 60)]),
            input(&[(21, 9, 10), (22, 12, 25), (23, 26, 30)]),
        ];
        assert_eq!(
            found(&newest_first, &[(1, 0, 7), (2, 8, 11), (3, 70, 80)]),
            [
                (vec![vec![21]], 100),
                (vec![vec![22]], 0),
                (vec![vec![31], vec![23]], 0),
                (vec![vec![32]], 0),
                (vec![vec![33]], 0),
            ]
        );
        assert_eq!(
            found(&newest_first, &[(1, 10, 90)]),
            [(vec![vec![31, 32, 33], vec![21, 22, 23]], 100)],
            "a table below joins all above it"
        );
        assert_eq!(found(&[], &[(1, 0, 7)]), []);
    }

    #[test]
    fn only_what_meets_nothing_is_alone() {
        let upper = [input(&[(3, 1, 2), (4, 7, 8)]), input(&[(2, 2, 3), (1, 20, 30)])];
        let clusters = clusters(&upper, &input(&[(9, 8, 9)]).tables, 0);
        let alone: Vec<_> = clusters.iter().map(|c| c.alone().map(|t| t.number.0)).collect();
        assert_eq!(alone, [None, None, Some(1)]);
        let costs: Vec<_> = clusters.iter().map(Cluster::cost).collect();
        assert_eq!(costs, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn small_neighbours_go_together_until_they_are_no_longer_small() {
        let upper = [input(&[(5, 1, 2), (6, 9, 10)]), input(&[(3, 4, 5), (4, 12, 13)])];
        let lower = [(1, 7, 8), (2, 20, 21)];
        assert_eq!(
            found_with(&upper, &lower, 250),
            [(vec![vec![5], vec![3]], 100), (vec![vec![6], vec![4]], 100)]
        );
        assert_eq!(found_with(&upper, &lower, 100).len(), 4, "none is small");
    }
}
