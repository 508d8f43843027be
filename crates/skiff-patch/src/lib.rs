//! One file from another: the codecs of a delta, encoder and decoder side by side.
