//! What a world generator fills for one frame, and all that the renderer knows: bodies, lights, air, camera and film.
//! World axes: x right (east), y forward (north), z up, metres. Must never contain anything random or of one world only.

use crate::material::Material;
use crate::math::{Rotation, Vec3, v3};

/// Geometry in a body's own axes, around its origin. Closed shapes are seen from outside, flat ones from both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A box of these half sizes.
    Cuboid {
        /// Half sizes along x, y, z, metres.
        half: Vec3,
    },
    /// A box whose top face is smaller (or larger) than its bottom: cabins of cars, roofs, lampshades.
    Taper {
        /// Half sizes along x, y (at the bottom, z = −half) and z, metres.
        half: Vec3,
        /// Half sizes along x and y at the top.
        top: [f32; 2],
    },
    /// An ellipsoid of these radii along its axes.
    Ellipsoid {
        /// Radii along x, y, z, metres.
        radii: Vec3,
    },
    /// A cylinder along local z with flat ends.
    Cylinder {
        /// Radius, metres.
        radius: f32,
        /// Half its height, metres.
        half: f32,
    },
    /// A cylinder along local z with round ends: `half` reaches to the centres of the half spheres.
    Capsule {
        /// Radius, metres.
        radius: f32,
        /// Half the distance between the centres of its ends, metres.
        half: f32,
    },
    /// A rectangle in local xy, normal along local z: walls, floors, windows.
    Rectangle {
        /// Half sizes along x and y, metres.
        half: [f32; 2],
    },
    /// The endless plane of local xy: the ground.
    Plane,
}

/// Where a body is: local to world.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Placement {
    /// The body's origin in world coordinates, metres (f64: streets never end).
    pub position: [f64; 3],
    /// Local to world axes.
    pub rotation: Rotation,
}

impl Shape {
    /// Half sizes of the box around it in its own axes; infinite across a plane.
    pub fn half_extent(&self) -> Vec3 {
        match *self {
            Shape::Cuboid { half } => half,
            Shape::Taper { half, top } => v3(half.x.max(top[0]), half.y.max(top[1]), half.z),
            Shape::Ellipsoid { radii } => radii,
            Shape::Cylinder { radius, half } => v3(radius, radius, half),
            Shape::Capsule { radius, half } => v3(radius, radius, half + radius),
            Shape::Rectangle { half } => v3(half[0], half[1], 0.0),
            Shape::Plane => v3(f32::INFINITY, f32::INFINITY, 0.0),
        }
    }
}

impl Placement {
    /// Between this one (0) and the next frame's (1); a little outside too.
    pub fn towards(&self, next: &Placement, share: f32) -> Placement {
        let t = f64::from(share);
        let mut position = self.position;
        for (axis, value) in position.iter_mut().enumerate() {
            *value += (next.position[axis] - *value) * t;
        }
        Placement { position, rotation: self.rotation.towards(&next.rotation, share) }
    }
    /// At a position, turned about the vertical (radians, counter-clockwise from above).
    pub fn upright(position: [f64; 3], yaw: f64) -> Placement {
        Placement { position, rotation: Rotation::yaw(yaw) }
    }
    /// The placement of something that sits at `offset` in this one's axes, turned by `rotation` against them.
    pub fn carry(&self, offset: Vec3, rotation: &Rotation) -> Placement {
        let o = self.rotation.apply(offset);
        Placement {
            position: [
                self.position[0] + f64::from(o.x),
                self.position[1] + f64::from(o.y),
                self.position[2] + f64::from(o.z),
            ],
            rotation: self.rotation.after(rotation),
        }
    }
    /// This placement seen from `origin`, in f32.
    pub fn offset_from(&self, origin: [f64; 3]) -> Vec3 {
        v3(
            (self.position[0] - origin[0]) as f32,
            (self.position[1] - origin[1]) as f32,
            (self.position[2] - origin[2]) as f32,
        )
    }
}

/// One rigid shape of one class and one material. A car is several bodies with the same motion.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its geometry.
    pub shape: Shape,
    /// Where it is at the frame's own time.
    pub now: Placement,
    /// Where it is one frame later: between the two it moves evenly (motion blur), and true flow is measured to it.
    pub next: Placement,
    /// Index into the world's classes.
    pub class: u8,
    /// How it looks.
    pub material: Material,
    /// Whether it throws shadows (the ground need not).
    pub shadow: bool,
}

impl Body {
    /// A body that stands still.
    pub fn still(shape: Shape, at: Placement, class: u8, material: Material) -> Body {
        Body { shape, now: at, next: at, class, material, shadow: true }
    }
    /// A body that moves.
    pub fn moving(shape: Shape, now: Placement, next: Placement, class: u8, material: Material) -> Body {
        Body { shape, now, next, class, material, shadow: true }
    }
    /// The same, throwing no shadow.
    pub fn shadowless(mut self) -> Body {
        self.shadow = false;
        self
    }
}

/// The light of the sun: parallel, with hard shadows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sun {
    /// Unit vector from the ground to the sun.
    pub towards: Vec3,
    /// Linear colour of what it adds to a white surface that faces it.
    pub colour: Vec3,
    /// How far its samples are spread as the tangent of an angle: 0.005 for the sun itself, up to 0.7 for the bright part
    /// of an overcast sky.
    pub spread: f32,
}

/// What is seen where no body is, and its reflection in glass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sky {
    /// Straight up.
    pub zenith: Vec3,
    /// At the horizon.
    pub horizon: Vec3,
    /// Clouds' colour.
    pub cloud: Vec3,
    /// Share of the sky that clouds cover, 0…1.
    pub cover: f32,
    /// Picks the clouds' shapes.
    pub seed: u32,
}

/// A small lamp; its light falls with the squared distance, with hard shadows of bodies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamp {
    /// Where, in world coordinates.
    pub position: [f64; 3],
    /// Linear colour of what it adds to a white surface that faces it at one metre.
    pub colour: Vec3,
    /// Where its light ends, metres.
    pub reach: f32,
    /// Whether bodies throw shadows in its light.
    pub shadows: bool,
}

/// Air that dims with distance: `colour · (1 − e^(−density·distance))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fog {
    /// Per metre; 0 for clear air.
    pub density: f32,
    /// Linear colour.
    pub colour: Vec3,
}

/// All light.
#[derive(Clone, Debug)]
pub struct Light {
    /// The sun, if it is up.
    pub sun: Option<Sun>,
    /// What is seen behind everything.
    pub sky: Sky,
    /// Ambient light on a surface that faces up.
    pub ambient_up: Vec3,
    /// Ambient light on a surface that faces down.
    pub ambient_down: Vec3,
    /// Lamps, a handful.
    pub lamps: Vec<Lamp>,
    /// The air.
    pub fog: Fog,
}

/// Where the camera is and looks: columns of `rotation` in a [`Placement`] whose local axes are x right, y forward,
/// z up (so `Rotation::IDENTITY` looks along world y).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// At the frame's own time.
    pub now: Placement,
    /// One frame later.
    pub next: Placement,
    /// Horizontal field of view as the tangent of its half.
    pub half_width: f32,
}

/// How light becomes a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Film {
    /// Factor on linear light.
    pub exposure: f32,
    /// Factors on red, green and blue.
    pub balance: Vec3,
    /// Standard deviation of sensor noise at mid grey, in 8-bit steps.
    pub noise: f32,
    /// Loss of light in the corners, 0…1.
    pub vignette: f32,
    /// Share of the frame interval that the shutter is open, centred on the frame's own time.
    pub shutter: f32,
}

/// One frame's world. Reused from frame to frame: a generator clears and fills it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Everything solid that may be seen or throw a shadow into view.
    pub bodies: Vec<Body>,
    /// All light.
    pub light: Light,
    /// The camera.
    pub camera: Camera,
    /// The film.
    pub film: Film,
    /// The class of pixels that no body covers: sky. Rooms are closed and never show it.
    pub background: u8,
}

impl Default for Scene {
    fn default() -> Self {
        let white = Vec3::ONE;
        Scene {
            bodies: Vec::new(),
            light: Light {
                sun: None,
                sky: Sky {
                    zenith: v3(0.25, 0.45, 0.85),
                    horizon: v3(0.75, 0.85, 0.95),
                    cloud: white,
                    cover: 0.3,
                    seed: 0,
                },
                ambient_up: v3(0.4, 0.45, 0.5),
                ambient_down: v3(0.15, 0.14, 0.13),
                lamps: Vec::new(),
                fog: Fog { density: 0.0, colour: white },
            },
            camera: Camera { now: Placement::default(), next: Placement::default(), half_width: 1.0 },
            film: Film { exposure: 1.0, balance: white, noise: 2.0, vignette: 0.2, shutter: 0.4 },
            background: 0,
        }
    }
}
