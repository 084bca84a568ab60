//! The nearest obstacle, and where it is: `cargo run --release -p milad-client --example nearest`

use milad_client::{MapsMode, Options, Results, Subscribe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let subscribe = Subscribe { tasks: Some(vec!["depth".into()]), maps: MapsMode::Shared, ..Subscribe::default() };
    let socket = std::env::args().nth(1).map(Into::into);
    let mut results = Results::open(Options { socket, subscribe, ..Options::default() })?;
    loop {
        let answer = results.next()?;
        let map = answer.map("depth")?;
        let [height, width] = [map.shape()[0] as usize, map.shape()[1] as usize];
        let depth = map.to_f32()?;
        // The upper two thirds: the ground before the wheels is no obstacle.
        let seen = depth[..width * height * 2 / 3].iter().enumerate().filter(|(_, metres)| metres.is_finite());
        match seen.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
            Some((i, metres)) => {
                println!("frame {}: {metres:.2} m at column {}, row {}", answer.result.sequence, i % width, i / width)
            }
            None => println!("frame {}: nothing in sight", answer.result.sequence),
        }
    }
}
