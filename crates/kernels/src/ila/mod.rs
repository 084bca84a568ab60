//! Inter-frame local attention (ILA): every position of the current frame looks up what was found around it in the keyframes.
//!
//! This is the ONNX operator `ai.milad::InterFrameLocalAttention`, version 1, in f32, fused: no window is ever unfolded.
//! The method is Kim et al., *MILA*, ICCVW 2021, section 3.2; the operator's exact definition is ours.
//!
//! | tensor | shape | |
//! |---|---|---|
//! | `q` | `[Cq, H, W]` | queries, current frame |
//! | `k`, `v` | `[T, Cq, H, W]`, `[T, Cv, H, W]` | keys and values of the T last keyframes, packed once per keyframe by [`Attention::pack`] |
//! | `bias` | `[g, (2r+1)²]` | optional, added to the scaled logits; row-major, dy then dx |
//! | `null` | `[g]` | optional logit of "nothing there", unscaled, with value 0 |
//! | `valid` | `[T]` | optional; a keyframe with 0 is left out |
//! | `y` | `[Cv, H, W]` | what was found |
//! | `confidence` | `[g, H, W]` | 1 − the null logit's share (1 without one) |
//! | `border` | `[g, H, W]` | the share on the window's rim, abs(dy) = r or abs(dx) = r |
//!
//! For each head (a contiguous block of channels of q, k and v) and position p, one softmax over all valid t and all d in \[−r, r\]² with
//! p + d inside the map (outside is masked, not zero-padded), and the null logit:
//! `a = softmax(scale·⟨q(p), k_t(p+d)⟩ + bias(d))`, `y(p) = Σ a·v_t(p+d)`. With nothing valid and no null, y = 0.
//!
//! | file | what |
//! |---|---|
//! | [`shape`](Shape) | sizes, their checks, their errors |
//! | `packed` | keys and values as the kernels read them |
//! | `attention` | what an attention holds, and a run over all tiles |
//! | `walk` | one tile: queries, key rows, softmax, values; the same for every instruction set |
//! | `tiles` | the three inner loops, written once over a vector type |
//! | `table` | which functions serve which instruction set |
//! | `portable`, `avx2`, `avx512`, `avx512_half`, `neon`, `neon32` | one instruction set each, or half of one |
//!
//! A NaN in an input gives NaN where it is looked at, never a panic. Nothing here allocates after [`Attention::new`].

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_half;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "arm")]
mod neon32;
mod packed;
mod portable;
mod shape;
mod table;
mod tiles;
mod walk;

pub use attention::Attention;
pub use shape::{Shape, ShapeError};
