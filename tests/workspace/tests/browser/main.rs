//! The dashboard in a real browser, on a clock that the tests turn.
//!
//! `AEROSTACK_BROWSER_TEST=1 cargo test -p aerostack-workspace --test browser`, with the packages chromium and
//! chromium-driver. Without the variable nothing is tested here. `AEROSTACK_SCREENSHOTS=DIR` keeps pictures.

#[path = "../support/browser.rs"]
mod browser;
mod clicks;
mod page;
mod people;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod times;
