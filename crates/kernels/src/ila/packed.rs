//! Keys and values as the kernels read them: rows of `[t][y][c]`, each padded with zeros so that a whole block of pixels and its window
//! can be read at any position without asking where the map ends.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Elements of a cache line.
pub(super) const LINE: usize = 16;

/// A zeroed buffer that starts on a cache line. It never grows.
pub(super) struct Aligned {
    lines: Box<[Line]>,
}

impl Aligned {
    /// At least `length` zeros.
    pub fn new(length: usize) -> Aligned {
        Aligned { lines: vec![Line([0.0; LINE]); length.div_ceil(LINE)].into_boxed_slice() }
    }

    /// Its elements.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: a `Line` is LINE f32 without padding (repr(C), 64 bytes, aligned to 64), so the lines are that many f32 in a row.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }

    /// Its elements.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) }
    }
}

/// `[T][H][C][stride]`: a row starts with `margin` zeros, then come W elements, then zeros.
pub(super) struct Packed {
    data: Aligned,
    /// C.
    channels: usize,
    height: usize,
    width: usize,
    /// Zeros before a row's first element: the window's reach to the left.
    margin: usize,
    /// Elements from one channel's row to the next one's.
    stride: usize,
}

impl Packed {
    /// All zeros. `covered` is the number of pixels that blocks cover: W rounded up to whole blocks.
    pub fn new(
        keyframes: usize,
        channels: usize,
        height: usize,
        width: usize,
        covered: usize,
        margin: usize,
    ) -> Packed {
        // An odd number of cache lines: rows of neighbouring channels then fall into different sets of the cache.
        let stride = ((covered + 2 * margin).div_ceil(LINE) | 1) * LINE;
        let data = Aligned::new(keyframes * height * channels * stride);
        Packed { data, channels, height, width, margin, stride }
    }

    /// Elements from one channel's row to the next one's.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Where the row of keyframe t, y and channel 0 starts, its margin included.
    pub fn row(&self, keyframe: usize, y: usize) -> usize {
        (keyframe * self.height + y) * self.channels * self.stride
    }

    /// All elements.
    pub fn as_slice(&self) -> &[f32] {
        self.data.as_slice()
    }

    /// Copies one keyframe's `[C, H, W]`; the zeros around it stay as they are.
    pub fn pack(&mut self, keyframe: usize, map: &[f32]) {
        let (channels, height, width) = (self.channels, self.height, self.width);
        let size = height * channels * self.stride;
        let (stride, margin) = (self.stride, self.margin);
        let target = &mut self.data.as_mut_slice()[keyframe * size..][..size];
        // Rows of the target in order: its lines are written once, from start to end.
        for (row, line) in target.chunks_exact_mut(stride).enumerate() {
            let (y, channel) = (row / channels, row % channels);
            line[margin..margin + width].copy_from_slice(&map[(channel * height + y) * width..][..width]);
        }
    }
}
