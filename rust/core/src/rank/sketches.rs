//! Two bits of every number of every item: bounds that read a quarter of what bytes take, for what is mostly out of reach.
//!
//! Write an item's v = h w + η, where each w is −3, −1, 1 or 3 and the step h is about .47 ‖v‖ / √d; then ‖η‖ is about .34 ‖v‖.
//! In the manner of `index`, whose names these are,
//!
//! ```text
//! score ≤ h ⟨u, w⟩ + ‖u‖ ‖η‖ + γ ‖u‖ ‖v‖ + d 2⁻¹⁴⁹
//! ```
//!
//! Let t be the threshold less the last two terms. As far as t > 0, an item enters only if ⟨u, w⟩ ≥ t / h − ‖u‖ ρ with ρ = ‖η‖ / h,
//! and so, in a block of items with steps of at most H and ρ of at most P, only if
//!
//! ```text
//! Σ (what each code is below its best) + ‖u‖ (P − ρ) ≤ Σ 3 |u_k| − t / H + ‖u‖ P
//! ```
//!
//! where the right side is the budget of a block, and P − ρ is three codes more of an item, in whole steps rounded down.

use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::Line;
use crate::runtime::simd::two_bits::{BLOCK, Codes, Losses, Tables, append_within};

use super::bounds::{Bounds, SLACK, norm};

/// Codes change at multiples of twice this, for numbers of spread 1: the best step for normal numbers.
const STEP: f64 = 0.4978;

/// Steps of this share of it leave fewest items: of Gowalla's 22,200 for a list of ten 298, with the whole step 313.
const SHARE: f64 = 0.95;

/// What a step of P − ρ is, for d = 1.
const LEVEL: f64 = 1.0 / 128.0;

/// The largest level.
const MAX_LEVEL: f64 = 63.0;

/// Steps that the largest budget should have: four counters of 255 hold them unless what is lost is in few of them.
const MOST_STEPS: f64 = 700.0;

/// Lets every item pass.
const MAX_BUDGET: f64 = 1020.0;

/// Codes leave few items where ⟨u, w⟩ has to be at least this, in ‖u‖: for normal numbers its spread is 1.9, so 30 % reach it. An
/// item that is left costs about as much as five that are scanned byte by byte.
const LEAST_NEED: f64 = 1.0;

/// A user's tables reach down to a thousandth of all that codes could make of a score.
const FINEST: f64 = 1e-3;

/// Whether codes of `d` numbers say more than they cost: they are read 64 at a time, and the more there are, the more the
/// rounding of tables loses.
pub fn support(d: usize) -> bool {
    (32..=160).contains(&d)
}

/// Writes the codes of one item; its step, and ρ, rounded up.
fn row(vector: &[f32], codes: &mut [Codes]) -> [f64; 2] {
    let norm = norm(vector);
    let step = f64::from((norm * (STEP * SHARE / (vector.len() as f64).sqrt())) as f32);
    let inverse = if step > 0.0 { 0.5 * SHARE / step } else { 0.0 };
    let mut squares = 0.0;
    for (numbers, codes) in vector.chunks(64).zip(codes) {
        for (at, numbers) in numbers.chunks(16).enumerate() {
            for (k, &number) in numbers.iter().enumerate() {
                let number = f64::from(number);
                // Any code would do, since what it loses is measured; NaN becomes 0.
                let code = ((number * inverse).floor() + 2.0).clamp(0.0, 3.0) as u32;
                let lost = number - step * (2.0 * f64::from(code) - 3.0);
                squares += lost * lost;
                codes[k / 4] |= code << (k % 4 * 8 + at * 2);
            }
        }
    }
    // Zeros reach no t above 0.
    let lost = if norm > 0.0 { squares.sqrt() * (1.0 + SLACK) + norm * SLACK } else { 0.0 };
    [step, if lost > 0.0 { lost / step * (1.0 + SLACK) } else { 0.0 }]
}

/// The codes of some items by 64.
pub struct SketchBlocks {
    items: Vec<u32>,
    lines: Vec<Line>,
    /// 1 / H of each block; 0 where no step is above 0.
    inverse_steps: Vec<f64>,
    /// P of each block.
    ratios: Vec<f64>,
    /// Above all norms.
    norm: f64,
}

impl SketchBlocks {
    /// Those of some rows of `vectors` (`d` numbers each), none of which is longer than `norm`.
    pub fn new(vectors: &[f32], d: usize, items: &[u32], norm: f64) -> Self {
        let (n, n_codes) = (items.len().div_ceil(BLOCK), d.div_ceil(64));
        let n_lines = 16 * n_codes + 1;
        let mut blocks = Self {
            items: items.to_vec(),
            lines: vec![Line([0; 16]); n * n_lines],
            inverse_steps: Vec::with_capacity(n),
            ratios: Vec::with_capacity(n),
            norm,
        };
        let mut codes: Vec<[Codes; 3]> = vec![[[0; 4]; 3]; BLOCK];
        for (items, lines) in items.chunks(BLOCK).zip(blocks.lines.chunks_exact_mut(n_lines)) {
            codes.fill([[0; 4]; 3]);
            let mut own = [[0.0; 2]; BLOCK];
            for ((&item, codes), own) in items.iter().zip(&mut codes).zip(&mut own) {
                *own = row(&vectors[item as usize * d..][..d], codes);
            }
            let [step, ratio] = own.iter().fold([0f64; 2], |[a, b], own| [a.max(own[0]), b.max(own[1])]);
            blocks.inverse_steps.push(if step > 0.0 { 1.0 / step } else { 0.0 });
            blocks.ratios.push(ratio);
            let per_level = LEVEL * (d as f64).sqrt() * (1.0 + SLACK);
            for (at, (codes, own)) in codes.iter().zip(&own).enumerate() {
                let level = ((ratio - own[1]) / per_level).min(MAX_LEVEL) as u8;
                let bytes = codes[..n_codes].iter().flatten().flat_map(|word| word.to_le_bytes()).chain([level]);
                let (place, shift) = (at / 4, at % 4 * 8);
                for (line, byte) in lines.iter_mut().zip(bytes) {
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
    losses: Vec<Losses>,
    tables: Tables,
    budgets: Vec<i32>,
    /// Σ 3 |u_k|.
    best: f64,
    /// ‖u‖, rounded up.
    norm: f64,
    /// Steps of one.
    inverse: f64,
}

impl Lookup {
    /// Sets the tables of a user, for thresholds from this on; `blocks` are the first that are looked at.
    pub fn set_user(&mut self, level: Level, bounds: &Bounds, vector: &[f32], threshold: f32, blocks: &SketchBlocks) {
        self.best = 3.0 * vector.iter().map(|&u| f64::from(u.abs())).sum::<f64>();
        self.norm = bounds.per_norm * (1.0 + SLACK);
        let range = self.budget(bounds.without_slack(threshold, blocks.norm).max(0.0), blocks, 0);
        let range = if range.is_finite() { range.max(self.best * FINEST) } else { self.best };
        self.inverse = if range > 0.0 { MOST_STEPS / range } else { 0.0 };
        self.losses.clear();
        self.losses.resize(16 * vector.len().div_ceil(64) + 1, [[0; 4]; 4]);
        // In 256ths, rounded down.
        let unit = (self.inverse * 256.0 * (1.0 - 1e-6)) as f32;
        let multiples = |loss: f32| [0u16, 1, 2, 3].map(|code| (loss as u16).saturating_mul(code));
        for (numbers, losses) in vector.chunks(64).zip(self.losses.chunks_exact_mut(16)) {
            for (of, numbers) in numbers.chunks(16).enumerate() {
                for (&u, losses) in numbers.iter().zip(&mut *losses) {
                    // What is below the best code: 3 where u is positive, else 0.
                    let [a, b, c, d] = multiples(2.0 * u.abs() * unit);
                    losses[of] = if u > 0.0 { [d, c, b, a] } else { [a, b, c, d] };
                }
            }
        }
        let level_loss = (self.norm * LEVEL * (vector.len() as f64).sqrt()) as f32 * unit;
        if let Some(losses) = self.losses.last_mut() {
            *losses = [1.0, 4.0, 16.0, 0.0].map(|weight| multiples(weight * level_loss));
        }
        self.tables.set(level, &self.losses);
    }

    /// Sets the budgets of the first `n` blocks, n > 0; whether codes leave few of their items.
    pub fn set_budgets(&mut self, bounds: &Bounds, threshold: f32, blocks: &SketchBlocks, n: usize) -> bool {
        let t = bounds.without_slack(threshold, blocks.norm);
        let mut budgets = std::mem::take(&mut self.budgets);
        budgets.clear();
        budgets.extend((0..n).map(|block| {
            let budget = self.budget(t, blocks, block) * self.inverse;
            let above = (budget + budget.abs() * 1e-6 + 1e-3).clamp(-1.0, MAX_BUDGET) as i32;
            if t > 0.0 { above } else { MAX_BUDGET as i32 }
        }));
        self.budgets = budgets;
        self.best - self.budget(t, blocks, n / 2) >= LEAST_NEED * self.norm
    }

    /// Appends those items of the blocks with budgets that may reach the threshold.
    pub fn append_reaching(&self, level: Level, blocks: &SketchBlocks, into: &mut Vec<u32>) {
        let lines = &blocks.lines[..self.budgets.len() * self.losses.len()];
        append_within(level, lines, &self.tables, &self.budgets, &blocks.items, into);
    }

    /// The budget of a block.
    #[inline(always)]
    fn budget(&self, t: f64, blocks: &SketchBlocks, block: usize) -> f64 {
        self.best - t * blocks.inverse_steps[block] + self.norm * blocks.ratios[block]
    }
}

impl Bounds {
    /// t: a threshold less γ ‖u‖ ‖v‖ + d 2⁻¹⁴⁹, for items of at most this norm.
    fn without_slack(&self, threshold: f32, norm: f64) -> f64 {
        self.threshold_down(threshold) - self.per_norm * (1.0 + SLACK) * self.gamma * norm
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
                let mut scores = vec![0.0; 300];
                let mut passed = 0;
                for level in Level::available() {
                    let (mut lookup, mut found, mut words) = (Lookup::default(), Vec::new(), vec![0; d.div_ceil(4)]);
                    for vector in case.users.chunks(d) {
                        dots(level, vector, &case.items, &items, &mut scores);
                        let bounds = Bounds::of(vector, level, &mut words);
                        for (&item, &score) in items.iter().zip(&scores) {
                            found.clear();
                            lookup.set_user(level, &bounds, vector, score, &blocks);
                            lookup.set_budgets(&bounds, score, &blocks, 5);
                            lookup.append_reaching(level, &blocks, &mut found);
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
    #[test]
    fn what_codes_lose_is_allowed_for_where_all_of_it_adds_to_the_score() {
        for d in [40, 64, 100] {
            let case = Case::new(Kind::Normal, 1, 130, d, false, d as u64);
            let items: Vec<u32> = (0..130).collect();
            let most = case.items.chunks(d).map(norm).fold(0.0, f64::max);
            let blocks = SketchBlocks::new(&case.items, d, &items, most * (1.0 + SLACK));
            for (&item, vector) in items.iter().zip(case.items.chunks(d)) {
                // The user is just what the codes of this item lose.
                let mut codes = vec![[0; 4]; d.div_ceil(64)];
                let [step, _] = row(vector, &mut codes);
                let code = |k: usize| codes[k / 64][k % 16 / 4] >> (k % 4 * 8 + k % 64 / 16 * 2) & 3;
                let lost = |k: usize| f64::from(vector[k]) - step * (2.0 * f64::from(code(k)) - 3.0);
                let user: Vec<f32> = (0..d).map(|k| lost(k) as f32).collect();
                for level in Level::available() {
                    let (mut lookup, mut found, mut score) = (Lookup::default(), Vec::new(), [0.0]);
                    dots(level, &user, &case.items, &[item], &mut score);
                    let bounds = Bounds::of(&user, level, &mut vec![0; d.div_ceil(4)]);
                    lookup.set_user(level, &bounds, &user, score[0], &blocks);
                    lookup.set_budgets(&bounds, score[0], &blocks, 3);
                    lookup.append_reaching(level, &blocks, &mut found);
                    assert!(found.contains(&item), "{d} {}: {item} is lost", level.name());
                }
            }
        }
    }
}
