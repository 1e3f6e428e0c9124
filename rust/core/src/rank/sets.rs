//! Rows of positions without values: the items that each user has seen, or that each row may list.

use crate::data::Numbers;
use crate::{Error, Result};

/// The items of a row are marked, and the marks read in order, where there is more than one for so many words of marks; fewer
/// are sorted.
const MIN_MARKED_SHARE: usize = 2;

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

    /// The distinct ones of some positions row by row, of which row r has `lengths[r]`; with `counts`, how often each stands in
    /// its row is appended there. Negative ones are left out.
    pub fn of_rows(
        lengths: &[usize],
        positions: &[i64],
        n_items: usize,
        mut counts: Option<&mut Vec<u32>>,
    ) -> Result<Self> {
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
        let mut items = Vec::with_capacity(positions.len());
        // How often each item stands in the row, and a bit for each that does.
        let mut times = vec![0u32; if counts.is_some() { n_items } else { 0 }];
        let mut marks = vec![0u64; n_items.div_ceil(64)];
        let mut rest = positions;
        for &length in lengths {
            let (own, later) = rest.split_at(length);
            rest = later;
            let first = items.len();
            let known = own.iter().filter(|&&position| position >= 0);
            if length * MIN_MARKED_SHARE < marks.len() {
                items.extend(known.clone().map(|&position| position as u32));
                items[first..].sort_unstable();
                let mut kept = first;
                for at in first..items.len() {
                    if kept == first || items[kept - 1] != items[at] {
                        items[kept] = items[at];
                        kept += 1;
                    }
                }
                items.truncate(kept);
            } else {
                for &position in known.clone() {
                    marks[position as usize / 64] |= 1 << (position % 64);
                }
                append_bits(marks.iter().copied(), &mut items);
                marks.fill(0);
            }
            if let Some(counts) = &mut counts {
                known.for_each(|&position| times[position as usize] += 1);
                counts.extend(items[first..].iter().map(|&item| std::mem::take(&mut times[item as usize])));
            }
            offsets.push(items.len());
        }
        Ok(Self { offsets: offsets.into(), items: items.into() })
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

    /// Where the items of a row begin among those of all.
    pub fn start(&self, row: usize) -> usize {
        self.offsets[row]
    }
}

/// A word with more bits than this is taken byte by byte.
const MAX_BITS_ONE_BY_ONE: u32 = 12;

/// The places of the bits of each byte.
static PLACES: [[u8; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut at) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                places[byte][at] = bit;
                at += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    places
};

/// Appends the places of the bits that are set, 64 to a word. Most words have few: four bits are taken of each without a
/// branch, which would be mispredicted time and again; eight places are written for each byte of the others.
pub fn append_bits(words: impl Iterator<Item = u64> + Clone, into: &mut Vec<u32>) {
    const AT_ONCE: usize = 4;
    let mut at = into.len();
    let end = at + words.clone().map(|word| word.count_ones() as usize).sum::<usize>();
    into.resize(end + 8, 0);
    for (word, bits) in words.enumerate() {
        let first = word as u32 * 64;
        let (mut left, next) = (bits, at + bits.count_ones() as usize);
        if bits.count_ones() > MAX_BITS_ONE_BY_ONE {
            for (part, byte) in (0..).zip(bits.to_le_bytes()) {
                let places = PLACES[usize::from(byte)].map(|place| first + 8 * part + u32::from(place));
                into[at..at + 8].copy_from_slice(&places);
                at += byte.count_ones() as usize;
            }
            continue;
        }
        for place in &mut into[at..at + AT_ONCE] {
            *place = first.wrapping_add(left.trailing_zeros());
            left &= left.wrapping_sub(1);
        }
        at += AT_ONCE;
        while left != 0 {
            into[at] = first + left.trailing_zeros();
            left &= left - 1;
            at += 1;
        }
        at = next;
    }
    into.truncate(end);
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
        let mut counts = Vec::new();
        let sets = Sets::of_rows(&[4, 0, 2, 1], &[3, 1, 3, 0, -1, 2, -1], 4, Some(&mut counts)).unwrap();
        assert_eq!(sets.into_parts(), (vec![0, 3, 3, 4, 4], vec![0, 1, 3, 2]));
        assert_eq!(counts, [1, 1, 2, 1]);
        assert!(Sets::of_rows(&[1], &[4], 4, None).is_err());
        assert!(Sets::of_rows(&[1], &[0, 1], 4, None).is_err());
        assert!(Sets::of_rows(&[usize::MAX, 2], &[0], 4, None).is_err());
    }

    #[test]
    fn rows_are_sorted_and_distinct_whether_they_are_short_or_long() {
        let (n_items, lengths) = (1000, [3, 400, 0, 7, 90, 1]);
        let draws = crate::runtime::rng::Stream::new(4, 0);
        let positions: Vec<_> =
            (0..lengths.iter().sum::<usize>()).map(|at| draws.below(at as u64, 1001) as i64 - 1).collect();
        let mut counts = Vec::new();
        let sets = Sets::of_rows(&lengths, &positions, n_items, Some(&mut counts)).unwrap();
        assert_eq!(sets, Sets::of_rows(&lengths, &positions, n_items, None).unwrap());
        let (mut rest, mut counted) = (&positions[..], &counts[..]);
        for (row, &length) in lengths.iter().enumerate() {
            let (own, later) = rest.split_at(length);
            let (times, others) = counted.split_at(sets.row(row).len());
            let wanted: std::collections::BTreeSet<_> = own.iter().filter(|&&each| each >= 0).collect();
            assert!(sets.row(row).iter().map(|&item| i64::from(item)).eq(wanted.into_iter().copied()));
            for (&item, &times) in sets.row(row).iter().zip(times) {
                assert_eq!(times as usize, own.iter().filter(|&&each| each == i64::from(item)).count());
            }
            (rest, counted) = (later, others);
        }
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
