//! The four kinds of calls, and what travels beside their messages.

use futures_util::stream;
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;

use super::{Bench, Verdict, request, same, text, well};
use crate::say::Say;

pub(super) async fn unary(bench: &Bench<'_>) -> Verdict {
    for payload in ["", "hello"] {
        let answer = well("the call", bench.oracle.unary(request(payload)).await)?;
        same("the answer", answer.into_inner(), Say::bytes(payload))?;
    }
    Ok("the answer is the question, an empty one too".to_owned())
}

pub(super) async fn client_stream(bench: &Bench<'_>) -> Verdict {
    let says = stream::iter((1..=100).map(|length| Say::bytes(vec![7; length])));
    let answer = well("the call", bench.oracle.collect(says).await)?.into_inner();
    same("messages and bytes", (answer.answers, answer.total_bytes), (100, 5_050))?;
    let none = stream::iter(Vec::<Say>::new());
    let answer = well("an empty stream", bench.oracle.collect(none).await)?.into_inner();
    same("messages of an empty stream", answer.answers, 0)?;
    Ok("100 messages counted, and none".to_owned())
}

pub(super) async fn server_stream(bench: &Bench<'_>) -> Verdict {
    let say = Say { answers: 200, ..Say::bytes("again") };
    let answer = bench.oracle.repeat(tonic::Request::new(say)).await;
    let mut answers = well("the call", answer)?.into_inner();
    let mut count = 0;
    while let Some(answer) = well("an answer", answers.message().await)? {
        same("an answer", answer.payload, b"again".to_vec())?;
        count += 1;
    }
    same("the number of answers", count, 200)?;
    Ok("200 answers and a good end".to_owned())
}

pub(super) async fn both_streams(bench: &Bench<'_>) -> Verdict {
    let (say, said) = mpsc::channel::<Say>(1);
    let said = stream::unfold(said, |mut said| async { said.recv().await.map(|it| (it, said)) });
    let mut answers = well("the call", bench.oracle.chat(said).await)?.into_inner();
    for turn in 0..50 {
        let word = format!("word {turn}").into_bytes();
        say.send(Say::bytes(word.clone())).await.map_err(|_| "the stream ended early")?;
        let answer = well("an answer", answers.message().await)?;
        same("an answer", answer.map(|it| it.payload), Some(word))?;
    }
    drop(say);
    same("the end", well("the end", answers.message().await)?, None)?;
    Ok("50 turns of question and answer".to_owned())
}

pub(super) async fn metadata(bench: &Bench<'_>) -> Verdict {
    const BYTES: [u8; 5] = [0, 0xff, b',', b' ', 0x80];
    let mut request = request("hello");
    let headers = request.metadata_mut();
    headers.insert("echo-text", MetadataValue::from_static("as it is"));
    headers.insert_bin("echo-bytes-bin", MetadataValue::from_bytes(&BYTES));
    let answer = well("the call", bench.oracle.unary(request).await)?;
    // tonic shows headers and trailers of a unary call as one map.
    let shown = answer.metadata();
    for name in ["echo-text", "trailing-echo-text"] {
        same(name, text(shown, name)?, "as it is")?;
    }
    for name in ["echo-bytes-bin", "trailing-echo-bytes-bin"] {
        let bytes = shown.get_bin(name).and_then(|value| value.to_bytes().ok());
        same(name, bytes.as_deref(), Some(&BYTES[..]))?;
    }
    same("the first attempt's number", text(shown, "seen-previous-attempts")?, "0")?;
    Ok("both came back, as headers and as trailers".to_owned())
}
