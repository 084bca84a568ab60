//! Where a class is in the picture, and how much of it: `cargo run --release -p milad-client --example follow_class -- person`

use milad_client::{MapsMode, Options, Results, Subscribe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or("person".into());
    let subscribe =
        Subscribe { tasks: Some(vec!["segmentation".into()]), maps: MapsMode::Shared, ..Subscribe::default() };
    let mut results =
        Results::open(Options { socket: arguments.next().map(Into::into), subscribe, ..Options::default() })?;
    loop {
        let answer = results.next()?;
        let task = answer.hello.tasks.iter().find(|task| task.name == "segmentation").ok_or("no such task")?;
        let class = task.classes.iter().position(|class| class.name == wanted).ok_or("no such class")?;
        let (map, width) = (answer.map("segmentation")?.to_u8()?, task.width as usize);
        let columns: Vec<usize> = (0..map.len()).filter(|i| usize::from(map[*i]) == class).map(|i| i % width).collect();
        let share = columns.len() as f64 / map.len() as f64;
        // −1 at the left edge, 1 at the right one.
        let centre = columns.iter().sum::<usize>() as f64 / columns.len().max(1) as f64 / width as f64 * 2.0 - 1.0;
        println!("frame {}: {wanted} {:.1} % at {centre:+.2}", answer.result.sequence, share * 100.0);
    }
}
