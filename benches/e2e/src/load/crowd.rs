//! Many flows that say nothing, or all speak at once.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures::future::join_all;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::connection::{Connection, Way};
use super::{Figures, now, percentiles, server};
use crate::serve::{ECHO, Wish};

/// What a flow says, in bytes.
const QUESTION: usize = 64;

/// How long the answer of a flow that spoke with all others may take.
const LONGEST: Duration = Duration::from_mins(1);

/// How many, of which kind.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    #[arg(long)]
    flows: usize,
    /// Have all TCP flows speak at once when standard input ends, and wait for their answers.
    #[arg(long)]
    speak: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tcp,
    Udp,
}

/// How long an answer may take before it is asked for again, and how often.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 10;

/// Opens them, says so, and keeps them until standard input ends.
pub(super) async fn run(way: &Way, options: &Options) -> Result<Figures> {
    let (mut connections, mut sockets) = (Vec::new(), Vec::new());
    let wish = if options.speak { Wish::Echo } else { Wish::Take };
    for _ in 0..options.flows {
        match options.kind {
            Kind::Tcp => {
                let mut connection = way.connect().await?;
                connection.send(Bytes::copy_from_slice(&wish.request(0))).await?;
                connections.push(connection);
            }
            Kind::Udp => {
                sockets.push(answered()?);
            }
        }
    }
    println!("open");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    if options.speak { Ok(speak(&mut connections).await) } else { Ok(Figures::new()) }
}

/// Has all speak at once: how many get no answer, and how long the others wait for it.
async fn speak(connections: &mut [Connection]) -> Figures {
    let answers = join_all(connections.iter_mut().map(|connection| async {
        let start = now();
        let answer = timeout(LONGEST, echo(connection)).await;
        answer.is_ok_and(|answer| answer.is_ok()).then(|| start.elapsed())
    }));
    let times = answers.await;
    let unanswered = times.iter().filter(|time| time.is_none()).fold(0.0, |sum, _| sum + 1.0);
    let mut figures = Figures::from([("unanswered".to_owned(), unanswered)]);
    let slowest = times.iter().flatten().max().map_or(f64::NAN, Duration::as_secs_f64);
    figures.extend(percentiles(times.into_iter().flatten().collect()));
    figures.push(("slowest s".to_owned(), slowest));
    figures
}

async fn echo(connection: &mut Connection) -> Result<()> {
    connection.send(Bytes::from_static(&[b'q'; QUESTION])).await?;
    connection.receive_exactly(QUESTION, &mut [0; QUESTION]).await
}

/// A socket that has had an answer.
fn answered() -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..TRIES {
        socket.send(&[ECHO; 16])?;
        if socket.recv(&mut [0; 16]).is_ok() {
            return Ok(socket);
        }
    }
    bail!("no answer")
}
