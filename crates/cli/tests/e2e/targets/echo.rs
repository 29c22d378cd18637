//! A server that sends back what it hears, as it hears it.

use std::io;

use tokio::net::{TcpListener, TcpStream};

/// Serves until the lab ends.
pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async {
            let _ = echo(stream).await;
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await
}
