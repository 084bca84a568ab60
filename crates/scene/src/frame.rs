//! What a frame is asked for and what it gives: options, camera, pose and truth. Plain data.

/// How much work goes into a picture. Truth is the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// One sample a pixel, four along outlines: fast enough for a camera on one small core.
    Live,
    /// Four samples a pixel, spread over the shutter's time: smooth edges and motion blur.
    Training,
}

impl Quality {
    /// `live` or `training`.
    pub fn name(self) -> &'static str {
        match self {
            Quality::Live => "live",
            Quality::Training => "training",
        }
    }
}

/// What to render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Pixels across, at least 1.
    pub width: usize,
    /// Pixels down, at least 1.
    pub height: usize,
    /// How much work goes into a picture.
    pub quality: Quality,
    /// Whether the camera jumps to another place every few seconds.
    pub cuts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { width: 256, height: 128, quality: Quality::Training, cuts: false }
    }
}

/// A pinhole camera in pixels; the centre of the top left pixel is (0.5, 0.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    /// Focal length across.
    pub fx: f64,
    /// Focal length down.
    pub fy: f64,
    /// Optical centre across.
    pub cx: f64,
    /// Optical centre down.
    pub cy: f64,
}

/// Camera to world: three rows of four, the last column the camera's position in metres. Camera axes are x right,
/// y down, z forward; world axes x right, y forward, z up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose(pub [[f64; 4]; 3]);

/// Exact truth at the pixels' centres at the frame's own time. H rows of W pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Class indices, `[H, W]`.
    pub class: Vec<u8>,
    /// Distance along the camera's axis (z, not along the ray) in metres, `[H, W]`; infinite for sky.
    pub depth: Vec<f32>,
    /// Unit normals in camera axes (x right, y down, z forward) that face the camera, `[3, H, W]`; 0 for sky.
    pub normals: Vec<f32>,
    /// Where the surface point under the pixel is in the next frame, in pixels from here, `[2, H, W]`: dx, dy; by the
    /// camera's rotation alone for sky. Before a scene cut, as if there were none.
    pub flow: Vec<f32>,
}
