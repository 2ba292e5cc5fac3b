//! How a buffer grows that collects one long value (a line, an event) from pieces.

use std::collections::TryReserveError;

/// Up to here a buffer doubles.
const DOUBLE_UNTIL: usize = 1 << 20;

/// Appends `bytes`, growing by at most a quarter once the buffer is large, and not past `limit`
/// where that suffices: doubling would cost 16 MB for a value of 9 MB.
pub(crate) fn extend(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    if let Err(refused) = try_extend(buffer, bytes, limit) {
        // What can go on without is asked by `try_extend`.
        panic!("{refused}");
    }
}

/// The same; an error if the system has no memory for it.
pub(crate) fn try_extend(
    buffer: &mut Vec<u8>,
    bytes: &[u8],
    limit: usize,
) -> Result<(), TryReserveError> {
    let needed = buffer.len().saturating_add(bytes.len());
    if needed > buffer.capacity() && needed > DOUBLE_UNTIL {
        let roomy = buffer
            .capacity()
            .saturating_add(buffer.capacity() / 4)
            .min(limit);
        buffer.try_reserve_exact(roomy.max(needed) - buffer.len())?;
    }
    buffer.try_reserve(bytes.len())?;
    buffer.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_by_a_quarter_at_most() {
        let mut buffer = Vec::new();
        let piece = [b'x'; 4096];
        let mut growths = 0;
        while buffer.len() < 10 << 20 {
            let before = buffer.capacity();
            extend(&mut buffer, &piece, 64 << 20);
            growths += usize::from(buffer.capacity() != before);
            assert!(buffer.capacity() <= (buffer.len() * 5 / 4).max(DOUBLE_UNTIL));
        }
        assert!(growths < 40, "{growths} reallocations");
    }

    #[test]
    fn keeps_within_the_limit() {
        let limit = (3 << 20) + 1;
        let mut buffer = Vec::new();
        for _ in 0..limit {
            extend(&mut buffer, b"x", limit);
        }
        assert_eq!(buffer.capacity(), limit);
    }
}
