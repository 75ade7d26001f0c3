//! Randomness as a parameter. The operating system is asked in [`SystemEntropy`] and nowhere else.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

/// Where random bytes come from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `buffer` with bytes that nobody can guess.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator, read in blocks so that an id or a nonce does not cost a system call.
#[derive(Debug, Default)]
pub struct SystemEntropy {
    pool: parking_lot::Mutex<Pool>,
}

struct Pool {
    bytes: zeroize::Zeroizing<[u8; 4096]>,
    used: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { bytes: zeroize::Zeroizing::new([0; 4096]), used: 4096 }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("used", &self.used).finish_non_exhaustive()
    }
}

impl Entropy for SystemEntropy {
    #[expect(clippy::expect_used, reason = "without randomness no secret may be made: stopping is the safe answer")]
    #[expect(clippy::disallowed_methods, reason = "the one place where the operating system's randomness is read")]
    fn fill(&self, buffer: &mut [u8]) {
        let mut pool = self.pool.lock();
        for chunk in buffer.chunks_mut(4096) {
            if pool.used + chunk.len() > pool.bytes.len() {
                getrandom::fill(pool.bytes.as_mut_slice()).expect("the operating system gives no randomness");
                pool.used = 0;
            }
            let end = pool.used + chunk.len();
            let start = std::mem::replace(&mut pool.used, end);
            chunk.copy_from_slice(&pool.bytes[start..end]);
            pool.bytes[start..end].fill(0);
        }
    }
}

/// Bytes that follow from a seed, for tests that must come out the same each time. Never for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: AtomicU64,
}

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = self.counter.fetch_add(1, Ordering::SeqCst);
            let digest =
                Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(block.to_be_bytes()).finalize();
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}
