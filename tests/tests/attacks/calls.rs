//! Calls that are begun and not finished, by who sends nothing and by who reads nothing.

use std::time::Duration;

use prost::Message;
use proto::account::v1::GetAccountRequest;
use tests::frames::Frames;

use crate::scene::{GET_ACCOUNT, RESERVE, Scene, streams, wires};

const CALM: Duration = Duration::from_secs(2);
const ATTACK: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn four_thousand_heads_without_a_body_take_half_of_the_calls_and_only_until_the_body_is_due()
{
    let mut scene = Scene::start(&["--body-timeout", "3s"]).await;
    let calm = scene.call_for(CALM).await;
    let before = scene.resident_kib();

    let mut attackers = wires(scene.address(), 41, 65_535).await;
    for wire in &mut attackers {
        let heads = streams(100).fold(Frames::default(), |heads, stream| {
            heads.head(stream, RESERVE, &[("grpc-timeout", "99999999H")])
        });
        wire.write(heads).await;
    }
    scene
        .until("refusals", async |scene| scene.refused("caller_calls").await >= 4_100 - 2_048)
        .await;
    let grown = scene.resident_kib().saturating_sub(before);
    let fared = scene.call_for(ATTACK).await;

    fared.assert_as_calm(&calm);
    scene.wait_in_flight(|calls| calls == 0).await;
    assert_eq!(scene.refused("body_time").await, 2_048);
    println!("{grown} KiB for 2,048 calls that are held and 2,052 that are not");
    assert!(grown <= 96 * 1_024, "{grown} KiB");
    drop(attackers);
    scene.stop_and_verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_are_cut_at_the_deadline_and_give_their_places_back() {
    let mut scene = Scene::start(&[]).await;
    let calm = scene.call_for(CALM).await;

    // A window of nothing: not one byte of an answer can be sent.
    let mut attackers = wires(scene.address(), 25, 0).await;
    let request = GetAccountRequest { account_id: 7 }.encode_to_vec();
    let body = [&[0, 0, 0, 0, u8::try_from(request.len()).unwrap()][..], &request].concat();
    for wire in &mut attackers {
        let calls = streams(100).fold(Frames::default(), |calls, stream| {
            calls.head(stream, GET_ACCOUNT, &[("grpc-timeout", "3S")]).body(stream, &body)
        });
        wire.write(calls).await;
    }
    scene
        .until("refusals", async |scene| scene.refused("caller_calls").await >= 2_500 - 2_048)
        .await;
    let fared = scene.call_for(ATTACK).await;

    fared.assert_as_calm(&calm);
    scene.wait_in_flight(|calls| calls == 0).await;
    assert_eq!(scene.refused("unread").await, 2_048);
    drop(attackers);
    scene.stop_and_verify();
}
