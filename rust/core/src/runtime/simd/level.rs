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
        }
    }
}
