//! An HTTP server that does what a test tells it to, and a proxy that cuts what goes through it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, for example.
    pub method: String,
    /// The path, without what was asked for.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// Names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the connection ended before the body did.
    pub is_cut: bool,
}

/// An answer to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    sent: Option<usize>,
    declared: Option<u64>,
    delay: Duration,
}

/// A server on loopback that answers each request as a function says. Ends when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
}

/// A proxy on loopback that passes TCP on, and cuts every connection once so many bytes went through it, both ways together.
/// Ends when it is dropped.
#[derive(Debug)]
pub struct FlakyProxy {
    counts: Arc<Counts>,
    listener: Listener,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    cuts: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// A thread that accepts connections, each of which gets one of its own.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpRequest {
    /// A header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &value[..])
    }

    /// What is asked for by a name, with its escapes undone.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| unescape(value))
    }

    fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let mut request =
            Self { method, path: path.into(), query: query.into(), headers, body: Vec::new(), is_cut: false };
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        // What came before a reset is there still.
        let read = reader.take(length).read_to_end(&mut request.body);
        request.is_cut = read.is_err() || (request.body.len() as u64) < length;
        Ok(Some(request))
    }
}

impl HttpAnswer {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            sent: None,
            declared: None,
            delay: Duration::ZERO,
        }
    }

    /// None: the connection is closed.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Of whose body only so many bytes are sent before the connection is cut.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.sent = Some(bytes);
        self
    }

    /// That says that its body has so many bytes, whatever it has.
    #[must_use]
    pub fn declare(mut self, bytes: u64) -> Self {
        self.declared = Some(bytes);
        self
    }

    /// Whose body ends where the connection does, so that its length is not said.
    #[must_use]
    pub fn without_length(self) -> Self {
        self.header("connection", "close")
    }

    /// Sent after a while.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Returns whether the connection goes on.
    fn write(&self, request: &HttpRequest, stream: &mut TcpStream) -> io::Result<bool> {
        std::thread::sleep(self.delay);
        if self.status == 0 {
            return Ok(false);
        }
        let closes = self.headers.iter().any(|(name, value)| name == "connection" && value == "close");
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, "Scripted");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !closes && self.status != 204 {
            head += &format!("content-length: {}\r\n", self.declared.unwrap_or(self.body.len() as u64));
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if request.method == "HEAD" {
            return Ok(!closes);
        }
        let sent = self.sent.unwrap_or(self.body.len()).min(self.body.len());
        stream.write_all(&self.body[..sent])?;
        Ok(!closes && self.sent.is_none())
    }
}

impl HttpServer {
    /// Begins to answer.
    #[must_use]
    pub fn start(answer: impl Fn(&HttpRequest) -> HttpAnswer + Send + Sync + 'static) -> Self {
        Self { listener: Listener::start(move |stream| drop(serve(stream, &answer))) }
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address.to_string()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&HttpRequest) -> HttpAnswer) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = match HttpRequest::read(&mut reader) {
            Ok(Some(request)) => request,
            Ok(None) => break,
            // What is no text is no HTTP: TLS, for example.
            Err(error) => {
                writer.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
                return Err(error);
            }
        };
        let goes_on = answer(&request).write(&request, &mut writer)?;
        if !goes_on || request.is_cut {
            break;
        }
    }
    writer.shutdown(Shutdown::Both)
}

impl FlakyProxy {
    /// Begins to pass on to an address; `cut_after` is how many bytes a connection lasts.
    #[must_use]
    pub fn start(to: &str, cut_after: u64) -> Self {
        let counts = Arc::new(Counts::default());
        let to = to.to_owned();
        let shared = Arc::clone(&counts);
        let listener = Listener::start(move |client| {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let Ok(server) = TcpStream::connect(&to) else { return };
            let budget = AtomicU64::new(cut_after);
            std::thread::scope(|scope| {
                scope.spawn(|| pass(&client, &server, &budget, &shared.up, &shared.cuts));
                pass(&server, &client, &budget, &shared.down, &shared.cuts);
            });
        });
        Self { counts, listener }
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address.to_string()
    }

    /// Connections that were made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Connections that were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.counts.cuts.load(Ordering::SeqCst)
    }

    /// Bytes of those who connect that were passed on.
    #[must_use]
    pub fn bytes_up(&self) -> u64 {
        self.counts.up.load(Ordering::SeqCst)
    }

    /// Bytes that were passed on to those who connect.
    #[must_use]
    pub fn bytes_down(&self) -> u64 {
        self.counts.down.load(Ordering::SeqCst)
    }
}

/// Passes bytes on until there are no more, or the connection's budget is spent.
fn pass(mut from: &TcpStream, mut to: &TcpStream, budget: &AtomicU64, count: &AtomicU64, cuts: &AtomicU64) {
    let mut buffer = vec![0; 4 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let spend = |left: u64| Some(left.saturating_sub(read as u64));
        let left = budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).unwrap_or(0);
        let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        count.fetch_add(passed as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..passed]).is_err() {
            break;
        }
        if left <= read as u64 {
            // Whoever takes the last byte of the budget cuts.
            if left > 0 {
                cuts.fetch_add(1, Ordering::SeqCst);
            }
            break;
        }
    }
    // What was passed on is still delivered; then the end is seen.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

impl Listener {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("the port's address");
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let serve = Arc::clone(&serve);
                // Whoever is silent for long is gone, and does not keep the thread.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { rest.next().zip(rest.next()) } else { None };
        let escaped = digits.and_then(|(high, low)| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        });
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
