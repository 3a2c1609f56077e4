//! The matrix of duplicates, but for its crowds of 1,000: those take the program, `cargo run -p tests --bin duplicates`.

use tests::duplicates::{Case, Guard, Matrix};

const CROWDS: [usize; 2] = [10, 100];

/// All cases with one kind of guard, one after the other.
async fn one_key_one_order(guard: Guard) {
    let mut matrix = Matrix::start(guard).await.unwrap();
    for case in Case::all(&CROWDS) {
        let outcome = matrix.run(case).await.unwrap();
        assert!(outcome.wrong.is_empty(), "{outcome:?}");
    }
    assert_eq!(matrix.finish().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_without_redis() {
    one_key_one_order(Guard::Absent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_redis() {
    one_key_one_order(Guard::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_a_silent_redis() {
    one_key_one_order(Guard::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_redis_away() {
    one_key_one_order(Guard::Down).await;
}
