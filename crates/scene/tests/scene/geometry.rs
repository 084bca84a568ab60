//! Pinhole geometry from the contract's words alone, in f64: independent of the renderer's own.

use milad_scene::{Intrinsics, Pose};

/// The camera's axes point of a pixel (its centre) at a depth.
pub fn point(camera: &Intrinsics, x: f64, y: f64, depth: f64) -> [f64; 3] {
    [(x + 0.5 - camera.cx) / camera.fx * depth, (y + 0.5 - camera.cy) / camera.fy * depth, depth]
}

/// The pixel (x, y as in [`point`]) under a point in the camera's axes.
pub fn pixel(camera: &Intrinsics, p: [f64; 3]) -> [f64; 2] {
    [camera.fx * p[0] / p[2] + camera.cx - 0.5, camera.fy * p[1] / p[2] + camera.cy - 0.5]
}

/// From camera to world.
pub fn to_world(pose: &Pose, p: [f64; 3]) -> [f64; 3] {
    pose.0.map(|row| row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3])
}

/// From world to camera.
pub fn to_camera(pose: &Pose, p: [f64; 3]) -> [f64; 3] {
    let d = [0, 1, 2].map(|k| p[k] - pose.0[k][3]);
    [0, 1, 2].map(|axis| (0..3).map(|k| pose.0[k][axis] * d[k]).sum())
}

pub fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = dot(a, a).sqrt();
    a.map(|v| v / length)
}
