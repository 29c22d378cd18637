//! A small HTTPS server that speaks HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::route::Route;
use crate::support::pattern;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the lab ends.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = TlsAcceptor::from(Arc::clone(&tls));
        tokio::spawn(async {
            let _ = connection(stream, tls).await;
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor) -> Result<(), Failure> {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
    let mut connection = builder.handshake::<_, Bytes>(tls.accept(stream).await?).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        tokio::spawn(async {
            let _ = answer(request, respond).await;
        });
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Result<(), Failure> {
    match Route::of(request.uri().path()) {
        Route::Bytes(length) => send(respond, pattern::bytes(length)).await,
        Route::Sum => send(respond, sum(request.into_body()).await?.into()).await,
        _ => refuse(respond),
    }
}

fn refuse(mut respond: SendResponse<Bytes>) -> Result<(), Failure> {
    let response = Response::builder().status(StatusCode::NOT_FOUND).body(())?;
    respond.send_response(response, true)?;
    Ok(())
}

async fn send(mut respond: SendResponse<Bytes>, mut body: Bytes) -> Result<(), Failure> {
    let response = Response::builder().header("content-length", body.len()).body(())?;
    let mut stream = respond.send_response(response, false)?;
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(1 << 16));
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.ok_or("the stream is gone")??;
        stream.send_data(body.split_to(room.min(body.len())), false)?;
    }
    stream.send_data(Bytes::new(), true)?;
    Ok(())
}

async fn sum(mut body: RecvStream) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        hasher.update(&bytes);
        body.flow_control().release_capacity(bytes.len())?;
    }
    Ok(pattern::hex(&hasher.finalize().into()))
}
