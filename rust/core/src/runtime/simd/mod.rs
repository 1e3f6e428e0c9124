//! Instruction sets, chosen at run time once per call. The only place where `unsafe` is allowed.
//!
//! A kernel is written once for each level (or once as a plain loop that the compiler widens under
//! `#[target_feature]`), and each has the same bits: a score owns a lane, and the sum over factors runs in order with
//! fused multiply-add. `Scalar` uses the scalar FMA instruction where the processor has it; without it `mul_add`
//! falls back to the exact library function, slower and not different.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use crate::{Error, Result};

/// Calls `$body(args)` compiled for the level. `$body` is an `#[inline(always)]` function of plain loops; the compiler
/// widens its lanes to the level's registers without changing a bit.
macro_rules! dispatch {
    ($level:expr, $body:ident$(::<$head:ident>)?($($name:ident: $kind:ty),* $(,)?) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "fma")]
            fn fma($($name: $kind),*) $(-> $result)? { $body$(::<$head>)?($($name),*) }
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($name: $kind),*) $(-> $result)? { $body$(::<$head>)?($($name),*) }
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
            fn avx512($($name: $kind),*) $(-> $result)? { $body$(::<$head>)?($($name),*) }
            match $level {
                // SAFETY: `Level::available` found every feature named above before these levels could be made.
                $crate::runtime::simd::Level::Avx512 => unsafe { avx512($($name),*) },
                // SAFETY: as above.
                $crate::runtime::simd::Level::Avx2 => unsafe { avx2($($name),*) },
                // SAFETY: the processor was just asked.
                $crate::runtime::simd::Level::Scalar if is_x86_feature_detected!("fma") => unsafe { fma($($name),*) },
                $crate::runtime::simd::Level::Scalar => $body$(::<$head>)?($($name),*),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = $level;
            $body$(::<$head>)?($($name),*)
        }
    }};
}
#[allow(unused_imports)]
pub(crate) use dispatch;

pub mod attend;
pub mod cholesky;
pub mod delimiters;
pub mod dot;
mod exp;
pub mod gemm;
pub mod huge_pages;
pub mod int8_scan;
pub mod pairs;
mod reduce;
pub mod roofline;
pub mod scores;
pub mod softmax_panel;
pub mod sparse;
pub mod tiles;
pub mod vector;

pub use exp::{exp, ln, sigmoid};

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

    /// The name that `ANCF_SIMD` takes.
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
