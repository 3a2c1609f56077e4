//! Client connections, each a channel of its own, used in turn.

use client::{BearerToken, BuildError, Channel};

/// So many channels, one TCP connection each.
#[derive(Clone)]
pub struct Connections<C = Channel> {
    channels: Vec<C>,
}

impl Connections {
    /// Makes `count` channels, each to one of these addresses (`host:port`) in turn. Each connects on its own.
    ///
    /// # Errors
    /// When an address is not understood.
    pub fn open(addresses: &[String], count: usize) -> Result<Self, BuildError> {
        Self::open_as(addresses, count, None)
    }

    /// The same, with a token for services that ask who calls.
    ///
    /// # Errors
    /// When an address is not understood, or is another machine's and a token would be seen on the way.
    pub fn open_as(
        addresses: &[String],
        count: usize,
        token: Option<&BearerToken>,
    ) -> Result<Self, BuildError> {
        let each = addresses.iter().cycle().take(count.max(1));
        let channels = each.map(|address| {
            let channel = Channel::builder(format!("http://{address}"));
            match token {
                Some(token) => channel.bearer_token(token.clone()).build(),
                None => channel.build(),
            }
        });
        Ok(Self { channels: channels.collect::<Result<_, _>>()? })
    }

    /// How often the channels sent a call again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        let each = self.channels.iter().map(Channel::stats);
        each.map(|stats| stats.retries + stats.transparent_retries).sum()
    }

    /// Waits until every channel has a connection.
    pub async fn ready(&self) {
        for channel in &self.channels {
            channel.until(|stats| stats.ready() > 0).await;
        }
    }
}

impl<C: Clone> Connections<C> {
    /// Channels made elsewhere, at least one.
    #[must_use]
    pub fn of(channels: Vec<C>) -> Self {
        assert!(!channels.is_empty(), "no channel to send on");
        Self { channels }
    }

    /// Every channel once.
    pub fn iter(&self) -> std::slice::Iter<'_, C> {
        self.channels.iter()
    }

    /// The channel of the request with this number.
    #[must_use]
    pub fn of_request(&self, number: u64) -> C {
        let count = u64::try_from(self.channels.len()).expect("a count");
        let index = usize::try_from(number % count).expect("less than a length");
        self.channels[index].clone()
    }
}
