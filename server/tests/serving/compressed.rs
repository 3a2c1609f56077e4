//! Messages as callers compress them, and what they cost.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gzip_zeros(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(bytes as u64), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// "again and again, " forty times as a message, by the reference implementation (zstd 1.5, level 3).
pub(crate) const AGAIN_ZSTD: &[u8] = &[
    0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0xcd, 0x00, 0x00, 0x78, 0x0a, 0xa8, 0x05, 0x61, 0x67, 0x61,
    0x69, 0x6e, 0x20, 0x61, 0x6e, 0x64, 0x20, 0x2c, 0x20, 0x02, 0x00, 0x94, 0x68, 0x16, 0xd6, 0xb6,
    0x7c, 0x01, 0x7c, 0x29, 0x95, 0x72,
];

/// A frame with a window of 128 KiB and blocks that repeat one byte as often.
pub(crate) fn zstd_zeros(bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let (descriptor, window, repeats) = (0, 7 << 3, 1);
    let mut frame = [&MAGIC[..], &[descriptor, window]].concat();
    let blocks = bytes / BLOCK;
    for block in 1..=blocks {
        let head = u32::try_from(BLOCK << 3).unwrap() | repeats << 1 | u32::from(block == blocks);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// The most memory that this process ever had.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
