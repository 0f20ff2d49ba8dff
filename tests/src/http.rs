//! One HTTP request at a time, by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request and answers with status and body.
///
/// # Panics
/// When the server does not answer with HTTP.
pub async fn request(at: SocketAddr, method: &str, path: &str, bearer: Option<&str>) -> (u16, String) {
    send(at, method, path, bearer, "").await
}

/// Sends a request with a body and answers with status and body.
///
/// # Panics
/// When the server does not answer with HTTP.
pub async fn send(
    at: SocketAddr,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let authorization = bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{authorization}{length}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP: {head}")), body.to_owned())
}

/// Gets a page that must be there.
///
/// # Panics
/// When it is not.
pub async fn get(at: SocketAddr, path: &str) -> String {
    let (status, body) = request(at, "GET", path, None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}
