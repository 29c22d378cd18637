//! The server: does what the first bytes of a connection ask for.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::load::{Flood, LARGEST, open};

/// Where it listens, for TCP and for datagrams.
pub(crate) const PORT: u16 = 5_000;

/// Where it takes and sends datagrams by the batch.
pub(crate) const BATCH_PORT: u16 = PORT + 1;

/// What a connection asks for, in its first nine bytes: one of these, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wish {
    /// Send so many bytes; the end is the other side's to say.
    Send = b'S',
    /// Take all there is, then answer with one byte.
    Take = b'T',
    /// Send back what comes.
    Echo = b'E',
}

impl Wish {
    /// The bytes that ask for this.
    pub(crate) fn request(self, number: u64) -> [u8; 9] {
        let mut request = [self as u8; 9];
        request[1..].copy_from_slice(&number.to_be_bytes());
        request
    }
}

/// A datagram that ends so, even if joined to others, asks how many bytes the others have had since
/// it was last asked.
pub(crate) const COUNT: &[u8] = b"count?";
/// A datagram that begins so asks for a [`Flood`], whose parameters follow.
pub(crate) const FLOOD: &[u8] = b"flood?";
/// A datagram that begins so is sent back.
pub(crate) const ECHO: u8 = b'e';

const CHUNK: usize = 256 * 1024;

/// Serves until it is killed.
pub(crate) fn run() -> Result<()> {
    for (port, batched) in [(PORT, false), (BATCH_PORT, true)] {
        let datagrams = open(port, batched)?;
        thread::spawn(move || serve_datagrams(&datagrams));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::UNSPECIFIED, PORT).into())?;
        serve(socket.listen(4_096)?).await
    })
}

async fn serve(listener: TcpListener) -> Result<()> {
    println!("serving");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async {
            let _ = answer(stream).await;
        });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let wish = stream.read_u8().await?;
    let number = stream.read_u64().await?;
    match wish {
        wish if wish == Wish::Send as u8 => send(&mut stream, number).await,
        wish if wish == Wish::Echo as u8 => echo(&mut stream).await,
        _ => take(&mut stream).await,
    }
}

async fn send(stream: &mut TcpStream, mut rest: u64) -> io::Result<()> {
    let chunk = vec![0x5a; usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK))];
    while rest > 0 {
        let length = usize::try_from(rest).map_or(chunk.len(), |rest| rest.min(chunk.len()));
        stream.write_all(&chunk[..length]).await?;
        rest -= length as u64;
    }
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn take(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        stream.readable().await?;
        // Idle connections own no buffer.
        buffer.resize(CHUNK, 0);
        if stream.read(&mut buffer).await? == 0 {
            return stream.write_all(b"!").await;
        }
    }
}

async fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await.map(drop)
}

/// Echoes datagrams that ask for it, and counts the bytes of the others.
fn serve_datagrams(socket: &UdpSocket) {
    let mut buffer = vec![0; LARGEST];
    let mut count = 0;
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        let datagram = &buffer[..length];
        if let Some(before) = datagram.strip_suffix(COUNT) {
            let sum: u64 = std::mem::take(&mut count) + before.len() as u64;
            let _ = socket.send_to(&sum.to_be_bytes(), peer);
        } else if let Some(flood) = datagram.strip_prefix(FLOOD).and_then(Flood::parse) {
            let socket = socket.try_clone();
            thread::spawn(move || {
                socket.map(|socket| flood.send(&socket, |bytes| socket.send_to(bytes, peer)))
            });
        } else if datagram.first() == Some(&ECHO) {
            let _ = socket.send_to(datagram, peer);
        } else {
            count += length as u64;
        }
    }
}
