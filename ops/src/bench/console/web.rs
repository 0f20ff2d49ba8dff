//! A console's requests, without a browser: pages, and streams that stay open.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A node that says nothing for so long is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A stream that has ended is opened again after this, as browsers are told.
const BACK_AFTER: Duration = Duration::from_secs(2);
/// What a line of the stream begins with that names an event.
const EVENT: &[u8] = b"event: ";

/// Where the console is, and who asks.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) at: SocketAddr,
    pub(super) token: String,
}

/// A page that was got.
pub(super) struct Got {
    pub(super) took: Duration,
    pub(super) text: String,
}

impl Site {
    async fn ask(&self, path: &str, accept: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: {accept}\r\n\
             Connection: close\r\n\r\n",
            self.at, self.token
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    /// Gets a page whole.
    pub(super) async fn get(&self, path: &str) -> Result<Got> {
        let began = clock::mono();
        let mut bytes = Vec::new();
        let mut stream = self.ask(path, "text/html").await?;
        timeout(ANSWER_WITHIN, stream.read_to_end(&mut bytes)).await.context("no answer")??;
        let took = clock::mono().since(began);
        let text = String::from_utf8(bytes)?;
        if !text.starts_with("HTTP/1.1 200") {
            bail!("{path} answers {}", text.lines().next().unwrap_or_default());
        }
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        Ok(Got { took, text: body })
    }
}

/// What came by streams.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) events: Cell<u64>,
    pub(super) bytes: Cell<u64>,
    pub(super) ended: Cell<u64>,
}

/// Streams that are read for as long as this lives.
pub(super) struct Readers {
    pub(super) came: Rc<Came>,
    _reading: JoinSet<()>,
}

impl Readers {
    /// So many of one page, or of a stream of the API. One that ends is opened again, as a browser does.
    pub(super) async fn open(site: &Site, path: &str, many: usize) -> Result<Self> {
        let (came, mut reading) = (Rc::new(Came::default()), JoinSet::new());
        for _ in 0..many {
            let (mut stream, site, path) = (begin(site, path).await?, site.clone(), path.to_owned());
            let came = Rc::clone(&came);
            reading.spawn_local(async move {
                loop {
                    let _ = read(stream, &came).await; // it has ended, and is counted as that
                    came.ended.set(came.ended.get() + 1);
                    tokio::time::sleep(BACK_AFTER).await;
                    let Ok(again) = begin(&site, &path).await else { return };
                    stream = again;
                }
            });
        }
        Ok(Self { came, _reading: reading })
    }
}

async fn begin(site: &Site, path: &str) -> Result<TcpStream> {
    let mut stream = site.ask(path, "text/event-stream").await?;
    let mut status = [0; 12];
    timeout(ANSWER_WITHIN, stream.read_exact(&mut status)).await.context("no answer")??;
    if status == *b"HTTP/1.1 200" {
        return Ok(stream);
    }
    bail!("{path} answers {}", String::from_utf8_lossy(&status))
}

async fn read(mut stream: TcpStream, came: &Came) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        came.bytes.set(came.bytes.get() + read as u64);
        came.events.set(came.events.get() + events(&buffer[..read], &mut line));
    }
}

/// The events that begin in these bytes; `line` is what the line has so far that they go on with.
fn events(bytes: &[u8], line: &mut Vec<u8>) -> u64 {
    let mut found = 0;
    for byte in bytes {
        if *byte == b'\n' {
            line.clear();
        } else if line.len() < EVENT.len() {
            line.push(*byte);
            found += u64::from(line == EVENT);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        let text = b"1f\r\nretry: 2000\n\nevent: live\ndata: event: none\n\nevent: live\ndata: x\n\n";
        for at in 0..text.len() {
            let mut line = Vec::new();
            let counted = events(&text[..at], &mut line) + events(&text[at..], &mut line);
            assert_eq!(counted, 2, "cut at {at}");
        }
    }
}
