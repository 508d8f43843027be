//! Test tools of the skiff workspace: layers made by hand, oracles, and the bodies of the fuzz targets.
