//! Worlds: from a seed and a frame number to a [`Scene`]. A generator must give any frame alone (no state carried from
//! the frame before) and must never place bodies that pass through each other.

pub mod room;
pub mod street;

use crate::description::Scene;
use std::fmt;
use std::str::FromStr;

/// Frames a second of every clip.
pub const FRAMES_PER_SECOND: f64 = 30.0;

/// A class of a world: its index is its place in [`World::classes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Its colour in pictures of classes, sRGB.
    pub color: [u8; 3],
}

/// What a clip shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Driving along a street.
    Street,
    /// The same with other textures, light, camera and densities: never trained on.
    StreetShifted,
    /// A camera held by hand in a room.
    Room,
    /// The same with other textures, light, camera and densities: never trained on.
    RoomShifted,
}

/// One clip's world.
pub trait Generator: Send + Sync {
    /// Fills `scene` (clearing what was there) for frame `n`.
    fn fill(&self, n: u32, scene: &mut Scene);
}

impl World {
    /// All worlds.
    pub const ALL: [World; 4] = [World::Street, World::StreetShifted, World::Room, World::RoomShifted];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            World::Street => "street",
            World::StreetShifted => "street-shifted",
            World::Room => "room",
            World::RoomShifted => "room-shifted",
        }
    }

    /// Its classes, in the order of their indices.
    pub const fn classes(self) -> &'static [Class] {
        match self {
            World::Street | World::StreetShifted => &street::CLASSES,
            World::Room | World::RoomShifted => &room::CLASSES,
        }
    }

    /// The generator of the clip with this seed; `segment` picks another place after a scene cut.
    pub(crate) fn generator(self, seed: u64, segment: u32) -> Box<dyn Generator> {
        match self {
            World::Street => Box::new(street::Street::new(seed, segment, false)),
            World::StreetShifted => Box::new(street::Street::new(seed, segment, true)),
            World::Room => Box::new(room::Room::new(seed, segment, false)),
            World::RoomShifted => Box::new(room::Room::new(seed, segment, true)),
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no world of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWorld(pub String);

impl fmt::Display for UnknownWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown world \"{}\": expected one of street, street-shifted, room, room-shifted", self.0)
    }
}

impl std::error::Error for UnknownWorld {}

impl FromStr for World {
    type Err = UnknownWorld;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        World::ALL.into_iter().find(|world| world.name() == text).ok_or_else(|| UnknownWorld(text.to_string()))
    }
}
