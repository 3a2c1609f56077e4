//! Servers that begin as HTTP/2 and go on as anything: nothing panics, nothing hangs, and the channel
//! is there for the next good server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::resolve::Address;
use client::transport::{Connect, Connecting, Io};
use client::{CallOptions, Channel};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

use crate::network::{Network, Reply, address};
use crate::request;

const LIMIT: Duration = Duration::from_secs(20);

/// What a server says after its SETTINGS.
#[derive(Clone, Debug)]
enum Words {
    Frame {
        kind: u8,
        flags: u8,
        stream: u32,
        body: Vec<u8>,
    },
    /// No frame at all.
    Bytes(Vec<u8>),
}

impl Words {
    fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Frame { kind, flags, stream, body } => {
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                let mut frame = vec![length[1], length[2], length[3], *kind, *flags];
                frame.extend_from_slice(&stream.to_be_bytes());
                frame.extend_from_slice(body);
                frame
            }
        }
    }
}

fn words() -> impl Strategy<Value = Words> {
    // Streams that exist, that do not yet, and the connection itself.
    let stream = prop_oneof![4 => Just(1u32), 2 => Just(0), 1 => Just(3), 1 => any::<u32>()];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        // A good header block: ":status: 200".
        Just(vec![0x88]),
        // A message that stops short.
        Just(b"\0\0\0\0\x09half".to_vec()),
    ];
    prop_oneof![
        6 => (0u8..11, any::<u8>(), stream, body).prop_map(|(kind, flags, stream, body)| {
            Words::Frame { kind, flags, stream, body }
        }),
        1 => prop::collection::vec(any::<u8>(), 1..60).prop_map(Words::Bytes),
    ]
}

/// The network, until it is healed, with a babbler in each server's place.
#[derive(Clone)]
struct Babel {
    network: Network,
    script: Arc<Mutex<Vec<Words>>>,
    hangs_up: bool,
    healed: Arc<AtomicBool>,
}

impl Connect for Babel {
    fn connect(&self, address: &Address) -> Connecting {
        if self.healed.load(Ordering::Relaxed) {
            return self.network.connect(address);
        }
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let (script, hangs_up) = (self.script.lock().unwrap().clone(), self.hangs_up);
        tokio::spawn(async move {
            // An empty SETTINGS frame; then a moment of paused time, in which a call is sent.
            let _ = theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            for words in script {
                // It may have hung up on us by now.
                let _ = theirs.write_all(&words.encoded()).await;
            }
            if !hangs_up {
                let _ = tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await;
            }
            let _ = theirs.read(&mut [0; 64]).await;
        });
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Io>) })
    }
}

/// Whether a call came to a good end.
async fn call(channel: &Channel) -> bool {
    let mut request = request();
    request.extensions_mut().insert(CallOptions::default().timeout(LIMIT));
    let Ok(response) = channel.clone().call(request).await else { return false };
    let Ok(body) = response.into_body().collect().await else { return false };
    body.trailers().is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|it| it == "0"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_server_says_calls_end_and_the_channel_lives(
        script in prop::collection::vec(words(), 1..12),
        hangs_up: bool,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let network = Network::default();
            network.serve(address(1), |_| Reply::Good(Duration::ZERO));
            let healed = Arc::new(AtomicBool::new(false));
            let (script, healing) = (Arc::new(Mutex::new(script)), Arc::clone(&healed));
            let babel = Babel { network: network.clone(), script, hangs_up, healed };
            let channel = Channel::builder("test:1").resolver(network.clone()).transport(babel);
            let channel = channel.seed(seed).build().unwrap();
            for _ in 0..3 {
                let began = tokio::time::Instant::now();
                // Any outcome will do, as long as there is one.
                let _outcome = call(&channel).await;
                prop_assert!(began.elapsed() <= LIMIT + Duration::from_millis(2));
            }
            healing.store(true, Ordering::Relaxed);
            // A babbler that hangs on answers no pings: keepalive gives it up.
            let answered = async {
                while !call(&channel).await || network.asked().is_empty() {
                    // Paused time: a caller's own pace.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            let back = tokio::time::timeout(Duration::from_secs(600), answered).await;
            prop_assert!(back.is_ok(), "never back: {:?}", channel.stats());
            prop_assert_eq!(channel.stats().endpoints[0].in_flight, 0);
            Ok(())
        })?;
    }
}
