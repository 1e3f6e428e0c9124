//! What the machine can do at most, measured: arithmetic and memory bandwidth. Benches print how near a kernel comes to it.

use std::hint::black_box;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::level::Level;

/// Independent chains of fused multiply-adds, in numbers: 12 registers of AVX2, 6 pairs of them for the rest.
const CHAINS: usize = 96;

/// Steps of one measured round.
const STEPS: usize = 20_000;

/// Numbers that a thread reads in one round: 64 MB, beyond any cache it has for itself.
const READ: usize = 16 << 20;

fn chains(level: Level, steps: usize, factor: f32, sums: &mut [f32; CHAINS]) {
    dispatch!(level, chains_body(steps: usize, factor: f32, sums: &mut [f32; CHAINS]));
}

#[inline(always)]
fn chains_body(steps: usize, factor: f32, sums: &mut [f32; CHAINS]) {
    let mut held = *sums;
    for _ in 0..steps {
        for lane in 0..CHAINS {
            held[lane] = factor.mul_add(held[lane], factor);
        }
    }
    *sums = held;
}

fn read(level: Level, numbers: &[u32]) -> u32 {
    dispatch!(level, read_body(numbers: &[u32]) -> u32)
}

#[inline(always)]
fn read_body(numbers: &[u32]) -> u32 {
    numbers.iter().fold(0, |sum, number| sum ^ number)
}

/// The best of `rounds` rounds: 10⁹ f32 operations a second (a fused multiply-add is two), and 10⁹ bytes read a second, over
/// all threads of the pool together.
pub fn measure(level: Level, pool: &ThreadPool, rounds: usize) -> (f64, f64) {
    let threads = pool.current_num_threads();
    let table: Vec<u32> = vec![1; READ * threads];
    let best = |work: &(dyn Fn(usize) + Sync)| {
        let once = || {
            let start = Instant::now();
            pool.install(|| (0..threads).into_par_iter().with_max_len(1).for_each(work));
            start.elapsed().as_secs_f64()
        };
        (0..rounds.max(1)).map(|_| once()).fold(f64::INFINITY, f64::min)
    };
    let multiplied = best(&|_| {
        let mut sums = [1.0f32; CHAINS];
        chains(level, STEPS, black_box(0.5), &mut sums);
        black_box(sums);
    });
    let read = best(&|thread| {
        black_box(read(level, &table[thread * READ..(thread + 1) * READ]));
    });
    let all = threads as f64;
    (2e-9 * (CHAINS * STEPS) as f64 * all / multiplied, 4e-9 * READ as f64 * all / read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_at_every_level() {
        for level in Level::available() {
            let pool = crate::runtime::pool::get(Some(1)).unwrap();
            let (operations, bytes) = measure(level, &pool, 1);
            assert!(operations > 0.0 && bytes > 0.0, "{}", level.name());
        }
    }
}
