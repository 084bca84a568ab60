//! Local attention for the ends of rows on x86-64 with AVX-512: half its vectors, but all of its 32 registers.

use super::avx2::Avx2;
use super::table::kernels;

kernels!(Avx2, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")], rows: 4, offsets: [1: [1 2 3 4 5 6 7 8 9] 2: [1 2 3 4 5 6 7 8 9] 3: [1 2 3 4 5 6 7] 4: [1 2 3 4 5]], channels: [1 2 3 4 5 6]);
