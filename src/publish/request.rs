//! What a client asks for: a line, checked against what there is. Believes no byte of it.

use milad_client::{Hello, LinesMode, MapsMode, PROTOCOL, Request, Subscribe};

use super::shared;

/// A request, checked, or what is wrong with it.
pub fn parse(line: &[u8], hello: &Hello) -> Result<Subscribe, String> {
    let request: Request = serde_json::from_slice(line).map_err(|error| {
        format!(
            "expected {{\"subscribe\":{{\"tasks\":[…],\"every\":1,\"maps\":\"none\"|\"inline\"|\"shared\"}}}}: {error}"
        )
    })?;
    if let Some(protocol) = request.protocol.filter(|protocol| *protocol != PROTOCOL) {
        return Err(format!("protocol {protocol} is not spoken here: this daemon speaks {PROTOCOL}"));
    }
    let subscribe = request.subscribe;
    if subscribe.every == 0 {
        return Err("\"every\" counts from 1: 1 is every result, 2 every second one".into());
    }
    if subscribe.image && subscribe.maps == MapsMode::None {
        return Err("\"image\" comes with maps: ask for \"inline\" or \"shared\" ones".into());
    }
    if subscribe.lines == LinesMode::Shared && (subscribe.maps, subscribe.every) != (MapsMode::Shared, 1) {
        return Err(
            "\"lines\" in shared memory come with \"maps\" there, and with every result: leave out \"every\"".into()
        );
    }
    let no_tasks = subscribe.tasks.as_ref().is_some_and(Vec::is_empty);
    if subscribe.lines == LinesMode::Shared && no_tasks && !subscribe.image {
        return Err("\"lines\" in shared memory lie beside a map, and \"tasks\":[] has none: name a task, ask for \"image\", or leave out \"lines\"".into());
    }
    if subscribe.maps == MapsMode::Shared
        && let Some(why) = shared::unavailable()
    {
        return Err(format!("{why}: ask for \"inline\" maps"));
    }
    let known = |name: &String| hello.tasks.iter().any(|task| task.name == *name);
    if let Some(unknown) = subscribe.tasks.iter().flatten().find(|name| !known(name)) {
        let names: Vec<_> = hello.tasks.iter().map(|task| task.name.as_str()).collect();
        return Err(format!("no task {unknown:?}; there are: {}", names.join(", ")));
    }
    Ok(subscribe)
}
