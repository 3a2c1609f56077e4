//! A name server for one name, as a cluster's DNS answers for a headless Service: an A record for
//! each address, all with one TTL.
//!
//! It answers over UDP only, what the addresses are at that moment. Any other name does not exist;
//! any other type of this one has no records. A message that is none is dropped, and so is an
//! answer that cannot be sent: resolvers ask again. One task, one datagram at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::op::{Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Longest datagram that is read and written: what resolvers offer by EDNS, and what loopback takes.
const DATAGRAM_BYTES: usize = 4096;

/// A running name server. Dropped, it stops.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The one name, without a dot at its end.
    pub name: String,
    /// For how many seconds an answer may be kept.
    pub ttl_s: u32,
}

impl NameServer {
    /// Serves on a loopback port of its own.
    ///
    /// # Errors
    /// When there is no such port.
    ///
    /// # Panics
    /// When the zone's name is no domain name.
    pub async fn serve(zone: Zone, addresses: watch::Receiver<Vec<Ipv4Addr>>) -> io::Result<Self> {
        let mut name = Name::from_ascii(&zone.name).expect("the zone has a domain name");
        name.set_fqdn(true);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut datagram = [0; DATAGRAM_BYTES];
            loop {
                let Ok((length, from)) = socket.recv_from(&mut datagram).await else { continue };
                let known = addresses.borrow().clone();
                if let Some(reply) = reply(&datagram[..length], &name, zone.ttl_s, &known) {
                    let _sent_or_asked_again = socket.send_to(&reply, from).await;
                }
            }
        });
        Ok(Self { address, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn reply(datagram: &[u8], name: &Name, ttl_s: u32, known: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let asked = Message::from_vec(datagram).ok()?;
    let query = asked.queries.first()?.clone();
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&asked.metadata);
    reply.metadata.authoritative = true;
    if query.name() == name {
        reply.add_answers(records(&query, ttl_s, known));
    } else {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    reply.add_query(query);
    let whole = reply.to_vec().ok()?;
    // Too long for a datagram: the resolver is told so instead of half of it.
    if whole.len() <= DATAGRAM_BYTES { Some(whole) } else { reply.truncate().to_vec().ok() }
}

fn records(query: &Query, ttl_s: u32, known: &[Ipv4Addr]) -> Vec<Record> {
    let known = if query.query_type() == RecordType::A { known } else { &[] };
    let record = |ip: &Ipv4Addr| Record::from_rdata(query.name().clone(), ttl_s, RData::A(A(*ip)));
    known.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use client::resolve::{Address, Dns, Resolve, ResolveError};

    use super::*;

    const NAME: &str = "accounts.default.svc.cluster.local";

    async fn server_of(addresses: &[Ipv4Addr]) -> (NameServer, watch::Sender<Vec<Ipv4Addr>>) {
        let truth = watch::Sender::new(addresses.to_vec());
        let zone = Zone { name: NAME.to_owned(), ttl_s: 7 };
        (NameServer::serve(zone, truth.subscribe()).await.unwrap(), truth)
    }

    async fn ask(server: &NameServer, name: &str) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
        let answer = Dns::at(server.address(), name, 80)?.resolve().await?;
        let ip = |address: &Address| match address {
            Address::Ip(address) => address.ip(),
            Address::Unix(path) => panic!("{}", path.display()),
        };
        Ok((answer.addresses.iter().map(ip).collect(), answer.valid_for.unwrap()))
    }

    #[tokio::test]
    async fn every_address_is_answered_with_the_ttl_and_changes_are_seen() {
        let first: Vec<Ipv4Addr> = (1..=3).map(|last| Ipv4Addr::new(127, 9, 9, last)).collect();
        let (server, truth) = server_of(&first).await;
        let (mut addresses, valid_for) = ask(&server, NAME).await.unwrap();
        addresses.sort();
        assert_eq!(addresses, first);
        assert!((6..=7).contains(&valid_for.as_secs()), "{valid_for:?}");

        truth.send_replace(vec![Ipv4Addr::new(127, 9, 9, 4)]);
        assert_eq!(ask(&server, NAME).await.unwrap().0, [IpAddr::from([127, 9, 9, 4])]);
    }

    #[tokio::test]
    async fn no_address_and_another_name_are_told_apart_from_an_answer() {
        let (server, _truth) = server_of(&[]).await;
        assert!(ask(&server, NAME).await.is_err());
        let (server, _truth) = server_of(&[Ipv4Addr::LOCALHOST]).await;
        assert!(ask(&server, "orders.default.svc.cluster.local").await.is_err());
    }

    #[test]
    fn what_is_no_question_gets_no_answer_and_too_much_is_said_to_be_cut() {
        let mut name = Name::from_ascii(NAME).unwrap();
        name.set_fqdn(true);
        assert_eq!(reply(b"hello", &name, 1, &[]), None);
        let mut asked = Message::query();
        asked.add_query(Query::query(name.clone(), RecordType::A));
        let many = vec![Ipv4Addr::LOCALHOST; 1000];
        let cut = reply(&asked.to_vec().unwrap(), &name, 1, &many).unwrap();
        let cut = Message::from_vec(&cut).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty());
    }
}
