//! More bytes than windows.

use futures_util::stream;
use tonic::{Code, Request};

use super::{Bench, Verdict, ill, same, well};
use crate::say::Say;

const MIB: usize = 1 << 20;

/// Bytes that show when a piece is lost, doubled or out of place.
fn pattern(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3).wrapping_add(at + salt) as u8).collect()
}

/// Below the 4 MiB that both servers accept, far above the 64 KiB of their first window.
pub(super) async fn large_message(bench: &Bench<'_>) -> Verdict {
    let payload = pattern(3 * MIB, 1);
    let say = Say::bytes(payload.clone());
    let answer = well("the call", bench.oracle.unary(Request::new(say)).await)?;
    same("the answer's bytes", answer.into_inner().payload == payload, true)?;
    Ok("3 MiB there and back".to_owned())
}

pub(super) async fn long_stream(bench: &Bench<'_>) -> Verdict {
    const PIECES: usize = 256;
    const PIECE: usize = 64 << 10;
    let says = stream::iter((0..PIECES).map(|salt| Say::bytes(pattern(PIECE, salt))));
    let mut answers = well("the call", bench.oracle.chat(says).await)?.into_inner();
    for salt in 0..PIECES {
        let answer = well("an answer", answers.message().await)?;
        let wanted = pattern(PIECE, salt);
        same("an answer's bytes", answer.is_some_and(|it| it.payload == wanted), true)?;
    }
    same("the end", well("the end", answers.message().await)?, None)?;
    Ok("16 MiB there and back at once".to_owned())
}

pub(super) async fn over_the_limit(bench: &Bench<'_>) -> Verdict {
    let answer = bench.oracle.unary(Request::new(Say::bytes(pattern(5 * MIB, 0)))).await;
    let status = ill("the call", answer, Code::ResourceExhausted)?;
    well("the next call", bench.oracle.unary(super::request("small")).await)?;
    Ok(status.message().to_owned())
}
