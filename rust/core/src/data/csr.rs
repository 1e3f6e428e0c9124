//! Compressed sparse rows: the interactions of each user, or the users of each item.

use crate::{Error, Result};

use super::Numbers;

/// A sparse matrix by rows. Column positions are strictly ascending within a row, so a row is a set.
///
/// Built through [`Csr::new`], which checks everything once; kernels then index freely.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    offsets: Numbers<usize>,
    columns: Numbers<u32>,
    values: Numbers<f32>,
    n_columns: usize,
}

impl Csr {
    /// Checks `offsets` (`n_rows` + 1, ascending from 0 to the number of entries), `columns` (strictly ascending within a
    /// row, below `n_columns`) and `values` (finite, one for each entry).
    pub fn new(offsets: Vec<usize>, columns: Vec<u32>, values: Vec<f32>, n_columns: usize) -> Result<Self> {
        Self::of_numbers(offsets.into(), columns.into(), values.into(), n_columns)
    }

    /// The same of numbers that somebody else may keep.
    pub fn of_numbers(
        offsets: Numbers<usize>,
        columns: Numbers<u32>,
        values: Numbers<f32>,
        n_columns: usize,
    ) -> Result<Self> {
        Self::check((&offsets, &columns, &values), n_columns)?;
        Ok(Self { offsets, columns, values, n_columns })
    }

    fn check((offsets, columns, values): (&[usize], &[u32], &[f32]), n_columns: usize) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n_columns > u32::MAX as usize {
            return bad(format!("{n_columns} columns do not fit 32-bit positions."));
        }
        if offsets.first() != Some(&0) || offsets.last() != Some(&columns.len()) {
            return bad("row offsets must run from 0 to the number of entries.".into());
        }
        if values.len() != columns.len() {
            return bad(format!("got {} values and {} columns.", values.len(), columns.len()));
        }
        for (row, (&from, &to)) in offsets.iter().zip(&offsets[1..]).enumerate() {
            if from > to || to > columns.len() {
                return bad(format!("the offsets of row {row} fall from {from} to {to}."));
            }
            let entries = &columns[from..to];
            let pairs = || entries.iter().zip(entries.get(1..).unwrap_or_default());
            // Counted without an exit, several at once.
            if pairs().filter(|(one, next)| one >= next).count() > 0
                && let Some((one, next)) = pairs().find(|(one, next)| one >= next)
            {
                return bad(format!("columns of row {row} must ascend: {one} comes before {next}."));
            }
            if let Some(&last) = entries.last()
                && last as usize >= n_columns
            {
                return bad(format!("row {row} names column {last}; there are {n_columns}."));
            }
        }
        if values.iter().filter(|value| !value.is_finite()).count() > 0
            && let Some(at) = values.iter().position(|v| !v.is_finite())
        {
            return bad(format!("the value of entry {at} is {}; it must be finite.", values[at]));
        }
        Ok(())
    }

    /// Row offsets, columns and values.
    pub fn into_parts(self) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        (self.offsets.into_vec(), self.columns.into_vec(), self.values.into_vec())
    }

    /// A matrix of `n_rows` empty rows.
    pub fn empty(n_rows: usize, n_columns: usize) -> Self {
        Self { offsets: vec![0; n_rows + 1].into(), columns: Vec::new().into(), values: Vec::new().into(), n_columns }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Where each row begins; one more than there are rows.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// All column positions, row after row.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The column positions of one row.
    #[inline]
    pub fn row(&self, row: usize) -> &[u32] {
        &self.columns[self.offsets[row]..self.offsets[row + 1]]
    }

    /// The values of one row.
    #[inline]
    pub fn row_values(&self, row: usize) -> &[f32] {
        &self.values[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Columns become rows; entries of a new row come in the order of the old rows.
    #[must_use]
    pub fn transpose(&self) -> Self {
        self.transpose_with_positions().0
    }

    /// The transpose, and for each of its entries the position it had in `self`: values that change during training
    /// are carried over without building it anew.
    #[must_use]
    pub fn transpose_with_positions(&self) -> (Self, Vec<u32>) {
        let mut offsets = vec![0usize; self.n_columns + 1];
        for &column in &*self.columns {
            offsets[column as usize + 1] += 1;
        }
        for column in 0..self.n_columns {
            offsets[column + 1] += offsets[column];
        }
        let mut next = offsets.clone();
        let mut columns = vec![0u32; self.len()];
        let mut values = vec![0f32; self.len()];
        let mut positions = vec![0u32; self.len()];
        for row in 0..self.n_rows() {
            for at in self.offsets[row]..self.offsets[row + 1] {
                let slot = &mut next[self.columns[at] as usize];
                columns[*slot] = row as u32;
                values[*slot] = self.values[at];
                positions[*slot] = at as u32;
                *slot += 1;
            }
        }
        let (offsets, columns, values) = (offsets.into(), columns.into(), values.into());
        (Self { offsets, columns, values, n_columns: self.n_rows() }, positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Csr {
        Csr::new(vec![0, 2, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0], 3).unwrap()
    }

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        let (transposed, positions) = example().transpose_with_positions();
        assert_eq!(transposed.row(0), [0]);
        assert_eq!(transposed.row(1), [2]);
        assert_eq!(transposed.row(2), [0]);
        assert_eq!(positions, [0, 2, 1]);
        assert_eq!(transposed.transpose(), example());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        assert!(Csr::new(vec![0, 1], vec![3], vec![1.0], 3).is_err());
        assert!(Csr::new(vec![0, 2], vec![1, 1], vec![1.0, 1.0], 3).is_err());
        assert!(Csr::new(vec![0, 2], vec![2, 1], vec![1.0, 1.0], 3).is_err());
        assert!(Csr::new(vec![0, 2, 1], vec![0], vec![1.0], 3).is_err());
        assert!(Csr::new(vec![1, 1], vec![0], vec![1.0], 3).is_err());
        assert!(Csr::new(vec![0, 1], vec![0], vec![f32::NAN], 3).is_err());
        assert!(Csr::new(vec![], vec![], vec![], 3).is_err());
    }
}
