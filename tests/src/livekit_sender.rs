//! A sender of webhooks that does what LiveKit does, for tests and loads without a media server.
//!
//! Read in LiveKit's own source (its protocol library of livekit-server 1.13.5, `webhook/`, and the HTTP client with
//! retries that it uses): events of one egress, else one ingress, else one room are sent one after the other, those of
//! different ones side by side; a webhook is signed when its turn comes and keeps its id, its bytes and its token over
//! all tries; see [`Manner`] for when it tries again and when it gives up. It has no memory beyond its process.
//!
//! What Pulse must not lose is what it acknowledged: [`Report`] joins what the sender was told with what receivers got.

mod lanes;
mod load;
mod manner;
mod post;
mod recorded;
mod report;
mod story;
#[cfg(test)]
mod tests;
mod webhook;

pub use lanes::LiveKitSender;
pub use load::{Load, Pace};
pub use manner::{Fate, Manner, Next, Tried};
pub use post::{HttpPost, Post};
pub use recorded::{Recorded, Retelling};
pub use report::{Outcome, Report};
pub use story::Story;
pub use webhook::{ApiKey, CONTENT_TYPE, Webhook, correlation_of_delivery};
