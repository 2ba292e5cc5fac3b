//! The reference workspace.
fn main() {}
