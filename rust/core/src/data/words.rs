//! A dictionary of byte strings: each distinct one gets a number, in the order of first appearance.
//!
//! Open addressing over a power of two of slots, at most half full. A text of up to seven bytes (most ids) is its own key
//! in the slot, so that finding it touches one cache line; longer ones have their hash there, and are compared in the
//! arena where it agrees. The arena leaves no allocation per text: a million ids cost a dozen growing vectors.
//!
//! Most ids are counted up from one. A whole number below 2²⁰, written plainly, is looked up by its value first: four bytes
//! for each, where the slots take 32 and more and are met in no order.

use super::digits;

/// Distinct byte strings, numbered.
#[derive(Debug, Default)]
pub struct Words {
    /// (key, number + 1); number 0 is a free slot.
    slots: Vec<(u64, u32)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    last_key: u64,
    last: u32,
    /// For whole numbers: number + 1 of the text at its value, 0 where the slots must be asked.
    by_value: Vec<u32>,
}

const MIX: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93, 0xA076_1D64_78BD_642F];

/// The top byte of the key of a text that is longer than seven bytes; shorter ones have their length + 1 there.
const LONG: u64 = 0xFF << 56;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// The bytes `start..end` of a text themselves and their length for up to seven of them, else a hash.
#[inline]
fn key(text: &[u8], start: usize, end: usize) -> u64 {
    let len = end - start;
    if len < 8 {
        return digits::load(text, start, len) | (len as u64 + 1) << 56;
    }
    hash(&text[start..end])
}

fn hash(text: &[u8]) -> u64 {
    let mut state = MIX[0] ^ text.len() as u64;
    let mut rest = text;
    while let Some((chunk, others)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*chunk), MIX[1]);
        rest = others;
    }
    if let Some(chunk) = text.last_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*chunk), MIX[1]);
    }
    state | LONG
}

/// Whole numbers from here on are not looked up by their value: the table stays within 4 MiB.
const MAX_VALUE: usize = 1 << 20;

/// The value of a whole number of one to seven digits without leading zeros, from its key.
#[inline]
fn value(key: u64) -> Option<usize> {
    let length = (key >> 56).wrapping_sub(1) as usize;
    if !(1..8).contains(&length) || (length > 1 && key as u8 == b'0') {
        return None;
    }
    digits::whole(key & !LONG, length).map(|value| value as usize)
}

#[inline]
fn slot_of(key: u64, mask: usize) -> usize {
    fold(key, MIX[2]) as usize & mask
}

impl Words {
    /// The number of this text, a new one if it was not met before.
    #[inline]
    pub fn number(&mut self, text: &[u8]) -> u32 {
        self.number_within(text, 0, text.len())
    }

    /// The number of the text that stands at `start..end` of a longer one: it is loaded whole, whatever its length.
    #[inline]
    pub fn number_within(&mut self, text: &[u8], start: usize, end: usize) -> u32 {
        let key = key(text, start, end);
        let text = &text[start..end];
        // Rows of one basket follow each other: the same customer and the same minute as in the row before.
        if key == self.last_key && (key < LONG || self.get(self.last) == Some(text)) {
            return self.last;
        }
        let Some(value) = value(key).filter(|&value| value < MAX_VALUE) else {
            return self.find(key, text);
        };
        match self.by_value.get(value) {
            Some(&known) if known != 0 => {
                (self.last_key, self.last) = (key, known - 1);
                known - 1
            }
            _ => self.find_value(value, key, text),
        }
    }

    #[cold]
    fn find_value(&mut self, value: usize, key: u64, text: &[u8]) -> u32 {
        let number = self.find(key, text);
        // A few large numbers among few texts are no reason for a large table.
        if value >= self.by_value.len() && value < 16 * (self.ends.len() + 64) {
            self.by_value.resize((value + 1).next_power_of_two(), 0);
        }
        if let Some(known) = self.by_value.get_mut(value) {
            *known = number + 1;
        }
        number
    }

    fn find(&mut self, key: u64, text: &[u8]) -> u32 {
        if self.slots.len() <= 2 * self.ends.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = slot_of(key, mask);
        let number = loop {
            let (found, number) = self.slots[at];
            if number == 0 {
                self.bytes.extend_from_slice(text);
                self.ends.push(self.bytes.len());
                self.slots[at] = (key, self.ends.len() as u32);
                break self.ends.len() as u32 - 1;
            }
            if found == key && (key < LONG || self.get(number - 1) == Some(text)) {
                break number - 1;
            }
            at = (at + 1) & mask;
        };
        (self.last_key, self.last) = (key, number);
        number
    }

    fn grow(&mut self) {
        let size = (4 * self.ends.len()).max(1024).next_power_of_two();
        let mut slots = vec![(0u64, 0u32); size];
        for &(key, number) in self.slots.iter().filter(|slot| slot.1 != 0) {
            let mut at = slot_of(key, size - 1);
            while slots[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = (key, number);
        }
        self.slots = slots;
    }

    /// The text of a number.
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let end = *self.ends.get(number as usize)?;
        let start = if number == 0 { 0 } else { self.ends[number as usize - 1] };
        Some(&self.bytes[start..end])
    }

    /// How many distinct texts there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no text yet.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key_of(text: &[u8]) -> u64 {
        key(text, 0, text.len())
    }

    #[test]
    fn whole_numbers_have_their_value_and_other_texts_none() {
        for number in (0..200_000u64).chain(9_999_000..=9_999_999) {
            assert_eq!(value(key_of(number.to_string().as_bytes())), Some(number as usize));
        }
        for text in ["", "00", "01", "007", "-1", "+1", "1 ", " 1", "1.0", "1:", "/1", "1a", "é", "12345678", "1\u{80}"]
        {
            assert_eq!(value(key_of(text.as_bytes())), None, "{text:?}");
        }
        for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            assert_eq!(value(key_of(&[b'1', byte])), None, "{byte}");
            assert_eq!(value(key_of(&[byte, b'1', b'9'])), None, "{byte}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whole_numbers_are_numbered_as_a_hash_map_does(values in prop::collection::vec((0u64..3_000_000, 0u32..8), 0..3000)) {
            let mut words = Words::default();
            let mut naive: HashMap<String, u32> = HashMap::new();
            for (value, digits) in values {
                // Small and large ones, with and without leading zeros.
                let text = format!("{:0width$}", value % 10u64.pow(digits), width = (value % 3) as usize);
                let fresh = naive.len() as u32;
                let expected = *naive.entry(text.clone()).or_insert(fresh);
                prop_assert_eq!(words.number(text.as_bytes()), expected);
                prop_assert_eq!(words.get(expected), Some(text.as_bytes()));
            }
            prop_assert_eq!(words.len(), naive.len());
        }

        #[test]
        fn numbers_are_those_of_a_hash_map(texts in prop::collection::vec(prop::collection::vec(0u8..4, 0..20), 0..400)) {
            let mut words = Words::default();
            let mut naive: HashMap<&[u8], u32> = HashMap::new();
            for text in &texts {
                let fresh = naive.len() as u32;
                let expected = *naive.entry(text).or_insert(fresh);
                prop_assert_eq!(words.number(text), expected);
                prop_assert_eq!(words.get(expected), Some(text.as_slice()));
            }
            prop_assert_eq!(words.len(), naive.len());
        }
    }
}
