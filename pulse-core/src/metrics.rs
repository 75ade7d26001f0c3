//! What Pulse counts about itself, in Prometheus' words. Labels are operation ids, statuses and fixed words: never an id
//! or a name from a request, so the number of series is bounded.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
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
    /// Webhooks of LiveKit by door (`server`, `project`) and result: `recorded`, `duplicate`, `unclaimed`,
    /// `unreadable` (kept, and not to be adopted any more), or an error code.
    pub ingested: IntCounterVec,
    /// Webhooks of LiveKit that were not believed, by reason.
    pub ingest_refused: IntCounterVec,
    /// Webhooks of projects' own LiveKits about rooms whose names cannot be names in Pulse.
    pub foreign_rooms: IntCounter,
    /// Milliseconds by which the clock of the installation's LiveKit was behind ours at its last webhook, one that was refused
    /// for its age included; below zero, ahead. More than a few seconds want a look at the clocks: 60 s ahead or 360 s behind,
    /// webhooks are refused.
    pub clock_skew: IntGauge,
    /// Attempts of deliveries by result.
    pub attempts: IntCounterVec,
    /// Seconds of an attempt.
    pub attempt_seconds: Histogram,
    /// Deliveries that ended, by status.
    pub deliveries: IntCounterVec,
    /// Attempts under way.
    pub deliveries_in_flight: IntGauge,
    /// Deliveries that wait, for endpoints that are sent to, counted up to 100,000.
    pub deliveries_queued: IntGauge,
    /// Deliveries that wait for endpoints that are not sent to, counted up to 100,000.
    pub deliveries_parked: IntGauge,
    /// Seconds for which the longest waiting delivery has been due, over endpoints that are sent to.
    pub deliveries_oldest: IntGauge,
    /// Deliveries that Pulse put aside because of a fault of its own. Any wants a look.
    pub deliveries_quarantined: IntGauge,
    /// Shards of endpoints that this process has.
    pub shards_held: IntGauge,
    /// Endpoints whose breaker is not closed.
    pub breakers_open: IntGauge,
    /// Streams of events that are read.
    pub event_streams: IntGauge,
    /// Participants that were taken out of a room, by reason.
    pub removals: IntCounterVec,
    /// What the reconciler found that LiveKit had not told, by edge.
    pub corrections: IntCounterVec,
    /// Rounds of the reconciler by result.
    pub reconciled: IntCounterVec,
    /// Whether Redis can be used: 1 or 0. There is none where no Redis is set.
    pub redis_up: IntGaugeVec,
    /// Daemons that share limits through Redis, as of the last time that it was heard of.
    pub redis_daemons: IntGaugeVec,
    /// Questions to Redis for a chunk of a limit by result: `granted`, `refused`, `failed`.
    pub redis_chunks: IntCounterVec,
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
        let gauge = |name: &str, help: &str| -> Result<IntGauge> {
            let series = IntGauge::new(name, help).map_err(Error::internal)?;
            registry.register(Box::new(series.clone())).map_err(Error::internal)?;
            Ok(series)
        };
        // Such a series is there once it is set.
        let maybe = |name: &str, help: &str| -> Result<IntGaugeVec> {
            let series = IntGaugeVec::new(Opts::new(name, help), &[]).map_err(Error::internal)?;
            registry.register(Box::new(series.clone())).map_err(Error::internal)?;
            Ok(series)
        };
        let counter = |name, help| -> Result<IntCounter> {
            let series = IntCounter::new(name, help).map_err(Error::internal)?;
            registry.register(Box::new(series.clone())).map_err(Error::internal)?;
            Ok(series)
        };
        Ok(Self {
            requests: counters("pulse_requests_total", "Requests by operation and status", &["operation", "status"])?,
            commit_seconds: histogram("pulse_store_commit_seconds", "Seconds of a store commit", seconds.clone())?,
            commit_group: histogram(
                "pulse_store_commit_group",
                "Batches in one store commit",
                vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            )?,
            key_lookups: counters("pulse_key_lookups_total", "Key look-ups by result", &["result"])?,
            limited: counters("pulse_rate_limited_total", "Requests refused by a rate limit", &["kind"])?,
            tokens: counters("pulse_media_tokens_total", "Media tokens made", &["way"])?,
            jobs: counters("pulse_jobs_total", "Jobs done by workers", &["kind", "result"])?,
            ingested: counters("pulse_livekit_webhooks_total", "Webhooks of LiveKit by result", &["door", "result"])?,
            ingest_refused: counters(
                "pulse_livekit_webhooks_refused_total",
                "Webhooks of LiveKit that were not believed",
                &["reason"],
            )?,
            foreign_rooms: counter(
                "pulse_livekit_foreign_rooms_total",
                "Webhooks of projects' own LiveKits about rooms whose names cannot be names in Pulse",
            )?,
            clock_skew: gauge(
                "pulse_livekit_clock_skew_milliseconds",
                "By how much the clock of the installation's LiveKit was behind ours",
            )?,
            attempts: counters("pulse_webhook_attempts_total", "Attempts of deliveries by result", &["result"])?,
            attempt_seconds: histogram("pulse_webhook_attempt_seconds", "Seconds of an attempt", seconds)?,
            deliveries: counters("pulse_webhook_deliveries_total", "Deliveries that ended", &["status"])?,
            deliveries_in_flight: gauge("pulse_webhook_attempts_in_flight", "Attempts under way")?,
            deliveries_queued: gauge(
                "pulse_webhook_deliveries_queued",
                "Deliveries that wait, for endpoints that are sent to, up to 100,000",
            )?,
            deliveries_parked: gauge(
                "pulse_webhook_deliveries_parked",
                "Deliveries that wait for endpoints that are not sent to, up to 100,000",
            )?,
            deliveries_oldest: gauge(
                "pulse_webhook_deliveries_oldest_seconds",
                "For how long the longest waiting delivery has been due",
            )?,
            deliveries_quarantined: gauge(
                "pulse_webhook_deliveries_quarantined",
                "Deliveries put aside because of a fault of Pulse",
            )?,
            event_streams: gauge("pulse_event_streams", "Streams of events that are read now")?,
            shards_held: gauge("pulse_webhook_shards_held", "Shards of endpoints, of 64, that this process sends to")?,
            breakers_open: gauge("pulse_webhook_breakers_open", "Endpoints that are left alone after failures")?,
            removals: counters("pulse_participants_removed_total", "Participants taken out of a room", &["reason"])?,
            corrections: counters(
                "pulse_reconciler_corrections_total",
                "Edges that LiveKit had not told and that were found by looking",
                &["edge"],
            )?,
            reconciled: counters("pulse_reconciler_rounds_total", "Rounds of the reconciler", &["result"])?,
            redis_up: maybe("pulse_redis_up", "Whether Redis can be used")?,
            redis_daemons: maybe("pulse_redis_daemons", "Daemons that share limits through Redis")?,
            redis_chunks: counters("pulse_redis_chunks_total", "Chunks of limits asked of Redis", &["result"])?,
            latency,
            keys_cached: gauge("pulse_keys_cached", "Keys in the cache")?,
            replans: counter("pulse_replans_total", "Operations planned again because the store had changed")?,
            registry,
        })
    }

    /// The text form of all series.
    pub fn render(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::internal)
    }
}
