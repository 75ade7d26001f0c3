//! What each operation does, through the plane's one door, with an injected clock.

mod audit;
mod bans;
mod clock;
mod deliveries;
mod endpoints;
mod events;
mod idempotency;
mod installation;
mod keys;
mod lists;
mod organizations;
mod projects;
mod refresh;
mod replays;
mod tenancy;
mod tokens;
mod verification;
mod webhook_url;

use pulse_core::{Error, error::Code};

/// The code of what should have failed.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.expect_err("this should have been refused").code()
}

/// The fields that a 422 names.
fn bad_fields<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
    let error = result.expect_err("this should have been refused");
    assert_eq!(error.code(), Code::InvalidFields, "{error}");
    error.faults().iter().map(|fault| fault.field.clone()).collect()
}
