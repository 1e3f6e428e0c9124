//! A set of positions for each row, checked once so that the kernels here may index freely.

use crate::{Error, Result};

/// Sets of positions: row r holds `columns[offsets[r]..offsets[r + 1]]`, strictly ascending.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    offsets: &'a [i64],
    columns: &'a [i32],
}

impl<'a> Rows<'a> {
    /// Checks the offsets, the order within rows and that positions are below `n_columns`.
    pub fn new(offsets: &'a [i64], columns: &'a [i32], n_columns: usize, what: &str) -> Result<Self> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if offsets.first() != Some(&0)
            || offsets.last() != Some(&(columns.len() as i64))
            || offsets.windows(2).any(|pair| pair[0] > pair[1])
        {
            return bad(format!("the offsets of {what} do not describe its {} entries.", columns.len()));
        }
        let rows = Self { offsets, columns };
        for row in 0..rows.len() {
            if rows.row(row).windows(2).any(|pair| pair[0] >= pair[1]) {
                return bad(format!("row {row} of {what} is not strictly ascending."));
            }
        }
        if let Some(&column) = columns.iter().find(|&&column| usize::try_from(column).map_or(true, |c| c >= n_columns))
        {
            return bad(format!("{what} holds position {column}; there are {n_columns}."));
        }
        Ok(rows)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row.
    pub fn row(&self, row: usize) -> &'a [i32] {
        &self.columns[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}
