//! Rows of positions without values: the items that each user has seen, or that each row may list.

use crate::data::Numbers;
use crate::{Error, Result};

/// One set of positions for each row; within a row they rise strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    offsets: Numbers<usize>,
    items: Numbers<u32>,
}

impl Sets {
    /// Checks `offsets` (rising from 0 to the number of entries) and `items` (rising strictly within a row, below
    /// `n_items`).
    pub fn new(offsets: Vec<usize>, items: Vec<u32>, n_items: usize) -> Result<Self> {
        Self::of_numbers(offsets.into(), items.into(), n_items)
    }

    /// The same of numbers that somebody else may keep.
    pub fn of_numbers(offsets: Numbers<usize>, items: Numbers<u32>, n_items: usize) -> Result<Self> {
        Self::check(&offsets, &items, n_items)?;
        Ok(Self { offsets, items })
    }

    fn check(offsets: &[usize], items: &[u32], n_items: usize) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if offsets.first() != Some(&0) || offsets.last() != Some(&items.len()) {
            return bad("row offsets must run from 0 to the number of entries.".into());
        }
        for (row, pair) in offsets.windows(2).enumerate() {
            if pair[0] > pair[1] || pair[1] > items.len() {
                return bad(format!("the offsets of row {row} fall from {} to {}.", pair[0], pair[1]));
            }
            let entries = &items[pair[0]..pair[1]];
            if let Some([first, second]) = entries.array_windows().find(|[first, second]| first >= second) {
                return bad(format!("items of row {row} must rise: {first} stands before {second}."));
            }
            if let Some(&last) = entries.last()
                && last as usize >= n_items
            {
                return bad(format!("row {row} names item {last}; there are {n_items}."));
            }
        }
        Ok(())
    }

    /// The distinct ones of some positions row by row, of which row r has `lengths[r]`, and how often each stands in its row.
    /// Negative ones are left out.
    pub fn of_rows(lengths: &[usize], positions: &[i64], n_items: usize) -> Result<(Self, Vec<u32>)> {
        let total = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
        if total != Some(positions.len()) {
            return Err(Error::InvalidData(format!(
                "{} positions do not fit the lengths of their rows.",
                positions.len()
            )));
        }
        if let Some(&wrong) = positions.iter().find(|&&position| position >= n_items.min(u32::MAX as usize) as i64) {
            return Err(Error::InvalidData(format!("item {wrong} is named; there are {n_items}.")));
        }
        let mut offsets = Vec::with_capacity(lengths.len() + 1);
        offsets.push(0);
        let (mut items, mut counts) = (Vec::with_capacity(positions.len()), Vec::with_capacity(positions.len()));
        // How often each item stands in the row.
        let mut times = vec![0u32; n_items];
        let mut rest = positions;
        for &length in lengths {
            let (own, later) = rest.split_at(length);
            rest = later;
            for &position in own.iter().filter(|&&position| position >= 0) {
                let times = &mut times[position as usize];
                if *times == 0 {
                    items.push(position as u32);
                }
                *times += 1;
            }
            let first = offsets[offsets.len() - 1];
            items[first..].sort_unstable();
            counts.extend(items[first..].iter().map(|&item| std::mem::take(&mut times[item as usize])));
            offsets.push(items.len());
        }
        Ok((Self { offsets: offsets.into(), items: items.into() }, counts))
    }

    /// Row by row what either holds.
    pub fn union(&self, other: &Self) -> Result<Self> {
        if self.n_rows() != other.n_rows() {
            return Err(Error::InvalidData(format!("{} and {} rows have no union.", self.n_rows(), other.n_rows())));
        }
        let mut items = Vec::with_capacity(self.items.len() + other.items.len());
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        for row in 0..self.n_rows() {
            let (mut a, mut b) = (self.row(row), other.row(row));
            while let (Some((&first, later)), Some((&second, beyond))) = (a.split_first(), b.split_first()) {
                items.push(first.min(second));
                a = if first <= second { later } else { a };
                b = if second <= first { beyond } else { b };
            }
            items.extend_from_slice(a);
            items.extend_from_slice(b);
            offsets.push(items.len());
        }
        Ok(Self { offsets: offsets.into(), items: items.into() })
    }

    /// Offsets and positions.
    pub fn into_parts(self) -> (Vec<usize>, Vec<u32>) {
        (self.offsets.into_vec(), self.items.into_vec())
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The positions of one row.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.items[self.offsets[row]..self.offsets[row + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_refused() {
        assert!(Sets::new(vec![0, 1, 3], vec![4, 0, 4], 5).is_ok());
        assert!(Sets::new(vec![0, 1], vec![5], 5).is_err());
        assert!(Sets::new(vec![0, 2], vec![1, 1], 5).is_err());
        assert!(Sets::new(vec![0, 2, 1], vec![1], 5).is_err());
        assert!(Sets::new(vec![0, 3], vec![1], 5).is_err());
        assert!(Sets::new(vec![], vec![], 5).is_err());
    }

    #[test]
    fn positions_become_sets_and_are_counted() {
        let (sets, counts) = Sets::of_rows(&[4, 0, 2, 1], &[3, 1, 3, 0, -1, 2, -1], 4).unwrap();
        assert_eq!(sets.into_parts(), (vec![0, 3, 3, 4, 4], vec![0, 1, 3, 2]));
        assert_eq!(counts, [1, 1, 2, 1]);
        assert!(Sets::of_rows(&[1], &[4], 4).is_err());
        assert!(Sets::of_rows(&[1], &[0, 1], 4).is_err());
        assert!(Sets::of_rows(&[usize::MAX, 2], &[0], 4).is_err());
    }

    #[test]
    fn a_union_holds_row_by_row_what_either_holds() {
        let sets = |offsets: &[usize], items: &[u32]| Sets::new(offsets.to_vec(), items.to_vec(), 9).unwrap();
        let (one, other) = (sets(&[0, 3, 3, 4], &[1, 4, 8, 2]), sets(&[0, 2, 3, 3], &[0, 4, 7]));
        let both = sets(&[0, 4, 5, 6], &[0, 1, 4, 8, 7, 2]);
        assert_eq!((one.union(&other).unwrap(), other.union(&one).unwrap()), (both.clone(), both));
        assert!(one.union(&sets(&[0, 0], &[])).is_err());
    }
}
