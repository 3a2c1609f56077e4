//! Processes that end, or freeze, at every step of an order; and a minute of everything at once.

#[cfg(test)]
mod away;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod days;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod full;
#[cfg(test)]
mod ledgers;
#[cfg(test)]
mod points;
#[cfg(test)]
mod refunds;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod settlements;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod world;
#[cfg(test)]
mod zombies;
