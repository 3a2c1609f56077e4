//! A stream that crosses the server's last GOAWAY.
//!
//! A graceful shutdown in h2 is GOAWAY with no last stream, a PING, and when that is acknowledged
//! GOAWAY with the last stream there was. grpc-core gives a call its stream before it writes it, and
//! writes acknowledgements first: so a call may come right behind the acknowledgement, too late to
//! be looked at, and a WINDOW_UPDATE for it. To h2 that is an update of a stream that never was: a
//! connection error, which ends every call in progress there.
//!
//! A server cannot keep such a call from coming. It can see to it that none is in progress by then.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use prost::Message;
use server::{ServeConfig, Server, Signals};
use tests::echo::{Echo, PING, Ping};
use tests::frames::{Frames, Said, Wire};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;

/// How long the call takes that is in progress when the server is told to leave.
const CALL: Duration = Duration::from_millis(2_500);

/// Longer than the call, and so long that the connection's turn to leave, at about 0.6 of it, comes
/// while the call runs.
const LAME_DUCK: Duration = Duration::from_secs(4);

const FOR_EVER: Duration = Duration::from_secs(30);

const PROTOCOL_ERROR: u32 = 1;

/// What became of the call in progress.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Lost { error: u32 },
}

fn echo() -> Echo {
    Echo::new(1, Duration::ZERO, None)
}

/// Calls, has the server told to leave, answers its PING as grpc-core may, and watches the call.
async fn fate(server: SocketAddr, leave: impl FnOnce()) -> Fate {
    let work_ms = u32::try_from(CALL.as_millis()).unwrap();
    let slow = Ping { id: 1, work_ms, server: 0 }.encode_to_vec();
    let quick = Ping { id: 2, work_ms: 0, server: 0 }.encode_to_vec();
    let mut wire = Wire::connect(server).await.unwrap();
    // The quick call's answer says that the slow one before it has begun.
    wire.write(Frames::default().call(1, PING, &slow).call(3, PING, &quick)).await;
    assert_eq!(wire.read().await, Said::Data { stream: 3 });
    leave();
    loop {
        match wire.read().await {
            Said::Ping(payload) => {
                let late = Frames::default().ping_ack(payload).call(5, PING, &quick);
                wire.write(late.window_update(5)).await;
            }
            Said::Data { stream: 1 } => return Fate::Answered,
            Said::Data { .. } | Said::Reset { .. } | Said::GoAway { error: 0 } => {}
            Said::GoAway { error } => return Fate::Lost { error },
            Said::Closed => panic!("closed without a word"),
        }
    }
}

#[tokio::test]
async fn our_server_leaves_a_connection_when_no_call_is_in_progress() {
    let config = ServeConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
        lame_duck: LAME_DUCK,
        ..ServeConfig::default()
    };
    let bound = Server::new(config).service(echo()).bind().await.unwrap();
    let address = bound.local_addr();
    let (trigger, signals) = Signals::by_hand();
    let served = tokio::spawn(bound.run(signals));
    let fate = timeout(FOR_EVER, fate(address, || trigger.fire())).await.unwrap();
    assert_eq!(fate, Fate::Answered);
    let summary = timeout(FOR_EVER, served).await.unwrap().unwrap();
    assert_eq!((summary.calls_cut, summary.forced), (0, false));
}

/// The control: the same frames, and a server that says GOAWAY at once.
#[tokio::test]
async fn tonics_own_shutdown_loses_the_call() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (leave, told) = oneshot::channel::<()>();
    let router = tonic::transport::Server::builder().add_service(echo());
    let shutdown = async {
        let _told_or_dropped = told.await;
    };
    let serving = router.serve_with_incoming_shutdown(TcpIncoming::from(listener), shutdown);
    let served = tokio::spawn(serving);
    let leave = || leave.send(()).unwrap();
    let fate = timeout(FOR_EVER, fate(address, leave)).await.unwrap();
    assert_eq!(fate, Fate::Lost { error: PROTOCOL_ERROR });
    timeout(FOR_EVER, served).await.unwrap().unwrap().unwrap();
}
