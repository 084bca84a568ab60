//! Why an integer operator can't be made or run: what was expected, what was found.

use std::fmt;

/// What is wrong. The caller knows the tensor's name in the network and puts it in front.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// Sizes that don't fit together, or to the memory given.
    Shape(String),
    /// A scale or zero-point that no quantiser writes.
    Quantisation(String),
    /// A sum that may leave 32 bits, which integer arithmetic would then get wrong without a word.
    Overflow {
        /// The output channel.
        channel: usize,
        /// The largest magnitude that its sum may take.
        bound: i128,
    },
    /// Right, but nothing here computes it.
    Unsupported(String),
    /// The kernel asked for is not there on this CPU.
    Unavailable(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Shape(what) | Error::Quantisation(what) => f.write_str(what),
            Error::Overflow { channel, bound } => write!(
                f,
                "output channel {channel}: its sum may reach {bound}, expected at most {}; quantise again with smaller weights or bias",
                i32::MAX
            ),
            Error::Unsupported(what) => write!(f, "{what}: no integer kernel does this"),
            Error::Unavailable(kernel) => {
                write!(f, "kernels for {kernel}: this CPU, or this build, does not have them")
            }
        }
    }
}

impl std::error::Error for Error {}
