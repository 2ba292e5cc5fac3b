//! Pure codecs: bytes to values and back. No time, no policy; nothing here imports the rest of the
//! program.

pub(crate) mod aerostack;
pub(crate) mod cookie;
pub(crate) mod endpoint;
pub(crate) mod header;
pub(crate) mod http;
pub(crate) mod identity;
pub mod jsonrpc;
pub(crate) mod line;
pub(crate) mod lost_session;
pub(crate) mod object;
pub(crate) mod secrets;
pub(crate) mod sse;
pub(crate) mod timestamp;
pub(crate) mod transport;
pub(crate) mod ws;

pub(crate) mod grow;
#[cfg(test)]
pub(crate) mod testing;
