//! Where a panic was: the payload that a catch sees does not tell, so a hook notes it for the thread.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use lovage_core::BACKTRACE_BYTES_MAX;

/// Where the last panic of a thread was.
#[derive(Debug)]
pub(crate) struct Place {
    /// `FILE:LINE:COLUMN`.
    pub(crate) location: String,
    /// The innermost calls, where the program captures them.
    pub(crate) backtrace: Option<String>,
}

thread_local! {
    static LAST: RefCell<Option<(String, Backtrace)>> = const { RefCell::new(None) };
}

/// Notes the place of each panic from now on, before the hook that is there already. A hook that the program sets later
/// takes the place of both: then the place of a panic is not known.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else {
        return;
    };
    // Whether there is one is up to RUST_LIB_BACKTRACE and RUST_BACKTRACE.
    let place = (location.to_string(), Backtrace::capture());
    // A thread that is ending has none.
    let _ = LAST.try_with(|last| last.replace(Some(place)));
}

/// Where the panic was that this thread has just caught.
pub(crate) fn take() -> Option<Place> {
    let (location, backtrace) = LAST.with(RefCell::take)?;
    let captured = backtrace.status() == BacktraceStatus::Captured;
    Some(Place {
        location,
        backtrace: captured.then(|| shortened(backtrace.to_string())),
    })
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(BACKTRACE_BYTES_MAX));
    text
}
