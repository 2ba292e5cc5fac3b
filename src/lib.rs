//! The gateway.

pub mod bridge;
pub mod config;
pub mod failure;
pub mod log;
pub mod proto;
