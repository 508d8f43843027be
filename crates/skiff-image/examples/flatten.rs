//! Flattens an image and says what came out and how long it took: `flatten IMAGE`.

use std::time::Instant;

use skiff_image::{FlattenOptions, Image, ImageRef, OpenOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference: ImageRef = std::env::args().nth(1).ok_or("usage: flatten IMAGE")?.parse()?;
    let start = Instant::now();
    let image = Image::open(&reference, &OpenOptions::default())?;
    let flat = image.flatten(&FlattenOptions::default())?;
    println!("flattened in {:.2?}", start.elapsed());
    println!("release {}\ntree {}\n{:?}", flat.release_id(), flat.tree.digest(), flat.tree.totals());
    Ok(())
}
