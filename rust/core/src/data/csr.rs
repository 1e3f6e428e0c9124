//! Compressed sparse rows: the interactions of each user, or the users of each item.

use crate::{Error, Result};

use super::Numbers;
use crate::runtime::Context;

/// Rows that are put together by one task.
const ROWS_PER_TASK: usize = 512;
/// Columns that are compared with the next ones at a time.
const PIECE: usize = 1 << 16;
/// With fewer entries a transpose is made by the calling thread.
const LARGE: usize = 1 << 16;

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
        let bounds = || offsets.iter().zip(&offsets[1..]).enumerate();
        if let Some((row, (from, to))) = bounds().find(|&(_, (from, to))| from > to || *to > columns.len()) {
            return bad(format!("the offsets of row {row} fall from {from} to {to}."));
        }
        // Counted without an exit, several at once: columns may fall where a row begins, and nowhere else.
        let falls = |(ones, nexts): (&[u32], &[u32])| -> u32 {
            ones.iter().zip(nexts).map(|(one, next)| u32::from(one >= next)).sum()
        };
        let pairs = columns.chunks(PIECE).zip(columns.get(1..).unwrap_or_default().chunks(PIECE));
        let falls: usize = pairs.map(|pair| falls(pair) as usize).sum();
        let begins = offsets[1..].windows(2).filter(|row| 0 < row[0] && row[0] < row[1]);
        let at_begins = begins.filter(|row| columns[row[0] - 1] >= columns[row[0]]).count();
        let highest = columns.iter().fold(0, |highest, &column| highest.max(column));
        if falls > at_begins || (!columns.is_empty() && highest as usize >= n_columns) {
            for (row, (&from, &to)) in bounds() {
                let entries = &columns[from..to];
                let mut pairs = entries.iter().zip(entries.get(1..).unwrap_or_default());
                if let Some((one, next)) = pairs.find(|(one, next)| one >= next) {
                    return bad(format!("columns of row {row} must ascend: {one} comes before {next}."));
                }
                if let Some(last) = entries.last().filter(|&&last| last as usize >= n_columns) {
                    return bad(format!("row {row} names column {last}; there are {n_columns}."));
                }
            }
        }
        if values.iter().fold(false, |any, value| any | !value.is_finite())
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

    /// A matrix of rows that were made one by one.
    pub fn from_rows(rows: &[Vec<(u32, f32)>], n_columns: usize, context: &Context) -> Result<Self> {
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        offsets.extend(rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        }));
        let n_entries = offsets[rows.len()];
        let (mut columns, mut values) = (vec![0; n_entries], vec![0.0; n_entries]);
        let ends = offsets[1..].chunks(ROWS_PER_TASK).map(|ends| ends[ends.len() - 1]);
        let parts = split_entries(ends, &mut columns, &mut values);
        context.for_each_task(
            parts.into_iter().zip(rows.chunks(ROWS_PER_TASK)),
            || (),
            |(), ((columns, values), rows)| {
                for ((column, value), entry) in columns.iter_mut().zip(values).zip(rows.iter().flatten()) {
                    (*column, *value) = *entry;
                }
            },
        );
        Self::new(offsets, columns, values, n_columns)
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
        let offsets = self.column_offsets();
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

    /// The transpose, made by all threads: each fills some of its rows.
    #[must_use]
    pub fn transpose_on(&self, context: &Context) -> Self {
        let n_parts = context.threads();
        if n_parts == 1 || self.len() < LARGE {
            return self.transpose();
        }
        let offsets = self.column_offsets();
        let (mut columns, mut values) = (vec![0u32; self.len()], vec![0f32; self.len()]);
        let bound = |part: usize| match part {
            0 => 0,
            part if part == n_parts => self.n_columns,
            part => offsets.partition_point(|&at| at < self.len() / n_parts * part).min(self.n_columns),
        };
        let ends = (1..=n_parts).map(|part| offsets[bound(part)]);
        let parts = split_entries(ends, &mut columns, &mut values);
        context.for_each_task(
            parts.into_iter().enumerate(),
            || (),
            |(), (part, (columns, values))| {
                let (from, to) = (bound(part), bound(part + 1));
                let mut next: Vec<usize> = offsets[from..to].iter().map(|at| at - offsets[from]).collect();
                for row in 0..self.n_rows() {
                    let own = self.row(row);
                    let first = own.partition_point(|&column| (column as usize) < from);
                    for (&column, &value) in own[first..].iter().zip(&self.row_values(row)[first..]) {
                        let Some(slot) = next.get_mut(column as usize - from) else { break };
                        (columns[*slot], values[*slot]) = (row as u32, value);
                        *slot += 1;
                    }
                }
            },
        );
        let (offsets, columns, values) = (offsets.into(), columns.into(), values.into());
        Self { offsets, columns, values, n_columns: self.n_rows() }
    }

    /// Where each column begins in the transpose.
    fn column_offsets(&self) -> Vec<usize> {
        let mut offsets = vec![0usize; self.n_columns + 1];
        for &column in &*self.columns {
            offsets[column as usize + 1] += 1;
        }
        for column in 0..self.n_columns {
            offsets[column + 1] += offsets[column];
        }
        offsets
    }
}

/// Columns and values by parts, which end at `ends`.
pub fn split_entries<'a>(
    ends: impl Iterator<Item = usize>,
    mut columns: &'a mut [u32],
    mut values: &'a mut [f32],
) -> Vec<(&'a mut [u32], &'a mut [f32])> {
    let mut begin = 0;
    let mut parts = Vec::new();
    for end in ends {
        let (own_columns, own_values);
        (own_columns, columns) = columns.split_at_mut(end - begin);
        (own_values, values) = values.split_at_mut(end - begin);
        parts.push((own_columns, own_values));
        begin = end;
    }
    parts
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
    fn threads_transpose_to_what_one_makes() {
        let draws = crate::runtime::rng::Stream::new(3, 0);
        let row = |row: u64| -> Vec<(u32, f32)> {
            let columns = (0..400).filter(|column| draws.f32(row * 400 + column) < if *column < 9 { 0.9 } else { 0.3 });
            columns.map(|column| (column as u32, draws.f32(row + column))).collect()
        };
        let rows: Vec<Vec<(u32, f32)>> = (0..1500).map(|at| if at % 7 == 0 { Vec::new() } else { row(at) }).collect();
        let one = Context::new(Some(1)).unwrap();
        let matrix = Csr::from_rows(&rows, 403, &one).unwrap();
        assert!(matrix.len() > LARGE);
        let back: Vec<Vec<(u32, f32)>> = (0..matrix.n_rows())
            .map(|row| matrix.row(row).iter().copied().zip(matrix.row_values(row).iter().copied()).collect())
            .collect();
        assert_eq!(back, rows);
        for threads in [2, 3, 16] {
            let context = Context::new(Some(threads)).unwrap();
            assert_eq!(Csr::from_rows(&rows, 403, &context).unwrap(), matrix);
            assert_eq!(matrix.transpose_on(&context), matrix.transpose());
        }
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
        // Columns may fall from one row to the next, with rows without any between them, but not within one.
        let rows = |columns: [u32; 5]| Csr::new(vec![0, 0, 2, 2, 4, 5], columns.into(), vec![1.0; 5], 3);
        assert!(rows([1, 2, 0, 1, 0]).is_ok());
        for (columns, row) in [([2, 1, 0, 1, 0], 1), ([0, 1, 1, 0, 0], 3), ([1, 2, 0, 0, 2], 3), ([0, 3, 1, 2, 0], 1)] {
            let message = rows(columns).unwrap_err().to_string();
            assert!(message.contains(&format!("row {row} ")), "{message}");
        }
    }
}
