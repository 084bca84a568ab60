//! How a tensor of u8 codes lies in memory: rows of pixels, channels innermost, with a border of zero-points around them.
//!
//! A kernel that pads reads the border instead of testing for it. Kernels never write it; whoever places a tensor calls
//! [`PlaneMut::write_border`] once, or again whenever something else used that memory.

use std::ops::Range;

use super::Error;

/// Bytes behind the last row that kernels may read (never use, never write).
pub const SLACK: usize = 64;

/// Channels of a pixel start at multiples of this many bytes.
pub const CHANNEL_STEP: usize = 4;

/// Largest extent of anything: keeps every product of sizes far inside 64 bits.
const LARGEST: usize = 1 << 20;

/// Where each code of a tensor `[height, width, channels]` is.
///
/// A pixel takes [`pixel_stride`](Layout::pixel_stride) bytes; what lies between its channels and the next multiple of [`CHANNEL_STEP`] may
/// hold anything and is written with anything. `border` pixels surround the tensor on all four sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    height: usize,
    width: usize,
    channels: usize,
    border: usize,
    pixel_stride: usize,
    row_stride: usize,
    offset: usize,
}

impl Layout {
    /// Pixels packed as closely as [`CHANNEL_STEP`] allows.
    pub fn new(height: usize, width: usize, channels: usize, border: usize) -> Result<Layout, Error> {
        let sizes = [height, width, channels];
        if sizes.iter().any(|&size| size == 0 || size > LARGEST) || border > LARGEST {
            return Err(Error::Shape(format!(
                "tensor of {height}×{width} pixels with {channels} channels, border {border}: expected 1 to {LARGEST} of each"
            )));
        }
        let pixel_stride = channels.next_multiple_of(CHANNEL_STEP);
        let bytes = (width + 2 * border) as u128 * pixel_stride as u128 * (height + 2 * border) as u128 + SLACK as u128;
        if isize::try_from(bytes).is_err() {
            return Err(Error::Shape(format!(
                "tensor of {height}×{width}×{channels}: more bytes than this machine has"
            )));
        }
        let row_stride = (width + 2 * border) * pixel_stride;
        Ok(Layout { height, width, channels, border, pixel_stride, row_stride, offset: 0 })
    }

    /// Some neighbouring channels of the same pixels: what one input of a concatenation writes.
    ///
    /// `first` is a multiple of [`CHANNEL_STEP`], and so is `count` unless these are the last channels.
    pub fn channels_from(&self, first: usize, count: usize) -> Result<Layout, Error> {
        let fits = count > 0 && first.checked_add(count).is_some_and(|end| end <= self.channels);
        let whole = first.is_multiple_of(CHANNEL_STEP)
            && (count.is_multiple_of(CHANNEL_STEP) || first.checked_add(count) == Some(self.channels));
        if !fits || !whole {
            return Err(Error::Shape(format!(
                "channels {first}… ({count} of them) of {}: expected some of them, starting and ending at multiples of {CHANNEL_STEP}",
                self.channels
            )));
        }
        Ok(Layout { channels: count, offset: self.offset + first, ..*self })
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Channels in use.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Pixels of zero-point around the tensor.
    pub fn border(&self) -> usize {
        self.border
    }

    /// Bytes from a pixel to its right neighbour.
    pub fn pixel_stride(&self) -> usize {
        self.pixel_stride
    }

    /// Bytes from a pixel to the one below.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Bytes that the whole tensor takes, border and [`SLACK`] included; also of a view of some channels.
    pub fn bytes(&self) -> usize {
        (self.height + 2 * self.border) * self.row_stride + SLACK
    }

    /// Whether pixels hold these channels alone: not a view of some channels.
    pub fn is_packed(&self) -> bool {
        self.pixel_stride == self.channels.next_multiple_of(CHANNEL_STEP)
    }

    /// Byte of channel 0 of a pixel; row and column may be in the border when the caller's arithmetic wraps.
    #[inline]
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        (row.wrapping_add(self.border))
            .wrapping_mul(self.row_stride)
            .wrapping_add(column.wrapping_add(self.border).wrapping_mul(self.pixel_stride))
            .wrapping_add(self.offset)
    }

    /// Where the memory of a row, border included, starts.
    fn row_start(&self, row: usize) -> usize {
        (row + self.border) * self.row_stride
    }
}

/// A tensor to read.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    layout: Layout,
    data: &'a [u8],
}

impl<'a> Plane<'a> {
    /// `data` holds at least [`Layout::bytes`].
    pub fn new(layout: Layout, data: &'a [u8]) -> Result<Plane<'a>, Error> {
        long_enough(&layout, data.len())?;
        Ok(Plane { layout, data })
    }

    /// How it lies in memory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All its bytes, border included, to a buffer of the same length.
    pub fn copy_to(&self, to: &mut [u8]) -> Result<(), Error> {
        if to.len() != self.data.len() {
            return Err(Error::Shape(format!(
                "copy of {} bytes: expected room for them, found {}",
                self.data.len(),
                to.len()
            )));
        }
        to.copy_from_slice(self.data);
        Ok(())
    }

    /// One pixel's channels.
    pub fn pixel(&self, row: usize, column: usize) -> &'a [u8] {
        assert!(row < self.layout.height && column < self.layout.width, "pixel outside of the tensor");
        &self.data[self.layout.at(row, column)..][..self.layout.channels]
    }

    pub(super) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The pixels of a row: `width` times the pixel stride, less what follows the last pixel's channels.
    pub(super) fn row(&self, row: usize) -> &'a [u8] {
        let length = (self.layout.width - 1) * self.layout.pixel_stride + self.layout.channels;
        &self.data[self.layout.at(row, 0)..][..length]
    }
}

/// A tensor to write, or some neighbouring rows of it.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    layout: Layout,
    rows: Range<usize>,
    /// From here on, of the tensor's bytes, `data` is.
    base: usize,
    data: &'a mut [u8],
}

impl<'a> PlaneMut<'a> {
    /// `data` holds at least [`Layout::bytes`]; all rows.
    pub fn new(layout: Layout, data: &'a mut [u8]) -> Result<PlaneMut<'a>, Error> {
        long_enough(&layout, data.len())?;
        Ok(PlaneMut { rows: 0..layout.height, layout, base: 0, data })
    }

    /// How the whole tensor lies in memory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The rows that this one is for: what an operator that is given it computes.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The rows before `row` and those from it on, for two threads. `row` beyond the end gives nothing to the second.
    pub fn split_at_row(self, row: usize) -> (PlaneMut<'a>, PlaneMut<'a>) {
        let row = row.clamp(self.rows.start, self.rows.end);
        let cut = self.layout.row_start(row);
        let (first, second) = self.data.split_at_mut((cut - self.base).min(self.data.len()));
        (
            PlaneMut { layout: self.layout, rows: self.rows.start..row, base: self.base, data: first },
            PlaneMut { layout: self.layout, rows: row..self.rows.end, base: cut, data: second },
        )
    }

    /// The same rows for a shorter time.
    pub fn reborrow(&mut self) -> PlaneMut<'_> {
        PlaneMut { layout: self.layout, rows: self.rows.clone(), base: self.base, data: self.data }
    }

    /// The tensor for reading, when this is all of it.
    pub fn whole(&self) -> Option<Plane<'_>> {
        Plane::new(self.layout, self.data).ok().filter(|_| self.base == 0)
    }

    /// Fills the border with the zero-point. Only when this is the whole tensor; kernels never touch what is written here.
    pub fn write_border(&mut self, zero_point: u8) {
        let Layout { border, pixel_stride, row_stride, height, .. } = self.layout;
        if border == 0 || self.base != 0 || self.rows != (0..height) {
            return;
        }
        let (side, inside) = (border * pixel_stride, border * row_stride);
        self.data[..inside].fill(zero_point);
        self.data[inside + height * row_stride..][..inside].fill(zero_point);
        for row in self.data[inside..][..height * row_stride].chunks_exact_mut(row_stride) {
            row[..side].fill(zero_point);
            row[row_stride - side..].fill(zero_point);
        }
    }

    /// One pixel's channels.
    pub fn pixel_mut(&mut self, row: usize, column: usize) -> &mut [u8] {
        assert!(self.rows.contains(&row) && column < self.layout.width, "pixel outside of the tensor");
        let channels = self.layout.channels;
        &mut self.data[self.layout.at(row, column) - self.base..][..channels]
    }

    /// The pixels of a row: `width` times the pixel stride, less what follows the last pixel's channels.
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [u8] {
        assert!(self.rows.contains(&row), "row outside of the tensor");
        let length = (self.layout.width - 1) * self.layout.pixel_stride + self.layout.channels;
        &mut self.data[self.layout.at(row, 0) - self.base..][..length]
    }

    /// The first byte of the whole tensor, were all of it here; good for writing the rows of this one.
    pub(super) fn origin(&mut self) -> *mut u8 {
        self.data.as_mut_ptr().wrapping_sub(self.base)
    }
}

/// Calls `each` with the runs of one row's bytes that belong together: the whole row where no tensor has other channels in between, else pixel
/// by pixel. The tensors have one size.
#[inline(always)]
pub(super) fn each_run<const N: usize>(
    inputs: [Plane; N],
    output: &mut PlaneMut,
    row: usize,
    mut each: impl FnMut([&[u8]; N], &mut [u8]),
) {
    let layout = output.layout;
    if layout.is_packed() && inputs.iter().all(|input| input.layout.is_packed()) {
        return each(inputs.map(|input| input.row(row)), output.row_mut(row));
    }
    let channels = layout.channels;
    let rows = inputs.map(|input| input.row(row));
    for (column, y) in output.row_mut(row).chunks_mut(layout.pixel_stride).enumerate() {
        let mut pixels = [&[][..]; N];
        for ((pixel, row), input) in pixels.iter_mut().zip(rows).zip(&inputs) {
            *pixel = &row[column * input.layout.pixel_stride..][..channels];
        }
        each(pixels, &mut y[..channels]);
    }
}

fn long_enough(layout: &Layout, length: usize) -> Result<(), Error> {
    if length < layout.bytes() {
        return Err(Error::Shape(format!("tensor in {length} bytes: expected at least {}", layout.bytes())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_split_for_two_threads_do_not_meet_and_miss_nothing() {
        let layout = Layout::new(5, 3, 2, 1).unwrap();
        let mut data = vec![0; layout.bytes()];
        let (mut upper, lower) = PlaneMut::new(layout, &mut data).unwrap().split_at_row(2);
        let (mut middle, mut last) = lower.split_at_row(4);
        assert_eq!((upper.rows(), middle.rows(), last.rows()), (0..2, 2..4, 4..5));
        for part in [&mut upper, &mut middle, &mut last] {
            for row in part.rows() {
                part.row_mut(row)[0] = row as u8 + 1;
                part.pixel_mut(row, 2)[1] = row as u8 + 11;
            }
        }
        let plane = Plane::new(layout, &data).unwrap();
        for row in 0..5 {
            assert_eq!(plane.pixel(row, 0), [row as u8 + 1, 0]);
            assert_eq!(plane.pixel(row, 2), [0, row as u8 + 11]);
            assert_eq!(plane.row(row).len(), 2 * 4 + 2);
        }
    }

    #[test]
    fn the_border_is_written_and_nothing_else() {
        let layout = Layout::new(2, 3, 5, 2).unwrap();
        let mut data = vec![7; layout.bytes()];
        PlaneMut::new(layout, &mut data).unwrap().write_border(9);
        let pixels = |value: u8| data.chunks_exact(8).take(6 * 7).filter(|pixel| **pixel == [value; 8]).count();
        assert_eq!((pixels(7), pixels(9)), (6, 36));
        assert_eq!(Plane::new(layout, &data).unwrap().pixel(1, 2), [7; 5]);
        assert_eq!(data[layout.bytes() - SLACK..], [7; SLACK]);
    }

    #[test]
    fn channels_of_a_tensor_are_a_tensor() {
        let layout = Layout::new(2, 2, 22, 1).unwrap();
        let view = layout.channels_from(8, 12).unwrap();
        assert_eq!((view.channels(), view.pixel_stride(), view.bytes()), (12, 24, layout.bytes()));
        assert_eq!(view.at(1, 1), layout.at(1, 1) + 8);
        assert!(!view.is_packed() && layout.is_packed());
        assert!(layout.channels_from(20, 2).is_ok());
        for (first, count) in [(2, 4), (8, 6), (20, 4), (0, 0), (usize::MAX, 4)] {
            assert!(layout.channels_from(first, count).is_err(), "{first} {count}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (height, width, channels, border) in
            [(0, 1, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, usize::MAX, 1, 0), (1, 1, 1, usize::MAX)]
        {
            assert!(Layout::new(height, width, channels, border).is_err());
        }
        let layout = Layout::new(2, 2, 4, 0).unwrap();
        assert!(Plane::new(layout, &vec![0; layout.bytes() - 1]).is_err());
    }
}
