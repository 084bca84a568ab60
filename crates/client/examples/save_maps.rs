//! Every result's maps as `.npy` files, until the daemon ends:
//! `cargo run --release -p milad-client --example save_maps -- FOLDER [SOCKET]`
//!
//! The files are called as those of `milad infer`, which tests compare them with, on this machine and on the emulated board:
//! `000012.fast.depth.npy`, or `slow` where the slow network answered (a keyframe of a synchronous run).

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use milad_client::{ClientError, Dtype, IMAGE, Map, MapError, MapsMode, Options, Results, Subscribe};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("expected a folder for the maps")?);
    fs::create_dir_all(&folder)?;
    let socket = arguments.next().map(Into::into);
    let subscribe = Subscribe { maps: MapsMode::Shared, image: true, ..Subscribe::default() };
    // Every result, however old: nobody acts on them.
    let options = Options { socket, subscribe, max_age: None, newest: false, reconnect: false, ..Options::default() };
    let mut results = Results::open(options)?;
    loop {
        let answer = match results.next() {
            Ok(answer) => answer,
            Err(ClientError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let sequence = answer.result.sequence;
        let is_keyframe = answer.result.keyframe.as_ref().is_some_and(|keyframe| keyframe.age_frames == 0);
        let network = if is_keyframe { "slow" } else { "fast" };
        let names = answer.hello.tasks.iter().map(|task| &*task.name).chain([IMAGE]);
        // All of them before the first is written: the daemon goes on.
        let files: Result<Vec<_>, MapError> = names.map(|name| Ok((name, npy(&answer.map(name)?)?))).collect();
        match files {
            Ok(files) => {
                for (name, file) in files {
                    fs::write(folder.join(format!("{sequence:06}.{network}.{name}.npy")), file)?;
                }
            }
            Err(MapError::Overtaken) => eprintln!("frame {sequence} came too late"),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A map as numpy keeps arrays (NEP 1, version 1.0).
fn npy(map: &Map<'_>) -> Result<Vec<u8>, MapError> {
    let descr = match map.dtype() {
        Dtype::I8 => "|i1",
        Dtype::F32 => "<f4",
        _ => "|u1",
    };
    let shape: String = map.shape().iter().map(|side| format!("{side}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // What comes before the numbers is a multiple of 64 bytes, and ends with a newline.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = length - 1).into_bytes());
    file.extend(map.to_bytes()?);
    Ok(file)
}
