//! The engine's panics while it loads a bundle, as refusals: its reader takes some impossible numbers (a stride of 0, an axis that is not there)
//! at their word.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use super::error::BundleError;

thread_local! {
    /// What a thread is loading, and what its last panic said.
    static LOADING: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs `load`, which loads or prepares the bundle in `folder`; a panic becomes an error. Where panics end the program (packages are built so), it
/// says the same and ends with the status of a refused bundle.
pub(crate) fn caught<T>(folder: &Path, load: impl FnOnce() -> Result<T, BundleError>) -> Result<T, BundleError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !noted(panic) {
                before(panic);
            }
        }));
    });
    LOADING.set(Some((folder.display().to_string(), String::new())));
    let outcome = catch_unwind(AssertUnwindSafe(load));
    let said = LOADING.take().map_or(String::new(), |(_, said)| said);
    outcome.unwrap_or_else(|_| Err(BundleError::Engine { file: folder.into(), reason: reason(&said) }))
}

fn reason(said: &str) -> String {
    format!(
        "it gave up ({said}); a stride, step, divisor, axis or index in the networks is impossible: check and export them again"
    )
}

/// Whether this thread loads a bundle: then what the panic says is kept, and nothing is printed.
fn noted(panic: &PanicHookInfo) -> bool {
    LOADING.with_borrow_mut(|loading| {
        let Some((folder, said)) = loading else { return false };
        let words = panic.payload_as_str().unwrap_or("no words");
        let place =
            panic.location().map(|place| (place.file().rsplit(['/', '\\']).next().unwrap_or_default(), place.line()));
        *said = place.map_or(words.into(), |(file, line)| format!("{words}, {file}:{line}"));
        if cfg!(panic = "abort") {
            let error = BundleError::Engine { file: folder.as_str().into(), reason: reason(said) };
            eprintln!("milad: {error}");
            std::process::exit(crate::config::EXIT_CODE.into());
        }
        true
    })
}
