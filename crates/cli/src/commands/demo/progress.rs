//! Progress bars, one at a time. Where standard error is not a terminal they are not drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes.
pub(super) fn bytes(name: &'static str, total: u64) -> ProgressBar {
    bar(name, total, "{prefix:>20} {bar:32} {bytes:>10} {bytes_per_sec:>14} {msg}")
}

/// A bar that counts things.
pub(super) fn count(name: &'static str, total: usize) -> ProgressBar {
    bar(name, total as u64, "{prefix:>20} {bar:32} {pos:>5}/{len} {msg}")
}

/// Ends a bar with its result, and hands the outcome on.
pub(super) fn finish<T, E>(bar: &ProgressBar, outcome: Result<T, E>) -> Result<T, E> {
    match outcome {
        Ok(_) => {
            bar.set_position(bar.length().unwrap_or_default());
            bar.finish_with_message("ok");
        }
        Err(_) => bar.abandon_with_message("FAILED"),
    }
    outcome
}

fn bar(name: &'static str, total: u64, template: &str) -> ProgressBar {
    // The templates are constants of this file; a wrong one would only cost its looks.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    let bar = ProgressBar::new(total).with_style(style).with_prefix(name);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
