"""What scripts/release is made of: one module for each kind of package, and the trials of each."""
