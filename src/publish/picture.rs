//! The picture that the networks saw, for people and for clients that ask.

/// `[H, W, 4]` bytes, of which the fourth means nothing, to `[H, W, 3]`.
pub fn without_gaps(pixels: &[u8], out: &mut [u8]) {
    let (pixels, _) = pixels.as_chunks::<4>();
    let (fours, rest) = out.as_chunks_mut::<12>();
    let of_rest = pixels.iter().skip(4 * fours.len());
    // Three words of four pixels: what a compiler does not find in single bytes.
    for (out, pixels) in fours.iter_mut().zip(pixels.as_chunks::<4>().0) {
        let [p, q, s, t] = pixels.map(|pixel| u32::from_le_bytes(pixel) & 0xff_ffff);
        let words = [p | q << 24, q >> 8 | s << 16, s >> 16 | t << 8];
        for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *out = word.to_le_bytes();
        }
    }
    for (out, [red, green, blue, _]) in rest.as_chunks_mut::<3>().0.iter_mut().zip(of_rest) {
        *out = [*red, *green, *blue];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_any_size_are_closed_up_to_their_last_pixel() {
        for pixels in [1, 4, 7, 21, 64, 67] {
            let bytes: Vec<u8> = (0..4 * pixels).map(|i| (i * 37 % 256) as u8).collect();
            let expected: Vec<u8> = bytes.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
            let mut out = vec![0; 3 * pixels];
            without_gaps(&bytes, &mut out);
            assert_eq!(out, expected, "{pixels}");
        }
    }
}
