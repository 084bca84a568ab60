//! What clients of the results socket may take: numbers alone.

const SECOND_NS: u64 = 1_000_000_000;

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients at a time; at most [`Limits::MAX_CLIENTS`].
    pub clients: usize,
    /// Whole messages that wait for one client.
    pub waiting: usize,
    /// How long so many may wait before the client is disconnected.
    pub patience_ns: u64,
    /// How long a client that is being disconnected may take for what it still gets.
    pub grace_ns: u64,
    /// Bytes of a request, without its newline.
    pub request_bytes: usize,
    /// Error messages at once; then one a second.
    pub errors: u32,
    /// Requests at once; then one every 10 ms.
    pub requests: u32,
}

impl Limits {
    /// The most that [`Limits::clients`] can be.
    pub const MAX_CLIENTS: usize = 64;
}

/// One ring of the bell reaches all of them.
const _: () = assert!(milad_ring::WOKEN as usize == Limits::MAX_CLIENTS);

impl Default for Limits {
    fn default() -> Self {
        Limits {
            clients: Limits::MAX_CLIENTS,
            waiting: 4,
            patience_ns: 5 * SECOND_NS,
            grace_ns: SECOND_NS,
            request_bytes: 4096,
            errors: 10,
            requests: 100,
        }
    }
}
