//! Sources take no memory once they are warm. The counter is a thread's own, so that other tests don't disturb it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use milad::capture::card::Card;
use milad::capture::clip::Clip;
use milad::capture::scene::Scene;
use milad::capture::source_spec::{CardSpec, ClipSpec, Pace, SceneSpec};
use milad::capture::{Frame, Next, Source};
use milad::model::InputSpec;
use milad::prepare::{Prepare, PrepareOptions};
use milad::stop::Stop;
use milad_kernels::pixel::Resize;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; the counter is a plain cell that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's layout, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocated so far.
pub fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

/// Reads and prepares `warm` frames, then counts the allocations of 20 more.
fn count(source: &mut dyn Source, warm: usize) -> usize {
    let stop = Stop::new().unwrap();
    let camera = source.camera();
    let input = InputSpec { width: 32, height: 16, mean: [0.5; 3], std: [0.5; 3], resize: Resize::Crop };
    let mut prepare = Prepare::new(&camera, &input, &PrepareOptions::default()).unwrap();
    let mut image = vec![0; 4 * 32 * 16];
    let mut before = 0;
    for i in 0..warm + 20 {
        if i == warm {
            before = allocations();
            assert_ne!(before, 0, "the allocator is not in use");
        }
        let Next::Frame(raw) = source.next(&stop).unwrap() else { panic!("no frame {i}") };
        let frame = Frame { sequence: i as u64, epoch: 1, camera: camera.clone(), raw };
        prepare.run(&frame, &mut image).unwrap();
    }
    allocations() - before
}

#[test]
fn a_warm_card_and_its_preparation_allocate_nothing() {
    for format in ["YUYV", "NV12", "RGB24"] {
        let spec = CardSpec { width: 64, height: 48, format: format.to_owned(), rate: 1000.0 };
        assert_eq!(count(&mut Card::open(&spec).unwrap(), 6), 0, "{format}");
    }
}

#[test]
fn a_warm_scene_and_its_preparation_allocate_nothing_for_a_frame() {
    for world in milad_scene::World::ALL {
        let spec = SceneSpec { world, width: 64, height: 32, rate: 1000.0, ..SceneSpec::default() };
        // Lists grow when more is in sight than ever before; that is rare, and no business of every frame.
        let allocations = count(&mut Scene::open(&spec).unwrap(), 200);
        assert!(allocations < 10, "{world}: {allocations} in 20 frames");
    }
}

#[test]
fn a_warm_y4m_stream_and_its_preparation_allocate_nothing() {
    let path = std::env::temp_dir().join(format!("milad-allocations-{}.y4m", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "YUV4MPEG2 W64 H48 F30:1 C420jpeg").unwrap();
    for _ in 0..26 {
        file.write_all(&[b"FRAME\n", [77; 64 * 48 * 3 / 2].as_slice()].concat()).unwrap();
    }
    let spec = ClipSpec { path: path.clone(), pace: Pace::Max, repeat: false };
    // The reader is the pipe's.
    assert_eq!(count(&mut Clip::open(&spec, &Stop::new().unwrap()).unwrap(), 6), 0);
    std::fs::remove_file(path).unwrap();
}
