//! The program in the containers of the tests: it is compiled to one static file, which needs nothing of its image, and does what
//! its arguments say, one after the other.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, process, thread};

static ASKED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
}

extern "C" fn note(_number: c_int) {
    ASKED.store(true, Ordering::SeqCst);
}

fn main() {
    let mut words = env::args().skip(1);
    while let Some(verb) = words.next() {
        let mut word = || words.next().expect("the verb takes another word");
        match &*verb {
            "show" => show(),
            "arguments" => println!("arguments {}", words.by_ref().collect::<Vec<_>>().join("|")),
            // What cannot be read or written says so, and the next thing is done.
            "read" => match word() {
                path => println!("{path}: {}", fs::read_to_string(&path).unwrap_or_else(|error| error.kind().to_string())),
            },
            "write" => match (word(), word()) {
                (path, text) => match fs::write(&path, text) {
                    Ok(()) => println!("{path} written"),
                    Err(error) => println!("{path}: {}", error.kind()),
                },
            },
            "list" => match word() {
                path => println!("{path} has {}", list(&path)),
            },
            "exit" => process::exit(word().parse().unwrap()),
            "wait" => wait(),
            "hang" => loop {
                thread::sleep(Duration::from_secs(60));
            },
            verb => panic!("no such verb: {verb}"),
        }
    }
}

fn show() {
    println!("directory {}", env::current_dir().unwrap().display());
    for (name, value) in env::vars() {
        println!("variable {name}={value}");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines() {
        if let Some((name @ ("Uid" | "Gid" | "Groups" | "CapEff" | "CapBnd"), values)) = line.split_once(':') {
            println!("{name} {}", values.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

fn list(path: &str) -> String {
    let mut names: Vec<String> = match fs::read_dir(path) {
        Ok(names) => names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect(),
        Err(error) => return error.kind().to_string(),
    };
    names.sort();
    names.join(" ")
}

/// Waits until it is asked to end.
fn wait() {
    for number in [2, 15] {
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe { signal(number, note) };
    }
    println!("ready");
    while !ASKED.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
    println!("asked");
}
