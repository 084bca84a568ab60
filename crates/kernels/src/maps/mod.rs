//! Network output to published maps.
