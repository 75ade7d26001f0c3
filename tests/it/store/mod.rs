//! The store engines, each through the whole conformance suite and with what it promises beyond that.

mod faulty;
mod memory;
mod mongo;
mod sqlite;
