//! What a client may do so many times at once, and how often after that.

/// So many at once, and one more after each `every_ns`.
#[derive(Debug)]
pub struct Allowance {
    left: u32,
    most: u32,
    every_ns: u64,
    topped_up: u64,
}

impl Allowance {
    /// All of them, from now on.
    pub fn new(most: u32, every_ns: u64, now_ns: u64) -> Allowance {
        Allowance { left: most, most, every_ns, topped_up: now_ns }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let gained = now_ns.saturating_sub(self.topped_up) / self.every_ns;
        self.topped_up = self.topped_up.saturating_add(gained.saturating_mul(self.every_ns));
        let left = u64::from(self.left).saturating_add(gained).min(u64::from(self.most)) as u32;
        self.left = left.saturating_sub(1);
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_one_by_one_and_never_more_than_there_was() {
        let mut allowance = Allowance::new(2, 10, 100);
        assert_eq!([100, 100, 109].map(|now| allowance.take(now)), [true, true, false]);
        assert_eq!([110, 111, 1000].map(|now| allowance.take(now)), [true, false, true]);
        assert_eq!([1000, 1000].map(|now| allowance.take(now)), [true, false]);
    }
}
