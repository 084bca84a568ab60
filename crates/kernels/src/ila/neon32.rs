//! Local attention for 32-bit ARM with NEON, in assembly: `std::arch` for it is not stable, and the target's baseline has no NEON, so no
//! vector may pass through the compiler. The table chooses these at run time, when the kernel's hardware capabilities name NEON.
//!
//! The same loops as `tiles`, four lanes and two query rows. Multiply-adds are VMLA (rounded in between), which every NEON has; VFMA would
//! need VFPv4. Registers: q0 and q1 what is shared by a step (queries, or weights), q2 and q3 keys or values on their way in, q4 and q5 … q12
//! and q13 the sums of up to five offsets or channels, even ones for the first query row and odd ones for the second.

use std::mem::{offset_of, size_of};

use super::table::{Family, Kernels};
use super::tiles::{EXP2, Exponentials, LoadQueries, Logits, ROUND, Segment, Values};
use crate::cpu::Isa;

std::arch::global_asm!(
    include_str!("neon32.s"),
    load_source = const offset_of!(LoadQueries, source),
    load_source_stride = const offset_of!(LoadQueries, source_stride),
    load_source_row = const offset_of!(LoadQueries, source_row),
    load_channels = const offset_of!(LoadQueries, channels),
    load_rows = const offset_of!(LoadQueries, rows),
    load_factor = const offset_of!(LoadQueries, factor),
    load_target = const offset_of!(LoadQueries, target),
    load_target_stride = const offset_of!(LoadQueries, target_stride),
    logits_q = const offset_of!(Logits, q),
    logits_q_stride = const offset_of!(Logits, q_stride),
    logits_k = const offset_of!(Logits, k),
    logits_k_stride = const offset_of!(Logits, k_stride),
    logits_channels = const offset_of!(Logits, channels),
    logits_bias = const offset_of!(Logits, bias),
    logits_bias_step = const offset_of!(Logits, bias_step),
    logits_mask = const offset_of!(Logits, mask),
    logits_scores = const offset_of!(Logits, scores),
    logits_scores_stride = const offset_of!(Logits, scores_stride),
    logits_max = const offset_of!(Logits, max),
    exponentials_scores = const offset_of!(Exponentials, scores),
    exponentials_stride = const offset_of!(Exponentials, stride),
    exponentials_count = const offset_of!(Exponentials, count),
    exponentials_max = const offset_of!(Exponentials, max),
    exponentials_sum = const offset_of!(Exponentials, sum),
    segment_first = const offset_of!(Segment, first),
    segment_rows = const offset_of!(Segment, rows),
    segment_slots = const offset_of!(Segment, slots),
    segment_size = const size_of::<Segment>(),
    values_v = const offset_of!(Values, v),
    values_v_stride = const offset_of!(Values, v_stride),
    values_slots = const offset_of!(Values, slots),
    values_segments = const offset_of!(Values, segments),
    values_segment_count = const offset_of!(Values, segment_count),
    values_window = const offset_of!(Values, window),
    values_weights = const offset_of!(Values, weights),
    values_inverse = const offset_of!(Values, inverse),
    values_rows = const offset_of!(Values, rows),
    values_out = const offset_of!(Values, out),
    values_out_row = const offset_of!(Values, out_row),
    values_out_stride = const offset_of!(Values, out_stride),
    least = const (-127.0f32).to_bits(),
    round = const ROUND.to_bits(),
    one = const 1.0f32.to_bits(),
    c0 = const EXP2[0].to_bits(),
    c1 = const EXP2[1].to_bits(),
    c2 = const EXP2[2].to_bits(),
    c3 = const EXP2[3].to_bits(),
    c4 = const EXP2[4].to_bits(),
    c5 = const EXP2[5].to_bits(),
);

/// Declares the assembly's functions, and the Rust functions that the table wants.
macro_rules! functions {
    ($($name:ident($job:ty) = $symbol:ident;)*) => {
        unsafe extern "C" {
            $(fn $symbol(job: *const $job);)*
        }
        $(
            unsafe fn $name(job: &$job) {
                // SAFETY: the table is only used on a CPU with NEON; the function reads the job by the offsets above, touches what its
                // fields say, and keeps the registers that the procedure call standard says are the caller's.
                unsafe { $symbol(job) }
            }
        )*
    };
}

functions! {
    load_queries(LoadQueries) = milad_ila_load_queries;
    exponentials(Exponentials) = milad_ila_exponentials;
    logits_1_1(Logits) = milad_ila_logits_1_1;
    logits_1_2(Logits) = milad_ila_logits_1_2;
    logits_1_3(Logits) = milad_ila_logits_1_3;
    logits_1_4(Logits) = milad_ila_logits_1_4;
    logits_1_5(Logits) = milad_ila_logits_1_5;
    logits_2_1(Logits) = milad_ila_logits_3_1;
    logits_2_2(Logits) = milad_ila_logits_3_2;
    logits_2_3(Logits) = milad_ila_logits_3_3;
    logits_2_4(Logits) = milad_ila_logits_3_4;
    logits_2_5(Logits) = milad_ila_logits_3_5;
    values_1(Values) = milad_ila_values_1;
    values_2(Values) = milad_ila_values_2;
    values_3(Values) = milad_ila_values_3;
    values_4(Values) = milad_ila_values_4;
    values_5(Values) = milad_ila_values_5;
}

/// Four lanes, two query rows.
static KERNELS: Kernels = Kernels {
    lanes: 4,
    rows: 2,
    load_queries,
    logits: &[
        &[logits_1_1, logits_1_2, logits_1_3, logits_1_4, logits_1_5],
        &[logits_2_1, logits_2_2, logits_2_3, logits_2_4, logits_2_5],
    ],
    exponentials,
    values: &[values_1, values_2, values_3, values_4, values_5],
};

/// What serves this instruction set.
pub(super) static FAMILY: Family = Family { name: "neon", isa: Isa::Neon, wide: &KERNELS, narrow: None };
