//! The rows that the plain path reads: all items, or those alone that a call may list.

use std::borrow::Cow;

use crate::runtime::Context;

use super::query::EligibleItems;
use super::scorer::Scorer;

/// The items that a call may list, as rows of one table.
pub struct ItemRows<'a> {
    /// The item of each row, ascending, those of a part before the others; `None`: row r is item r, and those not eligible
    /// are skipped.
    positions: Option<Vec<u32>>,
    /// The row of each item that has one, where these are not the same.
    rows: Vec<u32>,
    /// Row-major vectors.
    pub vectors: Cow<'a, [f32]>,
    /// The bias of each row, where the head has any.
    pub biases: Cow<'a, [f32]>,
}

impl<'a> ItemRows<'a> {
    /// Where items that are not eligible would be skipped time and again, the rows of the others are copied together, those of
    /// `part` first. With a context, its threads share the work.
    pub fn new(
        scorer: &'a Scorer,
        eligible: &EligibleItems,
        gather: bool,
        part: Option<&EligibleItems>,
        rows_per_task: usize,
        context: Option<&Context>,
    ) -> Self {
        let (vectors, biases, d) = (scorer.vectors(), scorer.head().biases(), scorer.factors().max(1));
        if !gather {
            return Self { positions: None, rows: Vec::new(), vectors: vectors.into(), biases: biases.into() };
        }
        let mut positions = eligible.positions();
        if let Some(part) = part {
            positions.sort_by_key(|&item| !part.contains(item));
        }
        let mut rows = vec![0f32; positions.len() * scorer.factors()];
        let copy = |(items, rows): (&[u32], &mut [f32])| {
            for (&item, row) in items.iter().zip(rows.chunks_exact_mut(d)) {
                row.copy_from_slice(&vectors[item as usize * d..(item as usize + 1) * d]);
            }
        };
        let parts = positions.chunks(rows_per_task).zip(rows.chunks_mut(rows_per_task * d));
        match context {
            Some(context) => context.for_each_task(parts, || (), |(), part| copy(part)),
            None => parts.for_each(copy),
        }
        let bias = |&item: &u32| biases[item as usize];
        let biases = if biases.is_empty() { Vec::new() } else { positions.iter().map(bias).collect() };
        let mut row_of = vec![0; scorer.n_items()];
        for (row, &item) in (0..).zip(&positions) {
            row_of[item as usize] = row;
        }
        Self { positions: Some(positions), rows: row_of, vectors: rows.into(), biases: biases.into() }
    }

    /// The item of each row, where they are gathered.
    pub fn positions(&self) -> Option<&[u32]> {
        self.positions.as_deref()
    }

    /// The row of an item that may be listed.
    pub fn row(&self, item: u32) -> usize {
        self.rows.get(item as usize).map_or(item, |&row| row) as usize
    }

    /// The item of a row.
    pub fn position(&self, row: u32) -> u32 {
        self.positions.as_ref().map_or(row, |positions| positions[row as usize])
    }
}
