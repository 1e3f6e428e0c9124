//! String interning: each distinct byte string gets a code.
//!
//! Most ids are counted up from one. A whole number below 2²⁰ without leading zeros is its own code: nothing is looked up,
//! and a bit records that it was seen. All other texts are numbered from there on in the order of first appearance.
//!
//! Those are found by open addressing over a power of two of slots, at most half full. A text of up to seven bytes is its
//! own key in the slot, so that finding it touches one cache line; longer ones have their hash there, and are compared with
//! the arena where it agrees. The arena avoids an allocation per text: a million ids cost a dozen growing vectors.

use super::digits;

/// Codes below are plain numbers: each is the code of the text of its value.
pub const N_PLAIN: u32 = 1 << 20;

/// Distinct byte strings, each with a code.
#[derive(Debug, Default)]
pub struct Interner {
    /// A bit for each plain number that was seen.
    seen: Vec<u64>,
    /// (key, number + 1); number 0 is a free slot.
    slots: Vec<(u64, u32)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    last_key: u64,
    last: u32,
}

const MIX: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93, 0xA076_1D64_78BD_642F];

/// The top byte of the key of a text that is longer than seven bytes; shorter ones have their length + 1 there.
const LONG_TEXT_TAG: u64 = 0xFF << 56;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// A text of up to seven bytes as [`digits::load_word`] gives it, and its length; longer ones by a hash.
#[inline]
fn key(word: u64, text: &[u8]) -> u64 {
    if text.len() < 8 { word | (text.len() as u64 + 1) << 56 } else { hash(text) }
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
    state | LONG_TEXT_TAG
}

/// The value of a plain number, loaded as a word: below [`N_PLAIN`], without leading zeros.
#[inline]
fn plain(word: u64, length: usize) -> Option<u32> {
    if !(1..8).contains(&length) || (length > 1 && word as u8 == b'0') {
        return None;
    }
    digits::parse_digits(word, length).filter(|&value| value < N_PLAIN)
}

#[inline]
fn slot_of(key: u64, mask: usize) -> usize {
    fold(key, MIX[2]) as usize & mask
}

impl Interner {
    /// The code of this text, a new one if it was not seen before.
    #[inline]
    pub fn code(&mut self, text: &[u8]) -> u32 {
        self.code_within(text, 0, text.len())
    }

    /// The code of the text at `start..end` of a longer one, which is loaded by whole words, whatever its length.
    #[inline]
    pub fn code_within(&mut self, text: &[u8], start: usize, end: usize) -> u32 {
        let length = end - start;
        let word = if length < 8 { digits::load_word(text, start, length) } else { 0 };
        if let Some(value) = plain(word, length) {
            self.mark_seen(value);
            return value;
        }
        N_PLAIN + self.number(word, &text[start..end])
    }

    #[inline]
    fn mark_seen(&mut self, value: u32) {
        // Frequent ids share a word of bits; writing it every time would make each write wait for the one before.
        if self.seen.get(value as usize / 64).is_none_or(|bits| bits >> (value % 64) & 1 == 0) {
            self.mark_first_seen(value);
        }
    }

    #[cold]
    fn mark_first_seen(&mut self, value: u32) {
        let at = value as usize / 64;
        if at >= self.seen.len() {
            self.seen.resize((at + 1).next_power_of_two(), 0);
        }
        self.seen[at] |= 1 << (value % 64);
    }

    #[inline(never)]
    fn number(&mut self, word: u64, text: &[u8]) -> u32 {
        let key = key(word, text);
        // Rows of one basket follow each other: the same customer and the same minute as in the row before.
        if key == self.last_key && (key < LONG_TEXT_TAG || self.get(self.last) == Some(text)) {
            return self.last;
        }
        self.find(key, text)
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
            if found == key && (key < LONG_TEXT_TAG || self.get(number - 1) == Some(text)) {
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

    /// The plain numbers that were seen, as bits.
    pub fn seen(&self) -> &[u64] {
        &self.seen
    }

    /// The text of the code `N_PLAIN + number`.
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let end = *self.ends.get(number as usize)?;
        let start = if number == 0 { 0 } else { self.ends[number as usize - 1] };
        Some(&self.bytes[start..end])
    }

    /// Number of distinct texts that are no plain numbers.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn plain_of(text: &[u8]) -> Option<u32> {
        plain(digits::load_word(text, 0, text.len().min(8)), text.len())
    }

    fn was_seen(interner: &Interner, value: u32) -> bool {
        interner.seen().get(value as usize / 64).is_some_and(|bits| bits >> (value % 64) & 1 == 1)
    }

    #[test]
    fn whole_numbers_have_their_value_and_other_texts_none() {
        for number in (0..200_000u32).chain(N_PLAIN - 9..N_PLAIN) {
            assert_eq!(plain_of(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "00", "01", "007", "-1", "+1", "1 ", " 1", "1.0", "1:", "/1", "1a", "é", "12345678", "1\u{80}"]
        {
            assert_eq!(plain_of(text.as_bytes()), None, "{text:?}");
        }
        for number in (N_PLAIN..N_PLAIN + 9).chain([9_999_999]) {
            assert_eq!(plain_of(number.to_string().as_bytes()), None, "{number}");
        }
        for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            assert_eq!(plain_of(&[b'1', byte]), None, "{byte}");
            assert_eq!(plain_of(&[byte, b'1', b'9']), None, "{byte}");
        }
    }

    /// Plain numbers are their own codes, other texts are numbered as a hash map does, and both are known afterwards.
    fn agrees_with_a_hash_map(texts: &[Vec<u8>]) {
        let mut interner = Interner::default();
        let mut naive: HashMap<&[u8], u32> = HashMap::new();
        let mut numbers = Vec::new();
        for text in texts {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
            if let Some(value) = number.filter(|value| *value < N_PLAIN && value.to_string().as_bytes() == text) {
                assert_eq!(interner.code(text), value);
                numbers.push(value);
                continue;
            }
            let fresh = naive.len() as u32;
            let expected = *naive.entry(text).or_insert(fresh);
            assert_eq!(interner.code(text), N_PLAIN + expected);
            assert_eq!(interner.get(expected), Some(text.as_slice()));
        }
        assert_eq!(interner.len(), naive.len());
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.iter().all(|&value| was_seen(&interner, value)));
        assert_eq!(interner.seen().iter().map(|bits| bits.count_ones() as usize).sum::<usize>(), numbers.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whole_numbers_are_known_with_and_without_leading_zeros(
            values in prop::collection::vec((0u64..3_000_000, 0u32..8), 0..3000),
        ) {
            let text = |value: u64, digits| format!("{:0width$}", value % 10u64.pow(digits), width = (value % 3) as usize);
            let texts: Vec<Vec<u8>> = values.into_iter().map(|(value, digits)| text(value, digits).into_bytes()).collect();
            agrees_with_a_hash_map(&texts);
        }

        #[test]
        fn texts_of_any_bytes_are_known(texts in prop::collection::vec(prop::collection::vec(0u8..4, 0..20), 0..400)) {
            agrees_with_a_hash_map(&texts);
        }
    }
}
