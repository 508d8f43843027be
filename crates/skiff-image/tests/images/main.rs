//! Images of every kind, read, flattened and written. One program, as each would link all the crates again.

mod against_tar;
mod archives;
mod common;
mod damage;
mod docker;
mod hostile;
mod layers;
mod limits;
mod locations;
mod pairs;
mod platforms;
mod reproducible;
mod sources;
mod sparse;
