//! Users of a block that scan the compact table together, and what that costs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::{Group, scan_speed};

use super::bounds::Bounds;

/// Users that share one scan of the compact table: 24 sums in registers.
pub const USERS_PER_SCAN: usize = 6;

/// Users that scan the compact table together.
#[derive(Default)]
pub struct GroupScan {
    /// Their places in the block of users.
    pub members: Vec<u32>,
    /// Their bytes and thresholds.
    pub group: Group<USERS_PER_SCAN>,
    bounds: [Bounds; USERS_PER_SCAN],
    min_norms: [f64; USERS_PER_SCAN],
    /// Items that the scan left to each of them, not scored yet.
    pub pending: [Vec<u32>; USERS_PER_SCAN],
    /// How many were scored.
    pub rescored: u64,
}

impl GroupScan {
    /// Makes it the scan of some users with the thresholds of their lists.
    pub fn begin<'v>(
        &mut self,
        members: &[(f64, u32)],
        vector: impl Fn(u32) -> &'v [f32],
        threshold: impl Fn(u32) -> f32,
        level: Level,
    ) {
        self.members.clear();
        self.members.extend(members.iter().map(|member| member.1));
        self.group.cut = [f64::INFINITY; 8];
        (self.min_norms, self.rescored) = ([f64::INFINITY; USERS_PER_SCAN], 0);
        for user in 0..self.members.len() {
            let at = self.members[user];
            self.bounds[user] = Bounds::new(vector(at), level, &mut self.group, user);
            self.set_threshold(user, threshold(at));
        }
    }

    /// Sets what the scan looks for to what enters the list of a user.
    pub fn set_threshold(&mut self, user: usize, threshold: f32) {
        self.bounds[user].set_threshold(&mut self.group, user, threshold);
        self.min_norms[user] = self.bounds[user].min_norm(threshold);
        self.group.stop = self.min_norms.iter().copied().fold(f64::INFINITY, f64::min);
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
