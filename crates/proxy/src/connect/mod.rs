//! TCP tunnels: CONNECT (RFC 9113 §8.5) and connect-tcp (draft-ietf-httpbis-connect-tcp).
//!
//! ```text
//!   request ─▶ resolve ─▶ dial ─▶ 200 ─▶ relay ┬─ upload    DATA ─▶ bytes, END_STREAM ─▶ FIN
//!                                              └─ download  bytes ─▶ DATA, FIN ─▶ END_STREAM
//! ```
//!
//! With connect-tcp the bytes are in capsules, and `FINAL_DATA` is what `END_STREAM` is above.

mod dial;
mod download;
mod framing;
mod relay;
mod upload;

use pseudotcp_masque::Target;
use tokio::net::TcpStream;

use crate::client::{Receiver, Sender};
use crate::refusal::Refusal;
use crate::resolve::resolve;
use crate::serve::Shared;
use crate::tunnel::{Ended, Tunnel};

use self::dial::dial;
use self::relay::Relay;

/// Connects to the target.
pub(crate) async fn open(shared: &Shared, target: &Target) -> Result<TcpStream, Refusal> {
    let addresses = resolve(shared, target).await?;
    let socket = dial(addresses, shared.limits.connect_timeout).await?;
    socket.set_nodelay(true).map_err(|error| Refusal::of_connect(&error))?;
    Ok(socket)
}

/// Carries an open tunnel to its end.
pub(crate) async fn carry(
    tunnel: &Tunnel,
    socket: TcpStream,
    receiver: Receiver,
    sender: Sender,
) -> Ended {
    Relay::new(tunnel, receiver, sender).run(socket).await
}
