//! The streams of `exec`, `attach` and port-forward: an address that a WebSocket is opened on, each
//! message of which begins with the number of a channel (v4.channel.k8s.io).

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// Standard input.
pub const STDIN: u8 = 0;
/// Standard output.
pub const STDOUT: u8 = 1;
/// Standard error.
pub const STDERR: u8 = 2;
/// How it has ended, as JSON.
pub const STATUS: u8 = 3;
/// The terminal's size, as JSON.
pub const RESIZE: u8 = 4;

/// An open stream, and what has come by each channel.
pub struct Stream {
    socket: WebSocket<TcpStream>,
    received: [Vec<u8>; 5],
}

impl Stream {
    /// Opens what containerd has named.
    pub fn open(url: &str) -> Result<Self> {
        let place = url.strip_prefix("http://").with_context(|| format!("not http: {url}"))?;
        let (host, _) = place.split_once('/').context("an address without a path")?;
        let connection = TcpStream::connect(host)?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut request = format!("ws://{place}").into_client_request()?;
        let protocol = "v4.channel.k8s.io".parse()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, connection)?;
        Ok(Self { socket, received: Default::default() })
    }

    /// Sends on a channel.
    pub fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<()> {
        let message = [&[channel], bytes].concat();
        Ok(self.socket.send(Message::Binary(message.into()))?)
    }

    /// What has come by a channel.
    pub fn received(&self, channel: u8) -> String {
        String::from_utf8_lossy(&self.received[usize::from(channel)]).into_owned()
    }

    /// Waits until `text` has come by a channel.
    pub fn wait(&mut self, channel: u8, text: &str) -> Result<()> {
        while !self.received(channel).contains(text) {
            if !self.more()? {
                bail!(
                    "closed before {text:?}: {:?}",
                    self.received.each_ref().map(|bytes| String::from_utf8_lossy(bytes))
                );
            }
        }
        Ok(())
    }

    /// Waits for the end. How it has ended, as JSON.
    pub fn end(&mut self) -> Result<serde_json::Value> {
        while self.more()? {}
        let status = self.received(STATUS);
        serde_json::from_str(&status).with_context(|| format!("{status:?}"))
    }

    /// Takes the next message; false at the end.
    fn more(&mut self) -> Result<bool> {
        let bytes = match self.socket.read() {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let (&channel, text) = bytes.split_first().context("a message without a channel")?;
        let place = self.received.get_mut(usize::from(channel)).context("an unknown channel")?;
        place.extend(text);
        Ok(true)
    }
}
