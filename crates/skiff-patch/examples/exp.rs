use skiff_patch::{State, align};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let new = std::fs::read(&args[1]).unwrap();
    let mut old = Vec::new();
    for a in &args[2..] {
        old.extend(std::fs::read(a).unwrap());
    }
    let t = std::time::Instant::now();
    let plan = align::Plan::new(&old, &new, &align::Options::default());
    let e = plan.forecast();
    let mut s = State::new();
    let p = plan.write_held(&old, &new, &mut s).unwrap();
    println!(
        "{} from {:?}: estimate {} real {} {:?}",
        args[1],
        &args[2..].iter().map(|a| a.rsplit('/').next().unwrap()).collect::<Vec<_>>(),
        e.estimate,
        p.len(),
        t.elapsed()
    );
}
