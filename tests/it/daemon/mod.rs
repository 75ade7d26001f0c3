//! The real daemon over HTTP.

mod config;
mod dev;
mod lifecycle;
mod limits;
mod notify;
mod requests;
mod security;
