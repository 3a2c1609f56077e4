//! A name server that treats the two address families differently.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use client::resolve::{Address, Dns, Resolve, ResolveError};
use futures_util::StreamExt;
use hickory_proto::op::{Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

const NAME: &str = "accounts.test.";
const V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// What a name server does with a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Answers,
    /// After this long.
    AnswersLate(Duration),
    /// The name exists and has no such address.
    HasNone,
    Fails,
    /// Nothing, as servers do that do not know the type.
    Drops,
}

struct NameServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl NameServer {
    async fn serve(v4: Does, v6: Does) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let socket = std::sync::Arc::new(socket);
        let task = tokio::spawn(async move {
            let mut datagram = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
                let asked = Message::from_vec(&datagram[..length]).unwrap();
                let is_v6 = asked.queries[0].query_type() == RecordType::AAAA;
                let does = if is_v6 { v6 } else { v4 };
                let (socket, reply) = (std::sync::Arc::clone(&socket), reply(&asked, does));
                tokio::spawn(async move {
                    if let Does::AnswersLate(after) = does {
                        tokio::time::sleep(after).await;
                    }
                    if does != Does::Drops {
                        socket.send_to(&reply, from).await.unwrap();
                    }
                });
            }
        });
        Self { address, task: task.abort_handle() }
    }

    fn resolver(&self) -> Dns {
        Dns::at(self.address, NAME, 50_051).unwrap()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(asked: &Message, does: Does) -> Vec<u8> {
    let query = asked.queries[0].clone();
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&asked.metadata);
    reply.metadata.authoritative = true;
    if does == Does::Fails {
        reply.metadata.response_code = ResponseCode::ServFail;
    }
    if matches!(does, Does::Answers | Does::AnswersLate(_)) {
        let data = if query.query_type() == RecordType::AAAA {
            RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))
        } else {
            RData::A(A(V4))
        };
        reply.add_answers([Record::from_rdata(query.name().clone(), 30, data)]);
    }
    reply.add_query(query);
    reply.to_vec().unwrap()
}

fn v4() -> Address {
    Address::Ip((V4, 50_051).into())
}

fn v6() -> Address {
    Address::Ip((Ipv6Addr::LOCALHOST, 50_051).into())
}

#[tokio::test]
async fn the_family_that_answers_is_used_at_once_whatever_the_other_does() {
    for other in [Does::Drops, Does::Fails, Does::HasNone] {
        for (server, expected) in [
            (NameServer::serve(Does::Answers, other).await, v4()),
            (NameServer::serve(other, Does::Answers).await, v6()),
        ] {
            let began = Instant::now();
            let resolved = server.resolver().resolve().await.unwrap();
            assert_eq!(resolved.addresses, [expected]);
            // RFC 8305 waits for the other family 50 ms; the rest is for a busy machine.
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn the_family_that_is_late_joins_when_it_answers() {
    let late = Does::AnswersLate(Duration::from_millis(300));
    let server = NameServer::serve(Does::Answers, late).await;
    let mut answers = server.resolver().answers();
    assert_eq!(answers.next().await.unwrap().unwrap().addresses, [v4()]);
    assert_eq!(answers.next().await.unwrap().unwrap().addresses, [v4(), v6()]);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn both_families_failing_is_a_failure_and_having_no_address_is_told_apart() {
    let server = NameServer::serve(Does::Fails, Does::HasNone).await;
    let failed = server.resolver().resolve().await;
    assert!(matches!(failed, Err(ResolveError::Lookup { .. } | ResolveError::Empty(_))));
    let server = NameServer::serve(Does::HasNone, Does::HasNone).await;
    let empty = server.resolver().resolve().await;
    assert!(matches!(empty, Err(ResolveError::Empty(_))), "{empty:?}");
}
