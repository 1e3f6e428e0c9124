//! Some of many items, with the sum of each, in their order: those whose keys lie in a range and whose bits are set.
//!
//! Without a branch, which would be mispredicted time and again; with AVX-512 sixteen at once, pressed together in a register.

use super::dot::UNTOUCHED;
use super::level::Level;

/// Which items are wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The least of their keys.
    pub least: f32,
    /// The greatest of them.
    pub most: f32,
    /// A bit for each item of the catalog, if not all are wanted.
    pub bits: Option<&'a [u64]>,
}

impl<'a> Wanted<'a> {
    /// Those whose bits are set.
    pub fn with_bits(bits: Option<&'a [u64]>) -> Self {
        Self { least: f32::NEG_INFINITY, most: f32::INFINITY, bits }
    }

    /// 1 for an item that is wanted, else 0.
    #[inline(always)]
    fn count(&self, item: u32, key: f32) -> usize {
        usize::from(key >= self.least) & usize::from(key <= self.most) & usize::from(is_set(self.bits, item))
    }
}

#[inline(always)]
fn is_set(bits: Option<&[u64]>, item: u32) -> bool {
    bits.is_none_or(|bits| bits[item as usize / 64] >> (item % 64) & 1 == 1)
}

/// Appends the `items` that are wanted by their `keys` to `into`, and their `sums` to `into_sums`.
pub fn select(
    level: Level,
    items: &[u32],
    sums: &[f32],
    keys: &[f32],
    wanted: Wanted<'_>,
    into: &mut Vec<u32>,
    into_sums: &mut Vec<f32>,
) {
    assert!(items.len() == sums.len() && items.len() == keys.len() && into.len() == into_sums.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before this level could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::select(items, sums, keys, wanted, into, into_sums) },
        _ => append(items.len(), into, into_sums, |into, into_sums| {
            select_plain(items, sums, keys, wanted, into, into_sums)
        }),
    }
}

fn select_plain(
    items: &[u32],
    sums: &[f32],
    keys: &[f32],
    wanted: Wanted<'_>,
    into: &mut [u32],
    into_sums: &mut [f32],
) -> usize {
    let mut at = 0;
    for ((&item, &sum), &key) in items.iter().zip(sums).zip(keys) {
        (into[at], into_sums[at]) = (item, sum);
        at += wanted.count(item, key);
    }
    at
}

/// Appends those of the `items` whose bits are set, and their sums in `table`, where all of them are untouched afterwards.
/// No item is named twice.
pub fn take(
    level: Level,
    items: &[u32],
    table: &mut [f32],
    bits: Option<&[u64]>,
    into: &mut Vec<u32>,
    into_sums: &mut Vec<f32>,
) {
    assert_eq!(into.len(), into_sums.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before this level could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::take(items, table, bits, into, into_sums) },
        _ => append(items.len(), into, into_sums, |into, into_sums| take_plain(items, table, bits, into, into_sums)),
    }
}

fn take_plain(
    items: &[u32],
    table: &mut [f32],
    bits: Option<&[u64]>,
    into: &mut [u32],
    into_sums: &mut [f32],
) -> usize {
    let mut at = 0;
    for &item in items {
        let sum = std::mem::replace(&mut table[item as usize], UNTOUCHED);
        (into[at], into_sums[at]) = (item, sum);
        at += usize::from(is_set(bits, item));
    }
    at
}

/// Appends those of the `items` that `table` has a sum below `end` of, and these.
pub fn gather(level: Level, items: &[u32], table: &[f32], end: f32, into: &mut Vec<u32>, into_sums: &mut Vec<f32>) {
    assert_eq!(into.len(), into_sums.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before this level could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::gather(items, table, end, into, into_sums) },
        _ => append(items.len(), into, into_sums, |into, into_sums| gather_plain(items, table, end, into, into_sums)),
    }
}

fn gather_plain(items: &[u32], table: &[f32], end: f32, into: &mut [u32], into_sums: &mut [f32]) -> usize {
    let mut at = 0;
    for &item in items {
        let sum = table[item as usize];
        (into[at], into_sums[at]) = (item, sum);
        at += usize::from(sum.to_bits() != UNTOUCHED.to_bits()) & usize::from(sum < end);
    }
    at
}

/// Lets `fill` write up to `n` more entries; it gives how many.
fn append(n: usize, into: &mut Vec<u32>, into_sums: &mut Vec<f32>, fill: impl FnOnce(&mut [u32], &mut [f32]) -> usize) {
    let known = into.len();
    into.resize(known + n, 0);
    into_sums.resize(known + n, 0.0);
    let more = fill(&mut into[known..], &mut into_sums[known..]);
    into.truncate(known + more);
    into_sums.truncate(known + more);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{UNTOUCHED, Wanted};

    const LANES: usize = 16;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn select(
        items: &[u32],
        sums: &[f32],
        keys: &[f32],
        wanted: Wanted<'_>,
        into: &mut Vec<u32>,
        into_sums: &mut Vec<f32>,
    ) {
        let (least, most) = (_mm512_set1_ps(wanted.least), _mm512_set1_ps(wanted.most));
        let mut out = Out::new(items.len(), into, into_sums);
        for at in (0..items.len()).step_by(LANES) {
            let lanes = first_lanes(items.len() - at);
            // SAFETY: `super::select` checked that the three are as long; of the last ones the lanes that are there are read.
            let (item, sum, key) = unsafe {
                (
                    _mm512_maskz_loadu_epi32(lanes, items.as_ptr().add(at).cast()),
                    _mm512_maskz_loadu_ps(lanes, sums.as_ptr().add(at)),
                    _mm512_maskz_loadu_ps(lanes, keys.as_ptr().add(at)),
                )
            };
            let kept = _mm512_mask_cmp_ps_mask::<_CMP_GE_OQ>(lanes, key, least);
            let kept = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(kept, key, most);
            out.push(set_bits(kept, item, wanted.bits), item, sum);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn take(items: &[u32], table: &mut [f32], bits: Option<&[u64]>, into: &mut Vec<u32>, into_sums: &mut Vec<f32>) {
        let length = _mm512_set1_epi32(table.len().min(i32::MAX as usize) as i32);
        let untouched = _mm512_set1_ps(UNTOUCHED);
        let mut out = Out::new(items.len(), into, into_sums);
        for at in (0..items.len()).step_by(LANES) {
            let lanes = first_lanes(items.len() - at);
            // SAFETY: of the items those that are there are read, and of the table nothing beyond its end.
            unsafe {
                let item = _mm512_maskz_loadu_epi32(lanes, items.as_ptr().add(at).cast());
                let inside = _mm512_mask_cmplt_epu32_mask(lanes, item, length);
                let sum = _mm512_mask_i32gather_ps::<4>(untouched, inside, item, table.as_ptr().cast());
                _mm512_mask_i32scatter_ps::<4>(table.as_mut_ptr().cast(), inside, item, untouched);
                out.push(set_bits(inside, item, bits), item, sum);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn gather(items: &[u32], table: &[f32], end: f32, into: &mut Vec<u32>, into_sums: &mut Vec<f32>) {
        let length = _mm512_set1_epi32(table.len().min(i32::MAX as usize) as i32);
        let (untouched, end) = (_mm512_set1_ps(UNTOUCHED), _mm512_set1_ps(end));
        let mut out = Out::new(items.len(), into, into_sums);
        for at in (0..items.len()).step_by(LANES) {
            let lanes = first_lanes(items.len() - at);
            // SAFETY: of the items those that are there are read, and of the table nothing beyond its end.
            let (item, sum) = unsafe {
                let item = _mm512_maskz_loadu_epi32(lanes, items.as_ptr().add(at).cast());
                let inside = _mm512_mask_cmplt_epu32_mask(lanes, item, length);
                (item, _mm512_mask_i32gather_ps::<4>(untouched, inside, item, table.as_ptr().cast()))
            };
            let touched = _mm512_cmpneq_epi32_mask(_mm512_castps_si512(sum), _mm512_castps_si512(untouched));
            out.push(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(touched, sum, end), item, sum);
        }
    }

    fn first_lanes(left: usize) -> __mmask16 {
        if left >= LANES { !0 } else { (1 << left) - 1 }
    }

    /// Of some lanes, those whose items have their bits set.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn set_bits(lanes: __mmask16, item: __m512i, bits: Option<&[u64]>) -> __mmask16 {
        let Some(bits) = bits else { return lanes };
        let words = _mm512_set1_epi32((2 * bits.len()).min(i32::MAX as usize) as i32);
        let place = _mm512_srli_epi32::<5>(item);
        let inside = _mm512_mask_cmplt_epu32_mask(lanes, place, words);
        // SAFETY: no lane beyond the end is read; words of 64 bits lie in memory as two of 32, the lower one first.
        let word =
            unsafe { _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), inside, place, bits.as_ptr().cast()) };
        let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(item, _mm512_set1_epi32(31)));
        _mm512_mask_test_epi32_mask(inside, word, bit)
    }

    /// Where entries go: the two have room for all that may come, and for sixteen more that are written behind the last.
    struct Out<'a> {
        items: &'a mut Vec<u32>,
        sums: &'a mut Vec<f32>,
    }

    impl<'a> Out<'a> {
        fn new(n: usize, items: &'a mut Vec<u32>, sums: &'a mut Vec<f32>) -> Self {
            items.reserve(n + LANES);
            sums.reserve(n + LANES);
            Self { items, sums }
        }

        /// Appends the lanes that are kept.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
        fn push(&mut self, kept: __mmask16, item: __m512i, sum: __m512) {
            let (at, after) = (self.items.len(), self.items.len() + kept.count_ones() as usize);
            debug_assert!(at + LANES <= self.items.capacity() && at + LANES <= self.sums.capacity());
            // SAFETY: `new` made room for as many lanes as are read, and for one more register behind them; what counts is written.
            unsafe {
                _mm512_storeu_epi32(self.items.as_mut_ptr().add(at).cast(), _mm512_maskz_compress_epi32(kept, item));
                _mm512_storeu_ps(self.sums.as_mut_ptr().add(at), _mm512_maskz_compress_ps(kept, sum));
                self.items.set_len(after);
                self.sums.set_len(after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_selects_the_same_items_in_order() {
        let draws = Stream::new(23, 0);
        let bits: Vec<u64> = (0..8).map(|at| draws.u64(at)).collect();
        for n in [0, 1, 15, 16, 17, 100, 333] {
            let items: Vec<u32> = (0..n as u32).map(|at| at * 37 % 512).collect();
            let keys: Vec<f32> = (0..n as u64).map(|at| draws.sub(1).below(at, 9) as f32 - 4.0).collect();
            let sums: Vec<f32> = (0..n).map(|at| at as f32).collect();
            for bits in [None, Some(&bits[..])] {
                for (least, most) in [(f32::NEG_INFINITY, f32::INFINITY), (-1.0, 2.0), (3.0, f32::INFINITY), (2.0, 1.0)]
                {
                    let wanted = Wanted { least, most, bits };
                    let all = items.iter().zip(&sums).zip(&keys);
                    let chosen: Vec<_> = all
                        .filter(|((item, _), key)| wanted.count(**item, **key) == 1)
                        .map(|((i, s), _)| (*i, *s))
                        .collect();
                    for level in Level::available() {
                        let (mut into, mut into_sums) = (vec![7], vec![0.5]);
                        select(level, &items, &sums, &keys, wanted, &mut into, &mut into_sums);
                        assert_eq!((into[0], into_sums[0], into.len()), (7, 0.5, into_sums.len()));
                        let found: Vec<_> = into[1..].iter().copied().zip(into_sums[1..].iter().copied()).collect();
                        assert_eq!(found, chosen, "{} {n}", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_taken_is_untouched_afterwards() {
        let bits: Vec<u64> = (0..8).map(|at| Stream::new(23, 1).u64(at)).collect();
        for n in [0, 1, 16, 17, 200] {
            let items: Vec<u32> = (0..n).map(|at| at * 37 % 512).collect();
            for bits in [None, Some(&bits[..])] {
                for level in Level::available() {
                    let mut table: Vec<f32> = (0..512).map(|at| at as f32 + 1.0).collect();
                    let (mut into, mut sums) = (vec![7], vec![0.5]);
                    take(level, &items, &mut table, bits, &mut into, &mut sums);
                    let wanted: Vec<u32> = items.iter().copied().filter(|&item| is_set(bits, item)).collect();
                    assert_eq!(into[1..], wanted, "{} {n}", level.name());
                    assert!(into[1..].iter().zip(&sums[1..]).all(|(&item, &sum)| sum == item as f32 + 1.0));
                    for (item, sum) in (0..).zip(table) {
                        let left = if items.contains(&item) { UNTOUCHED } else { item as f32 + 1.0 };
                        assert_eq!(sum.to_bits(), left.to_bits(), "{} {n} {item}", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_a_sum_is_gathered() {
        let draws = Stream::new(23, 2);
        let some = [UNTOUCHED, 0.0, 1.5, -2.0, f32::INFINITY];
        let table: Vec<f32> = (0..512).map(|at| some[draws.below(at, 5) as usize]).collect();
        for n in [0, 1, 16, 17, 200] {
            let items: Vec<u32> = (0..n).map(|at| at * 37 % 512).collect();
            let has_sum =
                |item: &u32| ![UNTOUCHED, f32::INFINITY].map(f32::to_bits).contains(&table[*item as usize].to_bits());
            let wanted: Vec<u32> = items.iter().copied().filter(has_sum).collect();
            for level in Level::available() {
                let (mut into, mut sums) = (vec![7], vec![0.5]);
                gather(level, &items, &table, f32::INFINITY, &mut into, &mut sums);
                assert_eq!(into[1..], wanted, "{} {n}", level.name());
                assert!(into[1..].iter().zip(&sums[1..]).all(|(&item, &sum)| sum == table[item as usize]));
            }
        }
    }
}
