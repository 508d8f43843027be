//! Two trees with their contents in, a delta out.
