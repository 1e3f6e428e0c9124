//! The softmax of a panel of users against the negatives, block by block.
//!
//! A block's scores Q p̂ (negatives × users of the panel, users the lanes) become exponentials and go into Σ_k e_uk q̂_k
//! while they are in the nearest cache. Every operand is read in order: the users' vectors are packed as [factor][user],
//! and the exponentials of a panel are kept as [negative][user], rows for the gradient of the negatives.
//!
//! An exponent is cos/τ + ln ω − shift. A cosine is at most 1, so for τ ≥ 1/40 the highest ln ω serves as the shift of
//! all users: no sum overflows f32. A smaller τ takes the user's highest logit, which costs the first product twice.

use std::time::Instant;

use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::softmax_panel::{self, LANES};
use crate::train::phase_times::{Phase, PhaseTimes};

/// Users of a panel.
pub const USERS: usize = LANES;
/// Negatives of a block: their vectors and their exponentials fit into the nearest cache with a factor or two to spare
/// in the next (24 kB and 18 kB at d = 64); a multiple of every tile's height.
pub const NEGATIVES: usize = 96;
/// The largest 1/τ for which no exponential overflows or vanishes without the user's own highest logit.
const MAX_SHARED_SHIFT_SLOPE: f32 = 40.0;

/// What the softmax of all panels has in common.
#[derive(Clone, Copy)]
pub struct Softmax<'a> {
    pub level: Level,
    pub d: usize,
    /// Unit vectors of the negatives, by rows.
    pub negatives: &'a [f32],
    pub log_weights: &'a [f32],
    /// τ
    pub temperature: f32,
    pub phase_times: &'a PhaseTimes,
}

/// The denominators of a panel's users: sum · e^shift.
pub struct Denominators {
    pub shifts: [f32; USERS],
    pub sums: [f32; USERS],
}

impl Softmax<'_> {
    /// Exponentials of all negatives for the users in `pack` ([factor][user]) into `exponentials` ([negative][user]), and
    /// Σ_k e_uk q̂_k, not yet divided, into `dp` (users × d) unless it is empty.
    pub fn run(&self, pack: &[f32], exponentials: &mut [f32], dp: &mut [f32]) -> Denominators {
        let (level, d) = (self.level, self.d);
        let slope = 1.0 / self.temperature;
        let shifts = self.shifts(pack, slope, exponentials);
        let mut sums = [0.0; USERS];
        dp.fill(0.0);
        let mut clock = Instant::now();
        for ((block, q), log_weights) in exponentials
            .chunks_mut(NEGATIVES * USERS)
            .zip(self.negatives.chunks(NEGATIVES * d))
            .zip(self.log_weights.chunks(NEGATIVES))
        {
            multiply(level, block, USERS, View::rows(q, d), 0, pack, d);
            self.phase_times.add(Phase::Product, &mut clock);
            softmax_panel::exponentials(level, block, log_weights, slope, &shifts, &mut sums);
            self.phase_times.add(Phase::Softmax, &mut clock);
            if !dp.is_empty() {
                multiply_add(level, dp, d, View::transposed(block, USERS), 0, q, log_weights.len());
                self.phase_times.add(Phase::Product, &mut clock);
            }
        }
        Denominators { shifts, sums }
    }

    fn shifts(&self, pack: &[f32], slope: f32, scratch: &mut [f32]) -> [f32; USERS] {
        if slope <= MAX_SHARED_SHIFT_SLOPE {
            return [self.log_weights.iter().fold(f32::NEG_INFINITY, |high, &w| high.max(w)); USERS];
        }
        let (level, d) = (self.level, self.d);
        let mut highest = [f32::NEG_INFINITY; USERS];
        let mut clock = Instant::now();
        for (q, log_weights) in self.negatives.chunks(NEGATIVES * d).zip(self.log_weights.chunks(NEGATIVES)) {
            let block = &mut scratch[..log_weights.len() * USERS];
            multiply(level, block, USERS, View::rows(q, d), 0, pack, d);
            self.phase_times.add(Phase::Product, &mut clock);
            softmax_panel::highest(level, block, log_weights, slope, &mut highest);
            self.phase_times.add(Phase::Softmax, &mut clock);
        }
        highest
    }
}

/// Users' vectors (rows) as [factor][user]; lanes without a user hold 0.
pub fn pack(rows: &[f32], d: usize, pack: &mut [f32]) {
    pack.fill(0.0);
    for (lane, row) in rows.chunks_exact(d).enumerate() {
        for (k, &number) in row.iter().enumerate() {
            pack[k * USERS + lane] = number;
        }
    }
}
