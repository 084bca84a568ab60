//! RGB that is already of the network's size: every byte has one number, so a table for each colour gives it without a rounding on the way.
//!
//! A quantised network makes a byte of that number again. Calibration's scales are such that some bytes of a picture lie halfway between
//! two; a last bit that is off would turn all of them, and with them some thousandths of a picture.

use super::prepare::Target;
use super::{Colour, Range};

/// `(x − mean)/std` of every byte, in f64 and rounded once.
#[derive(Debug, Clone)]
pub(super) struct Exact {
    colour: Colour,
    tables: Box<[[f32; 256]; 3]>,
}

impl Exact {
    pub fn new(colour: Colour, target: &Target) -> Exact {
        let mut tables = Box::new([[0.0; 256]; 3]);
        let (black, span) = match colour.range {
            Range::Limited => (16.0, 219.0),
            Range::Full => (0.0, 255.0),
        };
        for ((table, mean), std) in tables.iter_mut().zip(target.mean).zip(target.std) {
            for (code, number) in table.iter_mut().enumerate() {
                let light = ((code as f64 - black) / span).clamp(0.0, 1.0);
                *number = ((light - mean) / std) as f32;
            }
        }
        Exact { colour, tables }
    }

    /// Made anew where a picture's colour is another.
    pub fn follow(&mut self, colour: Colour, target: &Target) {
        if self.colour != colour {
            *self = Exact::new(colour, target);
        }
    }

    /// One colour of a row: pixel i is the byte `offset + starts[i]·3` of `row`.
    pub fn colour(&self, channel: usize, row: &[u8], offset: usize, starts: &[usize], out: &mut [f32]) {
        let Some(table) = self.tables.get(channel) else { return };
        for (out, &start) in out.iter_mut().zip(starts) {
            let code = row.get(offset + start * 3).copied().unwrap_or(0);
            *out = table[usize::from(code)];
        }
    }
}
