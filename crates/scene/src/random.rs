//! Integer hashing: random numbers by name rather than by order, so that any frame of any clip can be had alone.
//! Must never keep a state that depends on what was drawn before by somebody else.

/// Mixes 32 bits well (the finaliser "lowbias32" of Chris Wellons' hash prospector, public domain).
#[inline]
pub fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Hash of two numbers.
#[inline]
pub fn hash2(a: u32, b: u32) -> u32 {
    hash(a.wrapping_mul(0x9e37_79b9) ^ hash(b))
}

/// Hash of three numbers.
#[inline]
pub fn hash3(a: u32, b: u32, c: u32) -> u32 {
    hash2(hash2(a, b), c)
}

/// A hash as a number in [0, 1).
#[inline]
pub fn unit(h: u32) -> f32 {
    (h >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A short run of random numbers for one named thing, e.g. `Random::of(&[seed, HOUSE, index])`.
#[derive(Clone, Debug)]
pub struct Random {
    state: u32,
    count: u32,
}

impl Random {
    /// The numbers of the thing that these words name.
    pub fn of(words: &[u32]) -> Random {
        Random { state: words.iter().fold(0x51ab_3c4d, |state, &word| hash2(state, word)), count: 0 }
    }
    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        hash2(self.state, self.count)
    }
    /// A number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        unit(self.bits())
    }
    /// A number in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
    /// The same in f64.
    pub fn range64(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.unit())
    }
    /// True with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }
    /// A whole number in 0..count (0 where count is 0).
    pub fn below(&mut self, count: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(count)) >> 32) as u32
    }
    /// One of these; the slice must not be empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}
