//! Runs a collector in a separate process. It speaks only as much gRPC as an exporter needs and decodes nothing, so
//! that almost all of its work is done by the kernel.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The reaction of a collector to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Accepts the request.
    Takes,
    /// Reads the request, and answers that the collector is not available.
    Refuses,
    /// Reads the request, and never answers.
    Hangs,
    /// Reads one byte in a second.
    Slow,
}

/// A collector that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    process: Child,
    /// The address of the collector.
    pub(crate) url: String,
}

impl Collector {
    pub(crate) fn start(mood: Mood) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mood = format!("{mood:?}");
        let mut process = command.args(["--collector", &mood]).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim().to_owned() }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // The collector waits for connections until it is killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a collector until the process is killed.
pub(crate) fn be(mood: &str) -> ! {
    let moods = [Mood::Takes, Mood::Refuses, Mood::Hangs, Mood::Slow];
    let mood = moods.into_iter().find(|known| format!("{known:?}") == mood).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().unwrap();
        // The connection ends when the exporter closes it.
        thread::spawn(move || serve(&stream, mood));
    }
}

/// A connection that delivers one byte in a second.
struct Drops<'s>(&'s TcpStream);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        thread::sleep(Duration::from_secs(1));
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

/// The types and flags of the HTTP/2 frames that the collector uses.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:status: 200` and `content-type: application/grpc`, for HPACK.
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const OK: &[u8] = b"\x00\x0bgrpc-status\x010";
const UNAVAILABLE: &[u8] = b"\x88\x0f\x10\x10application/grpc\x00\x0bgrpc-status\x0214";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// Serves a connection to its end.
fn serve(mut stream: &TcpStream, mood: Mood) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader: Box<dyn Read> =
        if mood == Mood::Slow { Box::new(Drops(stream)) } else { Box::new(BufReader::new(stream)) };
    // As much as the protocol allows on each stream and on the connection; frames of up to a MiB.
    let windows =
        [&4u16.to_be_bytes()[..], &i32::MAX.to_be_bytes(), &5u16.to_be_bytes(), &(1u32 << 20).to_be_bytes()];
    stream.write_all(&frame(SETTINGS, 0, 0, &windows.concat()))?;
    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(i32::MAX - 65_535).to_be_bytes()))?;
    reader.read_exact(&mut [0; 24])?;
    let (mut head, mut payload, mut taken) = ([0; 9], Vec::new(), 0_u32);
    loop {
        reader.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
        reader.read_exact(&mut payload)?;
        let id = u32::from_be_bytes(id);
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let echo = if kind == PING { &payload[..] } else { &[] };
                stream.write_all(&frame(kind, ACK, 0, echo))?;
            }
            DATA => {
                taken += u32::try_from(payload.len()).unwrap();
                if flags & END_STREAM != 0 && mood != Mood::Hangs {
                    let more = frame(WINDOW_UPDATE, 0, 0, &std::mem::take(&mut taken).to_be_bytes());
                    stream.write_all(&[more, answer(mood, id)].concat())?;
                }
            }
            _ => {}
        }
    }
}

/// An empty message, or a refusal.
fn answer(mood: Mood, id: u32) -> Vec<u8> {
    if mood == Mood::Refuses {
        return frame(HEADERS, END_HEADERS | END_STREAM, id, UNAVAILABLE);
    }
    let (head, message) = (frame(HEADERS, END_HEADERS, id, HEAD), frame(DATA, 0, id, &[0; 5]));
    [head, message, frame(HEADERS, END_HEADERS | END_STREAM, id, OK)].concat()
}
