//! Container images in, a tree and its contents out.
