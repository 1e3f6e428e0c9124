//! The instruction sets that kernels exist for, and which of them this processor has.

use std::sync::OnceLock;

use crate::{Error, Result};

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One number at a time.
    Scalar,
    /// 128-bit NEON with FMA, on every aarch64.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// 256-bit AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit AVX-512 F, BW, VL and VNNI, with everything of [`Level::Avx2`].
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with AMX: the scan of bytes for many users goes by matrix tiles.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Level {
    /// The levels this processor has, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Self::Avx2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                levels.push(Self::Avx512);
                if may_use_tiles() {
                    levels.push(Self::Amx);
                }
            }
        }
        levels
    }

    /// The fastest level of this processor, or the one that `ANCF_SIMD` names.
    pub fn detect() -> Result<Self> {
        static FASTEST: OnceLock<Level> = OnceLock::new();
        match std::env::var("ANCF_SIMD") {
            Ok(name) if !name.is_empty() => {
                let available = Self::available();
                available.iter().copied().find(|level| level.name() == name).ok_or_else(|| {
                    let names: Vec<_> = available.iter().map(|level| level.name()).collect();
                    Error::InvalidParameter(format!(
                        "ANCF_SIMD is {name:?}; this processor has {}. Leave it unset for the fastest.",
                        names.join(", ")
                    ))
                })
            }
            _ => Ok(*FASTEST.get_or_init(|| Self::available().into_iter().max().unwrap_or(Self::Scalar))),
        }
    }

    /// Its name, as `ANCF_SIMD` expects it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
        }
    }
}

/// Whether the processor has AMX with products of bytes and the system lets this process use it, for which it is asked once.
/// A fork keeps the permission. It is refused where a signal stack of the process is too small for the tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
fn may_use_tiles() -> bool {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    const XSAVE: u32 = 1 << 27;
    const TILE_STATES: u64 = 3 << 17;
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;

    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: register 0 exists with the feature.
        unsafe { _xgetbv(0) }
    }

    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE == 0 || __cpuid_count(7, 0).edx & (TILES | INT8) != TILES | INT8
        {
            return false;
        }
        // SAFETY: the system lets programs read which states it keeps, as the bit looked at just now says.
        if unsafe { states() } & TILE_STATES != TILE_STATES {
            return false;
        }
        let refused: isize;
        // SAFETY: a system call that reads and writes no memory; it overwrites `rcx` and `r11`.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => refused, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
                lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        refused == 0
    })
}

#[cfg(all(target_arch = "x86_64", not(all(target_os = "linux", not(miri)))))]
fn may_use_tiles() -> bool {
    false
}
