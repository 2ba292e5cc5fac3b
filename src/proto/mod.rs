//! Pure codecs: bytes to values and back. No time, no policy; nothing here imports the rest of the
//! program.

pub mod aerostack;
pub mod cookie;
pub mod endpoint;
pub mod header;
pub mod http;
pub mod identity;
pub mod jsonrpc;
pub mod line;
pub mod lost_session;
pub mod object;
pub mod secrets;
pub mod sse;
pub mod timestamp;
pub mod transport;
pub mod ws;

pub mod grow;
#[cfg(test)]
mod testing;
