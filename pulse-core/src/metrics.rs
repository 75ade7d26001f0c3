//! What Pulse counts about itself, in Prometheus' words. Labels are operation ids, statuses and fixed words: never an id
//! or a name from a request, so the number of series is bounded.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::error::{Error, Result};

/// All series.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by operation and HTTP status.
    pub requests: IntCounterVec,
    /// Seconds from the parsed request to the answer, by operation.
    pub latency: HistogramVec,
    /// Seconds of a store commit.
    pub commit_seconds: Histogram,
    /// Batches in one store commit.
    pub commit_group: Histogram,
    /// Key look-ups by result: `hit`, `miss`, `negative`, `refused`.
    pub key_lookups: IntCounterVec,
    /// Keys in the cache.
    pub keys_cached: IntGauge,
    /// Requests refused by a rate limit, by kind: `address`, `key`, `project`, `failed_auth`.
    pub limited: IntCounterVec,
    /// Media tokens made, by way: `create`, `refresh`, `token_source`.
    pub tokens: IntCounterVec,
    /// Times that an operation was planned again because the store had changed.
    pub replans: IntCounter,
    /// Jobs done by workers, by kind and result.
    pub jobs: IntCounterVec,
}

impl Metrics {
    /// All series at zero.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec> {
            let series = IntCounterVec::new(Opts::new(name, help), labels).map_err(Error::internal)?;
            registry.register(Box::new(series.clone())).map_err(Error::internal)?;
            Ok(series)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram> {
            let series =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).map_err(Error::internal)?;
            registry.register(Box::new(series.clone())).map_err(Error::internal)?;
            Ok(series)
        };
        let seconds = vec![0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
        let latency = HistogramVec::new(
            HistogramOpts::new("pulse_request_seconds", "Seconds from the parsed request to the answer")
                .buckets(seconds.clone()),
            &["operation"],
        )
        .map_err(Error::internal)?;
        registry.register(Box::new(latency.clone())).map_err(Error::internal)?;
        let keys_cached = IntGauge::new("pulse_keys_cached", "Keys in the cache").map_err(Error::internal)?;
        registry.register(Box::new(keys_cached.clone())).map_err(Error::internal)?;
        let replans = IntCounter::new("pulse_replans_total", "Operations planned again because the store had changed")
            .map_err(Error::internal)?;
        registry.register(Box::new(replans.clone())).map_err(Error::internal)?;
        Ok(Self {
            requests: counters("pulse_requests_total", "Requests by operation and status", &["operation", "status"])?,
            commit_seconds: histogram("pulse_store_commit_seconds", "Seconds of a store commit", seconds)?,
            commit_group: histogram(
                "pulse_store_commit_group",
                "Batches in one store commit",
                vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            )?,
            key_lookups: counters("pulse_key_lookups_total", "Key look-ups by result", &["result"])?,
            limited: counters("pulse_rate_limited_total", "Requests refused by a rate limit", &["kind"])?,
            tokens: counters("pulse_media_tokens_total", "Media tokens made", &["way"])?,
            jobs: counters("pulse_jobs_total", "Jobs done by workers", &["kind", "result"])?,
            latency,
            keys_cached,
            replans,
            registry,
        })
    }

    /// The text form of all series.
    pub fn render(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::internal)
    }
}
