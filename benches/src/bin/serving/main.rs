//! Measures a delta server under load, beside nginx, each a process of its own on loopback.

mod client;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure, end};
use skiff_testkit::{Image, Layer, OciLayout, noise};

use crate::client::Client;
use crate::server::{Nginx, Server};

/// Measures a delta server under load, beside nginx
///
/// Many devices ask for the same delta at once, and others for different ones; a delta that is made already is fetched from the server
/// and, as a file, from nginx; and polls are held. Needs nginx, unless --no-nginx.
#[derive(Debug, Parser)]
#[command(name = "serving", max_term_width = 110)]
struct Arguments {
    /// The server to measure; the skiff-server beside this program, unless named
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// How many devices ask for the same delta at once
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    same: usize,
    /// How many ask for different ones meanwhile
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    different: usize,
    /// How many polls are held
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    polls: usize,
    /// How many MiB of deltas are fetched in each round
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    fetched: usize,
    /// Leave nginx out
    #[arg(long)]
    no_nginx: bool,
    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    end("serving", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context(|| "starting a runtime".into())?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let work = tempfile::tempdir().context(|| "making a directory".into())?;
    let images = work.path().join("images");
    let count = arguments.different + 1;
    write_images(&images.join("app"), count);
    let server = Server::start(arguments.server.as_deref(), work.path(), &images).await?;
    let client = Client::new(&server.address, &server.token);
    client.json("POST", "/v1/fleets", Some(json!({ "name": "bench" })), 201).await?;
    let mut releases = Vec::new();
    for number in 1..=count {
        releases.push(release(&client, number).await?);
    }
    let mut results = json!({});
    results["asking"] = asking(arguments, &server, &client, &releases).await?;
    results["fetching"] = fetching(arguments, (&server, &client), work.path(), &releases).await?;
    drop(server);
    // One that has not made deltas, so that what is resident is what polls take.
    let server = Server::start(arguments.server.as_deref(), work.path(), &images).await?;
    let client = Client::new(&server.address, &server.token);
    results["polling"] = polling(arguments, &server, &client).await?;
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("{results:#}\n")).context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Images of 12 MB that differ from each other in some bytes here and there. The last has a file of 8 MB that no other has, and the one
/// before it one of half a MB, so that there are deltas of those sizes as well.
fn write_images(directory: &Path, count: usize) {
    let lower = noise(1, 8 << 20);
    let mut app = noise(2, 4 << 20);
    let mut layout = OciLayout::new();
    for number in 1..=count {
        for place in (number * 997..app.len()).step_by(100_003) {
            app[place] = app[place].wrapping_add(1);
        }
        let mut upper = Layer::new().file("usr/bin/app", &app);
        if number + 1 == count {
            upper = upper.file("usr/share/some", noise(4, 1 << 19));
        }
        if number == count {
            upper = upper.file("usr/share/new", noise(3, 8 << 20));
        }
        let image = Image::new().layer(Layer::new().file("usr/lib/large", &lower)).layer(upper);
        layout = layout.image(&number.to_string(), image);
    }
    layout.write_directory(directory);
}

async fn release(client: &Client, number: usize) -> Result<String, Failure> {
    let image = json!({ "image": format!("oci:app:{number}") });
    client.json("POST", "/v1/fleets/bench/releases", Some(image), 202).await?;
    loop {
        let release = client.json("GET", &format!("/v1/fleets/bench/releases/{number}"), None, 200).await?;
        match release["state"]["state"].as_str() {
            Some("ready") => return Ok(release["state"]["release"].as_str().unwrap_or_default().into()),
            Some("preparing") => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => return Err(Failure::new(format!("a release failed: {release}"))),
        }
    }
}

fn delta_path(base: &str, target: &str) -> String {
    format!("/v1/deltas/{base}/{target}?formats=1&codecs=1,2,3,4,5,6,7")
}

/// Many devices ask for one delta, and others for different ones.
async fn asking(
    arguments: &Arguments,
    server: &Server,
    client: &Client,
    releases: &[String],
) -> Result<Value, Failure> {
    let (target, bases) = releases.split_last().ok_or_else(|| Failure::new("no releases"))?;
    let asked =
        std::iter::repeat_n(&bases[0], arguments.same).chain(bases).map(|base| delta_path(base, target));
    let started = Instant::now();
    let devices = asked.map(|path| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut connection = client.connect().await?;
            loop {
                let answer = connection.request("GET", &path, &[], None).await?;
                match answer.status {
                    200 => return Ok(answer.size),
                    202 => tokio::time::sleep(Duration::from_millis(200)).await,
                    status => return Err(Failure::new(format!("{path}: {status}"))),
                }
            }
        })
    });
    let mut bytes = 0;
    for device in devices.collect::<Vec<_>>() {
        bytes += device.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let computations = client.metric("skiff_delta_computations_total").await?;
    let (pairs, devices, peak) = (bases.len(), arguments.same + bases.len(), server.peak()?);
    println!(
        "asking:    {devices} devices for {pairs} deltas: {computations} computations, no error, {seconds:.1} s, {} MB sent, peak {} MiB",
        bytes / 1_000_000,
        peak >> 20
    );
    if computations as usize != pairs {
        return Err(Failure::new("a delta was made more than once"));
    }
    Ok(
        json!({ "devices": devices, "pairs": pairs, "computations": computations, "seconds": seconds, "peak_bytes": peak }),
    )
}

/// A delta that is there, from the server and from nginx, in turns.
async fn fetching(
    arguments: &Arguments,
    (server, client): (&Server, &Client),
    work: &Path,
    releases: &[String],
) -> Result<Value, Failure> {
    let (target, bases) = releases.split_last().ok_or_else(|| Failure::new("no releases"))?;
    let pair = |base: &str, target: &str| (delta_path(base, target), format!("{base}-{target}-"));
    let before = bases.last().ok_or_else(|| Failure::new("no releases"))?;
    let large = pair(&bases[0], target);
    let (some, small) = (pair(&bases[0], before), pair(&bases[0], &bases[1]));
    for path in [&some.0, &small.0] {
        while client.connect().await?.request("GET", path, &[], None).await?.status == 202 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let kept = server.data.join("objects/deltas");
    let nginx = if arguments.no_nginx { None } else { Some(Nginx::start(work, &kept).await?) };
    let mut results = json!({});
    for (name, (path, file)) in [("large", large), ("half a MB", some), ("small", small)] {
        let file = find(&kept, &file)?;
        let size = std::fs::metadata(kept.join(&file)).context(|| "reading a delta".into())?.len();
        let requests = ((arguments.fetched << 20) as u64 / size).clamp(64, 20_000) as usize;
        let mut best = [0_f64; 2];
        for _ in 0..3 {
            best[0] = best[0].max(throughput(client, &path, (size, requests)).await?);
            if let Some(nginx) = &nginx {
                let client = Client::new(&nginx.address, "");
                best[1] = best[1].max(throughput(&client, &format!("/{file}"), (size, requests)).await?);
            }
        }
        let [skiff, peer] = best.map(|rate| rate * size as f64 / 1e6);
        println!(
            "fetching:  a delta of {size} bytes, 32 connections: skiff {skiff:.0} MB/s, nginx {peer:.0} MB/s, ratio {:.2}",
            skiff / peer
        );
        results[name] = json!({ "bytes": size, "requests": requests, "skiff_bytes_per_second": skiff * 1e6, "nginx_bytes_per_second": peer * 1e6 });
    }
    Ok(results)
}

fn find(directory: &Path, begin: &str) -> Result<String, Failure> {
    let entries = std::fs::read_dir(directory).context(|| "listing deltas".into())?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.find(|name| name.starts_with(begin)).ok_or_else(|| Failure::new(format!("no delta {begin}")))
}

/// Requests a second, over 32 connections.
async fn throughput(client: &Client, path: &str, (size, requests): (u64, usize)) -> Result<f64, Failure> {
    const CONNECTIONS: usize = 32;
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(requests));
    let started = Instant::now();
    let fetching: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, path, left) = (client.clone(), path.to_owned(), Arc::clone(&left));
            tokio::spawn(async move {
                use std::sync::atomic::Ordering::Relaxed;
                let mut connection = client.connect().await?;
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let answer = connection.request("GET", &path, &[], None).await?;
                    if (answer.status, answer.size) != (200, size) {
                        return Err(Failure::new(format!(
                            "{path}: {} with {} bytes",
                            answer.status, answer.size
                        )));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in fetching {
        task.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(requests as f64 / started.elapsed().as_secs_f64())
}

/// Polls that nothing comes of.
async fn polling(arguments: &Arguments, server: &Server, client: &Client) -> Result<Value, Failure> {
    let device =
        client.json("POST", "/v1/fleets/bench/devices", Some(json!({ "name": "device" })), 201).await?;
    let token = device["token"].as_str().unwrap_or_default();
    let device = Client::new(&server.address, token);
    let target = device.connect().await?.request("GET", "/v1/device/target", &[], None).await?;
    let etag = target.header("etag").ok_or_else(|| Failure::new("no ETag"))?;
    let before = server.resident()?;
    let mut held = Vec::new();
    for _ in 0..arguments.polls {
        let mut connection = device.connect().await?;
        connection.send("GET", "/v1/device/target?wait=300", &[("if-none-match", &etag)], None).await?;
        held.push(connection);
    }
    while client.metric("skiff_polls").await? < arguments.polls as f64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = server.resident()?;
    // All are told of a change.
    let started = Instant::now();
    let value = json!({ "value": "1" });
    client.send("PUT", "/v1/fleets/bench/configuration/SKIFF_SUPERVISOR_DELTA", Some(value), 204).await?;
    for connection in &mut held {
        let answer = connection.receive("GET").await?;
        if answer.status != 200 {
            return Err(Failure::new(format!("a poll was answered with {}", answer.status)));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "polling:   {} polls held: {} MiB resident, {} MiB of them for the polls; all told of a change in {seconds:.2} s",
        held.len(),
        after >> 20,
        after.saturating_sub(before) >> 20
    );
    Ok(
        json!({ "polls": held.len(), "resident_before": before, "resident": after, "seconds_to_tell_all": seconds }),
    )
}
