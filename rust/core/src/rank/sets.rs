//! Rows of positions without values: the items that each user has seen, or that each row may list.

use crate::{Error, Result};

/// One set of positions for each row; within a row they rise strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    offsets: Vec<usize>,
    items: Vec<u32>,
}

impl Sets {
    /// Checks `offsets` (rising from 0 to the number of entries) and `items` (rising strictly within a row, below
    /// `n_items`).
    pub fn new(offsets: Vec<usize>, items: Vec<u32>, n_items: usize) -> Result<Self> {
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
        Ok(Self { offsets, items })
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
}
