//! Eight pictures in a row, as one file: `cargo run --release -p milad-client --example strip -- strip.ppm`

use milad_client::{MapsMode, Options, Results, Subscribe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or("strip.ppm".into());
    let subscribe =
        Subscribe { tasks: Some(vec![]), every: 5, maps: MapsMode::Shared, image: true, ..Subscribe::default() };
    let mut results =
        Results::open(Options { socket: arguments.next().map(Into::into), subscribe, ..Options::default() })?;
    let (mut pictures, mut size) = (Vec::new(), [0, 0]);
    while pictures.len() < 8 {
        let answer = results.next()?;
        let image = answer.map("image")?;
        size = [image.shape()[0] as usize, image.shape()[1] as usize];
        pictures.push(image.to_u8()?);
    }
    let mut out = format!("P6 {} {} 255\n", size[1] * pictures.len(), size[0]).into_bytes();
    for row in 0..size[0] {
        pictures.iter().for_each(|picture| out.extend(&picture[row * size[1] * 3..][..size[1] * 3]));
    }
    std::fs::write(&file, out)?;
    println!("{file}: {} pictures of {}×{}", pictures.len(), size[1], size[0]);
    Ok(())
}
