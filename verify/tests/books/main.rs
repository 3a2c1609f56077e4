//! Real services on real databases, and what the shipped program says about their books: while they are busy, after
//! money went astray, and after one of the two databases went back in time.

#[cfg(test)]
mod live;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod program;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod show;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traffic;
