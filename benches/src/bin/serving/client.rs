//! As much HTTP as it takes to ask.

use serde_json::Value;
use skiff_benches::{Context as _, Failure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Whom to ask, and with which token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
    token: String,
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    token: String,
    buffer: Vec<u8>,
}

/// A response: of its body the size, and the beginning.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) size: u64,
    pub(crate) body: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// So much of a body is kept.
const KEPT: usize = 256 << 10;

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        Self { address: address.into(), token: token.into() }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.address).await.context(|| "connecting".into())?;
        stream.set_nodelay(true).context(|| "connecting".into())?;
        Ok(Connection {
            stream: BufReader::with_capacity(4 << 10, stream),
            token: self.token.clone(),
            buffer: Vec::new(),
        })
    }

    /// Asks something that is answered with this status.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Result<Answer, Failure> {
        let body = body.map(|body| body.to_string());
        let answer = self.connect().await?.request(method, path, &[], body.as_deref()).await?;
        if answer.status != status {
            let said = String::from_utf8_lossy(&answer.body);
            return Err(Failure::new(format!("{method} {path}: {} {said}", answer.status)));
        }
        Ok(answer)
    }

    /// The same, of what is answered with JSON.
    pub(crate) async fn json(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Result<Value, Failure> {
        let answer = self.send(method, path, body, status).await?;
        serde_json::from_slice(&answer.body).context(|| "reading an answer".into())
    }

    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let answer = self.send("GET", "/metrics", None, 200).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.ok_or_else(|| Failure::new(format!("no metric {name}")))
    }
}

impl Connection {
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, Failure> {
        self.send(method, path, headers, body).await?;
        self.receive(method).await
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<(), Failure> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n",
            self.token
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request
                .push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        self.stream.get_mut().write_all(request.as_bytes()).await.context(|| "asking".into())
    }

    pub(crate) async fn receive(&mut self, method: &str) -> Result<Answer, Failure> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Failure::new("no status"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, size: 0, body: Vec::new(), headers };
        let has_body = method != "HEAD" && !matches!(status, 204 | 304);
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        match length {
            Some(length) if has_body => self.body(length, &mut answer).await?,
            None if has_body && answer.header("transfer-encoding").is_some() => loop {
                let size =
                    u64::from_str_radix(&self.line().await?, 16).context(|| "reading a chunk".into())?;
                self.body(size, &mut answer).await?;
                self.line().await?;
                if size == 0 {
                    break;
                }
            },
            _ => {}
        }
        Ok(answer)
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await.context(|| "reading an answer".into())? == 0 {
            return Err(Failure::new("the connection was closed"));
        }
        Ok(line.trim_end().into())
    }

    async fn body(&mut self, mut left: u64, answer: &mut Answer) -> Result<(), Failure> {
        self.buffer.resize(KEPT, 0);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count =
                self.stream.read(&mut self.buffer[..wanted]).await.context(|| "reading an answer".into())?;
            if count == 0 {
                return Err(Failure::new("an answer was cut off"));
            }
            let kept = count.min(KEPT.saturating_sub(answer.body.len()));
            answer.body.extend_from_slice(&self.buffer[..kept]);
            (left, answer.size) = (left - count as u64, answer.size + count as u64);
        }
        // What is held for long holds no buffer.
        if answer.size < 4096 {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}
