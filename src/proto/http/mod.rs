//! HTTP/1.1 as a client speaks it (RFC 9112): request writer, response heads, bodies, and the
//! exchange that puts them together.
//!
//! Owns framing and the verdict whether a connection may carry another request. It must never
//! decide whether a request may be sent again, or what a status means to MCP.

pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod rate_limit;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod response;

use std::fmt;

/// What is wrong with a response. The peer is to blame in every case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HttpError {
    /// The connection ended before the first byte of a response.
    NoResponse,
    /// The connection ended inside a head or a body.
    Truncated,
    /// The first bytes are not those of an HTTP/1 response.
    NotHttp,
    /// The head is malformed; the text says where.
    BadHead(&'static str),
    /// The head, interim responses included, passed the caller's limit.
    HeadTooLarge,
    /// More than [`response::MAX_HEADERS`] header lines.
    TooManyHeaders,
    /// 101 although no upgrade was asked for.
    UnexpectedUpgrade,
    /// Content-Length is not a number.
    BadContentLength,
    /// Two Content-Length values that differ.
    ConflictingLengths,
    /// A Transfer-Encoding other than a single "chunked".
    TransferCoding(String),
    /// The body of a success is compressed, although "identity" was asked for; the coding.
    Encoded(String),
    /// The chunked framing is malformed; the text says where.
    BadChunk(&'static str),
    /// A chunk extension or the trailer section passed [`body::MAX_OVERHEAD`].
    ChunkOverhead,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, detail) = match self {
            HttpError::NoResponse => ("the server closed the connection without a response", ""),
            HttpError::Truncated => ("the server closed the connection inside a response", ""),
            HttpError::NotHttp => ("the server does not answer in HTTP/1.1", ""),
            HttpError::BadHead(what) => ("malformed response head: ", *what),
            HttpError::HeadTooLarge => ("the response head is too large", ""),
            HttpError::TooManyHeaders => ("the response has too many headers", ""),
            HttpError::UnexpectedUpgrade => ("the server switched protocols unasked", ""),
            HttpError::BadContentLength => ("content-length is not a number", ""),
            HttpError::ConflictingLengths => ("two different content-lengths", ""),
            HttpError::TransferCoding(coding) => {
                ("unsupported transfer-encoding: ", coding.as_str())
            }
            HttpError::Encoded(coding) => (
                "the body is compressed, which was not asked for (Content-Encoding): ",
                coding.as_str(),
            ),
            HttpError::BadChunk(what) => ("malformed chunked body: ", *what),
            HttpError::ChunkOverhead => ("a chunk extension or trailer is too large", ""),
        };
        f.write_str(text)?;
        f.write_str(detail)
    }
}

impl std::error::Error for HttpError {}
