//! The hello line, made from what was loaded and negotiated.

use std::fs;

use milad_client::{BundleInfo, CameraInfo, ClassInfo, Dtype, Hello, PROTOCOL, TaskInfo, TaskKind as Kind};

use crate::capture::Camera;
use crate::clock;
use crate::model::{Spec, TaskKind};

/// A greeting for newcomers. `intrinsics` are the camera's, in its own pixels, as the user knows them; else the source's.
pub fn greeting(spec: &Spec, camera: Option<&Camera>, intrinsics: Option<[f64; 4]>) -> Hello {
    Hello {
        protocol: PROTOCOL,
        milad: env!("CARGO_PKG_VERSION").into(),
        bundle: bundle_info(spec),
        clock: "monotonic".into(),
        realtime_offset_ns: clock::realtime_offset_ns(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into(),
        camera: camera.map(|camera| camera_info(camera, intrinsics)),
        tasks: task_infos(spec),
    }
}

/// Which networks.
pub fn bundle_info(spec: &Spec) -> BundleInfo {
    BundleInfo { name: spec.name.clone(), sha256: spec.sha256.clone(), trained_on: spec.trained_on.clone() }
}

/// What was negotiated.
pub fn camera_info(camera: &Camera, intrinsics: Option<[f64; 4]>) -> CameraInfo {
    CameraInfo {
        name: camera.name.clone(),
        width: saturate(camera.format.width),
        height: saturate(camera.format.height),
        format: camera.format_name.clone(),
        interval_ns: camera.interval_ns,
        intrinsics: intrinsics.or(camera.intrinsics),
    }
}

/// What is predicted.
pub fn task_infos(spec: &Spec) -> Vec<TaskInfo> {
    let infos = spec.tasks.iter().map(|task| {
        let mut info = TaskInfo {
            name: task.name.clone(),
            kind: Kind::Raw,
            width: saturate(task.width),
            height: saturate(task.height),
            dtype: Dtype::F32,
            channels: None,
            scale: None,
            unit: None,
            classes: Vec::new(),
        };
        match &task.kind {
            TaskKind::Segmentation { classes } => {
                info.kind = Kind::Segmentation;
                info.dtype = Dtype::U8;
                let classes = classes.iter().map(|class| {
                    let [r, g, b] = class.color;
                    ClassInfo { name: class.name.clone(), color: format!("#{r:02x}{g:02x}{b:02x}") }
                });
                info.classes = classes.collect();
            }
            TaskKind::Depth { .. } => {
                info.kind = Kind::Depth;
                info.unit = Some("m".into());
            }
            TaskKind::Normals => {
                info.kind = Kind::Normals;
                info.dtype = Dtype::I8;
                info.channels = Some(3);
                info.scale = Some(127);
            }
            TaskKind::Raw { channels } => info.channels = (*channels != 1).then_some(saturate(*channels)),
        }
        info
    });
    infos.collect()
}

fn saturate(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
