//! A comparison of random programs: every step of a program runs on an engine and on the memory engine, and every answer
//! and all that is stored in the end must be the same.

mod places;
mod program;
mod run;

use std::future::Future;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::store::{SharedStore, memory::MemoryStore};

/// Runs `cases` random programs, which follow from `seed`, on stores that the factory makes, each empty and prepared.
///
/// # Panics
///
/// With the smallest program that was found on which the engine differs from the memory engine.
pub fn assert_like_memory<F, S, G>(cases: u32, seed: u64, factory: F)
where
    F: Fn() -> S,
    S: Future<Output = (SharedStore, G)>,
{
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let strategy = program::programs();
    let result = runner.run(&strategy, |program| {
        runtime.block_on(async {
            let (store, guard) = factory().await;
            let model = MemoryStore::new();
            let compared = run::compare(&program, &store, &model).await;
            drop(store);
            drop(guard);
            compared.map_err(TestCaseError::fail)
        })
    });
    if let Err(failure) = result {
        panic!("the engine differs from the memory engine (seed {seed}): {failure}");
    }
}
