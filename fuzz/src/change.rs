//! Changes of an input, each as likely as the others.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Bytes at the edges of what readers tell apart: signs, digits, separators, ends of ranges.
const EDGES: [u8; 20] = [
    0x00, 0x01, 0x0a, b' ', b'%', b',', b'-', b'.', b'/', b'0', b'9', b':', b'?', b'@', b'[', 0x7e,
    0x7f, 0x80, 0xc3, 0xff,
];

/// What one change adds at most.
const GROWTH_MAX: usize = 64;

pub(crate) fn change(
    input: &mut Vec<u8>,
    pool: &[Vec<u8>],
    dictionary: &[Vec<u8>],
    random: &mut StdRng,
) {
    match random.random_range(0..10) {
        0 => flip(input, random),
        1 => overwrite(input, *EDGES.choose(random).expect("not empty"), random),
        2 => overwrite(input, random.random(), random),
        3 => add(input, &[*EDGES.choose(random).expect("not empty")], random),
        4 => remove(input, random),
        5 => repeat(input, random),
        6 => {
            let word = dictionary.choose(random).cloned().unwrap_or_default();
            add(input, &word, random);
        }
        7 => replace_by_word(input, dictionary, random),
        8 => cross(input, pool, random),
        _ => count(input, random),
    }
}

/// A place in the input, or its end.
fn place(input: &[u8], random: &mut StdRng) -> usize {
    random.random_range(0..=input.len())
}

/// A stretch of the input that is not long.
fn stretch(input: &[u8], random: &mut StdRng) -> std::ops::Range<usize> {
    let begin = place(input, random);
    let length = random.random_range(0..=GROWTH_MAX.min(input.len() - begin));
    begin..begin + length
}

fn flip(input: &mut [u8], random: &mut StdRng) {
    let bit = 1 << random.random_range(0..8);
    if let Some(byte) = pick(input, random) {
        *byte ^= bit;
    }
}

fn overwrite(input: &mut [u8], by: u8, random: &mut StdRng) {
    if let Some(byte) = pick(input, random) {
        *byte = by;
    }
}

fn pick<'input>(input: &'input mut [u8], random: &mut StdRng) -> Option<&'input mut u8> {
    let at = place(input, random);
    input.get_mut(at)
}

fn add(input: &mut Vec<u8>, word: &[u8], random: &mut StdRng) {
    let at = place(input, random);
    input.splice(at..at, word.iter().copied());
}

fn remove(input: &mut Vec<u8>, random: &mut StdRng) {
    let gone = stretch(input, random);
    input.drain(gone);
}

fn repeat(input: &mut Vec<u8>, random: &mut StdRng) {
    let copied = input[stretch(input, random)].to_vec();
    let times = random.random_range(1..=8);
    add(input, &copied.repeat(times), random);
}

fn replace_by_word(input: &mut Vec<u8>, dictionary: &[Vec<u8>], random: &mut StdRng) {
    let Some(word) = dictionary.choose(random) else { return };
    let at = stretch(input, random);
    input.splice(at, word.iter().copied());
}

/// The beginning of this one and the end of another.
fn cross(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut StdRng) {
    let Some(other) = pool.choose(random) else { return };
    let (at, from) = (place(input, random), place(other, random));
    input.truncate(at);
    input.extend_from_slice(&other[from..]);
}

/// One more, or one less, as lengths and numbers go wrong by.
fn count(input: &mut [u8], random: &mut StdRng) {
    let up = random.random_bool(0.5);
    if let Some(byte) = pick(input, random) {
        *byte = if up { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
    }
}
