//! The inner loops of local attention, written once over a vector type; each instruction set instantiates them.
//!
//! Lanes are neighbouring pixels of one row. A tile is one block of lanes in up to R neighbouring query rows: those rows look at almost
//! the same key rows, and every key or value that is loaded (across cache lines, mostly) then serves all of them.
//!
//! The jobs are `repr(C)`: the tiles of 32-bit ARM are assembly and read them.
//!
//! Logits are in units of log 2: the queries come multiplied with scale·log₂e, so that the softmax is `2^(s − max)`.

#![allow(
    clippy::needless_range_loop,
    reason = "row and dx index several arrays and pointers at once; iterators would hide it"
)]

/// A vector of f32 and what the tiles do with it.
///
/// # Safety of its functions
/// Called only inside functions that enable the instruction set. `load` and `store` touch [`Simd::LANES`] f32, aligned as f32.
pub(super) trait Simd {
    /// The vector.
    type V: Copy;
    /// The number of its lanes.
    const LANES: usize;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    /// a·b + c, fused where the CPU fuses.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// The larger one; `b` where `b` is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a` in lanes whose `mask` has all bits set, −∞ in those where it has none.
    unsafe fn keep(mask: Self::V, a: Self::V) -> Self::V;
    /// p·2ⁿ through the exponent bits; the low 9 bits of `t`'s pattern are n.
    unsafe fn scale_by_power(p: Self::V, t: Self::V) -> Self::V;

    /// 2^x for x ≤ 0, to 1e-7 of its value where that is above 2⁻¹²⁶, and 0 for −∞. NaN stays NaN.
    #[inline(always)]
    unsafe fn exp2(x: Self::V) -> Self::V
    where
        Self: Sized,
    {
        // SAFETY: arithmetic only, in the caller's instruction set.
        unsafe { exponential::<Self>(x) }
    }
}

/// Query rows of one block, multiplied with a factor, copied to `[c][R][lanes]`.
#[repr(C)]
pub(super) struct LoadQueries {
    /// Channel 0, first row, first lane.
    pub source: *const f32,
    /// Elements from one channel to the next, and from one row to the next.
    pub source_stride: usize,
    pub source_row: usize,
    pub channels: usize,
    pub rows: usize,
    pub factor: f32,
    pub target: *mut f32,
    /// Elements from one channel to the next, R·lanes.
    pub target_stride: usize,
}

/// Logits of neighbouring query rows against N neighbouring offsets dx in one key row.
#[repr(C)]
pub(super) struct Logits {
    /// `[c][R][lanes]`, first query row.
    pub q: *const f32,
    /// Elements from one channel of q to the next, R·lanes.
    pub q_stride: usize,
    /// Channel 0, first lane at the first dx.
    pub k: *const f32,
    /// Elements from one channel of k to the next.
    pub k_stride: usize,
    pub channels: usize,
    /// Bias of the first query row at the first dx; the next row's is `bias_step` elements before it.
    pub bias: *const f32,
    pub bias_step: usize,
    /// `[dx][lanes]`: all bits set where the key lies inside the map; null when it does everywhere.
    pub mask: *const f32,
    /// `[dx][R][lanes]`, first query row: where the logits go.
    pub scores: *mut f32,
    /// Elements from one dx to the next, R·lanes.
    pub scores_stride: usize,
    /// `[R][lanes]`, first query row: the largest logit so far.
    pub max: *mut f32,
}

/// `s ← 2^(s − max)` for every vector of one query row, and their sum.
#[repr(C)]
pub(super) struct Exponentials {
    pub scores: *mut f32,
    /// Elements from one vector to the next.
    pub stride: usize,
    pub count: usize,
    pub max: *const f32,
    /// Where the sum goes.
    pub sum: *mut f32,
}

/// Neighbouring key rows that serve the same query rows.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Segment {
    /// The first query row of the tile that looks at them.
    pub first: usize,
    /// How many query rows do.
    pub rows: usize,
    /// How many key rows there are.
    pub slots: usize,
}

/// Weighted sums of N neighbouring channels of v over the whole window, for all query rows of a tile.
#[repr(C)]
pub(super) struct Values {
    /// The first of the channels, first lane at the first dx, in row 0 of v.
    pub v: *const f32,
    /// Elements from one channel of v to the next.
    pub v_stride: usize,
    /// For each key row, in order, where its row of v starts.
    pub slots: *const usize,
    pub segments: *const Segment,
    pub segment_count: usize,
    /// Offsets dx in a row.
    pub window: usize,
    /// `[slot][dx][R][lanes]`.
    pub weights: *const f32,
    /// `[R][lanes]`: what the sums are multiplied with.
    pub inverse: *const f32,
    pub rows: usize,
    /// First channel, first query row, first lane.
    pub out: *mut f32,
    /// Elements from one query row to the next.
    pub out_row: usize,
    /// Elements from one channel to the next.
    pub out_stride: usize,
}

/// See [`LoadQueries`].
///
/// # Safety
/// The pointers are good for what the fields say; the instruction set of `S` is enabled in the caller.
#[inline(always)]
pub(super) unsafe fn load_queries<S: Simd>(job: &LoadQueries) {
    // SAFETY: each read and write is in a channel and a row of the job's, and LANES long, which the caller vouches for.
    unsafe {
        let factor = S::splat(job.factor);
        let (mut source, mut target) = (job.source, job.target);
        for _ in 0..job.channels {
            for row in 0..job.rows {
                let q = S::load(source.add(row * job.source_row));
                S::store(target.add(row * S::LANES), S::mul(q, factor));
            }
            source = source.wrapping_add(job.source_stride);
            target = target.wrapping_add(job.target_stride);
        }
    }
}

/// See [`Logits`]. `ROWS` query rows, `N` offsets.
///
/// # Safety
/// As for [`load_queries`].
#[inline(always)]
pub(super) unsafe fn logits<S: Simd, const ROWS: usize, const N: usize>(job: &Logits) {
    // SAFETY: q is read at c, row < ROWS; k at c, dx < N, LANES long each; bias, mask and scores at row < ROWS and dx < N.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; ROWS];
        for row in 0..ROWS {
            for dx in 0..N {
                sums[row][dx] = S::splat(*job.bias.sub(row * job.bias_step).add(dx));
            }
        }
        let (mut q, mut k) = (job.q, job.k);
        for _ in 0..job.channels {
            let mut queries = [S::splat(0.0); ROWS];
            for row in 0..ROWS {
                queries[row] = S::load(q.add(row * S::LANES));
            }
            for dx in 0..N {
                let key = S::load(k.add(dx));
                for row in 0..ROWS {
                    sums[row][dx] = S::mul_add(queries[row], key, sums[row][dx]);
                }
            }
            q = q.add(job.q_stride);
            k = k.add(job.k_stride);
        }
        if !job.mask.is_null() {
            for dx in 0..N {
                let mask = S::load(job.mask.add(dx * S::LANES));
                for row in 0..ROWS {
                    sums[row][dx] = S::keep(mask, sums[row][dx]);
                }
            }
        }
        for row in 0..ROWS {
            let mut max = S::load(job.max.add(row * S::LANES));
            for dx in 0..N {
                max = S::max(max, sums[row][dx]);
                S::store(job.scores.add(dx * job.scores_stride + row * S::LANES), sums[row][dx]);
            }
            S::store(job.max.add(row * S::LANES), max);
        }
    }
}

/// Minimax coefficients of (2^f − 1)/f on \[−½, ½\] for the least relative error of 2^f (2e-9 before rounding), lowest power first;
/// fitted by iteratively reweighted least squares. With 1 as the constant term 2^0 is exact, on which `exponential` relies.
pub(super) const EXP2: [f32; 6] =
    [6.931_472e-1, 2.402_264_8e-1, 5.550_332_5e-2, 9.618_437e-3, 1.339_887_4e-3, 1.535_336_2e-4];

/// 1.5·2²³: adding it to a small number leaves that number, rounded, in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// [`Simd::exp2`] by rounding x to the nearest integer; exactly 0 for x ≤ −127, and within 2⁻¹²⁶ of right just above it.
#[inline(always)]
unsafe fn exponential<S: Simd>(x: S::V) -> S::V {
    // SAFETY: arithmetic only, in the caller's instruction set.
    unsafe {
        // At −127 the polynomial is exactly 1 and its biased exponent 127 comes down to 0: the pattern of 0.0.
        let x = S::max(S::splat(-127.0), x);
        let t = S::add(x, S::splat(ROUND));
        let f = S::sub(x, S::sub(t, S::splat(ROUND)));
        let mut p = S::splat(EXP2[5]);
        p = S::mul_add(p, f, S::splat(EXP2[4]));
        p = S::mul_add(p, f, S::splat(EXP2[3]));
        p = S::mul_add(p, f, S::splat(EXP2[2]));
        p = S::mul_add(p, f, S::splat(EXP2[1]));
        p = S::mul_add(p, f, S::splat(EXP2[0]));
        p = S::mul_add(p, f, S::splat(1.0));
        S::scale_by_power(p, t)
    }
}

/// See [`Exponentials`].
///
/// # Safety
/// As for [`load_queries`].
#[inline(always)]
pub(super) unsafe fn exponentials<S: Simd>(job: &Exponentials) {
    // SAFETY: scores are touched at i · stride for i < count, LANES long; max and sum are one vector each.
    unsafe {
        let max = S::load(job.max);
        let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
        let mut p = job.scores;
        for _ in 0..job.count / 2 {
            let second = p.add(job.stride);
            let a = S::exp2(S::sub(S::load(p), max));
            let b = S::exp2(S::sub(S::load(second), max));
            S::store(p, a);
            S::store(second, b);
            even = S::add(even, a);
            odd = S::add(odd, b);
            p = second.add(job.stride);
        }
        if job.count % 2 == 1 {
            let a = S::exp2(S::sub(S::load(p), max));
            S::store(p, a);
            even = S::add(even, a);
        }
        S::store(job.sum, S::add(even, odd));
    }
}

/// The key rows of one segment, for query rows `FIRST .. FIRST + ROWS` of `R`.
#[inline(always)]
unsafe fn segment<S: Simd, const R: usize, const N: usize, const FIRST: usize, const ROWS: usize>(
    job: &Values,
    slots: *const usize,
    count: usize,
    weights: *const f32,
    sums: &mut [[S::V; N]; R],
) {
    // SAFETY: `slots` has `count` entries; v is read at slot, channel < N, dx < window; weights at slot, dx, row < R.
    unsafe {
        let mut w = weights;
        for slot in 0..count {
            let mut v = job.v.add(*slots.add(slot));
            for _ in 0..job.window {
                let mut weight = [S::splat(0.0); ROWS];
                for row in 0..ROWS {
                    weight[row] = S::load(w.add((FIRST + row) * S::LANES));
                }
                for n in 0..N {
                    let value = S::load(v.add(n * job.v_stride));
                    for row in 0..ROWS {
                        sums[FIRST + row][n] = S::mul_add(weight[row], value, sums[FIRST + row][n]);
                    }
                }
                v = v.add(1);
                w = w.add(R * S::LANES);
            }
        }
    }
}

/// See [`Values`]. Tiles of `R` query rows, 4 at most; `N` channels.
///
/// # Safety
/// As for [`load_queries`].
#[inline(always)]
pub(super) unsafe fn values<S: Simd, const R: usize, const N: usize>(job: &Values) {
    // SAFETY: passed on from the caller; the output is written at row < rows, channel < N, LANES long.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; R];
        let (mut slots, mut weights) = (job.slots, job.weights);
        for i in 0..job.segment_count {
            let part = *job.segments.add(i);
            // A loop of its own for each choice of query rows, so that all sums stay in registers; those beyond R fold away.
            macro_rules! run {
                ($first:literal, $rows:literal) => {
                    segment::<S, R, N, $first, $rows>(job, slots, part.slots, weights, &mut sums)
                };
            }
            match (part.first, part.rows) {
                (0, 1) => run!(0, 1),
                (0, 2) if R >= 2 => run!(0, 2),
                (0, 3) if R >= 3 => run!(0, 3),
                (0, 4) if R >= 4 => run!(0, 4),
                (1, 1) if R >= 2 => run!(1, 1),
                (1, 2) if R >= 3 => run!(1, 2),
                (1, 3) if R >= 4 => run!(1, 3),
                (2, 1) if R >= 3 => run!(2, 1),
                (2, 2) if R >= 4 => run!(2, 2),
                (3, 1) if R >= 4 => run!(3, 1),
                _ => {}
            }
            slots = slots.add(part.slots);
            weights = weights.add(part.slots * job.window * R * S::LANES);
        }
        for row in 0..R {
            if row < job.rows {
                let inverse = S::load(job.inverse.add(row * S::LANES));
                for n in 0..N {
                    S::store(job.out.add(row * job.out_row + n * job.out_stride), S::mul(sums[row][n], inverse));
                }
            }
        }
    }
}
