//! Datagram targets.

use tokio::net::UdpSocket;

/// The address that the name server gives for every name.
pub(crate) const ANSWER: [u8; 4] = [192, 0, 2, 53];

/// Sends every datagram back.
pub(crate) async fn echo(socket: UdpSocket) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An error here is an ICMP error for an earlier answer; the next datagram is on its way.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], peer).await;
        }
    }
}

/// Answers every question for one name with [`ANSWER`].
pub(crate) async fn dns(socket: UdpSocket) {
    let mut buffer = vec![0; 512];
    loop {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await
            && let Some(reply) = reply(&buffer[..length])
        {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

/// RFC 1035 §4.1: the question's header and question, and one A record.
fn reply(question: &[u8]) -> Option<Vec<u8>> {
    let name = question.get(12..)?;
    let end = 12 + name.iter().position(|byte| *byte == 0)? + 5;
    let mut reply = question.get(..end)?.to_vec();
    reply[2] = 0x84 | (reply[2] & 0x01); // an authoritative answer
    reply[3] = 0;
    reply[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    // The name by reference; type A, class IN, 60 seconds, four bytes.
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    reply.extend(ANSWER);
    Some(reply)
}
