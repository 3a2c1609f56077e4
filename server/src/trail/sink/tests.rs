use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Tells what it is asked to write, and does as it is told.
struct Told {
    asked: Sender<Vec<u8>>,
    answers: Receiver<io::Result<()>>,
}

/// The other side of [`Told`].
struct Hand {
    asked: Receiver<Vec<u8>>,
    answers: Sender<io::Result<()>>,
}

const LONG: Duration = Duration::from_secs(20);

impl Output for Told {
    fn ready(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
        self.answers.recv().map_err(|_| ErrorKind::BrokenPipe)??;
        Ok(bytes.len())
    }
}

impl Hand {
    fn asked(&self) -> String {
        String::from_utf8(self.asked.recv_timeout(LONG).unwrap()).unwrap()
    }

    fn answer(&self, answer: io::Result<()>) {
        self.answers.send(answer).unwrap();
    }
}

fn open() -> (Trail, Hand) {
    let ((asked, asks), (answers, answered)) = (channel(), channel());
    let trail = Trail::start(Told { asked, answers: answered }).unwrap();
    (trail, Hand { asked: asks, answers })
}

#[tokio::test]
async fn lines_that_wait_are_written_as_one_piece_and_the_last_before_the_end() {
    let (trail, hand) = open();
    trail.write(b"1\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "1\n");
    trail.write(b"2\n", Weight::MayHaveChanged);
    trail.write(b"3\n", Weight::ChangedNothing);
    hand.answer(Ok(()));
    assert_eq!(hand.asked(), "2\n3\n");
    trail.write(b"4\n", Weight::MayHaveChanged);
    hand.answer(Ok(()));
    hand.answer(Ok(()));
    trail.close().await;
    assert_eq!(hand.asked(), "4\n");
    assert_eq!(trail.trouble(), None);
}

#[tokio::test]
async fn what_cannot_be_written_is_told_and_tried_again() {
    let (trail, hand) = open();
    trail.write(b"1\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "1\n");
    hand.answer(Err(ErrorKind::StorageFull.into()));
    assert_eq!(hand.asked(), "1\n");
    assert_eq!(trail.trouble().unwrap(), "cannot be written: no storage space");
    hand.answer(Ok(()));
    hand.answer(Ok(()));
    trail.write(b"2\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "2\n");
    assert_eq!(trail.trouble(), None);
}

#[tokio::test]
async fn a_reader_that_stopped_costs_lines_beyond_the_bound_and_the_trail_says_how_many() {
    let (trail, hand) = open();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    trail.write(b"first\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "first\n");
    let (fit, more) = (BYTES_MAX / line.len(), 10);
    for _ in 0..fit + more {
        trail.write(&line, Weight::MayHaveChanged);
    }
    assert_eq!(trail.trouble().unwrap(), "10 lines were lost");

    hand.answer(Ok(()));
    assert_eq!(hand.asked().len(), BYTES_MAX);
    trail.write(b"last\n", Weight::MayHaveChanged);
    hand.answer(Ok(()));
    hand.answer(Ok(()));
    let written = hand.asked();
    assert!(written.contains("\"lines_lost\":10") && written.ends_with("last\n"), "{written}");
}

#[tokio::test]
async fn callers_who_change_nothing_cannot_push_out_those_who_do() {
    let (trail, hand) = open();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    trail.write(b"first\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "first\n");
    for _ in 0..BYTES_MAX / line.len() {
        trail.write(&line, Weight::ChangedNothing);
    }
    let refused = trail.trouble().unwrap();
    trail.write(b"paid\n", Weight::MayHaveChanged);
    assert_eq!(trail.trouble().unwrap(), refused);
    hand.answer(Ok(()));
    assert!(hand.asked().ends_with("paid\n"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_hangs_is_not_waited_for() {
    let (trail, hand) = open();
    trail.write(b"1\n", Weight::MayHaveChanged);
    assert_eq!(hand.asked(), "1\n");
    let began = tokio::time::Instant::now();
    trail.close().await;
    assert_eq!(began.elapsed(), FLUSH);
}

#[test]
fn a_trail_goes_nowhere_that_was_not_meant() {
    assert_eq!("off".parse(), Ok(AuditLog::Off));
    assert_eq!("stdout".parse(), Ok(AuditLog::Stdout));
    assert_eq!("/a/b".parse(), Ok(AuditLog::File("/a/b".into())));
    assert!("stdot".parse::<AuditLog>().is_err());
    assert!("".parse::<AuditLog>().is_err());
}
