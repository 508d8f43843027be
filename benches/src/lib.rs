//! Benches of the skiff workspace.
