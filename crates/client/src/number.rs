//! How fractions look on the wire: rounded to what they are worth, so that lines stay short and readable.
//!
//! A number that is not finite becomes `null`, as JSON has no other word for it.

use serde::{Deserialize, Deserializer, Serializer};

fn rounded<S: Serializer>(value: f64, scale: f64, serializer: S) -> Result<S::Ok, S::Error> {
    // `+ 0.0` turns -0.0 into 0.0: the sign of a zero is worth nothing to a reader.
    serializer.serialize_f64((value * scale).round() / scale + 0.0)
}

/// Milliseconds with three decimals (µs).
pub fn milliseconds<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    rounded(*value, 1e3, serializer)
}

/// A share of 1 with four decimals.
pub fn share<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    rounded(f64::from(*value), 1e4, serializer)
}

/// A share of 1 with four decimals, or `null`.
pub fn share_or_null<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => share(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// Metres with three decimals (mm), or `null`.
pub fn metres_or_null<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => rounded(f64::from(*value), 1e3, serializer),
        None => serializer.serialize_none(),
    }
}

/// A field that may be `null` but must be there: tells one kind of statistics from another.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    Option::deserialize(deserializer)
}

/// A share that JSON may have turned into `null`.
pub fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f32::NAN))
}
