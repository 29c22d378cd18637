//! Many questions over one flow of messages, told apart by their ids.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The most questions that wait to be sent.
const QUEUE: usize = 64;

/// The most questions without an answer.
const MAX_WAITING: usize = 4_096;

/// A flow without questions ends after this long.
const IDLE: Duration = Duration::from_secs(10);

/// Where a message's id ends, and its question begins.
const ID: usize = 2;
const HEADER: usize = 12;

/// A flow of DNS messages that any number of questions share. Dropping it ends the flow.
#[derive(Debug)]
pub(crate) struct Multiplex {
    questions: mpsc::Sender<Question>,
    driver: JoinHandle<()>,
}

#[derive(Debug)]
struct Question {
    message: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl Multiplex {
    /// Uses a flow of whole messages, until it ends or nobody has asked for a while.
    pub(crate) fn new<F>(flow: F) -> Self
    where
        F: Sink<Bytes> + Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let (questions, inbox) = mpsc::channel(QUEUE);
        let driver = tokio::spawn(drive(flow, inbox));
        Self { questions, driver }
    }

    /// Asks, and waits for the answer, which has the id 0; an error where the flow has ended.
    pub(crate) async fn exchange(&self, query: &Bytes) -> io::Result<Bytes> {
        let (sender, answer) = oneshot::channel();
        let question = Question { message: query.clone(), answer: sender };
        self.questions.send(question).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Whether the flow can still be used.
    pub(crate) fn is_open(&self) -> bool {
        !self.questions.is_closed()
    }
}

impl Drop for Multiplex {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn ended() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

async fn drive<F>(mut flow: F, mut inbox: mpsc::Receiver<Question>)
where
    F: Sink<Bytes> + Stream<Item = io::Result<Bytes>> + Unpin,
{
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            question = next_question(&mut inbox, waiting.is_empty()) => {
                let Some(question) = question else { return };
                let Some(message) = waiting.add(question) else { continue };
                if flow.send(message).await.is_err() {
                    return;
                }
            }
            message = flow.next() => match message {
                Some(Ok(message)) => waiting.settle(&message),
                Some(Err(_)) | None => return,
            },
        }
    }
}

/// The next question; nothing when the flow is wanted no longer.
async fn next_question(inbox: &mut mpsc::Receiver<Question>, idle: bool) -> Option<Question> {
    if idle { timeout(IDLE, inbox.recv()).await.unwrap_or(None) } else { inbox.recv().await }
}

/// The questions that have been sent, by the ids that they were given.
#[derive(Default)]
struct Waiting {
    questions: HashMap<[u8; ID], Question>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// The message to send, with an id that nobody can guess (RFC 5452 §9.2).
    fn add(&mut self, question: Question) -> Option<Bytes> {
        self.questions.retain(|_, waiting| !waiting.answer.is_closed());
        let id = self.free_id().filter(|_| self.questions.len() < MAX_WAITING)?;
        let message = with_id(id, &question.message);
        self.questions.insert(id, question);
        Some(message)
    }

    fn free_id(&self) -> Option<[u8; ID]> {
        loop {
            let mut id = [0; ID];
            getrandom::fill(&mut id).ok()?;
            if !self.questions.contains_key(&id) {
                return Some(id);
            }
        }
    }

    /// Hands an answer to whoever asked. What answers no question is dropped.
    fn settle(&mut self, message: &Bytes) {
        let Some(id) = message.first_chunk::<ID>() else { return };
        // RFC 5452 §9.1: an answer repeats its question, and who guessed the id only does not.
        let matches = |waiting: &Question| is_answer(message, &waiting.message);
        if self.questions.get(id).is_some_and(matches)
            && let Some(question) = self.questions.remove(id)
        {
            let _ = question.answer.send(with_id([0; ID], message));
        }
    }
}

/// Whether a message is a response that names the same question, in whatever letters.
fn is_answer(message: &[u8], query: &[u8]) -> bool {
    const RESPONSE: u8 = 0x80;
    let is_response = message.get(ID).is_some_and(|flags| flags & RESPONSE != 0);
    let question = query.get(HEADER..).map_or(&[][..], question_of);
    let answered = message.get(HEADER..).and_then(|rest| rest.get(..question.len()));
    // An error may come without its question.
    let is_bare = message.len() == HEADER;
    is_response && (is_bare || answered.is_some_and(|part| part.eq_ignore_ascii_case(question)))
}

/// The name, type and class that a body begins with; queries of ours are not compressed.
fn question_of(body: &[u8]) -> &[u8] {
    const TYPE_AND_CLASS: usize = 4;
    let name = body.iter().position(|byte| *byte == 0).map_or(body.len(), |end| end + 1);
    body.get(..name + TYPE_AND_CLASS).unwrap_or(body)
}

fn with_id(id: [u8; ID], message: &[u8]) -> Bytes {
    let mut copy = BytesMut::with_capacity(message.len());
    copy.put_slice(&id);
    copy.put_slice(message.get(ID..).unwrap_or_default());
    copy.freeze()
}
