//! One published map: its numbers and their shape.

use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut};

use milad_client::Dtype;
use milad_ring::{Announced, Number, Room};

/// The number that the image goes by among the tasks, which are counted from 0 as in the hello.
pub const IMAGE_TASK: usize = 63;

/// A map of a task in the order of `[channels,] height, width`; or the image, of `height, width, 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Which task, counted as in the hello, or [`IMAGE_TASK`].
    pub task: usize,
    /// Numbers a pixel; 1: the shape on the wire is `[height, width]`.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Pixels a row.
    pub width: usize,
    /// The numbers.
    pub values: Values,
}

impl Plane {
    /// Its sides as they are on the wire.
    pub fn shape(&self) -> impl Iterator<Item = u32> {
        let [channels, height, width] = [self.channels, self.height, self.width].map(|side| side as u32);
        let (sides, from) = match (self.task, channels) {
            (IMAGE_TASK, _) => ([height, width, channels], 0),
            (_, 1) => ([0, height, width], 1),
            _ => ([channels, height, width], 0),
        };
        sides.into_iter().skip(from)
    }
}

/// A map's numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Classes.
    U8(Memory<u8>),
    /// Parts of unit vectors × 127.
    I8(Memory<i8>),
    /// Metres, or raw numbers.
    F32(Memory<f32>),
}

/// The same for all three.
macro_rules! each {
    ($values:expr, $memory:ident => $then:expr) => {
        match $values {
            Values::U8($memory) => $then,
            Values::I8($memory) => $then,
            Values::F32($memory) => $then,
        }
    };
}

impl Values {
    /// Their type on the wire.
    pub fn dtype(&self) -> Dtype {
        match self {
            Values::U8(_) => Dtype::U8,
            Values::I8(_) => Dtype::I8,
            Values::F32(_) => Dtype::F32,
        }
    }

    /// Their length on the wire.
    pub fn bytes(&self) -> usize {
        each!(self, memory => size_of_val(&**memory))
    }

    /// The next map is made there, which is just as large; `None`: in memory of their own.
    pub fn lend(&mut self, room: Option<Room>) {
        let place = room.map_or(Place::Own, Place::Room);
        each!(self, memory => memory.place = place);
    }

    /// A map that was made in a room is one that readers may take. Returns whether it was made in one.
    pub fn announce(&mut self, generation: NonZeroU32) -> bool {
        each!(self, memory => memory.announce(generation))
    }

    /// Appends them as they go over the wire: little-endian.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Values::U8(values) => out.extend_from_slice(values),
            Values::I8(values) => out.extend(values.iter().map(|v| *v as u8)),
            Values::F32(values) => {
                let start = out.len();
                out.resize(start + values.len() * 4, 0);
                // One pass that the compiler turns into a copy.
                if let Some(bytes) = out.get_mut(start..) {
                    for (bytes, value) in bytes.chunks_exact_mut(4).zip(values.iter()) {
                        bytes.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
    }
}

/// Numbers in memory of their own, or where readers look for them.
#[derive(Debug)]
pub struct Memory<T> {
    own: Vec<T>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Own,
    Room(Room),
    Announced(Announced),
}

impl<T: Number> Memory<T> {
    fn announce(&mut self, generation: NonZeroU32) -> bool {
        let (place, made) = match std::mem::replace(&mut self.place, Place::Own) {
            Place::Room(room) => (Place::Announced(room.announce(generation)), true),
            other => (other, false),
        };
        self.place = place;
        made
    }
}

impl<T> From<Vec<T>> for Memory<T> {
    fn from(own: Vec<T>) -> Memory<T> {
        Memory { own, place: Place::Own }
    }
}

impl<T: Number> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.place {
            Place::Own => &self.own,
            Place::Room(room) => room.numbers(),
            Place::Announced(announced) => announced.numbers(),
        }
    }
}

impl<T: Number> DerefMut for Memory<T> {
    /// What readers may take is changed no more: then it is memory of their own.
    fn deref_mut(&mut self) -> &mut [T] {
        if matches!(self.place, Place::Announced(_)) {
            self.place = Place::Own;
        }
        match &mut self.place {
            Place::Room(room) => room.numbers_mut(),
            _ => &mut self.own,
        }
    }
}

impl<T: Number> Clone for Memory<T> {
    fn clone(&self) -> Memory<T> {
        self.to_vec().into()
    }
}

impl<T: Number + PartialEq> PartialEq for Memory<T> {
    fn eq(&self, other: &Memory<T>) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use milad_ring::{PlaneReader, PlaneWriter};

    use super::*;

    #[test]
    fn a_map_is_made_where_it_is_lent_room_and_not_changed_once_it_is_announced() {
        let writer = PlaneWriter::new("test", 2, 8).unwrap();
        let reader = PlaneReader::new(writer.fd(), writer.layout()).unwrap();
        let number = NonZeroU32::new(3).unwrap();
        let read = || {
            let mut out = [0; 8];
            reader.slot(1).unwrap().copy(number, &mut out).map(|()| out)
        };
        let mut values = Values::F32(vec![1.0, 2.0].into());
        let write = |values: &mut Values, numbers| match values {
            Values::F32(memory) => memory.copy_from_slice(numbers),
            _ => panic!(),
        };
        values.lend(writer.room(1));
        write(&mut values, &[3.0, 4.0]);
        assert!(values.bytes() == 8 && read().is_err());
        assert!(values.announce(number) && !values.announce(number), "once");
        assert_eq!(
            (read(), values.clone()),
            (Ok([3.0f32, 4.0].map(f32::to_le_bytes).concat().try_into().unwrap()), Values::F32(vec![3.0, 4.0].into()))
        );
        write(&mut values, &[5.0, 6.0]);
        assert_eq!(
            (read().unwrap()[..4].to_vec(), values),
            (3.0f32.to_le_bytes().to_vec(), Values::F32(vec![5.0, 6.0].into()))
        );
        assert!(writer.room(0).is_some(), "it was given back");
    }
}
