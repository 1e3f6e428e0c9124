//! Texts that come in arrays, as Arrow has them: the code of each, and in the end the distinct ones in ascending order.

use super::dictionary::{Column, Span, merge_column};
use super::interner::{Interner, N_PLAIN};
use super::schema::Target;
use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// Texts of a column between two checks whether the caller wants to stop.
const PIECE: usize = 1 << 16;

/// Gives the texts of a column codes, array after array.
#[derive(Debug, Default)]
pub struct TextCoder {
    interner: Interner,
}

impl TextCoder {
    /// The codes of the texts that end to end are in `bytes`; `offsets` has one more than there are texts.
    ///
    /// # Errors
    /// `InvalidData` where offsets fall, lie outside of the bytes, or are not as many; `Cancelled`.
    pub fn add(&mut self, offsets: &[i64], bytes: &[u8], codes: &mut [i32], cancel: &Cancel) -> Result<()> {
        if offsets.len() != codes.len() + 1 {
            return Err(Error::InvalidData(format!("{} offsets for {} texts.", offsets.len(), codes.len())));
        }
        let mut ends = offsets.iter();
        let mut start = ends.next().copied().unwrap_or_default();
        for piece in codes.chunks_mut(PIECE) {
            cancel.check()?;
            for (code, &end) in piece.iter_mut().zip(&mut ends) {
                if start < 0 || end < start || end as usize > bytes.len() {
                    return Err(Error::InvalidData(format!("a text from {start} to {end} of {} bytes.", bytes.len())));
                }
                *code = self.interner.code_within(bytes, start as usize, end as usize) as i32;
                start = end;
            }
        }
        Ok(())
    }

    /// The distinct texts, and for each code its place among them; -1 for what is no code, and once more at the end.
    ///
    /// # Errors
    /// `Cancelled`
    pub fn finish(&self, cancel: &Cancel) -> Result<(Column, Vec<i32>)> {
        let mut own = Vec::with_capacity(self.interner.len());
        for (at, &bits) in self.interner.seen().iter().enumerate() {
            own.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| (64 * at + bit) as i32));
        }
        own.extend((0..self.interner.len() as u32).map(|number| (N_PLAIN + number) as i32));
        let mut places = own.clone();
        let spans = [Span { worker: 0, rows: own.len() }];
        let column = merge_column(&[&self.interner], &spans, &[], &mut Target::Codes(&mut places), false, cancel);
        cancel.check()?;
        let mut place_of = vec![-1; N_PLAIN as usize + self.interner.len() + 1];
        for (&code, place) in own.iter().zip(places) {
            place_of[code as usize] = place;
        }
        Ok((column, place_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_texts_ascend_and_each_code_leads_to_its_own() {
        let texts = ["b", "10", "", "9", "a longer text", "b", "é", "10", "007"];
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as i64);
        }
        let (mut coder, mut codes) = (TextCoder::default(), vec![0; texts.len()]);
        let cancel = Cancel::default();
        coder.add(&offsets[..5], &bytes, &mut codes[..4], &cancel).unwrap();
        coder.add(&offsets[4..], &bytes, &mut codes[4..], &cancel).unwrap();
        let (column, place_of) = coder.finish(&cancel).unwrap();
        assert_eq!(column.texts, "\n007\n10\n9\na longer text\nb\né\n".as_bytes());
        let places: Vec<i32> = codes.iter().map(|&code| place_of[code as usize]).collect();
        assert_eq!(places, [5, 2, 0, 3, 4, 5, 6, 2, 1]);
        assert_eq!(place_of.last(), Some(&-1));
    }

    #[test]
    fn offsets_that_lie_outside_are_refused() {
        let mut coder = TextCoder::default();
        for offsets in [[0, 4], [2, 1], [-1, 1]] {
            assert!(coder.add(&offsets, b"abc", &mut [0], &Cancel::default()).is_err(), "{offsets:?}");
        }
        assert!(coder.add(&[0], b"abc", &mut [0], &Cancel::default()).is_err());
    }
}
