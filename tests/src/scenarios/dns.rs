//! A name server for one name: answers A questions with what the truth is, TTL one second.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const TYPE_A: [u8; 4] = [0, 1, 0, 1];
const TTL_S: u32 = 1;

/// Serves until dropped by its runtime; answers where it listens.
pub(super) async fn serve(
    truth: watch::Receiver<Vec<SocketAddr>>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let task = tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let addresses = truth.borrow().clone();
            if let Some(answer) = answer(&question[..length], &addresses) {
                // A lost answer is asked for again.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok((address, task))
}

/// RFC 1035: the question's header and question, then a record for each address.
fn answer(message: &[u8], addresses: &[SocketAddr]) -> Option<Vec<u8>> {
    let name_len = message.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = message.get(12..12 + name_len + 4)?;
    let is_a = question.ends_with(&TYPE_A);
    let records: Vec<_> = addresses
        .iter()
        .filter(|_| is_a)
        .filter_map(|address| match address.ip() {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        })
        .collect();
    let mut answer = message[..2].to_vec();
    // Answer, authoritative, recursion available; one question, these answers, nothing else.
    answer.extend([0x85, 0x80, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    for octets in records {
        // The name is the question's, at offset 12.
        answer.extend([0xc0, 12]);
        answer.extend(TYPE_A);
        answer.extend(TTL_S.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(octets);
    }
    Some(answer)
}
