//! A device's store of releases: stage, verify, swap, roll back, recover.
