//! Which of some items are marked, by a bit for each item of a catalog.

use super::level::Level;

/// Places beyond those found that `marked` may write.
pub const SPARE: usize = 16;

/// Writes the places of the `items` whose bit is set to the start of `places`, which has room for these and [`SPARE`] more;
/// gives how many they are. Without a branch, which would be mispredicted time and again.
pub fn marked(level: Level, marks: &[u64], items: &[u32], places: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::marked(marks, items, places) },
        _ => marked_plain(marks, 0, items, places, 0),
    }
}

/// Goes on at place `first` of all, with `found` already.
fn marked_plain(marks: &[u64], first: u32, items: &[u32], places: &mut [u32], mut found: usize) -> usize {
    for (place, &item) in (first..).zip(items) {
        places[found] = place;
        found += (marks[item as usize / 64] >> (item % 64) & 1) as usize;
    }
    found
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{SPARE, marked_plain};

    /// Sixteen at a time, whose words of 32 bits are gathered.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn marked(marks: &[u64], items: &[u32], places: &mut [u32]) -> usize {
        let n_words = _mm512_set1_epi32((2 * marks.len()) as i32);
        let (one, low) = (_mm512_set1_epi32(1), _mm512_set1_epi32(31));
        let mut own = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let (whole, rest) = items.as_chunks::<16>();
        let mut found = 0;
        for items in whole {
            // SAFETY: 16 numbers; words are gathered where they lie in `marks`.
            let (items, words) = unsafe {
                let items = _mm512_loadu_si512(items.as_ptr().cast());
                let word = _mm512_srli_epi32::<5>(items);
                let within = _mm512_cmplt_epu32_mask(word, n_words);
                (items, _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), within, word, marks.as_ptr().cast()))
            };
            let bit = _mm512_sllv_epi32(one, _mm512_and_si512(items, low));
            let set = _mm512_test_epi32_mask(words, bit);
            let out = &mut places[found..found + SPARE];
            // SAFETY: 16 numbers.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(set, own)) };
            found += set.count_ones() as usize;
            own = _mm512_add_epi32(own, _mm512_set1_epi32(16));
        }
        marked_plain(marks, (items.len() - rest.len()) as u32, rest, places, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_finds_the_places_of_what_is_marked() {
        let draws = Stream::new(5, 0);
        for n in [0, 1, 15, 16, 17, 100, 1000] {
            let marks: Vec<u64> = (0..20).map(|at| draws.u64(at) & draws.u64(at + 20)).collect();
            let items: Vec<u32> = (0..n).map(|at| draws.sub(1).below(at, 20 * 64) as u32).collect();
            let is_marked = |item: u32| marks[item as usize / 64] >> (item % 64) & 1 == 1;
            let wanted: Vec<u32> = (0..n as u32).filter(|&place| is_marked(items[place as usize])).collect();
            for level in Level::available() {
                let mut places = vec![7; wanted.len() + SPARE];
                assert_eq!(marked(level, &marks, &items, &mut places), wanted.len(), "{}", level.name());
                assert_eq!(places[..wanted.len()], wanted, "{}", level.name());
            }
        }
    }
}
