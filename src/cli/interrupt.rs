// SPDX-License-Identifier: GPL-2.0-or-later
//! Ctrl-C: the first ends the work with what there is, the second ends it at once.

use super::{Error, INTERRUPTED};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody wants it to end.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C is heeded.
    pub(super) fn catch() -> Result<Interrupt, Error> {
        let pressed = Arc::new(AtomicBool::new(false));
        let again = Arc::clone(&pressed);
        ctrlc::set_handler(move || {
            if again.swap(true, Ordering::Relaxed) {
                exit(INTERRUPTED.into());
            }
        })
        .map_err(|e| format!("cannot catch Ctrl-C: {e}"))?;
        Ok(Interrupt(pressed))
    }

    pub(super) fn pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
