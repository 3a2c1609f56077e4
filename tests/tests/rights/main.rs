//! Who may call what: real processes, real tokens and certificates.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod start;
#[cfg(test)]
mod world;
