//! How calls fail, and that both sides call it the same.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tonic::codegen::Service;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use super::{Bench, Verdict, ill, request, same, text, well};
use crate::say::Say;

pub(super) async fn every_code(bench: &Bench<'_>) -> Verdict {
    for number in 1..=16 {
        let code = Code::from_i32(number);
        let status = u32::try_from(number).expect("a small number");
        let say = Say { status, message: format!("number {number}"), ..Say::default() };
        let answer = bench.oracle.unary(Request::new(say)).await;
        let status = ill("the call", answer, code)?;
        same("the message", status.message(), &format!("number {number}"))?;
        // UNAVAILABLE is what the policy tries again: four attempts, so the fourth says "3".
        let tries = if code == Code::Unavailable { "3" } else { "0" };
        same("attempts", text(status.metadata(), "seen-previous-attempts")?, tries)?;
    }
    Ok("16 codes; only the listed one was tried again".to_owned())
}

pub(super) async fn message(bench: &Bench<'_>) -> Verdict {
    let message = "50 % of käse, 乾酪 and\nа new line";
    let say = Say { status: 9, message: message.to_owned(), ..Say::default() };
    let answer = bench.oracle.unary(Request::new(say)).await;
    let status = ill("the call", answer, Code::FailedPrecondition)?;
    same("the message", status.message(), message)?;
    Ok("percent-encoded there, read here".to_owned())
}

pub(super) async fn after_answers(bench: &Bench<'_>) -> Verdict {
    let say = Say { answers: 3, status: 14, message: "enough".to_owned(), ..Say::bytes("x") };
    let answer = bench.oracle.repeat(Request::new(say)).await;
    let mut answers = well("the call", answer)?.into_inner();
    for _ in 0..3 {
        well("an answer", answers.message().await)?;
    }
    let status = ill("the end", answers.message().await, Code::Unavailable)?;
    same("attempts", text(status.metadata(), "seen-previous-attempts")?, "0")?;
    Ok("three answers, then the status; committed, so not tried again".to_owned())
}

pub(super) async fn unknown_method(bench: &Bench<'_>) -> Verdict {
    let answer = bench.oracle.method("/oracle.Oracle/Nothing", request("x")).await;
    let status = ill("the call", answer, Code::Unimplemented)?;
    Ok(status.message().to_owned())
}

/// A request compressed with something that the server does not know must not be taken for plain.
pub(super) async fn unknown_compression(bench: &Bench<'_>) -> Verdict {
    let request = http::Request::post("/oracle.Oracle/Unary")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "br")
        .body(Full::new(Bytes::from_static(b"\x01\0\0\0\x03abc")))
        .expect("constant parts make a request");
    let answer = bench.oracle.0.clone().call(request).await.map_err(|error| error.to_string())?;
    let mut status = answer.headers().get("grpc-status").cloned();
    if status.is_none() {
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        status = body.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    }
    let status = status.ok_or("no status")?;
    let code = Code::from_bytes(status.as_bytes());
    let refused = matches!(code, Code::Unimplemented | Code::Internal);
    refused.then(|| format!("{code:?}")).ok_or_else(|| format!("{code:?} is no refusal"))
}

/// A server that compresses for a caller who did not offer to understand it gets an error, and its
/// bytes are never handed on as the message.
pub(super) async fn unasked_compression(bench: &Bench<'_>) -> Verdict {
    let payload = "compress me, ".repeat(100);
    let mut request = request(&payload);
    request.metadata_mut().insert("please-compress", MetadataValue::from_static("gzip"));
    match bench.oracle.unary(request).await {
        Ok(answer) => {
            same("the answer", answer.into_inner(), Say::bytes(payload))?;
            Ok("sent plain".to_owned())
        }
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::Internal) => {
            Ok(format!("refused here: {}", status.message()))
        }
        Err(status) => Err(format!("{status}")),
    }
}
