//! Users of a block that scan the compact table together, and what that costs.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::{Group, Limits, scan_speed, vector_words};
use crate::runtime::simd::sure_scores::SureScores;
use crate::runtime::simd::tile_scan::{TILE_USERS, TileGroup, has_tiles};

use super::bounds::Bounds;
use super::index::Index;

/// So many places for each of a list: few of its items share one.
const SURE_PLACES: usize = 4;

/// Users that share one scan of the compact table: 24 sums in registers.
const USERS_PER_SCAN: usize = 6;

/// The same at a level.
pub fn users_per_scan(level: Level) -> usize {
    if has_tiles(level) { TILE_USERS } else { USERS_PER_SCAN }
}

/// The bytes and thresholds of users that scan together.
pub enum Together {
    /// In registers.
    Few(Box<Group<USERS_PER_SCAN>>),
    /// By tiles.
    Tiles(Box<TileGroup>),
}

/// Users that scan the compact table together.
#[derive(Default)]
pub struct GroupScan {
    /// Their places in the block of users.
    pub members: Vec<u32>,
    /// Their bytes and thresholds.
    pub together: Together,
    bounds: Vec<Bounds>,
    min_norms: Vec<f64>,
    /// Items that the scan left to each of them, not scored yet.
    pub pending: Vec<Vec<u32>>,
    /// How many were scored.
    pub rescored: u64,
    sure: SureScores,
}

impl Together {
    /// Makes it one of `n_users` with vectors of `d` numbers.
    fn reset(&mut self, n_users: usize, d: usize, level: Level) {
        match self {
            Self::Few(group) if !has_tiles(level) => group.limits = Limits::default(),
            Self::Tiles(tiles) if has_tiles(level) => tiles.reset(n_users, vector_words(d)),
            _ => {
                *self = if has_tiles(level) { Self::Tiles(Box::default()) } else { Self::default() };
                self.reset(n_users, d, level);
            }
        }
    }

    /// Writes the bytes of a user, and finds the user's bounds.
    fn add(&mut self, user: usize, vector: &[f32], level: Level) -> Bounds {
        match self {
            Self::Few(group) => Bounds::new(vector, level, group, user),
            Self::Tiles(tiles) => Bounds::of(vector, level, tiles.words_mut(user)),
        }
    }

    /// What a user's scan looks for, and the user's place there.
    fn limits(&mut self, user: usize) -> (&mut Limits, usize) {
        match self {
            Self::Few(group) => (&mut group.limits, user),
            Self::Tiles(tiles) => (&mut tiles.limits[user / 8], user % 8),
        }
    }

    /// Blocks with a smaller norm hold no candidate for any of them.
    pub fn stop(&mut self) -> &mut f64 {
        match self {
            Self::Few(group) => &mut group.stop,
            Self::Tiles(tiles) => &mut tiles.stop,
        }
    }
}

impl Default for Together {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl GroupScan {
    /// Makes it the scan of some users with the thresholds of their lists.
    pub fn begin<'v>(
        &mut self,
        members: &[(f64, u32)],
        d: usize,
        vector: impl Fn(u32) -> &'v [f32],
        threshold: impl Fn(u32) -> f32,
        level: Level,
    ) {
        self.members.clear();
        self.members.extend(members.iter().map(|member| member.1));
        self.pending.resize_with(self.pending.len().max(members.len()), Vec::new);
        self.min_norms.clear();
        self.min_norms.resize(members.len(), f64::INFINITY);
        self.bounds.clear();
        self.rescored = 0;
        self.together.reset(members.len(), d, level);
        for user in 0..members.len() {
            let at = self.members[user];
            self.bounds.push(self.together.add(user, vector(at), level));
            self.set_threshold(user, threshold(at));
        }
    }

    /// Makes room for what items are sure to score, for lists of `n`.
    pub fn begin_sure_scores(&mut self, n_blocks: usize, n: usize) {
        self.sure.reset(self.members.len(), n_blocks, SURE_PLACES * n);
    }

    /// Adds some blocks to that.
    pub fn add_sure_scores(&mut self, index: &Index, vectors: &[f32], level: Level, blocks: Range<usize>) {
        if let Together::Tiles(tiles) = &self.together {
            index.sure_scores(vectors, level, tiles, blocks, &mut self.sure);
        }
    }

    /// What `n` items are sure to score at least.
    pub fn nth_sure_score(&self, user: usize, n: usize, level: Level) -> f32 {
        self.bounds[user].sure_score(self.sure.nth(level, user, n))
    }

    /// Sets what the scan looks for to what enters the list of a user.
    pub fn set_threshold(&mut self, user: usize, threshold: f32) {
        let (limits, lane) = self.together.limits(user);
        self.bounds[user].set_threshold(limits, lane, threshold);
        self.min_norms[user] = self.bounds[user].min_norm(threshold);
        *self.together.stop() = self.min_norms.iter().copied().fold(f64::INFINITY, f64::min);
    }
}

/// What the compact table cost so far in this call.
#[derive(Default)]
pub struct PruningCost {
    users: AtomicU64,
    /// In multiplications of f32.
    spent: AtomicU64,
}

impl PruningCost {
    /// The users so far.
    pub fn users(&self) -> u64 {
        self.users.load(Ordering::Relaxed)
    }

    /// Adds what the table cost some users of `d` factors, in f32 multiplications of the plain path. Fitted on Zen 3 to 23
    /// cases: d = 16 to 256, 1,100 to 40,000 items, trained-like and Gaussian vectors, N = 10 to 100. With AVX-512 the scan is
    /// faster in relation: measured on vectors learned from Gowalla, N = 100.
    pub fn add(&self, level: Level, d: usize, users: usize, scanned: usize, rescored: u64) {
        let (d, users, scanned) = (d as u64, users as u64, scanned as u64);
        let spent = scanned * d / scan_speed(level) + rescored * (2300 + 15 * d) + users * (27_000 + 900 * d);
        self.spent.fetch_add(spent, Ordering::Relaxed);
        self.users.fetch_add(users, Ordering::Relaxed);
    }

    /// Whether the table has paid in the blocks done so far. Lists of `n` on the plain path cost every product of `n_rows` items,
    /// and what enters a list on the way, which is N (1 + ln(n / N)) items of n in random order.
    pub fn pays_off(&self, n_rows: usize, d: usize, n: usize) -> bool {
        let (all, n) = (n_rows as f64, n as f64);
        let entering = n * (1.0 + (all / n).max(1.0).ln());
        let users = self.users();
        users == 0 || self.spent.load(Ordering::Relaxed) < users * ((n_rows * d) as u64 + 1000 * entering as u64)
    }
}
