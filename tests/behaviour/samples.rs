//! The configuration that ships is one that the program accepts.

use std::path::Path;

use milad::config::Config;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/milad.toml");

#[test]
fn the_sample_configuration_as_it_stands_waits_for_the_first_camera_and_is_the_default_else() {
    let mut expected = Config::default();
    expected.camera.source = Some("v4l2:".to_owned());
    assert_eq!(Config::load(Path::new(PATH)).unwrap(), expected);
}

/// Examples stand behind a `#` without a space, prose behind one with a space.
#[test]
fn the_sample_configuration_with_all_its_examples_in_force_is_accepted() {
    let text = std::fs::read_to_string(PATH).unwrap();
    let is_example = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let lines = text.lines().map(|line| if is_example(line) { &line[1..] } else { line });
    let config = Config::parse(&lines.collect::<Vec<_>>().join("\n"), Path::new("the sample")).unwrap();
    let default = Config::default();
    // Each table has an example that is not the default, so that this test sees something.
    assert_ne!(config.camera, default.camera);
    assert_ne!(config.model, default.model);
    assert_ne!(config.keyframe, default.keyframe);
    assert_ne!(config.results, default.results);
    assert_ne!(config.threads, default.threads);
    assert_ne!(config.view, default.view);
    assert_eq!(config.metrics, default.metrics, "the example shows the default");
}
