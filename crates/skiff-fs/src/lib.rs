//! Trees on disk: reads one, makes entries beneath a root, shares, syncs and swaps them.
