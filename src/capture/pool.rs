//! Buffers that come home: a fixed number of byte vectors, lent out and returned by dropping them.

use std::ops::{Deref, DerefMut};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A fixed set of byte buffers. Taking and returning one allocates nothing.
#[derive(Debug)]
pub struct Pool {
    home: Sender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Pool {
    /// `count` buffers with room for `bytes` each (they are empty vectors of that capacity).
    pub fn new(count: usize, bytes: usize) -> Pool {
        let (home, free) = bounded(count);
        for _ in 0..count {
            // The channel has room for all of them.
            let _ = home.try_send(Vec::with_capacity(bytes));
        }
        Pool { home, free }
    }

    /// A buffer, empty, or `None` while all are out.
    pub fn take(&self) -> Option<PooledBuffer> {
        let bytes = self.free.try_recv().ok()?;
        Some(PooledBuffer { bytes, home: self.home.clone() })
    }
}

/// A buffer of a [`Pool`]; dropping it returns it.
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // Never full: it was taken from there. A pool that is gone lets the buffer go too.
        let _ = self.home.try_send(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_can_be_taken_again_and_a_lent_one_cannot() {
        let pool = Pool::new(1, 16);
        let mut buffer = pool.take().unwrap();
        buffer.extend_from_slice(b"abc");
        assert!(pool.take().is_none());
        drop(buffer);
        assert!(pool.take().unwrap().is_empty());
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = Pool::new(1, 16);
        let buffer = pool.take().unwrap();
        drop(pool);
        drop(buffer);
    }
}
