//! Two bits of every number of every item: bounds that read a quarter of what bytes take, for what is mostly out of reach.
//!
//! Write an item's v = h w + η, where each w is −3, −1, 1 or 3 and the step h = .498 ‖v‖ / √d is the best one for normal
//! numbers; then ‖η‖ is about .34 ‖v‖. In the manner of `index`, whose names these are,
//!
//! ```text
//! score ≤ h ⟨u, w⟩ + ‖u‖ ‖η‖ + γ ‖u‖ ‖v‖ + d 2⁻¹⁴⁹
//! ```
//!
//! In a block, all with a step of at most H, ⟨u, w⟩ = Σ 3 |u_k| − Σ (what each pair of codes is below its best). Where t is the
//! threshold less all but the first term, a score below it is certain once H ⟨u, w⟩ < t, as far as t > 0; else all pass.

use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::Line;
use crate::runtime::simd::two_bits::{BLOCK, Codes, Tables, append_within};

use super::bounds::{Bounds, SLACK, norm};
use super::key::{key, position_of};

/// The best step of two bits, for numbers of spread 1.
const STEP: f64 = 0.4978;

/// A user's tables reach down to a thousandth of all that codes could make of a score.
const FINEST: f64 = 1e-3;

/// Whether codes of `d` numbers say more than they cost: they are read 64 at a time, and the more there are, the more the
/// rounding of tables loses.
pub fn support(d: usize) -> bool {
    (32..=160).contains(&d)
}

/// Writes the codes of one item; its step, and the norm of what they lose, rounded up.
fn row(vector: &[f32], codes: &mut [Codes]) -> [f32; 2] {
    let norm = norm(vector);
    let step = (norm * (STEP / (vector.len() as f64).sqrt())) as f32;
    let (exact, inverse) = (f64::from(step), if step > 0.0 { 0.5 / f64::from(step) } else { 0.0 });
    let mut squares = 0.0;
    for (numbers, codes) in vector.chunks(64).zip(codes) {
        for (at, numbers) in numbers.chunks(16).enumerate() {
            for (k, &number) in numbers.iter().enumerate() {
                let number = f64::from(number);
                // Any code would do, since what it loses is measured; NaN becomes 0.
                let code = ((number * inverse).floor() + 2.0).clamp(0.0, 3.0) as u32;
                let lost = number - exact * (2.0 * f64::from(code) - 3.0);
                squares += lost * lost;
                codes[k / 4] |= code << (k % 4 * 8 + at * 2);
            }
        }
    }
    let lost = squares.sqrt() * (1.0 + SLACK) + norm * SLACK;
    [step, (lost as f32).next_up()]
}

/// The codes of some items by 64.
pub struct SketchBlocks {
    /// Falling by what their codes lose.
    items: Vec<u32>,
    lines: Vec<Line>,
    /// H of each block.
    steps: Vec<f64>,
    /// The largest loss of each block.
    errors: Vec<f64>,
    /// Above all norms.
    norm: f64,
}

impl SketchBlocks {
    /// Those of some rows of `vectors` (`d` numbers each), none of which is longer than `norm`.
    pub fn new(vectors: &[f32], d: usize, items: &[u32], norm: f64) -> Self {
        let (n, n_codes) = (items.len().div_ceil(BLOCK), d.div_ceil(64));
        let mut codes: Vec<Codes> = vec![[0; 4]; items.len() * n_codes];
        let of_rows = items.iter().zip(codes.chunks_exact_mut(n_codes));
        let steps: Vec<_> = of_rows.map(|(&item, codes)| row(&vectors[item as usize * d..][..d], codes)).collect();
        // Items that lose as much lie together: a block's bound is for the largest loss.
        let mut keys: Vec<u64> = (0..).zip(&steps).map(|(at, step)| key(step[1], at)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        let order: Vec<usize> = keys.into_iter().map(|key| position_of(key) as usize).collect();
        let mut blocks = Self {
            items: order.iter().map(|&at| items[at]).collect(),
            lines: vec![Line([0; 16]); n * 16 * n_codes],
            steps: vec![0.0; n],
            errors: vec![0.0; n],
            norm,
        };
        let lines = blocks.lines.chunks_exact_mut(16 * n_codes);
        let of_blocks = order.chunks(BLOCK).zip(lines).zip(&mut blocks.steps).zip(&mut blocks.errors);
        for (((rows, lines), most), error) in of_blocks {
            for (at, &row) in rows.iter().enumerate() {
                let [step, lost] = steps[row].map(f64::from);
                (*most, *error) = (step.max(*most), lost.max(*error));
                let codes = codes[row * n_codes..][..n_codes].as_flattened();
                let (place, shift) = (at / 4, at % 4 * 8);
                for (line, byte) in lines.iter_mut().zip(codes.iter().flat_map(|word| word.to_le_bytes())) {
                    line.0[place] |= (u32::from(byte) << shift) as i32;
                }
            }
        }
        blocks
    }
}

/// What a user looks codes up in, in memory that is kept from list to list.
#[derive(Default)]
pub struct Lookup {
    tables: Vec<Tables>,
    budgets: Vec<i32>,
    /// Σ 3 |u_k|.
    best: f64,
    /// One over what 1 in a table stands for.
    inverse: f64,
}

impl Lookup {
    /// Appends the items of blocks that may reach the threshold. Tables are made of the user's `vector` anew if the
    /// threshold is `new`.
    pub fn append_reaching(
        &mut self,
        level: Level,
        bounds: &Bounds,
        vector: &[f32],
        (threshold, new): (f32, bool),
        blocks: &SketchBlocks,
        into: &mut Vec<u32>,
    ) {
        let n_tables = blocks.lines.len() / blocks.steps.len();
        // ⟨u, w⟩ of an item that reaches the threshold is at least this; none for all.
        let least = |block: usize| {
            let left = bounds.without_loss(threshold, blocks.errors[block], blocks.norm);
            (left > 0.0).then(|| left / blocks.steps[block])
        };
        if new {
            self.set_tables(vector, least(0), n_tables);
        }
        self.budgets.clear();
        self.budgets.extend((0..blocks.steps.len()).map(|block| match least(block) {
            Some(least) => {
                let budget = (self.best - least) * self.inverse;
                (budget + budget.abs() * 1e-6 + 1e-3).floor().clamp(-1.0, 255.0) as i32
            }
            None => 255,
        }));
        let known = into.len();
        append_within(level, &blocks.lines, &self.tables, &self.budgets, into);
        // The last block may end early; what follows its end is no item.
        while into.len() > known && into.last().is_some_and(|&place| place as usize >= blocks.items.len()) {
            into.pop();
        }
        for place in &mut into[known..] {
            *place = blocks.items[*place as usize];
        }
    }

    /// The tables whose largest budget is just that of a block whose items have to reach `least`.
    fn set_tables(&mut self, vector: &[f32], least: Option<f64>, n_tables: usize) {
        self.best = 3.0 * vector.iter().map(|&u| f64::from(u).abs()).sum::<f64>();
        let range = (self.best - least.unwrap_or(0.0)).max(self.best * FINEST);
        self.inverse = if range > 0.0 { 254.0 / range } else { 0.0 };
        let scale = self.inverse * (1.0 - 1e-6);
        self.tables.clear();
        self.tables.resize(n_tables, [[0; 16]; 2]);
        for (numbers, tables) in vector.chunks(64).zip(self.tables.chunks_exact_mut(16)) {
            for (at, tables) in tables.iter_mut().enumerate() {
                let of = |k: usize| {
                    let u = numbers.get(k).map_or(0.0, |&u| f64::from(u)) * scale;
                    // What code c is below the best: 3 where u is positive, else 0.
                    std::array::from_fn::<f64, 4, _>(|c| 2.0 * u.abs() * if u > 0.0 { 3 - c } else { c } as f64)
                };
                for (half, table) in tables.iter_mut().enumerate() {
                    let (first, second) = (of(at + 32 * half), of(at + 32 * half + 16));
                    for (codes, place) in table.iter_mut().enumerate() {
                        *place = (first[codes % 4] + second[codes / 4]) as u8;
                    }
                }
            }
        }
    }
}

impl Bounds {
    /// What is left of a threshold for the codes of items: less ‖u‖ ‖η‖ + γ ‖u‖ ‖v‖ + d 2⁻¹⁴⁹.
    fn without_loss(&self, threshold: f32, error: f64, norm: f64) -> f64 {
        self.threshold_down(threshold) - self.per_norm * (1.0 + SLACK) * (error + self.gamma * norm)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cases::{Case, KINDS, Kind};
    use super::*;
    use crate::runtime::simd::dot::dots;

    #[test]
    fn no_item_is_out_of_reach_of_its_own_score() {
        for kind in KINDS.into_iter().filter(|&kind| kind != Kind::Huge) {
            for d in [1, 7, 64, 100] {
                let case = Case::new(kind, 4, 300, d, false, d as u64);
                let items: Vec<u32> = (0..300).rev().collect();
                let most = case.items.chunks(d).map(norm).fold(0.0, f64::max);
                let blocks = SketchBlocks::new(&case.items, d, &items, most * (1.0 + SLACK));
                assert!(blocks.items.len() == 300 && items.iter().all(|item| blocks.items.contains(item)));
                let mut scores = vec![0.0; 300];
                let mut passed = 0;
                for level in Level::available() {
                    let (mut lookup, mut found, mut words) = (Lookup::default(), Vec::new(), vec![0; d.div_ceil(4)]);
                    for vector in case.users.chunks(d) {
                        dots(level, vector, &case.items, &items, &mut scores);
                        let bounds = Bounds::of(vector, level, &mut words);
                        for (&item, &score) in items.iter().zip(&scores) {
                            found.clear();
                            let limits = (score, true);
                            lookup.append_reaching(level, &bounds, vector, limits, &blocks, &mut found);
                            assert!(found.contains(&item), "{kind:?} {d} {}: {score} is lost", level.name());
                            if score == scores.iter().copied().fold(f32::MIN, f32::max) {
                                passed += found.len();
                            }
                        }
                    }
                }
                if kind == Kind::Normal && d == 64 {
                    let n = Level::available().len() * 4 * 300;
                    assert!(passed < n * 4 / 5, "{passed}: the bounds say nothing");
                }
            }
        }
    }
}
