//! Bundles that tests build, and what they hold.

use super::*;

fn shipped(name: &str) -> String {
    format!("{}/tests/bundles/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_tiny_bundles_load_and_run() {
    for name in ["plain", "task-specific", "multi-frame", "fast-keys", "plain-qdq", "fast-keys-qdq"] {
        let bundle = Bundle::load(&shipped(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        println!("{name}: {:?}", bundle.report());
        let mut model = bundle.into_model(1).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input = &model.spec.input;
        let image = Image::from(tract_onnx::prelude::Tensor::zero::<f32>(&[1, 3, input.height, input.width]).unwrap());
        let first = model.fast.run(&image, &model.initial, 5).unwrap();
        assert_eq!(first.prediction.tasks.len(), model.spec.tasks.len());
        let slow = model.slow.run(&image, first.keys, 5).unwrap();
        assert_eq!(slow.memory.newest_ns(), Some(5));
        model.fast.run(&image, &slow.memory, 6).unwrap();
    }
}
