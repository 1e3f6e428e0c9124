//! Where each id stands: from the bytes of an id to its position, without an object for each.
//!
//! Open addressing over a power of two of slots, at most half full; a slot has half of the hash and the position, so that
//! an id is compared with few others. Hashes are SipHash with keys of this process (`RandomState`): whoever writes a model
//! file cannot make ids collide. Positions do not depend on hashes. Numbers that lie close together need none: each has a
//! place of its own.

use std::hash::{BuildHasher, RandomState};

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

use super::Numbers;

/// Ids between two looks at whether the caller wants to stop.
const PIECE: usize = 1 << 16;

/// Numbers within a range so many times as long as there are ids get a table of the range.
const MAX_SPREAD: usize = 4;

/// The ids by position.
#[derive(Debug)]
enum Ids {
    /// Bytes end to end; `offsets` has one more than there are ids.
    Texts {
        offsets: Numbers<usize>,
        bytes: Numbers<u8>,
    },
    Numbers(Numbers<i64>),
    /// The numbers from `first` on: the position + 1 of each, 0 where it is no id.
    Range {
        first: i64,
        positions: Vec<u32>,
        n: usize,
    },
}

/// A position for each id.
#[derive(Debug)]
pub struct IdIndex {
    ids: Ids,
    state: RandomState,
    /// Half of the hash, and the position + 1; 0 is a free slot.
    slots: Vec<(u32, u32)>,
    is_distinct: bool,
}

impl IdIndex {
    /// Of ids whose bytes stand end to end.
    ///
    /// # Errors
    /// `InvalidData` where offsets fall or lie outside of the bytes, or there are more ids than positions; `Cancelled`.
    pub fn of_texts(
        offsets: impl Into<Numbers<usize>>,
        bytes: impl Into<Numbers<u8>>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let (offsets, bytes) = (offsets.into(), bytes.into());
        let rise = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if !rise || offsets.first() != Some(&0) || offsets.last() != Some(&bytes.len()) {
            return Err(Error::InvalidData("the offsets of the ids do not fit their bytes.".into()));
        }
        Self::new(Ids::Texts { offsets, bytes }, cancel)
    }

    /// Of ids that are numbers.
    ///
    /// # Errors
    /// `InvalidData` where there are more ids than positions; `Cancelled`.
    pub fn of_numbers(values: impl Into<Numbers<i64>>, cancel: &Cancel) -> Result<Self> {
        let values = values.into();
        let range = values.iter().min().zip(values.iter().max()).and_then(|(&first, &last)| {
            let length = usize::try_from(last.checked_sub(first)?).ok()?.checked_add(1)?;
            (length <= values.len().saturating_mul(MAX_SPREAD)).then_some((first, length))
        });
        match range {
            Some((first, length)) => Self::of_range(&values, first, length, cancel),
            None => Self::new(Ids::Numbers(values), cancel),
        }
    }

    /// Of numbers from `first` on, within `length`.
    fn of_range(values: &[i64], first: i64, length: usize, cancel: &Cancel) -> Result<Self> {
        let n = check_length(values.len())?;
        let (mut positions, mut is_distinct) = (vec![0; length], true);
        for (piece, values) in values.chunks(PIECE).enumerate() {
            cancel.check()?;
            for (at, &value) in values.iter().enumerate() {
                let place = &mut positions[(value - first) as usize];
                if *place == 0 {
                    *place = (piece * PIECE + at) as u32 + 1;
                } else {
                    is_distinct = false;
                }
            }
        }
        let ids = Ids::Range { first, positions, n };
        Ok(Self { ids, state: RandomState::new(), slots: Vec::new(), is_distinct })
    }

    fn new(ids: Ids, cancel: &Cancel) -> Result<Self> {
        let n = check_length(ids.len())?;
        let slots = vec![(0, 0); (2 * n).max(2).next_power_of_two()];
        let mut index = Self { ids, state: RandomState::new(), slots, is_distinct: true };
        for start in (0..n).step_by(PIECE) {
            cancel.check()?;
            for position in start..n.min(start + PIECE) {
                index.insert(position);
            }
        }
        Ok(index)
    }

    fn insert(&mut self, position: usize) {
        let slot = match &self.ids {
            Ids::Texts { offsets, bytes } => self.find(&bytes[offsets[position]..offsets[position + 1]]),
            Ids::Numbers(values) => self.find(&values[position]),
            Ids::Range { .. } => return,
        };
        if slot.position.is_some() {
            self.is_distinct = false;
        } else {
            self.slots[slot.at] = (slot.tag, position as u32 + 1);
        }
    }

    fn find<I: Id + ?Sized>(&self, id: &I) -> Slot {
        let hash = self.state.hash_one(id);
        let (tag, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            let (found, next) = self.slots[at];
            if next == 0 {
                return Slot { at, tag, position: None };
            }
            let position = next as usize - 1;
            if found == tag && id.stands_at(&self.ids, position) {
                return Slot { at, tag, position: Some(position) };
            }
            at = (at + 1) & mask;
        }
    }

    /// Whether no id stands twice.
    pub fn is_distinct(&self) -> bool {
        self.is_distinct
    }

    /// Whether the ids are numbers.
    pub fn has_numbers(&self) -> bool {
        !matches!(self.ids, Ids::Texts { .. })
    }

    /// Where this text stands first, or -1.
    pub fn position_of_text(&self, id: &[u8]) -> i64 {
        if self.slots.is_empty() {
            return -1;
        }
        self.find(id).position.map_or(-1, |position| position as i64)
    }

    /// Where this number stands first, or -1.
    #[inline]
    pub fn position_of_number(&self, id: i64) -> i64 {
        if let Ids::Range { first, positions, .. } = &self.ids {
            // A number below the first becomes a place far beyond the last.
            return positions.get(id.wrapping_sub(*first) as usize).map_or(-1, |&next| i64::from(next) - 1);
        }
        self.find(&id).position.map_or(-1, |position| position as i64)
    }
}

impl Ids {
    fn len(&self) -> usize {
        match self {
            Self::Texts { offsets, .. } => offsets.len() - 1,
            Self::Numbers(values) => values.len(),
            Self::Range { n, .. } => *n,
        }
    }
}

fn check_length(n: usize) -> Result<usize> {
    if n >= i32::MAX as usize {
        return Err(Error::InvalidData(format!("{n} ids do not fit 32-bit positions.")));
    }
    Ok(n)
}

/// Where the search for an id ended: the slot that has it, or the free one that it would get.
struct Slot {
    at: usize,
    tag: u32,
    position: Option<usize>,
}

/// What may be asked for; nothing stands where ids are of the other kind.
trait Id: std::hash::Hash {
    fn stands_at(&self, ids: &Ids, position: usize) -> bool;
}

impl Id for [u8] {
    fn stands_at(&self, ids: &Ids, position: usize) -> bool {
        match ids {
            Ids::Texts { offsets, bytes } => bytes[offsets[position]..offsets[position + 1]] == *self,
            Ids::Numbers(_) | Ids::Range { .. } => false,
        }
    }
}

impl Id for i64 {
    fn stands_at(&self, ids: &Ids, position: usize) -> bool {
        matches!(ids, Ids::Numbers(values) if values[position] == *self)
    }
}

/// Whether texts end to end are UTF-8, each by itself.
pub fn are_utf8(offsets: &[i64], bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.is_ascii() || offsets.iter().all(|&offset| text.is_char_boundary(offset as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(texts: &[Vec<u8>]) -> (Vec<usize>, Vec<u8>) {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(text);
            offsets.push(bytes.len());
        }
        (offsets, bytes)
    }

    proptest! {
        #[test]
        fn texts_stand_where_they_are_found_by_a_scan(
            texts in prop::collection::vec(prop::collection::vec(0u8..3, 0..6), 0..300),
            others in prop::collection::vec(prop::collection::vec(0u8..4, 0..6), 0..50),
        ) {
            let (offsets, bytes) = packed(&texts);
            let index = IdIndex::of_texts(offsets, bytes, &Cancel::default()).unwrap();
            for text in texts.iter().chain(&others) {
                let naive = texts.iter().position(|each| each == text).map_or(-1, |at| at as i64);
                prop_assert_eq!(index.position_of_text(text), naive);
            }
            let mut distinct = texts.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(index.is_distinct(), distinct.len() == texts.len());
            prop_assert_eq!(index.position_of_number(0), -1);
        }

        #[test]
        fn numbers_stand_where_they_are_found_by_a_scan(
            close in prop::collection::vec(-50i64..50, 0..100),
            mut others in prop::collection::vec(any::<i64>(), 0..20),
            step in prop_oneof![Just(1), Just(3), Just(1000), Just(i64::MAX / 60)],
            first in prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX)],
        ) {
            // Close together or far apart, at the ends of all numbers or between.
            let values: Vec<i64> = close.iter().map(|value| (value * step).saturating_add(first)).collect();
            others.extend([i64::MIN, i64::MAX, -1, 0].into_iter().chain(values.iter().map(|value| value.wrapping_add(1))));
            let index = IdIndex::of_numbers(values.clone(), &Cancel::default()).unwrap();
            for value in values.iter().chain(&others) {
                let naive = values.iter().position(|each| each == value).map_or(-1, |at| at as i64);
                prop_assert_eq!(index.position_of_number(*value), naive);
            }
            let mut distinct = values.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(index.is_distinct(), distinct.len() == values.len());
            prop_assert_eq!(index.position_of_text(b"1"), -1);
        }
    }

    #[test]
    fn offsets_that_do_not_fit_are_refused() {
        for offsets in [&[][..], &[0, 2], &[1, 3], &[0, 2, 1, 3], &[usize::MAX, 3], &[0, 4]] {
            assert!(IdIndex::of_texts(offsets.to_vec(), b"abc".to_vec(), &Cancel::default()).is_err(), "{offsets:?}");
        }
    }

    #[test]
    fn a_letter_that_is_cut_is_no_utf8() {
        assert!(are_utf8(&[0, 2, 3], "éa".as_bytes()));
        assert!(!are_utf8(&[0, 1, 3], "éa".as_bytes()));
        assert!(!are_utf8(&[0, 1], b"\xff"));
    }
}
