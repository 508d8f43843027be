//! What is counted, for Prometheus.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use skiff_protocol::Problem;

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<Request, Counter>,
    pub(crate) computations: Counter,
    pub(crate) failures: Family<Reason, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) waiting: Gauge,
    pub(crate) kept_bytes: Gauge,
    pub(crate) polls: Gauge,
    pub(crate) sent_bytes: Family<Kind, Counter>,
    pub(crate) signatures: Counter,
}

/// A kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    /// The route, not the path: there are few of them.
    pub(crate) route: String,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

/// Why there is no delta.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    /// The problem's code.
    pub(crate) reason: &'static str,
}

/// A kind of what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("skiff");
        // From a tenth of a second to half an hour.
        let seconds = Histogram::new(exponential_buckets(0.1, 2.7, 11));
        let (requests, computations, waiting, kept_bytes) =
            (Family::default(), Counter::default(), Gauge::default(), Gauge::default());
        let failures = Family::default();
        let (polls, sent_bytes, signatures) = (Gauge::default(), Family::default(), Counter::default());
        registry.register("requests", "Requests that were answered", Family::clone(&requests));
        registry.register("delta_computations", "Deltas that were begun to be made", computations.clone());
        let help = "Deltas that came to nothing, by the code of the problem";
        registry.register("delta_failures", help, Family::clone(&failures));
        registry.register("delta_seconds", "How long making a delta took", seconds.clone());
        registry.register("deltas_waiting", "Deltas that are being made or wait to be", waiting.clone());
        registry.register("deltas_kept_bytes", "Bytes of deltas that are kept", kept_bytes.clone());
        registry.register("polls", "Polls and event streams that are held", polls.clone());
        registry.register(
            "sent_bytes",
            "Bytes of deltas and images that were to be sent",
            Family::clone(&sent_bytes),
        );
        registry.register("signatures", "Signatures of unknown releases that were taken", signatures.clone());
        Self {
            registry,
            requests,
            computations,
            failures,
            seconds,
            waiting,
            kept_bytes,
            polls,
            sent_bytes,
            signatures,
        }
    }

    /// Counts a delta that came to nothing.
    pub(crate) fn failed(&self, problem: &Problem) {
        self.failures.get_or_create(&Reason { reason: problem.code.name() }).inc();
    }

    /// All of it, in the OpenMetrics format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
