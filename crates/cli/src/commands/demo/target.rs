//! The servers that the demo's requests end at: a small HTTP/1.1 server and a UDP echo.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::pattern;

/// The longest request line or header line that is read, in bytes.
const MAX_LINE: u64 = 8 * 1024;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 1_024;

/// The addresses of one family's targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targets {
    /// The HTTP server.
    pub(super) http: SocketAddr,
    /// The UDP echo.
    pub(super) echo: SocketAddr,
    /// A TCP port at which nobody listens.
    pub(super) closed: SocketAddr,
}

impl Targets {
    /// Changes the address by which apps know the targets.
    pub(super) fn set_ip(&mut self, ip: IpAddr) {
        for target in [&mut self.http, &mut self.echo, &mut self.closed] {
            target.set_ip(ip);
        }
    }
}

/// Starts the targets on `address` as tasks of the current runtime.
pub(super) async fn start(address: IpAddr) -> io::Result<Targets> {
    let listener = listen(address)?;
    let echo = UdpSocket::bind((address, 0)).await?;
    // Bound and dropped: the port is free, and nobody listens.
    let closed = TcpListener::bind((address, 0)).await?.local_addr()?;
    let targets = Targets { http: listener.local_addr()?, echo: echo.local_addr()?, closed };
    tokio::spawn(serve_http(listener));
    tokio::spawn(serve_echo(echo));
    Ok(targets)
}

/// Listens with room for all requests of the demo at once; the usual 128 would drop some of their SYNs.
fn listen(address: IpAddr) -> io::Result<TcpListener> {
    let socket = match address {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((address, 0).into())?;
    socket.listen(BACKLOG)
}

async fn serve_http(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Err(error) = answer(stream).await {
                tracing::debug!(%error, "target connection ended");
            }
        });
    }
}

async fn serve_echo(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (len, peer) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..len], peer).await?;
    }
}

/// Answers the one request of a connection, then closes it.
async fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(pattern::CHUNK, stream);
    let request = read_head(&mut stream).await?;
    match request.path.strip_prefix("/bytes/").map(str::parse) {
        Some(Ok(len)) => send_pattern(&mut stream, len).await?,
        _ if request.path == "/hash" => {
            let digest = hash_body(&mut stream, request.content_length).await?;
            respond(&mut stream, "200 OK", &digest).await?;
        }
        _ => respond(&mut stream, "404 Not Found", "").await?,
    }
    stream.shutdown().await
}

/// What the demo's server needs to know of a request.
struct Request {
    path: String,
    /// `None`: the body ends with the client's FIN.
    content_length: Option<u64>,
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let line = read_line(stream).await?;
    let path = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let mut content_length = None;
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(Request { path, content_length });
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            let value = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            content_length = Some(value);
        }
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(MAX_LINE).read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

async fn hash_body(stream: &mut BufReader<TcpStream>, len: Option<u64>) -> io::Result<String> {
    let mut body = stream.take(len.unwrap_or(u64::MAX));
    let mut hash = Sha256::new();
    loop {
        let chunk = body.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(pattern::hex(&hash.finalize()));
        }
        hash.update(chunk);
        let len = chunk.len();
        body.consume(len);
    }
}

async fn send_pattern(stream: &mut BufReader<TcpStream>, len: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; pattern::CHUNK];
    for (offset, size) in pattern::chunks(len) {
        pattern::fill(offset, &mut buffer[..size]);
        stream.write_all(&buffer[..size]).await?;
    }
    Ok(())
}

async fn respond(stream: &mut BufReader<TcpStream>, status: &str, body: &str) -> io::Result<()> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await
}
