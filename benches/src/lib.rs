//! Benches of the skiff workspace: criterion benches of the kernels under `benches/`, and the runner `pairs`, which
//! compares the whole program with other tools on real images.
