//! Who calls, what they may do, how keys are made and checked, how stored secrets are sealed.

pub mod caller;
pub mod key;
pub mod keyring;
pub mod network;
pub mod pepper;
pub mod permission;
pub mod seal;

pub use caller::{Caller, KeyCaller, OperatorVia};
pub use permission::{Permission, Permissions, Role};
