//! How bytes reach an address. Tests and simulations put their own network here.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::resolve::Address;

/// A byte stream to a peer.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// What [`Connect::connect`] answers.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens byte streams. The channel bounds each try with its connect timeout and drops it when the
/// endpoint is removed, so an implementation needs no timeout of its own.
pub trait Connect: Send + Sync + 'static {
    /// Starts one try.
    fn connect(&self, address: &Address) -> Connecting;
}

/// The operating system's TCP and Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets;

impl Connect for Sockets {
    fn connect(&self, address: &Address) -> Connecting {
        match address.clone() {
            Address::Ip(address) => Box::pin(async move {
                let stream = TcpStream::connect(address).await?;
                // Small frames must not wait for the acknowledgement of earlier ones.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Io>)
            }),
            Address::Unix(path) => Box::pin(async move {
                let stream = UnixStream::connect(path).await?;
                Ok(Box::new(stream) as Box<dyn Io>)
            }),
        }
    }
}
