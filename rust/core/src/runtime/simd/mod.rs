//! Instruction sets, chosen at run time once per call. The only place where `unsafe` is allowed.
//!
//! A kernel is written once for each level (or once as a plain loop that the compiler widens under
//! `#[target_feature]`), and each has the same bits: a score owns a lane, and the sum over factors runs in order with
//! fused multiply-add. `Scalar` uses the scalar FMA instruction where the processor has it; without it `mul_add`
//! falls back to the exact library function, slower and not different.
//!
//! Kernels import each other one way: `scores` → `pairs`; `tiles` → `tile_kernels`; all of these and {`softmax_panel`,
//! `attend`, `dot`} → {`reduce`, `sparse`} → `vector` → `exp` → `level`; {`byte_dots`, `two_bits`, `tile_scan`} →
//! {`int8_scan`, `sparse`, `sure_scores`}; `cholesky` → {`gemm`, `vector`}; {`factor_steps`, `normal_equations`} →
//! `vector`; {`gemm`, `elastic_net`, `marked`, `quantize`, `sure_scores`} → `level`; `layers` → `exp`; `select` → `dot`.

#![allow(unsafe_code)]

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
                $crate::runtime::simd::Level::Avx512 | $crate::runtime::simd::Level::Amx => unsafe { avx512($($name),*) },
                // SAFETY: as above.
                $crate::runtime::simd::Level::Avx2 => unsafe { avx2($($name),*) },
                // SAFETY: the feature was detected just now.
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

pub mod attend;
pub mod byte_dots;
pub mod cholesky;
pub mod delimiters;
pub mod dot;
pub mod elastic_net;
mod exp;
pub mod factor_steps;
pub mod gemm;
pub mod huge_pages;
pub mod int8_scan;
pub mod invert;
pub mod layers;
mod level;
pub mod marked;
pub mod mixed;
pub mod normal_equations;
pub mod pairs;
pub mod quantize;
mod reduce;
pub mod roofline;
pub mod scores;
pub mod select;
pub mod softmax_panel;
pub mod sparse;
pub mod sure_scores;
mod tile_kernels;
pub mod tile_scan;
pub mod tiles;
pub mod two_bits;
pub mod vector;

pub use exp::{exp, ln, sigmoid};
pub use level::Level;
