//! A delta and its base in, the target's entries and contents out, to any sink.
