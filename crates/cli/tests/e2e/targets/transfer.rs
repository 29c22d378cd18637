//! Plain TCP targets that send, count and answer, for the kernels' matrix.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::support::pattern;

/// Sends as much of the pattern as the first eight bytes ask for, then FIN.
pub(crate) fn send(listener: TcpListener) {
    each(listener, |mut stream| {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u64::from_be_bytes(length)).expect("small");
        stream.write_all(&pattern::bytes(length))
    });
}

/// Takes all there is, then answers with its sum.
pub(crate) fn sum(listener: TcpListener) {
    each(listener, |mut stream| {
        let (_, sum) = pattern::read_sum(&stream)?;
        stream.write_all(&sum)
    });
}

/// Takes all there is, then gives it back.
pub(crate) fn echo(listener: TcpListener) {
    each(listener, |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        stream.write_all(&bytes)
    });
}

/// Serves every connection on a thread of its own; the threads end with the process.
fn each(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}
