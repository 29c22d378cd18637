//! A small HTTP/1.1 server.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::route::Route;
use crate::support::pattern;

type Connection = BufReader<TcpStream>;

/// Serves until the lab ends.
pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async {
            let _ = requests(BufReader::new(stream)).await;
        });
    }
}

/// Answers one request after the other.
async fn requests(mut connection: Connection) -> io::Result<()> {
    while let Some(request) = Request::read(&mut connection).await? {
        match Route::of(&request.path) {
            Route::Bytes(length) => {
                head(&mut connection, "200 OK", &format!("Content-Length: {length}\r\n")).await?;
                connection.write_all(&pattern::bytes(length)).await?;
            }
            Route::UntilClose(length) => {
                head(&mut connection, "200 OK", "Connection: close\r\n").await?;
                connection.write_all(&pattern::bytes(length)).await?;
                return connection.shutdown().await;
            }
            Route::PacedUntilClose(length) => {
                head(&mut connection, "200 OK", "Connection: close\r\n").await?;
                write_paced(&mut connection, pattern::bytes(length)).await?;
                return connection.shutdown().await;
            }
            Route::Sum => {
                let sum = sum(&mut connection, &request).await?;
                head(&mut connection, "200 OK", &format!("Content-Length: {}\r\n", sum.len()))
                    .await?;
                connection.write_all(sum.as_bytes()).await?;
            }
            Route::Page => send(&mut connection, "text/html", &page()).await?,
            Route::Script => send(&mut connection, "text/javascript", SCRIPT).await?,
            Route::Unknown => {
                head(&mut connection, "404 Not Found", "Content-Length: 0\r\n").await?;
            }
        }
    }
    Ok(())
}

/// Writes the first label of its own host.
const SCRIPT: &str = "{ const host = new URL(document.currentScript.src).hostname;\n\
                      document.write(`<p>${host.split('.')[0]}</p>`); }\n";

/// A page with a script from each host.
fn page() -> String {
    let script = |host| format!("<script src=\"http://{host}.example/script\"></script>\n");
    let scripts: String = ["one", "two", "three", "alias"].map(script).concat();
    format!("<!DOCTYPE html>\n<title>a page</title>\n{scripts}")
}

/// A whole answer of this kind.
async fn send(connection: &mut Connection, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let fields = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
    head(connection, "200 OK", &fields).await?;
    connection.write_all(body.as_bytes()).await
}

async fn head(connection: &mut Connection, status: &str, fields: &str) -> io::Result<()> {
    connection.write_all(format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes()).await
}

/// 64 kB every 2 ms.
async fn write_paced(connection: &mut Connection, mut body: Bytes) -> io::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while !body.is_empty() {
        ticks.tick().await;
        connection.write_all(&body.split_to(body.len().min(64_000))).await?;
    }
    Ok(())
}

/// Reads a body of known length, and returns its sum in hexadecimal digits.
async fn sum(connection: &mut Connection, request: &Request) -> io::Result<String> {
    if request.waits {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let (mut hasher, mut rest) = (Sha256::new(), request.length);
    while rest > 0 {
        let bytes = connection.fill_buf().await?;
        let taken = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&bytes[..taken]);
        connection.consume(taken);
        rest -= taken as u64;
    }
    Ok(pattern::hex(&hasher.finalize().into()))
}

/// The part of a request's head that matters here.
#[derive(Default)]
struct Request {
    path: String,
    length: u64,
    waits: bool,
}

impl Request {
    /// `None` at the end of the connection.
    async fn read(connection: &mut Connection) -> io::Result<Option<Self>> {
        let mut request = Self::default();
        let mut limited = connection.take(16 * 1024);
        let mut line = String::new();
        while limited.read_line(&mut line).await? > 2 {
            request.add(line.trim_end());
            line.clear();
        }
        Ok((!request.path.is_empty()).then_some(request))
    }

    fn add(&mut self, line: &str) {
        match line.split_once(": ") {
            _ if self.path.is_empty() => {
                line.split(' ').nth(1).unwrap_or("/").clone_into(&mut self.path);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                self.length = value.parse().unwrap_or(0);
            }
            Some((name, _)) if name.eq_ignore_ascii_case("expect") => self.waits = true,
            _ => {}
        }
    }
}
