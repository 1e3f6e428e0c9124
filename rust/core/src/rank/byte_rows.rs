//! Upper bounds of single scores from one row of bytes for each item: a quarter of what a row in f32 takes to read.
//!
//! The bound is that of `index` with a scale τ_i of each item's own, and what the bytes lose in units of it: with E ≥
//! ‖η_i‖ / τ_i and M ≥ ‖v_i‖ / τ_i for all items,
//!
//! ```text
//! score ≤ σ τ_i (⟨a, b⟩ + ‖a‖ E + (‖ε‖ + γ ‖u‖) M / σ) + d 2⁻¹⁴⁹
//! ```
//!
//! so that beside its bytes one number is read of an item.

use rayon::prelude::*;

use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::byte_dots::{BoundTerms, ByteTable, byte_bounds};
use crate::runtime::simd::int8_scan::Line;
use crate::runtime::simd::quantize::quantize;

use super::bounds::{Bounds, SLACK, max_abs};

/// Items that are worth a task of their own.
const ITEMS_PER_TASK: usize = 2048;

/// The bytes of all items, in their order.
pub struct ByteRows {
    /// Row by row.
    lines: Vec<Line>,
    /// τ of each.
    scales: Vec<f32>,
    lines_per_row: usize,
    /// E.
    error: f64,
    /// M.
    norm: f64,
}

/// One user's bytes and bounds, in memory that is kept from user to user.
#[derive(Default)]
pub struct UserBytes {
    words: Vec<i32>,
    lines: Vec<Line>,
    bounds: Bounds,
    terms: BoundTerms,
}

/// Some vectors, and where their lines and scales go.
type Part<'a> = ((&'a [f32], &'a mut [Line]), &'a mut [f32]);

impl ByteRows {
    /// Those of `vectors` (n × d, finite). With a context, its threads share the work.
    pub fn new(vectors: &[f32], d: usize, level: Level, context: Option<&Context>) -> Self {
        let (n, lines_per_row) = (vectors.len() / d, d.div_ceil(64));
        let (mut lines, mut scales) = (vec![Line([0; 16]); n * lines_per_row], vec![0.0; n]);
        let part = |((vectors, lines), scales): Part<'_>| {
            let (mut words, mut largest) = (vec![0; d.div_ceil(4)], [0.0; 2]);
            let lines = lines.chunks_exact_mut(lines_per_row);
            for ((vector, lines), scale) in vectors.chunks_exact(d).zip(lines).zip(scales) {
                let in_steps;
                (*scale, in_steps) = row(vector, level, &mut words, lines);
                largest = larger(largest, in_steps);
            }
            largest
        };
        let per_task = ITEMS_PER_TASK;
        let [error, norm] = match context.filter(|context| !context.runs_inline(n.div_ceil(per_task))) {
            Some(context) => {
                let lines = lines.par_chunks_mut(per_task * lines_per_row);
                let parts = vectors.par_chunks(per_task * d).zip(lines).zip(scales.par_chunks_mut(per_task));
                context.install(|| parts.map(part).reduce(|| [0.0; 2], larger))
            }
            None => part(((vectors, &mut lines), &mut scales)),
        };
        Self { lines, scales, lines_per_row, error, norm }
    }

    /// The bytes and bounds of a user's vector, for the calls below.
    pub fn set_user(&self, level: Level, vector: &[f32], user: &mut UserBytes) {
        user.set(vector, level, self);
    }

    /// Appends upper bounds of the scores of some items for the user that was set, with one of `sums` for each: none of theirs
    /// in f32 is above, for rounding keeps the order of sums.
    pub fn score_bounds(&self, level: Level, user: &UserBytes, items: &[u32], sums: &[f32], bounds: &mut Vec<f32>) {
        let known = bounds.len();
        bounds.resize(known + items.len(), 0.0);
        let table = ByteTable { lines: &self.lines, scales: &self.scales };
        byte_bounds(level, &user.lines, table, user.terms, items, sums, &mut bounds[known..]);
    }
}

fn larger(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0].max(b[0]), a[1].max(b[1])]
}

/// Writes the bytes of one item; its τ, and the norms of what the bytes lose and of itself in units of τ.
fn row(vector: &[f32], level: Level, words: &mut [i32], lines: &mut [Line]) -> (f32, [f64; 2]) {
    let max_abs = max_abs(vector);
    // Rounded up, so that no number is beyond the last step of the grid.
    let scale = if max_abs > 0.0 { (max_abs / 127.0).next_up() } else { 1.0 };
    let quantized = quantize(level, vector, f64::from(scale), 127.0, words);
    // Unsigned, 128 more; what follows the end of a vector is multiplied by users' zeros.
    for (place, word) in lines.iter_mut().flat_map(|line| &mut line.0).zip(words) {
        *place = *word ^ i32::from_le_bytes([128; 4]);
    }
    let norm = quantized.squares.sqrt();
    let error = quantized.quantization_error.sqrt() * (1.0 + SLACK) + norm * SLACK;
    (scale, [error / f64::from(scale) * (1.0 + SLACK), norm / f64::from(scale) * (1.0 + SLACK)])
}

impl UserBytes {
    fn set(&mut self, vector: &[f32], level: Level, rows: &ByteRows) {
        self.words.clear();
        self.words.resize(vector.len().div_ceil(4), 0);
        self.bounds = Bounds::of(vector, level, &mut self.words);
        self.terms = self.bounds.terms(rows.error, rows.norm);
        self.lines.clear();
        self.lines.resize(rows.lines_per_row, Line([0; 16]));
        for (place, word) in self.lines.iter_mut().flat_map(|line| &mut line.0).zip(&self.words) {
            *place = *word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cases::{Case, KINDS, Kind};
    use super::*;
    use crate::runtime::simd::dot::dots;

    #[test]
    fn no_score_is_above_its_bound() {
        for kind in KINDS.into_iter().filter(|&kind| kind != Kind::Huge) {
            for d in [1, 7, 64, 100] {
                let case = Case::new(kind, 20, 300, d, false, d as u64);
                let items: Vec<u32> = (0..300).rev().collect();
                let (mut scores, mut bounds) = (vec![0.0; 300], Vec::new());
                for level in Level::available() {
                    let rows = ByteRows::new(&case.items, d, level, None);
                    let (mut user, sums) = (UserBytes::default(), [0.0; 300]);
                    for vector in case.users.chunks(d) {
                        dots(level, vector, &case.items, &items, &mut scores);
                        rows.set_user(level, vector, &mut user);
                        bounds.clear();
                        rows.score_bounds(level, &user, &items, &sums, &mut bounds);
                        for (score, bound) in scores.iter().zip(&bounds) {
                            assert!(bound >= score, "{kind:?} {d} {}: {score} above {bound}", level.name());
                        }
                        if kind == Kind::Normal {
                            // A tenth of the product of the norms.
                            let near = scores.iter().zip(&bounds).filter(|(s, bound)| *bound - *s < 0.1 * d as f32);
                            assert!(near.count() > 250, "{d}: the bounds say nothing");
                        }
                    }
                }
            }
        }
    }
}
