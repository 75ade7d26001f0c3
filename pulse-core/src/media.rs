//! LiveKit: room names on the wire, grants, tokens, and reachability. No other module knows LiveKit's words.

pub mod cluster;
pub mod grants;
pub mod inspect;
pub mod preset;
pub mod room;
pub mod token;
