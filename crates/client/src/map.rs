//! A map of a result, wherever it is: in the message, or in memory that the daemon goes on writing.

use std::os::fd::OwnedFd;

use milad_ring::{Overtaken, PlaneError, PlaneReader, Slot};

use crate::maps::{MapsMessage, PlaneInfo, SharedSlot};
use crate::result::Dtype;

/// Why there is no map to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The result has no such map.
    #[error("no map {task:?} with this result; there are: {there}. Ask for it with subscribe")]
    Missing {
        /// What was asked for.
        task: String,
        /// The maps that it has.
        there: String,
    },
    /// The daemon writes another frame there by now.
    #[error("overtaken: the daemon writes another frame there by now; read sooner, or copy first")]
    Overtaken,
    /// The map's numbers are of another type.
    #[error("the map's numbers are {found:?}, expected {expected:?}")]
    Type {
        /// What was asked for.
        expected: Dtype,
        /// What they are.
        found: Dtype,
    },
}

impl From<Overtaken> for MapError {
    fn from(_: Overtaken) -> MapError {
        MapError::Overtaken
    }
}

/// The shared memory of an epoch.
#[derive(Debug)]
pub struct SharedMaps {
    planes: Vec<(PlaneInfo, PlaneReader)>,
}

impl SharedMaps {
    /// Maps what a message brought, after a look at it.
    pub fn new(message: &MapsMessage, descriptors: &[OwnedFd]) -> Result<SharedMaps, String> {
        let expected = message.planes.len() + usize::from(message.lines.is_some());
        if expected != descriptors.len() {
            return Err(format!("{expected} pieces of shared memory with {} descriptors", descriptors.len()));
        }
        let plane = |(info, fd): (&PlaneInfo, &OwnedFd)| {
            let layout = info.layout(message.slots).ok_or("a plane larger than this machine's memory")?;
            let reader = PlaneReader::new(fd, layout).map_err(|error: PlaneError| error.to_string())?;
            Ok((info.clone(), reader))
        };
        let planes = message.planes.iter().zip(descriptors).map(plane).collect::<Result<_, String>>()?;
        Ok(SharedMaps { planes })
    }

    /// A map of the result that named this slot.
    pub fn map(&self, shared: SharedSlot, task: &str) -> Option<Map<'_>> {
        let (info, reader) = self.planes.iter().find(|(info, _)| info.task == task)?;
        let slot = reader.slot(usize::try_from(shared.slot).ok()?)?;
        let bytes = reader.layout().bytes;
        Some(Map { dtype: info.dtype, shape: &info.shape, bytes, place: Place::Shared(slot, shared) })
    }

    /// What is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.planes.iter().map(|(info, _)| info.task.as_str())
    }
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Message(&'a [u8]),
    Shared(Slot<'a>, SharedSlot),
}

/// A view of a map. Nothing is copied until asked for; in shared memory it changes under the reader's eyes when the daemon
/// comes around, so ask [`Map::still_valid`] *after* reading single numbers. The copying methods do.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    dtype: Dtype,
    shape: &'a [u32],
    bytes: usize,
    place: Place<'a>,
}

impl<'a> Map<'a> {
    /// One that lies in its message.
    pub(crate) fn inline(dtype: Dtype, shape: &'a [u32], bytes: &'a [u8]) -> Map<'a> {
        Map { dtype, shape, bytes: bytes.len(), place: Place::Message(bytes) }
    }

    /// Its number type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// `[height, width]`, `[channels, height, width]`, or for the image `[height, width, 3]`.
    pub fn shape(&self) -> &'a [u32] {
        self.shape
    }

    /// Whether all that was read from this view until now is of its own frame.
    pub fn still_valid(&self) -> bool {
        match self.place {
            Place::Message(_) => true,
            Place::Shared(slot, shared) => slot.holds(shared.generation),
        }
    }

    /// Its bytes, little-endian, copied and checked.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MapError> {
        match self.place {
            Place::Message(bytes) => Ok(bytes.to_vec()),
            Place::Shared(slot, shared) => {
                let mut out = vec![0; self.bytes];
                slot.copy(shared.generation, &mut out)?;
                Ok(out)
            }
        }
    }

    /// Classes or pixels, copied and checked.
    pub fn to_u8(&self) -> Result<Vec<u8>, MapError> {
        self.is(Dtype::U8)?;
        self.to_bytes()
    }

    /// Parts of unit vectors × 127, copied and checked.
    pub fn to_i8(&self) -> Result<Vec<i8>, MapError> {
        self.is(Dtype::I8)?;
        Ok(self.to_bytes()?.into_iter().map(|byte| byte as i8).collect())
    }

    /// Metres or raw numbers, copied and checked.
    pub fn to_f32(&self) -> Result<Vec<f32>, MapError> {
        self.is(Dtype::F32)?;
        let bytes = self.to_bytes()?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect())
    }

    /// One number of a `u8` map as it is now. `None` beyond the end, and for maps of other types.
    pub fn u8_at(&self, index: usize) -> Option<u8> {
        self.is(Dtype::U8).ok()?;
        self.byte(index)
    }

    /// One number of an `i8` map as it is now. `None` beyond the end, and for maps of other types.
    pub fn i8_at(&self, index: usize) -> Option<i8> {
        self.is(Dtype::I8).ok()?;
        self.byte(index).map(|byte| byte as i8)
    }

    /// One number of an `f32` map as it is now. `None` beyond the end, and for maps of other types.
    pub fn f32_at(&self, index: usize) -> Option<f32> {
        self.is(Dtype::F32).ok()?;
        let number = match self.place {
            _ if index >= self.bytes / 4 => None,
            Place::Message(bytes) => bytes.as_chunks::<4>().0.get(index).copied(),
            Place::Shared(slot, _) => slot.four(index),
        };
        number.map(f32::from_le_bytes)
    }

    fn byte(&self, index: usize) -> Option<u8> {
        match self.place {
            _ if index >= self.bytes => None,
            Place::Message(bytes) => bytes.get(index).copied(),
            Place::Shared(slot, _) => slot.byte(index),
        }
    }

    fn is(&self, expected: Dtype) -> Result<(), MapError> {
        if self.dtype == expected { Ok(()) } else { Err(MapError::Type { expected, found: self.dtype }) }
    }
}
