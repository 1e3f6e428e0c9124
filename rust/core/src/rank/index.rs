//! The compact table: items as bytes, sorted by norm in blocks of 64, and the proof that it discards no item of a list.
//!
//! Let u be a user's vector and v an item's, d numbers each, and score(u, v) the f32 chain of the exact kernels. In real
//! numbers write u = σ a + ε and v = τ b + η, where a, b hold whole numbers and σ, τ are the scales of the user and of the
//! item's block. Then
//!
//! ```text
//! ⟨u, v⟩ = σ τ ⟨a, b⟩ + ⟨σ a, η⟩ + ⟨ε, v⟩                                                    bilinearity
//! |⟨σ a, η⟩| ≤ ‖σ a‖ ‖η‖        |⟨ε, v⟩| ≤ ‖ε‖ ‖v‖                                           Cauchy-Schwarz
//! |score − ⟨u, v⟩| ≤ γ Σ_k |u_k v_k| + d 2⁻¹⁴⁹ ≤ γ ‖u‖ ‖v‖ + d 2⁻¹⁴⁹,   γ = d 2⁻²⁴ / (1 − d 2⁻²⁴)
//! ```
//!
//! the last because each of the d fused steps rounds once, by at most 2⁻²⁴ of its result, or by at most 2⁻¹⁵⁰ where the
//! result is subnormal (Higham, Accuracy and Stability, section 3.1; nothing overflows: calls in which a chain could are
//! served by the plain path). ⟨a, b⟩ is exact: |a_k| ≤ 127, |b_k| ≤ 127 (31 with AVX2, see `int8_scan`), d ≤ 2¹⁵. With E_B ≥ ‖η‖ and M_B ≥ ‖v‖ for every item of
//! block B,
//!
//! ```text
//! score ≤ σ τ ⟨a, b⟩ + ‖σ a‖ E_B + (‖ε‖ + γ ‖u‖) M_B + d 2⁻¹⁴⁹
//! ```
//!
//! so a score below the n-th best t found so far is certain once ⟨a, b⟩ < ((t − d 2⁻¹⁴⁹)/σ − (‖σ a‖ E_B + (‖ε‖ + γ ‖u‖) M_B)/σ)/τ.
//! Equal scores are kept: the inequality is strict. In the same way a block with (1 + γ) ‖u‖ M_B + d 2⁻¹⁴⁹ < t holds nothing, nor does any
//! after it, since M falls: items are sorted by their norms rounded up to f32, and M_B is the first of its block, or 10⁴¹
//! (above √2¹⁵ 2¹²⁸) where it left the range of f32.
//!
//! All of this is computed in f64 and rounded outward: norms and products of at most 2¹⁵ terms carry a relative error below
//! 2¹⁵ · 2⁻⁵² < 10⁻¹¹; a component of η or ε is computed with an error below 2⁻⁵² of the vector's largest magnitude, so its norm with
//! one below 10⁻¹¹ of the vector's norm. [`SLACK`] = 10⁻⁹ of each covers both, and the few operations of the threshold itself.

use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::{
    BLOCK, Blocks, Group, Line, MAX_FACTORS, item_limit, item_offset, scan, vector_words,
};
use crate::runtime::simd::quantize::quantize;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::sure_scores::SureScores;
use crate::runtime::simd::tile_scan::{Hit, TileGroup, sure_scores, tile_scan};

use super::bounds::{SLACK, max_abs, norm_up};
use super::key::{key, position_of, score_of};
use super::query::EligibleItems;
use super::sketches::SketchBlocks;

/// Items that are worth a task of their own.
const ITEMS_PER_TASK: usize = 32 * BLOCK;

/// Blocks whose bytes are made together.
const CHUNK: usize = 32;

/// Above every norm.
const MAX_NORM: f64 = 1e41;

/// Items that give the first thresholds: an eighth of all, but at most these, and eight for each place of a list.
const MAX_SEED_ITEMS: usize = 512;

/// The compact table of some items. Their order is there from the start; bytes are made when a scan first comes to them,
/// for most scans end early.
pub struct Index {
    d: usize,
    /// Falling by norm.
    items: Vec<u32>,
    /// The norm of each, rounded up.
    item_norms: Vec<f32>,
    /// M of each block.
    block_norms: Vec<f64>,
    /// Those of the levels whose bytes are small, and of all others.
    chunks: [Vec<OnceLock<Chunk>>; 2],
    /// The codes of each chunk.
    sketches: Vec<OnceLock<SketchBlocks>>,
}

/// The bytes of some blocks, made together.
struct Chunk {
    lines: Vec<Line>,
    unscale: Vec<f64>,
    errors: Vec<f64>,
}

impl Index {
    /// Whether vectors of `d` numbers can be indexed.
    pub fn supports(d: usize) -> bool {
        d > 0 && d <= MAX_FACTORS
    }

    /// The table of all rows of `vectors` (n × d, finite). With a context, its threads share the work.
    pub fn new(vectors: &[f32], d: usize, context: Option<&Context>) -> Self {
        let n = vectors.len() / d;
        let falling = |item: u32| key(norm_up(row(vectors, d, item)), item);
        let each = |items: std::ops::Range<u32>| items.into_par_iter().with_min_len(ITEMS_PER_TASK).map(falling);
        let mut keys: Vec<u64>;
        if let Some(context) = context.filter(|context| !context.runs_inline(n.div_ceil(ITEMS_PER_TASK))) {
            keys = context.install(|| each(0..n as u32).collect());
            context.install(|| keys.par_sort_unstable_by(|a, b| b.cmp(a)));
        } else {
            keys = (0..n as u32).map(falling).collect();
            keys.sort_unstable_by(|a, b| b.cmp(a));
        }
        Self::from_sorted(d, keys.iter().map(|&key| (position_of(key), score_of(key))).unzip())
    }

    /// The table of the `eligible` among its items.
    pub fn restricted_to(&self, eligible: &EligibleItems) -> Self {
        // Without a branch, which would be mispredicted time and again.
        let (mut items, mut norms, mut at) = (vec![0; eligible.count + 1], vec![0.0; eligible.count + 1], 0);
        for (&item, &norm) in self.items.iter().zip(&self.item_norms) {
            (items[at], norms[at]) = (item, norm);
            at += usize::from(eligible.contains(item));
        }
        items.truncate(at);
        norms.truncate(at);
        Self::from_sorted(self.d, (items, norms))
    }

    fn from_sorted(d: usize, (items, item_norms): (Vec<u32>, Vec<f32>)) -> Self {
        let upper = |norm: &f32| f64::from(*norm).min(MAX_NORM) * (1.0 + SLACK);
        let block_norms: Vec<f64> = item_norms.iter().step_by(BLOCK).map(upper).collect();
        let n_chunks = block_norms.len().div_ceil(CHUNK);
        let chunks = [0, 1].map(|_| (0..n_chunks).map(|_| OnceLock::new()).collect());
        let sketches = (0..n_chunks).map(|_| OnceLock::new()).collect();
        Self { d, items, item_norms, block_norms, chunks, sketches }
    }

    /// The bytes of a chunk's items.
    fn chunk(&self, at: usize, vectors: &[f32], level: Level) -> Chunk {
        let (d, words) = (self.d, self.words());
        let items = &self.items[at * CHUNK * BLOCK..self.items.len().min((at + 1) * CHUNK * BLOCK)];
        let n_blocks = items.len().div_ceil(BLOCK);
        let mut chunk = Chunk {
            lines: vec![Line([0; 16]); n_blocks * words * 4],
            unscale: Vec::with_capacity(n_blocks),
            errors: Vec::with_capacity(n_blocks),
        };
        let mut own = vec![0; words];
        for (block, lines) in chunk.lines.chunks_mut(words * 4).enumerate() {
            let rest = &items[block * BLOCK..];
            let (items, later) = rest.split_at(rest.len().min(BLOCK));
            let max_abs = items.iter().map(|&item| max_abs(row(vectors, d, item))).fold(0f32, f32::max);
            let limit = f64::from(item_limit(level));
            let scale = if max_abs > 0.0 { f64::from(max_abs) / limit } else { 1.0 };
            let mut quantization_error = 0f64;
            for (at, &item) in items.iter().enumerate() {
                if let Some(&later) = later.get(at) {
                    fetch(vectors, later as usize * d, d);
                }
                let quantized = quantize(level, row(vectors, d, item), scale, limit, &mut own);
                quantization_error = quantization_error.max(quantized.quantization_error);
                // Unsigned; what follows the end of a vector is multiplied by users' zeros.
                for (word, lines) in own.iter().zip(lines.chunks_exact_mut(4)) {
                    let bytes = word.to_le_bytes().map(|byte| byte.wrapping_add(item_offset(level)));
                    lines[at / 16].0[at % 16] = i32::from_le_bytes(bytes);
                }
            }
            chunk.unscale.push(1.0 / scale);
            chunk.errors.push(quantization_error.sqrt() * (1.0 + SLACK) + self.block_norms[at * CHUNK + block] * SLACK);
        }
        chunk
    }

    /// The first of some blocks where somebody's threshold is reached, and one bit for each such item and user; or the end
    /// and no bits: that of these blocks, or that of all where no norm reaches any more. `vectors` are those that the index was
    /// made of.
    pub fn scan<const U: usize>(
        &self,
        vectors: &[f32],
        level: Level,
        group: &Group<U>,
        blocks: Range<usize>,
    ) -> (usize, [u64; U]) {
        let Range { start: mut from, end } = blocks;
        while from < end {
            if self.block_norms[from] < group.stop {
                return (self.n_blocks(), [0; U]);
            }
            let blocks = self.blocks(vectors, level, from..end);
            let (found, masks) = scan(level, blocks, group, 0);
            if found < blocks.norms.len() {
                return (from + found, masks);
            }
            from += blocks.norms.len();
        }
        (end, [0; U])
    }

    /// Adds to `hits` what reaches a threshold in some blocks whose bytes lie together; whether the scan ends there, since no
    /// norm reaches any more.
    pub fn scan_by_tiles(
        &self,
        vectors: &[f32],
        level: Level,
        group: &TileGroup,
        blocks: Range<usize>,
        hits: &mut Vec<Hit>,
    ) -> bool {
        if self.block_norms[blocks.start] < group.stop {
            return true;
        }
        let own = self.blocks(vectors, level, blocks.clone());
        debug_assert_eq!(own.norms.len(), blocks.len());
        tile_scan(level, own, blocks.start, group, hits) < blocks.len()
    }

    /// Raises `into` to what the items of some blocks whose bytes lie together are sure to score.
    pub fn sure_scores(
        &self,
        vectors: &[f32],
        level: Level,
        group: &TileGroup,
        blocks: Range<usize>,
        into: &mut SureScores,
    ) {
        // What follows the end of the last block is no item.
        let blocks = blocks.start..blocks.end.min(self.items.len() / BLOCK);
        if !blocks.is_empty() && self.block_norms[blocks.start] >= group.stop {
            sure_scores(level, self.blocks(vectors, level, blocks.clone()), blocks.start, group, into);
        }
    }

    /// The first of some blocks, as many as lie together.
    fn blocks(&self, vectors: &[f32], level: Level, blocks: Range<usize>) -> Blocks<'_> {
        let at = blocks.start / CHUNK;
        let chunk =
            self.chunks[usize::from(item_limit(level) == 127)][at].get_or_init(|| self.chunk(at, vectors, level));
        let (from, words) = (blocks.start % CHUNK, self.words());
        let to = chunk.errors.len().min(blocks.end - at * CHUNK);
        Blocks {
            lines: &chunk.lines[from * words * 4..to * words * 4],
            words,
            unscale: &chunk.unscale[from..to],
            errors: &chunk.errors[from..to],
            norms: &self.block_norms[at * CHUNK + from..at * CHUNK + to],
        }
    }

    /// The blocks from `from` on whose bytes lie together.
    pub fn together(&self, from: usize) -> Range<usize> {
        from..self.n_blocks().min(from / CHUNK * CHUNK + CHUNK)
    }

    /// The codes of all blocks that lie together with this one.
    pub fn sketch_blocks(&self, vectors: &[f32], block: usize) -> &SketchBlocks {
        let (chunk, first) = (block / CHUNK, block / CHUNK * CHUNK);
        self.sketches[chunk].get_or_init(|| {
            let items = &self.items[first * BLOCK..self.items.len().min((first + CHUNK) * BLOCK)];
            SketchBlocks::new(vectors, self.d, items, self.block_norms[first])
        })
    }

    fn words(&self) -> usize {
        vector_words(self.d)
    }

    /// Blocks in the index.
    pub fn n_blocks(&self) -> usize {
        self.block_norms.len()
    }

    /// The largest norm of all items.
    pub fn largest_norm(&self) -> f64 {
        self.block_norms.first().copied().unwrap_or(0.0)
    }

    /// Blocks whose norm is at least `min_norm`.
    pub fn n_blocks_from_norm(&self, min_norm: f64) -> usize {
        self.block_norms.partition_point(|&norm| norm >= min_norm)
    }

    /// The eligible items of a block that the bits of `mask` name.
    pub fn eligible_hits(&self, block: usize, mask: u64, eligible: &EligibleItems, items: &mut Vec<u32>) {
        let own = self.block(block);
        // The last block may end early; what follows its end is no item.
        let mut left = if own.len() < BLOCK { mask & ((1 << own.len()) - 1) } else { mask };
        while left != 0 {
            let item = own[left.trailing_zeros() as usize];
            if eligible.contains(item) {
                items.push(item);
            }
            left &= left - 1;
        }
    }

    /// The items of a block.
    pub fn block(&self, block: usize) -> &[u32] {
        &self.items[block * BLOCK..self.items.len().min((block + 1) * BLOCK)]
    }
}

/// The items of the first blocks of an index, which give a batch of users its first thresholds.
pub struct ThresholdSeed {
    /// Row-major vectors.
    vectors: Vec<f32>,
    /// The item of each row.
    items: Vec<u32>,
    /// The items and their rows, ascending.
    rows: Vec<(u32, u32)>,
    /// A bit for each item of the catalogue that is among them.
    bits: Vec<u64>,
}

impl ThresholdSeed {
    /// How many items of `n_items` seed the thresholds of lists of `n`.
    fn n_seed_items(n_items: usize, n: usize) -> usize {
        (n_items / 8).min(MAX_SEED_ITEMS).max(8 * n).next_multiple_of(BLOCK).min(n_items)
    }

    /// Those of an index over some of `vectors`, the table of all `n_items`, for lists of `n`.
    pub fn new(index: &Index, vectors: &[f32], n_items: usize, n: usize) -> Self {
        let items = index.items[..Self::n_seed_items(index.items.len(), n)].to_vec();
        let mut bits = vec![0; n_items.div_ceil(64)];
        for &item in &items {
            bits[item as usize / 64] |= 1 << (item % 64);
        }
        let mut rows: Vec<(u32, u32)> = items.iter().copied().zip(0..).collect();
        rows.sort_unstable();
        let vectors = items.iter().flat_map(|&item| row(vectors, index.d, item)).copied().collect();
        Self { vectors, items, rows, bits }
    }

    /// Whether these are as many items as lists of `n` need.
    pub fn fits(&self, index: &Index, n: usize) -> bool {
        self.items.len() == Self::n_seed_items(index.items.len(), n)
    }

    /// The vectors, row by row.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// The item of each row.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Blocks of the index that they fill.
    pub fn n_blocks(&self) -> usize {
        self.items.len().div_ceil(BLOCK)
    }

    /// The row of an item, if it has one.
    #[inline]
    pub fn row(&self, item: u32) -> Option<usize> {
        if self.bits[item as usize / 64] >> (item % 64) & 1 == 0 {
            return None;
        }
        self.rows.binary_search_by_key(&item, |row| row.0).ok().map(|at| self.rows[at].1 as usize)
    }
}

fn row(vectors: &[f32], d: usize, item: u32) -> &[f32] {
    &vectors[item as usize * d..(item as usize + 1) * d]
}

#[cfg(test)]
mod tests;
